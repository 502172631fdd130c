"""Text-conditional U-Nets of diffusers (UNet2DConditionModel), Stable Diffusion's; and ours as such folders.

A folder holds config.json beside the weights, or is that of a pipeline whose `unet/` does. What config.json leaves out
has diffusers' defaults. Its `attention_head_dim` is, against its name, the number of heads, one for all levels or one a
level. Whether the maps at the ends of a transformer are matrices or 1x1 convolutions is told by
`use_linear_projection`; files of either kind are read for networks of either kind. Networks that differ in a field that
says how half precision is computed (`upcast_attention`) are the same network.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from checkpoints.diffusers_folder import TOLD, load_weights, save_folder
from checkpoints.diffusers_names import their_module
from checkpoints.diffusers_scheduler import load_json
from checkpoints.layout import Place, check_network, effective_options, fill, places_of, spill
from checkpoints.published import Weights
from limits import Sides
from models.cross_attention_unet import SIZE_NUMBERS
from models.functional import Network

CLASS = TOLD
NETWORK = "cross_attention_unet"
DEFAULTS: dict[str, Any] = {
    "act_fn": "silu",
    "addition_embed_type": None,
    "addition_embed_type_num_heads": 64,
    "addition_time_embed_dim": None,
    "attention_head_dim": 8,
    "attention_type": "default",
    "block_out_channels": (320, 640, 1280, 1280),
    "center_input_sample": False,
    "class_embed_type": None,
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_dim": 1280,
    "cross_attention_norm": None,
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "downsample_padding": 1,
    "dropout": 0.0,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_only_cross_attention": None,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "norm_eps": 1e-5,
    "norm_num_groups": 32,
    "num_attention_heads": None,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "out_channels": 4,
    "projection_class_embeddings_input_dim": None,
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default",
    "reverse_transformer_layers_per_block": None,
    "sample_size": None,
    "time_cond_proj_dim": None,
    "time_embedding_act_fn": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "transformer_layers_per_block": 1,
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "upcast_attention": False,
    "use_linear_projection": False,
}
"""What diffusers takes where config.json does not say."""

OURS = (
    "addition_embed_type",
    "addition_embed_type_num_heads",
    "addition_time_embed_dim",
    "attention_head_dim",
    "block_out_channels",
    "cross_attention_dim",
    "down_block_types",
    "dropout",
    "in_channels",
    "layers_per_block",
    "norm_num_groups",
    "out_channels",
    "projection_class_embeddings_input_dim",
    "sample_size",
    "time_embedding_dim",
    "transformer_layers_per_block",
    "up_block_types",
    "upcast_attention",
    "use_linear_projection",
)
"""The fields in which the networks that are known here differ; every other must have diffusers' default."""

SAME: dict[str, tuple[Any, ...]] = {"act_fn": ("swish",), "mid_block_only_cross_attention": (False,)}
"""Further values that mean the same as the default."""


def options_of(config: Mapping[str, Any], image_size: Sides | None = None) -> dict[str, Any]:
    """The options of our `cross_attention_unet` for a config.json.

    Args:
      config: the fields of the file.
      image_size: of the latents; None for those that the file names, which it was trained on last.

    Raises:
      ValueError: a network that has no counterpart here; the message lists every field that is in the way.
    """
    given = {**DEFAULTS, **config}
    if damaged := _damaged(given, image_size):
        raise ValueError(f"this {CLASS} of diffusers cannot be read: {'; '.join(damaged)}")
    channels = tuple(given["block_out_channels"])
    down, up = list(given["down_block_types"]), list(given["up_block_types"])
    attends = [block == "CrossAttnDownBlock2D" for block in down]
    extra = given["in_channels"] - given["out_channels"]
    wrong = [
        f"{field} is {given[field]!r}, not {default!r}"
        for field, default in DEFAULTS.items()
        if field not in OURS and given[field] not in (default, *SAME.get(field, ()))
    ]
    if config.get("_class_name", CLASS) != CLASS:
        wrong.append(f"_class_name is {config['_class_name']!r}, not {CLASS!r}")
    if down != [f"{'CrossAttn' * a}DownBlock2D" for a in attends] or len(down) != len(channels):
        wrong.append(f"down_block_types are {down}, not one CrossAttnDownBlock2D or DownBlock2D a level")
    elif up != [f"{'CrossAttn' * a}UpBlock2D" for a in reversed(attends)]:
        wrong.append(f"up_block_types {up} do not mirror down_block_types")
    if any(c % channels[0] for c in channels):
        wrong.append(f"block_out_channels are {list(channels)}, not each a multiple of the first")
    if given["time_embedding_dim"] not in (None, 4 * channels[0]):
        wrong.append(f"time_embedding_dim is {given['time_embedding_dim']}, not {4 * channels[0]}")
    if extra < 0:
        wrong.append(f"in_channels is {given['in_channels']}, less than out_channels, {given['out_channels']}")
    each = {}
    for field in ("attention_head_dim", "transformer_layers_per_block", "layers_per_block", "cross_attention_dim"):
        values = given[field] if isinstance(given[field], list | tuple) else [given[field]] * len(channels)
        each[field] = tuple(values)
        if len(values) != len(channels):
            wrong.append(f"{field} is {given[field]!r}, not one number or one for each of {len(channels)} levels")
    for field in ("layers_per_block", "cross_attention_dim"):
        if len(set(each[field])) > 1:
            wrong.append(f"{field} is {given[field]!r}, not the same number at each level")
    told, pooled = given["addition_embed_type"], 0
    if told == "text_time":
        features, width = given["addition_time_embed_dim"], given["projection_class_embeddings_input_dim"]
        if type(features) is int and type(width) is int and width > SIZE_NUMBERS * features > 0:
            pooled = width - SIZE_NUMBERS * features
        else:
            wrong.append(
                f"projection_class_embeddings_input_dim is {width!r}, not more than {SIZE_NUMBERS} times "
                f"addition_time_embed_dim, {features!r}, with which the pooled text stands in it"
            )
    elif told is not None:
        wrong.append(f"addition_embed_type is {told!r}, not None or 'text_time'")
    if wrong:
        raise ValueError(f"this {CLASS} of diffusers has no counterpart here: {'; '.join(wrong)}")
    size = image_size or given["sample_size"]
    layers = each["transformer_layers_per_block"]
    heads = each["attention_head_dim"]
    return {
        "image_size": tuple(size) if isinstance(size, list | tuple) else size,
        "num_channels": given["out_channels"],
        "image_channels": extra,
        "nf": channels[0],
        "ch_mult": tuple(c // channels[0] for c in channels),
        "num_res_blocks": each["layers_per_block"][0],
        "depths": tuple(depth if attend else 0 for depth, attend in zip(layers, attends, strict=True)),
        "middle_depth": layers[-1],
        "num_heads": heads if len(set(heads)) > 1 else heads[:1],
        "text_dim": each["cross_attention_dim"][0],
        "pooled_dim": pooled,
        "linear_projections": given["use_linear_projection"],
        "num_groups": given["norm_num_groups"],
        "dropout": given["dropout"],
    } | ({"size_features": given["addition_time_embed_dim"]} if pooled else {})


def _damaged(given: Mapping[str, Any], image_size: Sides | None) -> list[str]:
    """Every field that is of another type than the network needs."""

    def counts(field: str) -> bool:
        values = given[field] if isinstance(given[field], list | tuple) else [given[field]]
        return bool(values) and all(type(value) is int and value > 0 for value in values)

    numbers = ("in_channels", "out_channels", "norm_num_groups")
    each = ("attention_head_dim", "transformer_layers_per_block", "layers_per_block", "cross_attention_dim")
    wrong = [field for field in numbers if type(given[field]) is not int or given[field] < 1]
    wrong += [field for field in (*each, "block_out_channels") if not counts(field)]
    wrong += [field for field in ("block_out_channels",) if not isinstance(given[field], list | tuple)]
    wrong += [f for f in ("down_block_types", "up_block_types") if not isinstance(given[f], list | tuple)]
    wrong += [field for field in ("use_linear_projection",) if type(given[field]) is not bool]
    wrong += [field for field in ("dropout",) if not isinstance(given[field], int | float)]
    if image_size is None:
        wrong += [field for field in ("sample_size",) if not counts(field) or np.size(given[field]) > 2]
    return [f"{field} is {given[field]!r}" for field in wrong]


def config_of(network: Network) -> dict[str, Any]:
    """The config.json of one of our networks.

    Raises:
      ValueError: a network that diffusers does not have.
    """
    options = effective_options(network) if network.name == NETWORK else {}
    if not options.get("text_dim"):
        raise ValueError(f"diffusers' {CLASS} is a {NETWORK} that is told a text; this is a {network.name} without")
    channels = [options["nf"] * multiple for multiple in options["ch_mult"]]
    depths, heads, size = list(options["depths"]), list(options["num_heads"]), options["image_size"]
    attends, pooled = [depth > 0 for depth in depths], options["pooled_dim"]
    layers = [*(depth or 1 for depth in depths[:-1]), depths[-1] or options["middle_depth"]]
    if layers[-1] != options["middle_depth"]:
        raise ValueError(
            f"diffusers has no counterpart of this {NETWORK}: middle_depth is {options['middle_depth']}, not "
            f"{layers[-1]}, that of the last level"
        )
    return {"_class_name": CLASS} | {
        **DEFAULTS,
        "addition_embed_type": "text_time" if pooled else None,
        "addition_time_embed_dim": options["size_features"] if pooled else None,
        "attention_head_dim": heads if len(heads) > 1 else heads[0],
        "block_out_channels": channels,
        "cross_attention_dim": options["text_dim"],
        "down_block_types": [f"{'CrossAttn' * a}DownBlock2D" for a in attends],
        "dropout": options["dropout"],
        "in_channels": options["num_channels"] + options["image_channels"],
        "layers_per_block": options["num_res_blocks"],
        "norm_num_groups": options["num_groups"],
        "out_channels": options["num_channels"],
        "projection_class_embeddings_input_dim": pooled + SIZE_NUMBERS * options["size_features"] if pooled else None,
        "sample_size": size if isinstance(size, int) else list(size),
        "transformer_layers_per_block": layers if len(set(layers)) > 1 else layers[0],
        "up_block_types": [f"{'CrossAttn' * a}UpBlock2D" for a in reversed(attends)],
        "use_linear_projection": options["linear_projections"],
    }


PARTS = {
    "among": "attn1",
    "to_text": "attn2",
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "out": "to_out.0",
    "norm0": "norm1",
    "norm1": "norm2",
    "norm2": "norm3",
    "widen": "ff.net.0.proj",
    "narrow": "ff.net.2",
}
ADDED = {"added0": "add_embedding.linear_1", "added1": "add_embedding.linear_2"}
TRANSFORMER = re.compile(r"((?:down|up)\.\d+\.attention\.\d+|middle\.1)\.(.+)")


def of_transformer(inside: str) -> str:
    """What diffusers, and CompVis, call a part of our SpatialTransformer."""
    if not inside.startswith("blocks."):
        return inside
    _, number, *parts = inside.split(".")
    return ".".join(["transformer_blocks", number, *(PARTS[part] for part in parts)])


def as_projection(name: str, network: Network) -> Place:
    """The place of that name; the maps at the ends of transformers are convolutions where the network's option says so.

    So are the shortcuts of residual blocks.
    """
    projection = re.search(r"\.proj_(in|out)\.weight$", name)
    if projection:
        return Place(name, 0 if effective_options(network)["linear_projections"] else 2)
    return Place(name, 2 if re.search(r"(conv_shortcut|skip_connection)\.weight$", name) else 0)


def with_projections(arrays: Mapping[str, np.ndarray], network: Network) -> dict[str, np.ndarray]:
    """The arrays, in which the maps at the ends of transformers are as the network's option says, however they came."""
    linear = effective_options(network)["linear_projections"]

    def laid_out(name: str, array: np.ndarray) -> np.ndarray:
        if not re.search(r"\.proj_(in|out)\.weight$", name):
            return array
        if linear:
            return array[..., 0, 0] if array.shape[2:] == (1, 1) else array
        return array[..., None, None] if array.ndim == 2 else array

    return {name: laid_out(name, array) for name, array in arrays.items()}


def places(network: Network) -> dict[str, Place]:
    """Return where diffusers keeps each of the network's arrays."""

    def place(module: str, array: str) -> Place:
        if inside := TRANSFORMER.fullmatch(module):
            transformer = inside[1].replace("middle.1", "mid_block.attentions.0")
            transformer = re.sub(r"(down|up)\.(\d+)\.attention", r"\1_blocks.\2.attentions", transformer)
            theirs = f"{transformer}.{of_transformer(inside[2])}"
        else:
            theirs = ADDED.get(module) or their_module(module)
        return as_projection(f"{theirs}.{array}", network)

    return places_of(network, place)


def find(path: str | Path) -> Path | None:
    """The folder in which the network's config.json lies: `path` or its unet/; None where there is none."""
    for folder in (Path(path), Path(path) / "unet"):
        if (folder / "config.json").exists() and load_json(folder / "config.json").get("_class_name") == CLASS:
            return folder
    return None


def describe(path: str | Path, image_size: Sides | None = None) -> tuple[str, dict[str, Any]]:
    """(name, options) of our network for a folder, of latents of `image_size`: all that a config says of it.

    Raises:
      ValueError: a network that has no counterpart here; the message names file and field.
      OSError: no such folder.
    """
    file = _folder(path) / "config.json"
    try:
        return NETWORK, options_of(load_json(file), image_size)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def read(path: str | Path, network: Network) -> Weights:
    """The weights of a folder, for the network that the config names; its latents may be of another size.

    Raises:
      ValueError: a folder without weights, another network than the config's, or weights that do not fit.
      OSError: no such folder.
    """
    folder, given = _folder(path), effective_options(network)
    name, options = describe(folder, given.get("image_size"))
    check_network(str(folder), network, name, {o: v for o, v in options.items() if o != "linear_projections"})
    file, arrays = load_weights(folder)
    variables = fill(str(file), network, places(network), with_projections(arrays, network))
    config = load_json(folder / "config.json")
    return Weights(variables["params"], variables["params"], variables["fixed"], 0, {"config": config}, file)


def write(path: str | Path, network: Network, variables: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a network and its variables {"params", "fixed"} as a folder for UNet2DConditionModel.from_pretrained.

    Raises:
      ValueError: a network that diffusers does not have, or variables that are not the network's.
    """
    files = {"config.json": config_of(network)}  # which refuses what diffusers does not have, in words of its own
    save_folder(path, spill(network, places(network), variables), files)


def _folder(path: str | Path) -> Path:
    if folder := find(path):
        return folder
    if Path(path).is_file():
        raise ValueError(
            f"{path} is a file, and no folder of diffusers; configs/stable_diffusion/file.py:FILE reads it"
        )
    raise FileNotFoundError(f"{path} holds no {CLASS}: there is no config.json of one in it, or in unet/")
