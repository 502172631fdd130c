"""The config.json of diffusers' unconditional U-Nets (UNet2DModel), and the options of our networks."""

import math
from collections.abc import Mapping
from typing import Any

from checkpoints.layout import effective_options
from models.functional import Network
from models.resolutions import level_widths, shorter_sides

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
    widths = level_channels(options)
    levels = zip(widths, shorter_sides(options["image_size"], len(widths)), strict=True)
    attending = [width for width, size in levels if size in options["attn_resolutions"]]
    return QUIRK if min(attending, default=128) < 128 else None


def level_channels(options: Mapping[str, Any]) -> tuple[int, ...]:
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
    channels = tuple(int(options["nf"] * m) for m in options["ch_mult"]) if guided else level_channels(options)
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
