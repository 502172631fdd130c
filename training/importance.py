"""Loss-aware importance sampling of the noise level (Nichol and Dhariwal 2021, arXiv:2102.09672, eq. 18).

Level i is drawn with probability proportional to sqrt(E L_i^2), its loss weighted by 1 / (n p_i): the expectation is
that of uniform levels, the variance less where losses differ by orders of magnitude, as the terms of the variational
bound do. The expectation is over the last losses of each level; until every level has so many, levels are uniform.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class LossHistory(NamedTuple):
    """The last losses of each of n levels, oldest first, and how many there are; the rest is 0."""

    losses: Float[Array, "n h"]
    counts: Int[Array, " n"]

    @classmethod
    def create(cls, n: int, length: int) -> "LossHistory":
        """An empty one, of `length` losses a level (published: 10)."""
        return cls(jnp.zeros((n, length), float), jnp.zeros(n, jnp.int32))

    def probabilities(self, uniform: float) -> Float[Array, " n"]:
        """p_i, mixed with `uniform` of the uniform distribution (published: 0.001) so that no level is forgotten."""
        n, length = self.losses.shape
        root = jnp.sqrt(jnp.mean(jnp.square(self.losses), axis=1))
        aware = (1.0 - uniform) * root / jnp.maximum(jnp.sum(root), jnp.finfo(root.dtype).tiny) + uniform / n
        full = jnp.all(self.counts == length)
        p = jnp.where(full, aware, jnp.ones(n, root.dtype))
        return p / jnp.sum(p)

    def updated(self, level: Int[Array, " b"], losses: Float[Array, " b"]) -> "LossHistory":
        """With these losses appended in order; what is too old goes."""
        n, length = self.losses.shape
        same = level[:, None] == level[None, :]
        before = jnp.sum(jnp.tril(same, -1), axis=1)  # how many of this batch come before it at its level
        added = jnp.zeros(n, jnp.int32).at[level].add(1)
        dropped = jnp.maximum(self.counts + added - length, 0)
        source = jnp.arange(length) + dropped[:, None]
        old = jnp.take_along_axis(self.losses, jnp.minimum(source, length - 1), axis=1)
        kept = jnp.where(source < self.counts[:, None], old, 0.0)
        place = self.counts[level] + before - dropped[level]
        place = jnp.where(place < 0, length, place)  # out of range: more of one level in a batch than are kept
        new = kept.at[level, place].set(losses.astype(kept.dtype), mode="drop")
        return LossHistory(new, jnp.minimum(self.counts + added, length))
