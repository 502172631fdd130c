"""Random changes to images that leave their distribution as it is."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, Shaped


def random_flip(
    keys: Key[Array, " b"], x: Shaped[Array, "b h w c"], mirrored: Shaped[Array, "b h w c"] | None = None
) -> Shaped[Array, "b h w c"]:
    """Each image, or with probability one half, by its own key, what is `mirrored`: by default itself left to right."""
    flip = jax.vmap(jax.random.bernoulli)(keys)
    return jnp.where(flip[:, None, None, None], x[:, :, ::-1] if mirrored is None else mirrored, x)
