"""Snapshots of EDM (Karras et al. 2022, NVlabs/edm): .pkl files {ema, ...} of SongUNet and DhariwalUNet.

A snapshot carries the source of its classes, to be run on load; here it is read as data (`checkpoints.torch_file`), and
the mapping below stands for that source. The weights are the averaged ones; a snapshot holds no others.

Other papers save their networks with EDM's code: easy consistency tuning (locuslab/ect), direct discriminative
optimisation (NVlabs/DDO). Beside `ema` their files hold losses and whatever these refer to, so every name of theirs
stands for inert data.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from checkpoints import torch_file
from checkpoints.layout import Place, check_network, effective_options, fill, places_of
from checkpoints.published import Weights
from models.functional import Network
from models.resolutions import shorter_sides

COMMON = {"label_dim": 0, "augment_dim": 0, "channel_mult_emb": 4, "dropout": 0.1, "label_dropout": 0}
"""What both networks take where a snapshot does not say."""

SONG = COMMON | {
    "model_channels": 128,
    "channel_mult": (1, 2, 2, 2),
    "num_blocks": 4,
    "attn_resolutions": (16,),
    "embedding_type": "positional",
    "channel_mult_noise": 1,
    "encoder_type": "standard",
    "decoder_type": "standard",
    "resample_filter": (1, 1),
}
DHARIWAL = COMMON | {
    "model_channels": 192,
    "channel_mult": (1, 2, 3, 4),
    "num_blocks": 3,
    "attn_resolutions": (32, 16, 8),
}
NETWORKS = {"SongUNet": SONG, "DhariwalUNet": DHARIWAL}

PRECONDITIONINGS = {
    "EDMPrecond": ("edm", "DhariwalUNet", {"sigma_data": 0.5}),
    "VPPrecond": ("vp", "SongUNet", {"beta_d": 19.9, "beta_min": 0.1, "M": 1000}),
    "VEPrecond": ("ve", "SongUNet", {}),
    "iDDPMPrecond": ("iddpm", "DhariwalUNet", {"C_1": 0.001, "C_2": 0.008, "M": 1000}),
    "ECMPrecond": ("ect", "DhariwalUNet", {"sigma_data": 0.5, "sigma_min": 0.003}),
}
"""Class: (our name, its network where it does not say, the numbers of its formulas)."""

IGNORED = ("label_dropout", "sigma_min", "sigma_max", "epsilon_t", "use_fp16")  # of training, sampling and speed
ENCODERS = {"standard": "none", "skip": "input_skip", "residual": "residual"}
DECODERS = {"standard": "none", "skip": "output_skip"}


def state_dict(module: torch_file.Persistent) -> dict[str, np.ndarray]:
    """The arrays of a module by their dotted names, as PyTorch's own state_dict has them."""
    arrays: dict[str, np.ndarray] = {}

    def walk(module: Any, prefix: str) -> None:
        if not isinstance(module, torch_file.Persistent) or "_modules" not in module.state:
            raise ValueError(f"{prefix.rstrip('.') or 'ema'} is no module but {type(module).__name__}")
        for kind in ("_parameters", "_buffers"):
            for name, array in module.state.get(kind, {}).items():
                if array is not None:
                    arrays[prefix + name] = array
        for name, inner in module.state["_modules"].items():
            if inner is not None:
                walk(inner, f"{prefix}{name}.")

    walk(module, "")
    return arrays


def preconditioning(class_name: str, arguments: Mapping[str, Any]) -> str:
    """Our name of a wrapper's preconditioning; ValueError for another class, or other numbers than the published."""
    if class_name not in PRECONDITIONINGS:
        raise ValueError(f"{class_name} is no preconditioning of EDM's; known are {', '.join(PRECONDITIONINGS)}")
    name, _, numbers = PRECONDITIONINGS[class_name]
    wrong = [f"{n} {arguments[n]!r}, not {value!r}" for n, value in numbers.items() if arguments.get(n, value) != value]
    if wrong:
        raise ValueError(f"{class_name} has {', '.join(wrong)}: the preconditioning {name!r} here has the latter")
    return name


def network_options(class_name: str, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """(name, options) of our network for a snapshot's wrapper class and what it was constructed with.

    Raises:
      ValueError: a network that has no counterpart here; the message lists every argument that is in the way.
    """
    wrapper = preconditioning(class_name, arguments)
    _, model_type, numbers = PRECONDITIONINGS[class_name]
    model_type = arguments.get("model_type", model_type)
    if model_type not in NETWORKS:
        raise ValueError(f"model_type is {model_type!r}; known are {', '.join(NETWORKS)}")
    given = {**NETWORKS[model_type], **arguments}
    known = {*NETWORKS[model_type], *numbers, *IGNORED, "img_resolution", "img_channels", "model_type"}
    wrong = [f"{name} is not known" for name in given if name not in known]
    wrong += [f"{name} is missing" for name in ("img_resolution", "img_channels") if name not in given]
    fourier = given.get("embedding_type") == "fourier"
    for name, allowed in (
        ("channel_mult_emb", (4,)),
        ("channel_mult_noise", (2 if fourier else 1,)),
        ("embedding_type", ("positional", "fourier")),
        ("encoder_type", tuple(ENCODERS)),
        ("decoder_type", tuple(DECODERS)),
    ):
        if name in given and given[name] not in allowed:
            wrong.append(f"{name} is {given[name]!r}, not {' or '.join(map(repr, allowed))}")
    if wrapper == "iddpm" and model_type == "SongUNet":
        wrong.append("SongUNet with a learned variance")
    if wrong:
        raise ValueError(f"this network of EDM's has no counterpart here: {'; '.join(wrong)}")
    sizes = [given["img_resolution"] >> i for i in range(len(given["channel_mult"]))]
    options = {
        "image_size": given["img_resolution"],
        "num_channels": given["img_channels"],
        "nf": given["model_channels"],
        "ch_mult": tuple(given["channel_mult"]),
        "num_res_blocks": given["num_blocks"],
        "attn_resolutions": tuple(size for size in sizes if size in given["attn_resolutions"]),
        "dropout": given["dropout"],
        "label_dim": given["label_dim"],
        "augment_dim": given["augment_dim"] or 0,
        "centered": True,
    }
    if model_type == "DhariwalUNet":
        out_channels = 2 * given["img_channels"] if wrapper == "iddpm" else None
        return "adm", options | {"out_channels": out_channels, "head_channels": 64}
    taps = tuple(given["resample_filter"])
    fir = {} if taps == (1, 1) else {"fir_kernel": taps}
    return "edm_unet", options | fir | {
        "fir": taps != (1, 1),
        "embedding_type": given["embedding_type"],
        "progressive": DECODERS[given["decoder_type"]],
        "progressive_input": ENCODERS[given["encoder_type"]],
    }


PARTS = {
    "norm0": "norm0",
    "conv0": "conv0",
    "time": "affine",
    "norm1": "norm1",
    "conv1": "conv1",
    "shortcut": "skip",
    "norm": "norm2",
    "out": "proj",
}
QKV = ("query", "key", "value")
CONVOLUTIONS = re.compile(r".*(\.skip|\.proj|\.qkv|_aux_skip)\.(weight|bias)(:\w+)?")


def places(network: Network) -> dict[str, Place]:
    """Where EDM keeps each of the network's arrays; one of query, key and value is "...qkv.weight:query"."""
    options = effective_options(network)
    count = len(options["ch_mult"])
    if not isinstance(options["image_size"], int):
        raise ValueError(f"EDM's files are of square images, and data.image_size is {options['image_size']}")
    sizes = shorter_sides(options["image_size"], count)
    song = network.name == "edm_unet"
    fixed = {"conv_in": f"enc.{sizes[0]}x{sizes[0]}_conv", "time0": "map_layer0", "time1": "map_layer1"}
    fixed |= {"label": "map_label", "augment": "map_augment", "fourier": "map_noise"}
    last = f"dec.{sizes[0]}x{sizes[0]}_aux_" if song else "out_"
    fixed |= {"norm_out": f"{last}norm", "conv_out": f"{last}conv"}

    def block(module: str) -> tuple[str, str]:
        """(their block, our part of it) of a module inside a level or the middle."""
        way, number, *rest = module.split(".")
        if way == "middle":
            return f"dec.{sizes[-1]}x{sizes[-1]}_in{number == '2':d}", rest[0]
        level = int(number) if way == "down" else count - 1 - int(number)
        here, code = f"{sizes[level]}x{sizes[level]}", {"down": "enc", "up": "dec"}[way]
        beyond = level + (1 if way == "down" else -1)
        if rest[0] in ("resize", "pyramid", "combine"):
            there = f"{code}.{sizes[beyond]}x{sizes[beyond]}"
            if rest[0] == "resize":
                return f"{there}_{way}", rest[1]
            return f"{there}_aux_{'residual' if rest[0] == 'pyramid' else 'skip'}", ""
        if rest[0] in ("norm", "conv"):
            return f"{code}.{here}_aux_{rest[0]}", ""
        index = int(rest[1])
        if song and way == "up" and rest[0] == "attention":  # one a level, behind its last block
            index = options["num_res_blocks"]
        return f"{code}.{here}_block{index}", rest[2]

    def place(module: str, array: str) -> Place:
        if module in fixed:
            theirs = f"{fixed[module]}.{'freqs' if module == 'fourier' else array}"
        else:
            prefix, part = block(module)
            if part in QKV:
                theirs = f"{prefix}.qkv.{array}:{part}"
            else:
                theirs = ".".join(p for p in (prefix, PARTS[part] if part else "", array) if p)
        return Place(f"model.{theirs}", 2 if CONVOLUTIONS.fullmatch(theirs) else 0)

    return places_of(network, place)


def split_qkv(array: np.ndarray) -> list[np.ndarray]:
    """Query, key and value from what holds one of each in turn, channel by channel, whatever the heads."""
    return [array[i::3] for i in range(3)]


def variables(file: str, network: Network, arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The network's variables from the arrays of a snapshot by name; `file` is for the messages.

    Raises:
      ValueError: arrays without a place, places without an array, other shapes, each listed; or another filter.
    """
    options = effective_options(network)
    taps = np.asarray(options["fir_kernel"] if options.get("fir") else (1, 1), np.float32)
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    split: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if name.endswith(".resample_filter"):
            if array.shape != (1, 1, *kernel.shape) or not np.allclose(array[0, 0], kernel, atol=1e-4):
                raise ValueError(f"{name} in {file} is not the network's filter, {taps.astype(int).tolist()}")
        elif name == "u":  # iDDPM's noise levels, which follow from its numbers
            continue
        elif ".qkv." in name and array.shape[0] % 3 == 0:
            split |= {f"{name}:{part}": one for part, one in zip(QKV, split_qkv(array), strict=True)}
        else:
            split[name] = array
    return fill(file, network, places(network), split)


def read(path: str | Path, network: Network) -> Weights:
    """The weights of a snapshot, for the network that the config names; metadata["preconditioning"] is its wrapper.

    Raises:
      ValueError: no snapshot of EDM's, another network than the config's, or weights that do not fit.
      OSError: no such file.
    """
    saved = torch_file.load(path, inert=True)
    module = saved.get("ema") if isinstance(saved, dict) else None
    if not isinstance(module, torch_file.Persistent):
        raise ValueError(f"{path} is no snapshot of EDM's: it holds no module called 'ema'")
    arguments = _arguments(module)
    name, options = network_options(module.class_name, arguments)
    check_network(str(path), network, name, options)
    found = variables(str(path), network, state_dict(module))
    metadata = {"preconditioning": preconditioning(module.class_name, arguments)}
    return Weights(found["params"], found["params"], found["fixed"], 0, metadata, Path(path))


def _arguments(module: torch_file.Persistent) -> dict[str, Any]:
    """What the module was constructed with, by name."""
    order = ("img_resolution", "img_channels", "label_dim", "use_fp16")
    positional = tuple(module.state.get("_init_args", ()))
    if len(positional) > len(order):
        raise ValueError(f"{module.class_name} was constructed with {len(positional)} arguments without a name")
    return dict(zip(order, positional, strict=False)) | dict(module.state.get("_init_kwargs", {}))
