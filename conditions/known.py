"""What is known of an image as a condition of a network that fills in the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from conditions.base import Condition, Conditioner


@dataclass(frozen=True)
class Known(Conditioner):
    """The fields "known_image" [b, h, w, c], in [-1, 1], and "known_mask" [b, h, w, 1], True or 1 where it is known.

    In training the image is that of the data, of which a rectangle is unknown, its sides and its place drawn for each
    example uniformly among those there are, up to the whole image: random regions are erased, as in GLIDE's training
    (Nichol et al. 2022, arXiv:2112.10741, sec. 4.3), whose shapes are not published. The task is to fill in this image,
    so a network is told of it even where it is told nothing else. What the image is where it is unknown does not
    matter: it is 0 in the condition.
    """

    fields = ("known_image", "known_mask")
    made_fields = ("known_image", "known_mask")

    def make(self, x0: Float[Array, "b h w c"]) -> dict[str, Array]:
        """The images themselves; `encode` draws the masks."""
        return {"known_image": x0}

    def encode(self, batch: Mapping[str, Any], keys: Key[Array, " b"] | None = None) -> Condition:
        """Image and mask; a mask that is not given is drawn of the keys."""
        image, mask = jnp.asarray(batch["known_image"]), batch.get("known_mask")
        if mask is None:
            assert keys is not None  # it is left out of samples without a mask, by `Together.of`
            mask = jax.vmap(lambda key: _outside(key, *image.shape[1:3]))(keys)
        mask = jnp.asarray(mask).astype(image.dtype)
        return {"known_image": jnp.where(mask > 0.0, image, 0.0), "known_mask": mask}

    def none(self, condition: Condition) -> Condition:
        """The same."""
        return {name: condition[name] for name in self.fields}


def _outside(key: Key[Array, ""], height: int, width: int) -> Bool[Array, "h w 1"]:
    """Whether each pixel lies outside of a random rectangle."""

    def inside(key: Array, size: int) -> Array:
        key_length, key_first = jax.random.split(key)
        length = jax.random.randint(key_length, (), 1, size + 1)
        first = jax.random.randint(key_first, (), 0, size - length + 1)
        place = jnp.arange(size)
        return (place >= first) & (place < first + length)

    of_rows, of_columns = jax.random.split(key)
    return ~(inside(of_rows, height)[:, None, None] & inside(of_columns, width)[None, :, None])
