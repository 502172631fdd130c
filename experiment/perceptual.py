"""The weights of the perceptual distance (`models.lpips`), from the two files of a user that ``config.eval`` names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from checkpoints import safetensors_file, torch_file
from data.fingerprint import of_file
from models import lpips, vgg16


class Perceptual(NamedTuple):
    """The weights that `lpips.distance` takes, and the SHA-256 of the two files by the fields that name them."""

    weights: dict[str, Any]
    digests: dict[str, str]


PARTS: dict[str, tuple[Callable[[Any], dict[str, np.ndarray]], str]] = {
    "eval.vgg16": (vgg16.from_torch, "vgg16-397923af.pth of torchvision"),
    "eval.lpips_heads": (lpips.heads_from_torch, "vgg.pth of the package lpips, version 0.1"),
}
"""What each field's file holds: how its tensors are taken, and the published file."""


def load(config: ConfigDict) -> Perceptual | None:
    """Return the weights that ``eval.vgg16`` and ``eval.lpips_heads`` name; None where neither names a file.

    The files are those of torch.save (read by `torch_file`, which runs nothing) or safetensors.

    Raises:
      ValueError: one of the two is missing, is no such file, or holds other tensors.
      OSError: there is no such file.
    """
    paths = {field: config.eval[field.removeprefix("eval.")] for field in PARTS}
    empty = [field for field in paths if not paths[field]]
    if len(empty) == len(paths):
        return None
    if empty:
        raise ValueError(f"{empty[0]} is empty, and LPIPS needs {' and '.join(paths)}; give {PARTS[empty[0]][1]}")
    weights: dict[str, np.ndarray] = {}
    digests: dict[str, str] = {}
    for field, (take, published) in PARTS.items():
        file = Path(paths[field])
        if not file.is_file():
            raise FileNotFoundError(f"{field} is {str(file)!r}; there is no such file: give {published}")
        digests[field] = of_file(file)
        tensors = safetensors_file.load(file) if file.suffix == ".safetensors" else torch_file.load(file)
        try:
            weights |= take(tensors if isinstance(tensors, dict) else {})
        except ValueError as error:
            raise ValueError(f"{field} is {str(file)!r}: {error}; give {published}") from None
    return Perceptual(weights, digests)
