"""What a conditioner is."""

import abc
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, Num

Condition = dict[str, Array]
"""What a network is told of each example: arrays [b, ...] by name, of which a network names those that it takes."""


def with_end(condition: Condition | None, end: Float[Array, " b"] | None = None) -> Condition | None:
    """The condition, and as its entry "end" [b, 1] where a jump ends, of a network that is told; None where empty."""
    told = (condition or {}) | ({} if end is None else {"end": end[:, None]})
    return told or None


class Conditioner(abc.ABC):
    """From the fields of records to a condition, and from a condition to one that tells nothing.

    Attributes:
      made_fields: those of the `fields` that no record needs to have, since training makes them of the data by `make`.
      needed: whether a network that is to be told this cannot do without it.
    """

    made_fields: tuple[str, ...] = ()
    needed: bool = False

    @property
    @abc.abstractmethod
    def fields(self) -> tuple[str, ...]:
        """The fields of a record that `encode` reads."""

    @abc.abstractmethod
    def encode(self, batch: Mapping[str, Any], keys: Key[Array, " b"] | None = None) -> Condition:
        """The condition of records, arrays [b, ...] by name; one that is random draws example i's from keys[i]."""

    def make(self, x0: Num[Array, "b *d"]) -> dict[str, Array]:
        """The `made_fields` of examples of these data, as the model sees them."""
        return {}

    @abc.abstractmethod
    def none(self, condition: Condition) -> Condition:
        """The condition of as many examples of which the network is told nothing, entries alike in shape and type."""

    def told(self, condition: Condition) -> Bool[Array, " b"]:
        """Whether the network is told anything of each example, which is not so where its condition is `none`'s."""
        nothing = self.none(condition)
        parts = [(condition[name] != nothing[name]).reshape(len(nothing[name]), -1) for name in nothing]
        return jnp.any(jnp.concatenate(parts, axis=1), axis=1)

    def drop(self, keys: Key[Array, " b"], condition: Condition, probability: float) -> Condition:
        """The condition, in which each example is told of nothing with this probability, by its own key.

        A network that is trained so learns the unconditional score as well (Ho and Salimans 2022, arXiv:2207.12598).
        """
        dropped = jax.vmap(lambda key: jax.random.bernoulli(key, probability))(keys)

        def either(told: Array, nothing: Array) -> Array:
            return jnp.where(dropped.reshape(-1, *(1,) * (told.ndim - 1)), nothing, told)

        return jax.tree.map(either, condition, self.none(condition))
