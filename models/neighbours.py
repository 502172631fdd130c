"""A place of a sequence sees its neighbours: a depthwise convolution, added to what stands there.

    z <- z + sum over i of taps_i * z shifted by i,      i = -(k - 1) / 2, ..., (k - 1) / 2

It is the Canon layer (Allen-Zhu 2025, arXiv:2512.17351) looking both ways; attention is left to find what is far.
"""

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float


class Neighbours(nnx.Module):
    """The convolution of k taps, each feature by its own; beyond the ends there are zeros. It begins as the identity.

    Raises:
      ValueError: the number of taps is even, so that it has no middle.
    """

    def __init__(self, taps: int, width: int):
        if taps % 2 == 0:
            raise ValueError(f"taps={taps} have no middle place; choose an odd number, or 0 for none")
        self.taps = nnx.Param(jnp.zeros((taps, width)))

    def __call__(self, z: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        """The features of each place, with those of its neighbours."""
        taps = self.taps[...].astype(z.dtype)
        reach = len(taps) // 2
        padded = jnp.pad(z, ((0, 0), (reach, reach), (0, 0)))
        seen = (lax.slice_in_dim(padded, i, i + z.shape[1], axis=1) for i in range(len(taps)))
        return z + sum(tap * part for tap, part in zip(taps, seen, strict=True))
