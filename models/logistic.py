"""The truncated discretised logistic distribution over ordered categories (Austin et al. 2021, D3PM, App. B.9).

Category k of K is the bin around c_k = 2 k / (K - 1) - 1, w = 2 / (K - 1) wide, and its probability that of the bin
under a logistic distribution of mean m and inverse scale s, divided by that of all K bins:

    p(k) ~ sigmoid(a) - sigmoid(b),    a = s (c_k - m + w / 2),    b = s (c_k - m - w / 2)

The edges are not opened: what lies outside of the bins is cut off (Salimans et al. 2017 give it to the end bins).
"""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int


def centres(x: Int[Array, "*d"], num_categories: int, dtype: DTypeLike = jnp.float32) -> Float[Array, "*d"]:
    """The centres 2 k / (K - 1) - 1 of categories, in [-1, 1]; a single category lies at -1."""
    return 2 * x.astype(dtype) / max(num_categories - 1, 1) - 1


def logits(
    mean: Float[Array, "*d"], log_scale: Float[Array, "*d"], num_categories: int, *, epsilon: float = 0.0
) -> Float[Array, "*d k"]:
    """log p(k) up to a number that is the same for all k, which a softmax does not see.

    The inverse scale is s = exp(2 - log_scale), so that a network whose output is about 0 begins with a scale that is
    neither too wide nor too narrow, as published. By sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)),
    whose last factor is the same for all k, nothing cancels however far a bin is from the mean.

    Args:
      mean, log_scale: the distribution's, of each number.
      num_categories: K.
      epsilon: what the published code adds within the logarithm of the difference, 1e-6, where probabilities below it
        are lost; 0: the exact logits.
    """
    half, inverse = 1.0 / max(num_categories - 1, 1), jnp.exp(2.0 - log_scale)[..., None]
    away = centres(jnp.arange(num_categories), num_categories, mean.dtype) - mean[..., None]
    a, b = inverse * (away + half), inverse * (away - half)
    if epsilon == 0.0:
        return jax.nn.log_sigmoid(a) + jax.nn.log_sigmoid(-b)
    log_above, log_below = jax.nn.log_sigmoid(a), jax.nn.log_sigmoid(b)
    return log_above + jnp.log1p(-jnp.exp(log_below - log_above) + epsilon)
