"""Rotary positions: queries and keys are turned by their place, so that logits see distances (Su et al. 2021)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

BASE = 10_000.0
"""The slowest pair of features turns by about 1 / BASE radians from one place to the next, as published."""


def angles_of(places: int, width: int) -> Float[np.ndarray, "n half"]:
    """The angle m BASE^(-2 i / width) by which place m turns pair i, in radians (arXiv:2104.09864, eq. 15).

    Raises:
      ValueError: the width is odd, so that features cannot be taken in pairs.
    """
    if width % 2:
        raise ValueError(f"a head of {width} features cannot turn them in pairs: choose an even width for each head")
    return np.arange(places)[:, None] * BASE ** (-np.arange(0, width, 2) / width)


def rotated(x: Float[Array, "b n h w"], angles: Float[np.ndarray, "n half"]) -> Float[Array, "b n h w"]:
    """The features of each head, those of pair i at i and at i + w / 2, turned by the angle of their place."""
    cosine, sine = (jnp.asarray(wave(angles)[:, None], x.dtype) for wave in (np.cos, np.sin))
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
