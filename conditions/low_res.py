"""A smaller picture as a condition of a network that enlarges it, noised a little in training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from conditions.base import Condition, Conditioner


@dataclass(frozen=True)
class LowRes(Conditioner):
    """The field "low_res" of a record, `factor` times smaller than the data, in [-1, 1], as the entry of that name.

    In training it is made of the data, each of its pixels the mean of factor x factor of theirs, and noised: by a
    deviation that is drawn for each example, uniformly up to `noise`. An upsampler so learns not to trust the details
    of what it enlarges, which in sampling another network has drawn (Ho et al. 2022, arXiv:2106.15282, sec. 4). It is
    not told how much noise there is, and samples are drawn without. The picture is what the task is of, so a network is
    told it even where it is told nothing else.
    """

    factor: int
    noise: float = 0.0
    fields = ("low_res",)
    made_fields = ("low_res",)
    needed = True

    def make(self, x0: Float[Array, "b h w c"]) -> dict[str, Array]:
        """The smaller pictures of data."""
        b, height, width, c = x0.shape
        boxes = x0.reshape(b, height // self.factor, self.factor, width // self.factor, self.factor, c)
        return {"low_res": boxes.mean((2, 4))}

    def encode(self, batch: Mapping[str, Any], keys: Key[Array, " b"] | None = None) -> Condition:
        """The pictures, noised where keys are given."""
        image = jnp.asarray(batch["low_res"])
        if keys is None or not self.noise:
            return {"low_res": image}

        def noised(key: Array, image: Array) -> Array:
            key_size, key_noise = jax.random.split(key)
            deviation = jax.random.uniform(key_size, (), image.dtype, maxval=self.noise)
            return image + deviation * jax.random.normal(key_noise, image.shape, image.dtype)

        return {"low_res": jax.vmap(noised)(keys, image)}

    def none(self, condition: Condition) -> Condition:
        """The same pictures."""
        return {"low_res": condition["low_res"]}
