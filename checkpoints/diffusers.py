"""Unconditional U-Nets of diffusers (UNet2DModel), DDPM's, NCSN++'s and latent diffusion's; and ours as such folders.

A folder holds config.json and diffusion_pytorch_model.safetensors (or .bin, a pickle read without running it), and
beside them, or beside their folder unet/, the scheduler that says what noise the network was trained on. DDPM's
timestep is our noise label, the index 0 to n - 1 of its chain; NCSN++'s timestep is sigma and its output, divided by
sigma, the score. Latent diffusion's U-Net is ADM's, `guided_unet`, whose map of query, key and value is three there.
The weights are the averaged ones; the folders hold no others.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from checkpoints import diffusers_scheduler, safetensors_file, torch_file
from checkpoints.diffusers_scheduler import Scheduler, load_json
from checkpoints.layout import Place, check_network, effective_options, fill, places_of, spill
from checkpoints.published import Weights
from models.functional import Network
from models.resolutions import level_widths, shorter_sides

WEIGHTS = "diffusion_pytorch_model"
PIPELINE = "model_index.json"
TOLD = "UNet2DConditionModel"
"""The class of networks that are told a text (`checkpoints.diffusers_text_unet`)."""
AUTOENCODERS = ("vae", "vqvae")
"""The folders in a pipeline that hold one."""

DEFAULTS = {
    "act_fn": "silu",
    "add_attention": True,
    "attention_head_dim": 8,
    "attn_norm_num_groups": None,
    "center_input_sample": False,
    "class_embed_type": None,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "dropout": 0.0,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2D",
    "norm_eps": 1e-5,
    "norm_num_groups": 32,
    "num_class_embeds": None,
    "num_train_timesteps": None,
    "out_channels": 3,
    "resnet_time_scale_shift": "default",
    "sample_size": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "upsample_type": "conv",
}
"""What diffusers takes where config.json does not say."""

ALWAYS = {
    "_class_name": ("UNet2DModel",),
    "act_fn": ("silu", "swish"),
    "add_attention": (True,),
    "attention_legacy_order": (None, False),
    "class_embed_type": (None,),
    "downsample_type": ("conv",),
    "mid_block_type": ("UNetMidBlock2D",),
    "num_class_embeds": (None,),
    "time_embedding_type": ("positional", "fourier"),
    "upsample_type": ("conv",),
}
NCSNPP_ALWAYS = {"norm_eps": (1e-6,), "resnet_time_scale_shift": ("default",)}
DDPM_ALWAYS = NCSNPP_ALWAYS | {
    "downsample_padding": (0,),
    "flip_sin_to_cos": (False,),
    "freq_shift": (1,),
    "mid_block_scale_factor": (1,),
}
GUIDED_ALWAYS = {
    "downsample_padding": (1,),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "mid_block_scale_factor": (1,),
    "norm_eps": (1e-5,),
    "resnet_time_scale_shift": ("default", "scale_shift"),
}
NCSNPP = {
    "fir": True,
    "fir_kernel": (1, 3, 3, 1),
    "skip_rescale": True,
    "resblock_type": "biggan",
    "progressive": "output_skip",
    "progressive_input": "input_skip",
    "progressive_combine": "sum",
    "embedding_type": "fourier",
    "scale_by_sigma": True,
    "conditional": True,
    "nonlinearity": "swish",
    "attend_each_block": False,
    "num_groups": None,
}
DDPM = {"resamp_with_conv": True, "conditional": True, "nonlinearity": "swish", "scale_by_sigma": False}
GUIDED = {"attention_order": "new", "resblock_updown": False, "learned_variance": False, "label_dim": 0}
QUIRK = 32  # groups where ncsnpp attends, whatever the channels


def network_options(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """(name, options) of our network for a config.json.

    Raises:
      ValueError: a network that has no counterpart here; the message lists every field that is in the way.
    """
    given = {**DEFAULTS, **config}
    if damaged := _damaged(given):
        raise ValueError(f"this diffusers network cannot be read: {'; '.join(damaged)}")
    fourier, guided = given["time_embedding_type"] == "fourier", _is_guided(given)
    allowed = ALWAYS | (NCSNPP_ALWAYS if fourier else GUIDED_ALWAYS if guided else DDPM_ALWAYS)
    wrong = [
        f"{field} is {given.get(field)!r}, not {' or '.join(map(repr, values))}"
        for field, values in allowed.items()
        if given.get(field) not in values
    ]
    kind = "Skip" if fourier else ""
    channels, size = list(given["block_out_channels"]), given["sample_size"]
    size = size[0] if isinstance(size, list | tuple) and len(set(size)) == 1 else size
    pair = isinstance(size, list | tuple) and len(size) == 2 and all(type(side) is int for side in size)
    down, up = list(given["down_block_types"]), list(given["up_block_types"])
    attends = [block == f"Attn{kind}DownBlock2D" for block in down]
    wrong += [
        message
        for condition, message in (
            (not isinstance(size, int) and not pair, f"sample_size is {size!r}, not one number or two"),
            (pair and fourier, f"sample_size is {size!r}, and diffusers' pipelines of skip blocks draw squares only"),
            (given["in_channels"] != given["out_channels"], "in_channels and out_channels differ"),
            (fourier and given["in_channels"] != 3, "in_channels is not 3, as diffusers' skip blocks have it"),
            (
                fourier and abs(given["mid_block_scale_factor"] - math.sqrt(2)) > 1e-6,
                f"mid_block_scale_factor is {given['mid_block_scale_factor']}, not sqrt(2)",
            ),
            (
                down != [f"{'Attn' * a}{kind}DownBlock2D" for a in attends] or len(down) != len(channels),
                f"down_block_types are {down}, not one Attn{kind}DownBlock2D or {kind}DownBlock2D a level",
            ),
            (
                up != [f"{'Attn' * a}{kind}UpBlock2D" for a in reversed(attends)],
                f"up_block_types {up} do not mirror down_block_types",
            ),
            (
                given["time_embedding_dim"] not in (None, 4 * channels[0]),
                f"time_embedding_dim is {given['time_embedding_dim']}, not {4 * channels[0]}",
            ),
        )
        if condition
    ]
    attending, width = {c for c, attend in zip(channels, attends, strict=False) if attend}, given["attention_head_dim"]
    attending |= {channels[-1]}
    groups = given["norm_num_groups"]
    if guided and width is not None and any(c % width for c in attending):
        wrong.append(f"attention_head_dim is {width}, of which {sorted(attending)} channels are no whole numbers")
    if guided and type(groups) is not int:
        wrong.append(f"norm_num_groups is {groups}, not a number")
    if guided and [int(channels[0] * (c / channels[0])) for c in channels] != channels:
        wrong.append(f"block_out_channels are {channels}, not each a multiple of the first that a number can say")
    if not guided and width is not None and attending != {width}:
        wrong.append(f"attention_head_dim is {width}: only one head, null, is known here")
    if fourier and groups is not None and {min(c // 4, 32) for c in (channels[0], channels[-1])} != {groups}:
        wrong.append(f"norm_num_groups is {groups}, not null")
    if given["attn_norm_num_groups"] not in (None, groups):
        wrong.append(f"attn_norm_num_groups is {given['attn_norm_num_groups']}, not null")
    if wrong:
        raise ValueError(f"this diffusers network has no counterpart here: {'; '.join(wrong)}")
    multiples, levels = not any(c % channels[0] for c in channels), shorter_sides(size, len(down))
    options = {
        "image_size": tuple(size) if pair else size,
        "num_channels": given["in_channels"],
        "nf": channels[0],
        "ch_mult": tuple(c // channels[0] for c in channels) if multiples else (),
        "channels": () if multiples else tuple(channels),
        "num_res_blocks": given["layers_per_block"],
        "attn_resolutions": tuple(side for side, attend in zip(levels, attends, strict=True) if attend),
        "dropout": given["dropout"],
        "centered": not given["center_input_sample"],
    }
    if guided:
        heads = {"num_heads": 1, "head_channels": None} if width is None else {"head_channels": width}
        del options["channels"]
        return "guided_unet", options | GUIDED | heads | {
            "ch_mult": tuple(c / channels[0] if c % channels[0] else c // channels[0] for c in channels),
            "num_groups": groups,
            "scale_shift": given["resnet_time_scale_shift"] == "scale_shift",
        }
    if not fourier:
        each = {"attend_each_block": True} if any(attends) else {}  # else it makes no difference
        return "ddpm", options | DDPM | {"num_groups": groups} | each
    return "ncsnpp", options | NCSNPP | {"attention_groups": _attention_groups(options)}


def _is_guided(given: Mapping[str, Any]) -> bool:
    """Whether a network is of ADM's line, as latent diffusion's is, by its time embedding: cosines first, of half."""
    shifted = given["flip_sin_to_cos"] is True and given["freq_shift"] == 0
    return given["time_embedding_type"] == "positional" and shifted


def _damaged(given: Mapping[str, Any]) -> list[str]:
    """Every field that is of another type than the network needs, or missing."""

    def listed(field: str, kind: type) -> bool:
        return isinstance(given.get(field), list | tuple) and all(type(v) is kind for v in given[field])

    counts = ("in_channels", "out_channels", "layers_per_block")
    wrong = [f for f in counts if type(given[f]) is not int or given[f] < 1]
    wrong += [f for f in ("dropout", "norm_eps", "mid_block_scale_factor") if not isinstance(given[f], int | float)]
    channels = given.get("block_out_channels")
    if not listed("block_out_channels", int) or not channels or min(channels) < 4:
        wrong.append("block_out_channels")
    wrong += [field for field in ("down_block_types", "up_block_types") if not listed(field, str)]
    return [f"{field} is {given.get(field)!r}" for field in wrong]


def _attention_groups(options: Mapping[str, Any]) -> int | None:
    """None where diffusers' number of groups is no other than ours: from 128 channels on."""
    widths = _widths(options)
    levels = zip(widths, shorter_sides(options["image_size"], len(widths)), strict=True)
    attending = [width for width, size in levels if size in options["attn_resolutions"]]
    return QUIRK if min(attending, default=128) < 128 else None


def _widths(options: Mapping[str, Any]) -> tuple[int, ...]:
    """The channels at each level."""
    return level_widths(options["nf"], options["ch_mult"], options["channels"])


def config_of(network: Network) -> dict[str, Any]:
    """The config.json of one of our networks.

    Raises:
      ValueError: a network that diffusers does not have; the message lists every option that is in the way.
    """
    if network.name not in ("ddpm", "ncsnpp", "guided_unet"):
        raise ValueError(
            f"diffusers has no counterpart of the network {network.name!r}; of ddpm, ncsnpp and guided_unet it has"
        )
    options = effective_options(network)
    fourier, guided = network.name == "ncsnpp", network.name == "guided_unet"
    channels = tuple(int(options["nf"] * m) for m in options["ch_mult"]) if guided else _widths(options)
    sizes = shorter_sides(options["image_size"], len(channels))
    attends = [size in options["attn_resolutions"] for size in sizes]
    needed: dict[str, Any]
    if guided:
        needed = GUIDED | {"time_scale": 1.0}
    elif fourier:
        needed = NCSNPP | {"num_channels": 3}
        same = _attention_groups(options) is None and options["attention_groups"] in (None, QUIRK)
        needed["attention_groups"] = options["attention_groups"] if same else QUIRK
    else:
        needed = DDPM | {"attend_each_block": any(attends) or options["attend_each_block"]}
    wrong = [f"{o} is {options[o]!r}, not {value!r}" for o, value in needed.items() if options[o] != value]
    if guided and not options["head_channels"] and {options["num_heads"], options["num_heads_up"] or 1} != {1}:
        wrong.append("head_channels is None, not a number")
    size = options["image_size"]
    if fourier and not isinstance(size, int):
        wrong.append(f"image_size is {size}, and diffusers' pipelines of skip blocks draw squares only")
    if channels[0] != options["nf"]:
        wrong.append(f"the first level has {channels[0]} channels, not nf, which is {options['nf']}")
    if wrong:
        raise ValueError(f"diffusers has no counterpart of this {network.name}: {'; '.join(wrong)}")
    kind = "Skip" if fourier else ""
    return {"_class_name": "UNet2DModel"} | {
        **DEFAULTS,
        "attention_head_dim": options["head_channels"] if guided else None,
        "block_out_channels": list(channels),
        "center_input_sample": not options["centered"],
        "down_block_types": [f"{'Attn' * a}{kind}DownBlock2D" for a in attends],
        "downsample_padding": 1 if fourier or guided else 0,
        "dropout": options["dropout"],
        "flip_sin_to_cos": fourier or guided,
        "freq_shift": 0 if fourier or guided else 1,
        "in_channels": options["num_channels"],
        "layers_per_block": options["num_res_blocks"],
        "mid_block_scale_factor": math.sqrt(2) if fourier else 1,
        "norm_eps": 1e-5 if guided else 1e-6,
        "norm_num_groups": None if fourier else options["num_groups"],
        "out_channels": options["num_channels"],
        "resnet_time_scale_shift": "scale_shift" if guided and options["scale_shift"] else "default",
        "sample_size": size if isinstance(size, int) else list(size),
        "time_embedding_type": "fourier" if fourier else "positional",
        "up_block_types": [f"{'Attn' * a}{kind}UpBlock2D" for a in reversed(attends)],
    }


BLOCK = {
    "norm0": "norm1",
    "conv0": "conv1",
    "time": "time_emb_proj",
    "norm1": "norm2",
    "conv1": "conv2",
    "shortcut": "conv_shortcut",
}
ATTENTION = {"norm": "group_norm", "query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"}
ATTENTION["qkv"] = FUSED = "to_qkv"
"""Attention's maps; the last one stands for three of theirs, `_fused`."""
MODULES = {
    r"(conv_in|conv_out)": r"\1",
    r"norm_out": "conv_norm_out",
    r"time0": "time_embedding.linear_1",
    r"time1": "time_embedding.linear_2",
    r"fourier": "time_proj",
    r"middle\.0\.(\w+)": r"mid_block.resnets.0.\1",
    r"middle\.1\.(\w+)": r"mid_block.attentions.0.\1",
    r"middle\.2\.(\w+)": r"mid_block.resnets.1.\1",
    r"(down|up)\.(\d+)\.blocks\.(\d+)\.(\w+)": r"\1_blocks.\2.resnets.\3.\4",
    r"(down|up)\.(\d+)\.attention\.(\d+)\.(\w+)": r"\1_blocks.\2.attentions.\3.\4",
    r"(down|up)\.(\d+)\.resize\.conv": r"\1_blocks.\2.\1samplers.0.conv",
    r"(down|up)\.(\d+)\.resize\.(norm\d|conv\d|time|shortcut)": r"\1_blocks.\2.resnet_\1.\3",
    r"down\.(\d+)\.combine": r"down_blocks.\1.skip_conv",
    r"up\.(\d+)\.(norm|conv)": r"up_blocks.\1.skip_\2",
}
"""Our modules and theirs, but for the parts of blocks and attention."""

OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def their_module(module: str) -> str:
    """What diffusers calls a module of our U-Nets."""
    (theirs,) = (re.sub(ours, other, module) for ours, other in MODULES.items() if re.fullmatch(ours, module))
    head, _, part = theirs.rpartition(".")
    if "resnet" in head:
        return f"{head}.{BLOCK[part]}"
    return f"{head}.{ATTENTION[part]}" if "attentions" in head else theirs


def places(network: Network) -> dict[str, Place]:
    """Where diffusers keeps each of the network's arrays."""

    def place(module: str, array: str) -> Place:
        if network.name == "ncsnpp":  # the sum of the images ends in what diffusers calls its output layers
            last = len(_widths(effective_options(network))) - 1
            module = re.sub(rf"up\.{last}\.(norm|conv)", r"\1_out", module)
        theirs = their_module(module)
        return Place(f"{theirs}.{array}", 2 if re.search(r"conv_shortcut|down_blocks.*skip_conv", theirs) else 0)

    return places_of(network, place)


def read(path: str | Path, network: Network) -> Weights:
    """The weights of a diffusers folder, for the network that the config names.

    Raises:
      ValueError: a folder without weights, another network than the config's, or weights that do not fit.
      OSError: no such folder.
    """
    folder = _folder(Path(path))
    config, name, options = _network(folder)
    check_network(str(folder), network, name, options)
    file, arrays = load_weights(folder)
    arrays = _new_names(str(file), arrays)
    arrays = _fused(arrays) if network.name == "guided_unet" else arrays
    variables = fill(str(file), network, places(network), arrays)
    return Weights(variables["params"], variables["params"], variables["fixed"], 0, {"config": config}, file)


def load_weights(
    folder: Path, *, safetensors: str = WEIGHTS, pickle: str = WEIGHTS
) -> tuple[Path, dict[str, np.ndarray]]:
    """The tensors of a folder by name, and the file that holds them or lists the files that do.

    Safetensors come before pickles, and whole precision, in one file or in several, before half. The files of the two
    kinds are called as `safetensors` and `pickle` say.

    Raises:
      ValueError: there is none of these files, or one that is damaged.
      OSError: a file of the list is not there.
    """
    file, load, shards = _weights(folder, safetensors, pickle)
    return file, {name: array for shard in shards for name, array in load(shard).items()}


def weight_files(folder: Path, *, safetensors: str = WEIGHTS, pickle: str = WEIGHTS) -> list[Path]:
    """The files that `load_weights` reads; it raises what that does of files that are not there."""
    file, _, shards = _weights(folder, safetensors, pickle)
    return list(dict.fromkeys((file, *shards)))


def _weights(folder: Path, safetensors: str, pickle: str) -> tuple[Path, Callable[[Path], dict], list[Path]]:
    """The file that holds a folder's weights or lists the files that do, what reads one of these, and they."""
    for variant in ("", ".fp16"):
        for called, kind, load in (
            (safetensors, "safetensors", safetensors_file.load),
            (pickle, "bin", torch_file.load),
        ):
            file = folder / f"{called}{variant}.{kind}"
            if file.exists():
                return file, load, [file]
            for name in dict.fromkeys((f"{kind}{variant}.index.json", f"{kind}.index{variant}.json")):
                if (index := folder / f"{called}.{name}").exists():
                    return index, load, _shards(index)
    raise ValueError(f"{folder} holds neither {safetensors}.safetensors nor {pickle}.bin")


def _shards(index: Path) -> list[Path]:
    """The files that an index lists, which lie beside it."""
    listed = load_json(index).get("weight_map")
    names = sorted(set(listed.values())) if isinstance(listed, dict) else []
    if not names or any(Path(name).name != name for name in names):
        raise ValueError(f"{index} has no weight_map from tensors to files beside it")
    return [index.parent / name for name in names]


def scheduler_of(path: str | Path) -> Scheduler | None:
    """The scheduler beside a folder's network; None where the folder has none.

    Raises:
      ValueError: a scheduler, or a pipeline, that has no counterpart here.
      OSError: no such folder.
    """
    folder = _folder(Path(path), told=True)
    file = diffusers_scheduler.find(folder)
    return diffusers_scheduler.read(file) if file else None


def describe(path: str | Path, *, latents: bool = False) -> tuple[str, dict[str, Any], Scheduler]:
    """(name, options) of our network for a folder, and its scheduler: all that a config says of a model.

    With `latents` it is the network of a pipeline that has an autoencoder beside it.

    Raises:
      ValueError: a network, a scheduler or a pipeline that has no counterpart here, two that do not fit each other, or
        a folder without a scheduler; the message names file and field.
      OSError: no such folder.
    """
    folder = _folder(Path(path), beside=AUTOENCODERS if latents else ())
    _, name, options = _network(folder)
    scheduler = scheduler_of(folder)
    if scheduler is None:
        raise ValueError(
            f"{folder} does not say what noise its network was trained on: there is no {diffusers_scheduler.FILE} in "
            'it or in scheduler/; write one, {"_class_name": "DDPMScheduler"} for the 1000 levels of Ho et al., or '
            "take a config that says it"
        )
    if scheduler.is_chain != (name in ("ddpm", "guided_unet")):
        kind = "fourier" if name == "ncsnpp" else "positional"
        told = "the index of a level" if scheduler.is_chain else "sigma"
        raise ValueError(
            f"{folder / 'config.json'} has time_embedding_type {kind!r}, and the {scheduler.name} of {scheduler.file} "
            f"tells the network {told}; the two do not belong together"
        )
    if scheduler.is_chain and not options["centered"]:
        raise ValueError(
            f"{folder / 'config.json'} has center_input_sample True, for data in [0, 1], and a {scheduler.name} goes "
            "with data in [-1, 1]"
        )
    return name, options, scheduler


def _network(folder: Path) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """config.json, and (name, options) of our network for it; the message of a ValueError names the file."""
    config = load_json(folder / "config.json")
    try:
        return config, *network_options(config)
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from None


def _folder(path: Path, *, beside: tuple[str, ...] = AUTOENCODERS, told: bool = False) -> Path:
    """The folder of the network; a pipeline is refused that has more than is taken `beside` it.

    With `told` a network that is told a text may have anything beside it.
    """
    path = path.parent if path.is_file() else path
    for folder in (path, path / "unet"):
        if (folder / "config.json").exists():
            if not (told and load_json(folder / "config.json").get("_class_name") == TOLD):
                _check_pipeline(root_of(folder) / PIPELINE, beside)
            return folder
    raise FileNotFoundError(f"{path} is no diffusers folder: there is no config.json in it")


def root_of(folder: str | Path) -> Path:
    """The folder of a pipeline, of itself or of its unet/."""
    folder = Path(folder)
    return folder.parent if folder.name == "unet" else folder


def _check_pipeline(file: Path, taken: tuple[str, ...]) -> None:
    """Refuse a pipeline that has more than a network, a scheduler and what is taken beside: it is told of others."""
    if not file.exists():
        return
    index = load_json(file)
    parts = sorted(name for name, part in index.items() if isinstance(part, list) and any(part))
    others = [name for name in parts if name not in ("unet", "scheduler", *taken)]
    if others:
        mend = "only pipelines whose network is told nothing can be imported"
        if set(others) <= set(AUTOENCODERS):
            mend = f"its network works on latents: write --config=configs/latent/folder.py:{file.parent}"
        elif any(name.startswith("text_encoder") for name in others):
            mend = f"its network is told a text: write --config=configs/stable_diffusion/folder.py:{file.parent}"
        raise ValueError(
            f"{file}: _class_name is {index.get('_class_name')!r}, with {', '.join(others)} beside unet and scheduler; "
            f"{mend}"
        )


def autoencoder_of(path: str | Path) -> Path | None:
    """The folder of the autoencoder on whose latents a folder's network works; None where it works on pictures.

    Raises:
      ValueError: a pipeline that has no counterpart here.
      OSError: no such folder.
    """
    root = root_of(_folder(Path(path), told=True))
    return next((root / name for name in AUTOENCODERS if (root / name / "config.json").exists()), None)


def _new_names(file: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays by today's names; old files have others for attention, and the Fourier frequencies twice."""
    found = {}
    for name, array in arrays.items():
        if name == "time_proj.W":
            if not np.array_equal(array, arrays.get("time_proj.weight", array)):
                raise ValueError(f"{file} holds two different time_proj.W and time_proj.weight")
            name = "time_proj.weight"
        found[name] = array
    return renamed(found)


def renamed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with today's names of the attention's maps."""
    old = r"(.*attentions\.\d+)\.(query|key|value|proj_attn)\.(\w+)"
    return {re.sub(old, lambda m: f"{m[1]}.{OLD_NAMES[m[2]]}.{m[3]}", name): array for name, array in arrays.items()}


PARTS = tuple(ATTENTION[part] for part in ("query", "key", "value"))


def _fused(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with the three maps of each attention in one, the queries of all heads first."""
    found = dict(arrays)
    for name in arrays:
        parts = [name.replace(f".{PARTS[0]}.", f".{part}.") for part in PARTS]
        if parts[0] != parts[1] and all(part in arrays for part in parts):
            found[name.replace(f".{PARTS[0]}.", f".{FUSED}.")] = np.concatenate([found.pop(part) for part in parts])
    return found


def _apart(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of `_fused`."""
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        split = np.split(array, 3) if f".{FUSED}." in name else [array]
        found |= {name.replace(f".{FUSED}.", f".{part}."): a for part, a in zip(PARTS, split, strict=False)}
    return found


def write(
    path: str | Path,
    network: Network,
    variables: Mapping[str, Mapping[str, Any]],
    scheduler: Mapping[str, Any] | None = None,
) -> None:
    """Write a network and its variables {"params", "fixed"} as a folder for UNet2DModel.from_pretrained.

    `scheduler`: the fields of the scheduler_config.json beside it, for SCHEDULER.from_pretrained of the same folder.

    Raises:
      ValueError: a network that diffusers does not have, or variables that are not the network's.
    """
    config = config_of(network)
    arrays = _apart(spill(network, places(network), variables))
    save_folder(
        path, arrays, {"config.json": config} | ({} if scheduler is None else {diffusers_scheduler.FILE: scheduler})
    )


def save_folder(path: str | Path, arrays: Mapping[str, np.ndarray], files: Mapping[str, Mapping[str, Any]]) -> None:
    """Write weights as diffusers names their file, and beside them the fields of json files by their names."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    safetensors_file.save(folder / f"{WEIGHTS}.safetensors", arrays)
    for name, fields in files.items():
        (folder / name).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
