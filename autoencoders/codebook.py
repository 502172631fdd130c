"""How much of a codebook the codes of a batch use."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def frequencies(codes: Int[Array, "*d"], size: int) -> Float[Array, " size"]:
    """The share of the codes that each of the `size` vectors has."""
    return jnp.zeros(size).at[codes.reshape(-1)].add(1.0) / codes.size


def usage_of(p: Float[Array, " size"]) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Perplexity of frequencies, and how many of the vectors occur.

    The perplexity exp(-sum_k p_k log p_k) is the size of the codebook where all are as frequent, and 1 where there is
    but one.
    """
    return jnp.exp(-jnp.sum(p * jnp.log(p + 1e-10))), (p > 0).sum()


def usage(codes: Int[Array, "*d"], size: int) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """What `usage_of` says of the frequencies of these codes."""
    return usage_of(frequencies(codes, size))
