"""Floats as bytes that a page shows, by a rule that the page states.

A picture's byte is rint(255 (x / s - low) / (high - low)), cut off at 0 and 255. [low, high] is the range of the data,
and s = max(1, sqrt(alpha^2 + sigma^2)) makes the noise of processes that let x grow, as VE and EDM do, as wide as that
of those that preserve its variance. Of data that are no picture the bytes are those of the panels that
`experiment.showing` draws.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from conditions import marked
from experiment import Experiment
from experiment.showing import MODALITIES

WHITE = 255


class Frames(NamedTuple):
    """Points of the model's space to be shown.

    Attributes:
      x: of k moments and n examples, [k, n, ...].
      scale: s of each moment, [k].
      told: what the examples were drawn of, or their records, where points of them may be absent.
    """

    x: np.ndarray
    scale: np.ndarray
    told: Mapping[str, Any] = {}


class Tiles(NamedTuple):
    """Bytes [k, n, height, width, channels] of each of some `Frames`, in their order, and the rule in words."""

    pixels: list[np.ndarray]
    rule: str


def spread(alpha: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """s: by how much x is divided before it is shown, to six digits."""
    return np.maximum(1.0, np.round(np.hypot(alpha, sigma), 6))


def bytes_each(experiment: Experiment, side: int) -> int:
    """How many bytes one example takes at one moment, about, before they are compressed."""
    codec = experiment.codec
    if MODALITIES[codec.pictures.modality].is_picture:
        height, width, channels = codec.pictures.shape
        by = _factor((height, width), side)
        return math.ceil(height / by) * math.ceil(width / by) * channels
    example = _panels(experiment, np.zeros((1, *codec.shape), np.float32))
    return int(example[0].size) // 4  # which are mostly of one colour


def of(experiment: Experiment, frames: Sequence[Frames], side: int) -> Tiles:
    """The bytes of frames; pictures longer than `side` are averaged down."""
    if MODALITIES[experiment.codec.pictures.modality].is_picture:
        return _of_pictures(experiment, frames, side)
    return _of_panels(experiment, frames)


def display_range(experiment: Experiment) -> tuple[float, float]:
    """low and high: the range of the data in the space of their pictures."""
    return (-1.0, 1.0) if experiment.codec.pictures.centered else (0.0, 1.0)


def _of_pictures(experiment: Experiment, frames: Sequence[Frames], side: int) -> Tiles:
    (low, high), by = display_range(experiment), _factor(experiment.codec.pictures.shape, side)
    found = []
    for x, scale, _ in frames:
        pictures = np.stack([_reconstructed(experiment, each / s) for each, s in zip(x, scale, strict=True)])
        found.append(_bytes(_averaged(pictures, by), low, high))
    smaller = f" Pixels are averaged over {by} x {by} first." if by > 1 else ""
    return Tiles(
        found,
        f"byte = round(255 (x / s - ({low:g})) / {high - low:g}), cut off at 0 and 255, with "
        f"s = max(1, sqrt(alpha^2 + sigma^2)).{smaller}",
    )


def of_noise(experiment: Experiment, eps: np.ndarray, side: int) -> np.ndarray:
    """Unit noise [n, height, width, channels] as bytes, of which 0 and 255 are two and a half deviations from 0."""
    return _bytes(_averaged(eps[None].astype(np.float64), _factor(eps.shape[1:], side)), -2.5, 2.5)[0]


def _reconstructed(experiment: Experiment, x: np.ndarray) -> np.ndarray:
    """The floats of pictures that x stands for, float64."""
    return np.asarray(experiment.codec.reconstruct(jnp.asarray(x, jnp.float32)), np.float64)


def _bytes(y: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.rint(np.clip(255.0 * (y - low) / (high - low), 0.0, 255.0)).astype(np.uint8)


def _factor(shape: Sequence[int], side: int) -> int:
    return max(1, math.ceil(max(shape[:2]) / side))


def _averaged(y: np.ndarray, by: int) -> np.ndarray:
    """Means over squares of so many pixels of [..., height, width, channels]; what is left over at an edge repeats."""
    if by == 1:
        return y
    height, width = (math.ceil(length / by) * by for length in y.shape[-3:-1])
    edges = [(0, 0)] * (y.ndim - 3) + [(0, height - y.shape[-3]), (0, width - y.shape[-2]), (0, 0)]
    squares = np.pad(y, edges, mode="edge").reshape(*y.shape[:-3], height // by, by, width // by, by, y.shape[-1])
    return np.asarray(squares.mean(axis=(-4, -2)))


def _of_panels(experiment: Experiment, frames: Sequence[Frames]) -> Tiles:
    """The panels of all frames, drawn at once, since they share one scale."""
    shown = []
    for x, scale, told in frames:
        of_each = [marked(each / s, told) for each, s in zip(x, scale, strict=True)]
        shown.append(np.concatenate(of_each))
    pixels, done = _panels(experiment, np.concatenate(shown)), 0
    found = []
    for x, _, _ in frames:
        n = x.shape[0] * x.shape[1]
        found.append(pixels[done : done + n].reshape(*x.shape[:2], *pixels.shape[1:]))
        done += n
    words = MODALITIES[experiment.codec.pictures.modality].words
    return Tiles(
        found,
        f"The {words} are drawn as --mode=sample draws them, of x / s with s = max(1, sqrt(alpha^2 + sigma^2)), all in "
        "one scale.",
    )


def _panels(experiment: Experiment, x: np.ndarray) -> np.ndarray:
    modality = MODALITIES[experiment.codec.pictures.modality]
    assert modality.panels  # vectors, which have none, are not shown as pictures
    return modality.panels(np.asarray(experiment.codec.decode(x.astype(np.float32))), experiment.codec)
