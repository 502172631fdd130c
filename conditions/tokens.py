"""A text as a condition of a network that reads it itself: the numbers of its tokens, as a tokenizer made them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Key

from conditions.base import Condition, Conditioner


@dataclass(frozen=True)
class Tokens(Conditioner):
    """The fields "tokens" [b, n] and "mask" [b, n] of a record as the entries of those names.

    Where the mask is False there is no token, and the number there does not matter. Without any token a network is told
    nothing: the empty text of GLIDE (Nichol et al. 2022, arXiv:2112.10741, sec. 4.2), with which a fifth of the
    published training was.
    """

    fields = ("tokens", "mask")

    def encode(self, batch: Mapping[str, Any], keys: Key[Array, " b"] | None = None) -> Condition:
        """The tokens of records."""
        return {"tokens": jnp.asarray(batch["tokens"], jnp.int32), "mask": jnp.asarray(batch["mask"], bool)}

    def none(self, condition: Condition) -> Condition:
        """No token in any example; the numbers stay, which nobody looks at."""
        return {"tokens": condition["tokens"], "mask": jnp.zeros_like(condition["mask"])}
