"""Inception weights by a rule, as tests/reference/metrics was computed with; the published ones are the user's."""

import math
import zlib

import numpy as np

from metrics.inception import layout

SPREAD = {"weight": (1, 0.2), "bias": (0, 0.2), "running_mean": (0, 0.1), "running_var": (1, 0.3)}  # of a batch norm


def tensors() -> dict[str, np.ndarray]:
    """Every tensor of the published file, by its name in it."""
    return {name: _fill(name, shape) for name, shape in layout().items()}


def _fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    draws = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).random(math.prod(shape))
    c = (2 * draws - 1).reshape(shape)
    layer, _, part = name.rpartition(".")
    if layer.endswith(".conv"):
        if not name.startswith("Conv2d_1a_3x3"):
            c = c - 0.5 * c.mean(axis=(1, 2, 3), keepdims=True)
        c = c * math.sqrt(7 / math.prod(shape[1:]))
    elif layer == "fc":
        c = c * (1.5 * math.sqrt(3 / 2048) if part == "weight" else 0.5)
    else:
        centre, width = SPREAD[part]
        c = centre + width * c
    return c.astype(np.float32)
