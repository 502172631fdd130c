"""Autoencoders of diffusers, AutoencoderKL and VQModel; and ours as such folders.

A folder holds config.json beside the weights, or is that of a pipeline whose `vae/` or `vqvae/` does. Old files name
the attention's maps query, key, value and proj_attn; all are read.

What config.json leaves out has diffusers' defaults but for the scaling factor of a VQModel: diffusers' own, 0.18215, is
that of Stable Diffusion, and latent diffusion trained on the latents of its VQ models as they are.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from checkpoints.diffusers_folder import AUTOENCODERS, load_weights, save_folder
from checkpoints.diffusers_names import renamed, their_module
from checkpoints.diffusers_scheduler import load_json
from checkpoints.layout import Place, check_network, effective_options, fill, places_of, spill
from checkpoints.published import Weights
from limits import Sides
from models.functional import Network
from models.resolutions import level_widths, shorter_sides

FOLDERS = ("", *AUTOENCODERS)
DEFAULTS: dict[str, Any] = {
    "act_fn": "silu",
    "block_out_channels": (64,),
    "down_block_types": ("DownEncoderBlock2D",),
    "in_channels": 3,
    "layers_per_block": 1,
    "mid_block_add_attention": True,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 32,
    "shift_factor": None,
    "up_block_types": ("UpDecoderBlock2D",),
}
OF_KL: dict[str, Any] = {
    "latent_channels": 4,
    "latents_mean": None,
    "latents_std": None,
    "scaling_factor": 0.18215,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
}
OF_VQ: dict[str, Any] = {
    "latent_channels": 3,
    "lookup_from_codebook": False,
    "norm_type": "group",
    "num_vq_embeddings": 256,
    "scaling_factor": 1.0,
    "vq_embed_dim": None,
}
CLASSES = {"AutoencoderKL": ("autoencoder_kl", OF_KL), "VQModel": ("autoencoder_vq", OF_VQ)}
"""Our name, and what is taken where config.json does not say, of each class of diffusers."""

ALWAYS = {
    "act_fn": ("silu", "swish"),
    "latents_mean": (None,),
    "latents_std": (None,),
    "lookup_from_codebook": (False,),
    "norm_type": ("group",),
}


def find(path: str | Path) -> Path | None:
    """The folder in which the autoencoder's config.json lies: `path`, its vae/ or vqvae/; None where there is none."""
    for folder in (Path(path) / name for name in FOLDERS):
        if (folder / "config.json").exists() and load_json(folder / "config.json").get("_class_name") in CLASSES:
            return folder
    return None


def network_options(config: Mapping[str, Any], image_size: Sides | None = None) -> tuple[str, dict[str, Any]]:
    """(name, options) of our network for a config.json, of images of `image_size`, None for those it was trained on.

    Raises:
      ValueError: a network that has no counterpart here; the message lists every field that is in the way.
    """
    name, own = CLASSES[config["_class_name"]]
    given = {**DEFAULTS, **own, **config}
    if damaged := _damaged(given):
        raise ValueError(f"this autoencoder of diffusers cannot be read: {'; '.join(damaged)}")
    channels, size = tuple(given["block_out_channels"]), given["sample_size"]
    down, up = list(given["down_block_types"]), list(given["up_block_types"])
    attends = [block == "AttnDownEncoderBlock2D" for block in down]
    wrong = [
        f"{field} is {given[field]!r}, not {' or '.join(map(repr, values))}"
        for field, values in ALWAYS.items()
        if field in given and given[field] not in values
    ]
    if given["in_channels"] != given["out_channels"]:
        wrong.append("in_channels and out_channels differ")
    if down != [f"{'Attn' * a}DownEncoderBlock2D" for a in attends] or len(down) != len(channels):
        wrong.append(f"down_block_types are {down}, not one DownEncoderBlock2D or AttnDownEncoderBlock2D a level")
    if up != [f"{'Attn' * a}UpDecoderBlock2D" for a in reversed(attends)]:
        wrong.append(f"up_block_types {up} do not mirror down_block_types")
    if wrong:
        raise ValueError(f"this autoencoder of diffusers has no counterpart here: {'; '.join(wrong)}")
    size = tuple(size) if isinstance(size, list | tuple) else size
    multiples, image_size = not any(c % channels[0] for c in channels), image_size or size
    levels = shorter_sides(image_size, len(channels))
    options = {
        "image_size": image_size,
        "num_channels": given["in_channels"],
        "nf": channels[0],
        "ch_mult": tuple(c // channels[0] for c in channels) if multiples else (),
        "channels": () if multiples else channels,
        "num_res_blocks": given["layers_per_block"],
        "attn_resolutions": tuple(side for side, attend in zip(levels, attends, strict=True) if attend),
        "mid_attention": given["mid_block_add_attention"],
        "z_channels": given["latent_channels"],
        "embed_dim": given["latent_channels"],
        "num_groups": given["norm_num_groups"],
        "tanh_out": False,
        "scaling_factor": float(given["scaling_factor"]),
        "shift_factor": float(given["shift_factor"] or 0.0),
    }
    if own is OF_KL:
        options |= {"quant_conv": given["use_quant_conv"], "post_quant_conv": given["use_post_quant_conv"]}
    else:
        options |= {"quant_conv": True, "post_quant_conv": True, "num_codes": given["num_vq_embeddings"]}
        options["embed_dim"] = given["vq_embed_dim"] or given["latent_channels"]
    return name, options


def _damaged(given: Mapping[str, Any]) -> list[str]:
    """Every field that is of another type than the network needs."""
    counts = ("in_channels", "out_channels", "layers_per_block", "latent_channels", "norm_num_groups")
    optional = ("num_vq_embeddings",) if "num_vq_embeddings" in given else ()
    wrong = [field for field in (*counts, *optional) if type(given[field]) is not int or given[field] < 1]
    wrong += [f for f in ("scaling_factor", "shift_factor") if not isinstance(given[f] or 0.0, int | float)]
    flags = ("mid_block_add_attention", "use_quant_conv", "use_post_quant_conv")
    wrong += [field for field in flags if field in given and type(given[field]) is not bool]
    channels, size = given["block_out_channels"], given["sample_size"]
    if not isinstance(channels, list | tuple) or not channels or any(type(c) is not int or c < 1 for c in channels):
        wrong.append("block_out_channels")
    if any(type(side) is not int for side in (size if isinstance(size, list | tuple) and len(size) == 2 else [size])):
        wrong.append("sample_size")
    wrong += [f for f in ("down_block_types", "up_block_types") if not isinstance(given[f], list | tuple)]
    return [f"{field} is {given[field]!r}" for field in wrong]


def config_of(network: Network) -> dict[str, Any]:
    """The config.json of one of our autoencoders; a scaling factor that is unknown is left out.

    Raises:
      ValueError: a network that diffusers does not have; the message lists every option that is in the way.
    """
    classes = {name: (theirs, own) for theirs, (name, own) in CLASSES.items()}
    if network.name not in classes:
        raise ValueError(f"{network.name!r} is none of diffusers' autoencoders ({', '.join(classes)})")
    options, (theirs, own) = effective_options(network), classes[network.name]
    channels = level_widths(options["nf"], options["ch_mult"], options["channels"])
    attends = [size in options["attn_resolutions"] for size in shorter_sides(options["image_size"], len(channels))]
    needed: dict[str, Any] = {"tanh_out": False}
    needed |= {"quant_conv": True, "post_quant_conv": True} if own is OF_VQ else {"z_channels": options["embed_dim"]}
    wrong = [f"{o} is {options[o]!r}, not {value!r}" for o, value in needed.items() if options[o] != value]
    if channels[0] != options["nf"]:
        wrong.append(f"the first level has {channels[0]} channels, not nf, which is {options['nf']}")
    if wrong:
        raise ValueError(f"diffusers has no counterpart of this {network.name}: {'; '.join(wrong)}")
    size = options["image_size"]
    config = {"_class_name": theirs} | {
        **DEFAULTS,
        **own,
        "block_out_channels": list(channels),
        "down_block_types": [f"{'Attn' * a}DownEncoderBlock2D" for a in attends],
        "in_channels": options["num_channels"],
        "latent_channels": options["z_channels"],
        "layers_per_block": options["num_res_blocks"],
        "mid_block_add_attention": options["mid_attention"],
        "norm_num_groups": options["num_groups"],
        "out_channels": options["num_channels"],
        "sample_size": size if isinstance(size, int) else list(size),
        "scaling_factor": options["scaling_factor"],
        "up_block_types": [f"{'Attn' * a}UpDecoderBlock2D" for a in reversed(attends)],
    }
    if own is OF_KL:
        config |= {f"use_{part}": options[part] for part in ("quant_conv", "post_quant_conv")}
        config["shift_factor"] = options["shift_factor"] or None
    else:
        config |= {"num_vq_embeddings": options["num_codes"], "vq_embed_dim": options["embed_dim"]}
        del config["shift_factor"]
    if not config["scaling_factor"]:
        del config["scaling_factor"]
    return config


def places(network: Network) -> dict[str, Place]:
    """Where diffusers keeps each of the network's arrays."""

    def place(module: str, array: str) -> Place:
        if module == "codebook":
            return Place("quantize.embedding.weight")
        side, _, inside = module.partition(".")
        theirs = f"{side}.{their_module(inside)}" if inside else side
        return Place(f"{theirs}.{array}", 2 if not inside or theirs.endswith("conv_shortcut") else 0)

    return places_of(network, place)


def describe(path: str | Path) -> tuple[str, dict[str, Any]]:
    """(name, options) of our network for a folder: all that a config says of an autoencoder.

    Raises:
      ValueError: a network that has no counterpart here; the message names file and field.
      OSError: no such folder.
    """
    return _network(_folder(path))


def read(path: str | Path, network: Network) -> Weights:
    """The weights of a folder, for the network that the config names.

    Images may be of another size than those it was trained on; a scaling factor that the config leaves at 0 is unknown.

    Raises:
      ValueError: a folder without weights, another network than the config's, or weights that do not fit.
      OSError: no such folder.
    """
    folder, given = _folder(path), effective_options(network)
    name, options = _network(folder, given.get("image_size"))
    if not given.get("scaling_factor"):
        del options["scaling_factor"], options["shift_factor"]
    check_network(str(folder), network, name, options)
    file, arrays = load_weights(folder)
    variables = fill(str(file), network, places(network), _of_today(arrays))
    config = load_json(folder / "config.json")
    return Weights(variables["params"], variables["params"], variables["fixed"], 0, {"config": config}, file)


def write(path: str | Path, network: Network, variables: Mapping[str, Mapping[str, Any]]) -> None:
    """Write an autoencoder and its variables {"params", "fixed"} as a folder for from_pretrained of its class.

    Raises:
      ValueError: a network that diffusers does not have, or variables that are not the network's.
    """
    files = {"config.json": config_of(network)}  # which refuses what diffusers does not have, in words of its own
    save_folder(path, spill(network, places(network), variables), files)


def _network(folder: Path, image_size: Sides | None = None) -> tuple[str, dict[str, Any]]:
    try:
        return network_options(load_json(folder / "config.json"), image_size)
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from None


def _folder(path: str | Path) -> Path:
    if folder := find(path):
        return folder
    raise FileNotFoundError(
        f"{path} holds no autoencoder of diffusers: there is no config.json of {' or '.join(CLASSES)} in it, in vae/ "
        "or in vqvae/"
    )


def _of_today(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays by today's names, the attention's maps as matrices; in old files they may be 1x1 convolutions."""
    return {
        name: array[..., 0, 0] if re.search(r"attentions\.\d+\.to_", name) and array.ndim == 4 else array
        for name, array in renamed(arrays).items()
    }
