"""Random changes to images that leave their distribution as it is."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, Shaped


def random_flip(keys: Key[Array, " b"], x: Shaped[Array, "b h w c"]) -> Shaped[Array, "b h w c"]:
    """Mirrors each image left to right with probability one half, by its own key."""
    flip = jax.vmap(jax.random.bernoulli)(keys)
    return jnp.where(flip[:, None, None, None], x[:, :, ::-1], x)
