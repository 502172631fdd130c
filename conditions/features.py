"""Features of a text as a condition: what a frozen text encoder has made of it (`experiment.text_encoder`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Key

from conditions.base import Condition, Conditioner


@dataclass(frozen=True)
class Features(Conditioner):
    """The field of a record that has this name, of the features of its text, as the entry of that name.

    Stable Diffusion (Rombach et al. 2022, arXiv:2112.10752) is told the tokens' features, "text" [b, n, d], and its XL
    version the whole text's too, "pooled" [b, d].

    Attributes:
      name: of field and entry.
      nothing: gives the features, by name and without the axis of examples, that tell the network of no text: those of
        the empty text, or zeros. None, or without that name: zeros.
    """

    name: str
    nothing: Callable[[], Mapping[str, Any]] | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The one name."""
        return (self.name,)

    def encode(self, batch: Mapping[str, Any], keys: Key[Array, " b"] | None = None) -> Condition:
        """The features of records."""
        return {self.name: jnp.asarray(batch[self.name])}

    def none(self, condition: Condition) -> Condition:
        """The features of no text, for each example."""
        told = condition[self.name]
        features = (self.nothing() if self.nothing else {}).get(self.name, 0.0)
        return {self.name: jnp.broadcast_to(jnp.asarray(features, told.dtype), told.shape)}
