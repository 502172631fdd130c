"""Decoding of latents tile by tile, for pictures whose activations do not fit into memory."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

OVERLAP = 0.25
"""The share of a tile's side that its neighbour has as well, as in diffusers."""


def decode_tiled(
    decode: Callable[[Array], Array], z: Float[Array, "b h w c"], tile: int
) -> Float[Array, "b height width d"]:
    """The pictures of latents, decoded `tile` x `tile` latents at a time, one after another.

    Neighbours overlap, and there fade into each other linearly. So the memory is that of one tile, and of the pictures.
    A decoder whose view is narrower than the overlap gives what it gives of the whole; one with attention, or with
    norms over all places, sees a tile as a picture of its own, and a faint difference stays everywhere.

    Args:
      decode: latents [b, h, w, c] to pictures [b, f h, f w, d], of any size; it is traced once, for a tile.
      z: the latents; a side that is not longer than a tile is decoded whole.
      tile: a side in latents, at least 2.

    Raises:
      ValueError: a tile of fewer latents.
    """
    if tile < 2:
        raise ValueError(f"a tile has {tile} latents a side; it must be at least 2, or 0 for decoding the whole")
    b, h, w, c = z.shape
    sides = min(tile, h), min(tile, w)
    if sides == (h, w):
        return decode(z)
    picture = jax.eval_shape(decode, jax.ShapeDtypeStruct((b, *sides, c), z.dtype))
    factor = picture.shape[1] // sides[0]
    fades = [_fade(side, whole, factor) for side, whole in zip(sides, (h, w), strict=True)]
    fade = jnp.asarray(fades[0][:, None, None] * fades[1][:, None], picture.dtype)
    places = [_starts(side, whole) for side, whole in zip(sides, (h, w), strict=True)]
    corners = np.stack([corner.ravel() for corner in np.meshgrid(*places, indexing="ij")], axis=1)

    def add(sums: tuple[Array, Array], corner: Array) -> tuple[tuple[Array, Array], None]:
        part = decode(lax.dynamic_slice(z, (0, corner[0], corner[1], 0), (b, *sides, c)))
        at = (0, factor * corner[0], factor * corner[1], 0)

        def added(total: Array, new: Array) -> Array:
            here = lax.dynamic_slice(total, at, (len(total), *new.shape[1:]))
            return lax.dynamic_update_slice(total, here + new, at)

        return (added(sums[0], fade * part), added(sums[1], fade[None])), None

    empty = (
        jnp.zeros((b, factor * h, factor * w, picture.shape[3]), picture.dtype),
        jnp.zeros((1, factor * h, factor * w, 1), picture.dtype),
    )
    (pictures, weights), _ = lax.scan(add, empty, jnp.asarray(corners))
    return pictures / weights


def _starts(side: int, whole: int) -> np.ndarray:
    """Where tiles begin along one side: as few as overlap by the share, evenly spread."""
    stride = max(1, side - max(1, round(OVERLAP * side)))
    count = -(-(whole - side) // stride) + 1
    return np.round(np.linspace(0, whole - side, count)).astype(np.int32)


def _fade(side: int, whole: int, factor: int) -> np.ndarray:
    """The weight of each pixel along a side of a tile: 1, and falling to nearly 0 over the overlap at both ends."""
    if side == whole:
        return np.ones(factor * side)
    overlap = factor * max(1, round(OVERLAP * side))
    rising = np.minimum(1.0, (np.arange(factor * side) + 0.5) / overlap)
    return rising * rising[::-1]
