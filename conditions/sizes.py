"""Size and crop of a picture as a condition, of networks that were trained on pictures of many sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Key, Num

from conditions.base import Condition, Conditioner


def of_picture(height: int, width: int) -> tuple[int, ...]:
    """The six numbers of a picture that is whole and has the size that it always had."""
    return height, width, 0, 0, height, width


@dataclass(frozen=True)
class Sizes(Conditioner):
    """The field "size" [b, 6] of a record as the entry of that name.

    The six numbers are height and width of the original picture, top and left of the crop that was made of it, and
    height and width that are asked for (Podell et al. 2023, arXiv:2307.01952, sec. 2.2). They are told also where a
    network is told of no text.

    Attributes:
      numbers: those of every picture of a training, which has pictures of one size.
    """

    numbers: tuple[int, ...] = (0,) * 6
    fields = ("size",)
    made_fields = ("size",)

    def make(self, x0: Num[Array, "b *d"]) -> dict[str, Array]:
        """The same six numbers for each example."""
        return {"size": jnp.tile(jnp.asarray(self.numbers, jnp.float32), (len(x0), 1))}

    def encode(self, batch: Mapping[str, Any], keys: Key[Array, " b"] | None = None) -> Condition:
        """The numbers of records."""
        return {"size": jnp.asarray(batch["size"], jnp.float32)}

    def none(self, condition: Condition) -> Condition:
        """The same."""
        return {"size": condition["size"]}
