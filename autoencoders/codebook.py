"""How much of a codebook the codes of a batch use."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def usage(codes: Int[Array, "*d"], size: int) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Perplexity of the codes' frequencies, and how many of the `size` vectors occur.

    The perplexity exp(-sum_k p_k log p_k) is `size` where all are as frequent, and 1 where there is but one.
    """
    counts = jnp.zeros(size).at[codes.reshape(-1)].add(1.0)
    p = counts / codes.size
    return jnp.exp(-jnp.sum(p * jnp.log(p + 1e-10))), (counts > 0).sum()
