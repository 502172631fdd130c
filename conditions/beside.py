"""An image that a network is told beside x, whose channels stand behind those of x."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Key

from conditions.base import Condition, Conditioner


@dataclass(frozen=True)
class Beside(Conditioner):
    """The field "beside" [b, h, w, c] of a record, as large as x, as the entry "image".

    Stable Diffusion's inpainting networks have c = 5: the mask, 1 where they paint, and the latents of the picture
    without what the mask covers. It is what the task is of, so a network is told of it even where it is told nothing
    else, and cannot do without it. (A record's "image" is the picture itself.)
    """

    fields = ("beside",)
    needed = True

    def encode(self, batch: Mapping[str, Any], keys: Key[Array, " b"] | None = None) -> Condition:
        """The images of records."""
        return {"image": jnp.asarray(batch["beside"])}

    def none(self, condition: Condition) -> Condition:
        """The same images."""
        return {"image": condition["image"]}
