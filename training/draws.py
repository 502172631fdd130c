"""The random numbers of a training batch: each example's own, whatever the number of devices."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

AXIS = "devices"


class Draws(NamedTuple):
    """Keys of this device's share of a global batch: what an example draws comes from its own alone.

    Attributes:
      size: of the global batch.
      index: the examples' places in it, [b].
      each: an example's key; fold in 5 or more for what has no name here.
      flip, dequantize, time, noise, dropout: what it is split into, [b] each.
      batch: the batch's own key, different from every example's.
    """

    size: int
    index: Int[Array, " b"]
    each: Key[Array, " b"]
    flip: Key[Array, " b"]
    dequantize: Key[Array, " b"]
    time: Key[Array, " b"]
    noise: Key[Array, " b"]
    dropout: Key[Array, " b"]
    batch: Key[Array, ""]

    @classmethod
    def of(cls, key: Key[Array, ""], local: int, axis_size: int) -> "Draws":
        """Those of `local` examples on each of `axis_size` devices; example j of the batch has ``fold_in(key, j)``."""
        first = jax.lax.axis_index(AXIS) * local if axis_size > 1 else 0
        index = first + jnp.arange(local)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
        split = jnp.unstack(jax.vmap(lambda k: jax.random.split(k, 5))(keys), axis=1)
        return cls(local * axis_size, index, keys, *split, jax.random.fold_in(key, 2**31 - 1))

    def eps(self, x0: Float[Array, "b *d"]) -> Float[Array, "b *d"]:
        """Standard normal noise in the shape and type of x0."""
        return jax.vmap(lambda k: jax.random.normal(k, x0.shape[1:], x0.dtype))(self.noise)
