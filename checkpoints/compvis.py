"""Autoencoders in single files of CompVis and Stability: `.ckpt` of Lightning, `.pt`, `.safetensors`; tensors by name.

A file is of an autoencoder alone, or of a whole latent diffusion, whose first stage has names that begin with
`first_stage_model.`; what else it holds (the diffusion model, text encoders, losses, Lightning's objects) is left
alone. Averaged weights, where there are any, stand in it as `model_ema.` and the name without its dots; a latent
diffusion averages its diffusion model only. Nothing says what network it is: every tensor must find its place in that
of the config. The convolutions of the attention are matrix products here, and levels of the way up, which are
counted from the image there, are counted from the latents.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from checkpoints import safetensors_file, torch_file
from checkpoints.layout import Place, effective_options, fill, places_of
from checkpoints.published import Weights
from models import AUTOENCODERS
from models.functional import Network

FIRST_STAGE = "first_stage_model."
AVERAGE = "model_ema."
PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.", "quantize.")
MARKS = (b"first_stage_model.", b"encoder.down.0.block.0.")
"""What these files name near their beginning, one or the other."""

BLOCK = {"conv0": "conv1", "conv1": "conv2", "norm0": "norm1", "norm1": "norm2", "shortcut": "nin_shortcut"}
ATTENTION = {"norm": "norm", "query": "q", "key": "k", "value": "v", "out": "proj_out"}
MIDDLE = ("block_1", "attn_1", "block_2")
SCALE = "scale_factor"  # a latent diffusion's, where it was measured from the first batch


def places(network: Network) -> dict[str, Place]:
    """Where these files keep each array of an autoencoder, or of a discriminator (taming-transformers)."""
    options = effective_options(network)

    def of_discriminator(module: str, array: str) -> Place:
        kind, layer = module.split(".")  # a convolution, its norm and its nonlinearity are numbered through
        number = 3 * int(layer) + 3 if kind == "norms" else 3 * int(layer) - 1 if int(layer) else 0
        if array == "weight" and kind == "norms" and options["norm"] == "act":
            array = "scale"
        name = {"mean": "running_mean", "variance": "running_var"}.get(array, array)
        return Place(f"main.{number}.{name}")

    def of_autoencoder(module: str, array: str) -> Place:
        if module == "codebook":
            return Place("quantize.embedding.weight")
        if module in ("quant_conv", "post_quant_conv"):
            return Place(f"{module}.{array}", 2)
        side, part, *rest = module.split(".")
        if part == "middle":
            block = MIDDLE[int(rest[0])]
            names = ATTENTION if block.startswith("attn") else BLOCK
            theirs = f"{side}.mid.{block}.{names[rest[1]]}"
        elif part in ("down", "up"):
            level = int(rest[0])
            level = level if part == "down" else len(options["channels"] or options["ch_mult"]) - 1 - level
            inside = {
                "blocks": lambda: f"block.{rest[2]}.{BLOCK[rest[3]]}",
                "attention": lambda: f"attn.{rest[2]}.{ATTENTION[rest[3]]}",
                "resize": lambda: f"{part}sample.conv",
            }[rest[1]]()
            theirs = f"{side}.{part}.{level}.{inside}"
        else:
            theirs = module
        ones = 2 if re.search(r"\.attn[._]\d+\.(q|k|v|proj_out)$|nin_shortcut$", theirs) else 0
        return Place(f"{theirs}.{array}", ones)

    return places_of(network, of_autoencoder if network.name in AUTOENCODERS else of_discriminator)


def load(path: str | Path) -> dict[str, Any]:
    """All that a file holds by name, tensors among it; what Lightning wrote beside `state_dict` is left out but steps.

    Raises:
      ValueError: a damaged file, or one that holds no dictionary.
      OSError: no such file.
    """
    with open(path, "rb") as file:
        is_safetensors = file.read(9)[8:] == b"{"
    saved = safetensors_file.load(path) if is_safetensors else torch_file.load(path, inert=True)
    if not isinstance(saved, dict) or not isinstance(state := saved.get("state_dict", saved), dict):
        raise ValueError(f"{path} holds no tensors by name, as files of CompVis do")
    step = saved.get("global_step", 0)
    return {**state, "global_step": step if isinstance(step, int) else 0}


def read(path: str | Path, network: Network) -> Weights:
    """The autoencoder in a file, for the network that the config names.

    Raises:
      ValueError: a network that is none of the autoencoders, a file without one, or weights that do not fit.
      OSError: no such file.
    """
    if network.name not in AUTOENCODERS:
        raise ValueError(
            f"{path} is read for the autoencoder in it, and the config's model.name is {network.name!r}; take one of "
            f"{', '.join(AUTOENCODERS)}, or cross_attention_unet for the text-conditional U-Net"
        )
    saved = load(path)
    within = any(name.startswith(FIRST_STAGE) for name in saved)
    prefix = FIRST_STAGE if within else ""
    tensors = {
        name.removeprefix(prefix): array
        for name, array in saved.items()
        if name.startswith(prefix) and isinstance(array, np.ndarray)
    }
    raw = {name: array for name, array in tensors.items() if name.startswith(PARTS)}
    where = places(network)
    variables = fill(str(path), network, where, raw)
    averaged = {} if within else averages(raw, saved)
    average = fill(f"{path} ({AVERAGE})", network, where, averaged) if averaged else variables
    scale = saved.get(SCALE)
    metadata = {"scaling_factor": float(scale)} if isinstance(scale, np.ndarray) and scale.size == 1 else {}
    step = 0 if within else saved["global_step"]
    return Weights(average["params"], variables["params"], variables["fixed"], step, metadata, Path(path))


def discriminator(network: Network, saved: Mapping[str, Any], file: str) -> dict[str, dict[str, np.ndarray]]:
    """The variables of a `patch_discriminator` from tensors by their names there; `file` is for the messages.

    Raises ValueError for tensors that do not fit. Counts of batches and flags that an actnorm is initialised are no
    numbers of the network.
    """
    where = places(network)
    arrays = {
        name: array.reshape(-1) if name.endswith((".loc", ".scale")) else array
        for name, array in saved.items()
        if isinstance(array, np.ndarray) and not name.endswith(("num_batches_tracked", "initialized"))
    }
    return fill(file, network, where, arrays)


def averages(raw: Mapping[str, np.ndarray], saved: Mapping[str, Any], within: str = "") -> dict[str, np.ndarray]:
    """The averaged weights under the names of the raw ones, of which `within` is no part; none where there are none."""
    theirs = {name: AVERAGE + name.removeprefix(within).replace(".", "") for name in raw}
    return {name: saved[average] for name, average in theirs.items() if average in saved}
