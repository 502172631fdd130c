"""CLIP with OpenAI's names, which OpenCLIP's files share: state dicts in `.pt` or `.safetensors`, both towers.

Nothing in a file says how many heads a tower has, which activation, or where texts are pooled; the config has them.
Published heads have 64 features, and OpenAI's and OpenCLIP's code pools at the largest number. The files that OpenAI
published are programs (TorchScript), which are not read here; their state dict is.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from checkpoints import compvis, text_encoder
from checkpoints.layout import Place, fill, places_of
from checkpoints.published import Weights
from checkpoints.text_encoder import OPENAI_PARTS, Tower
from models import MATCHERS
from models.functional import Network

MARK = b"visual.class_embedding"
"""What these files name near their beginning."""

TEXT = Tower("", openai=True)
IMAGE = {"norm_in": "ln_pre", "norm_out": "ln_post"}
FIRST = "visual.class_embedding"


def place(module: str, array: str) -> Place:
    """Return where a file keeps an array of the module of that name in `models.clip.CLIP`."""
    tower, _, inside = module.partition(".")
    if not tower:
        return Place(array)
    if tower == "text":
        return text_encoder.in_tower(TEXT, inside, array)
    if not inside:
        return Place({"first": FIRST, "position": "visual.positional_embedding"}[array])
    if inside == "projection":
        return Place("visual.proj", table=True)  # as ours, [in, out]
    if inside == "patches":
        return Place(f"visual.conv1.{array}")
    if inside in IMAGE:
        return Place(f"visual.{IMAGE[inside]}.{array}")
    _, _, number, part = inside.split(".")
    return Place(f"visual.transformer.resblocks.{number}.{OPENAI_PARTS[part]}.{array}")


def read(path: str | Path, network: Network) -> Weights:
    """The weights in a file, for the network that the config names.

    Raises:
      ValueError: another network than CLIP, a file without one, or weights that do not fit.
      OSError: no such file.
    """
    if network.name not in MATCHERS:
        raise ValueError(f"{path} is read for the CLIP in it, and model.name is {network.name!r}")
    saved = compvis.load(path)
    arrays = {
        name: array[None] if name == FIRST else array
        for name, array in saved.items()
        if isinstance(array, np.ndarray) and name not in ("input_resolution", "context_length", "vocab_size")
    }
    found = variables(str(path), network, arrays)
    return Weights(found["params"], found["params"], found["fixed"], 0, {}, Path(path))


def variables(file: str, network: Network, arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The network's variables from a state dict, in float32; ValueError, listed, where they do not fit."""
    weights = {name: array for name, array in arrays.items() if not name.endswith(text_encoder.BUFFERS)}
    return fill(file, network, places_of(network, place), text_encoder.apart(weights))
