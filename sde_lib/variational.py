"""The terms of the variational bound of a chain (Sohl-Dickstein et al. 2015; Ho et al. 2020, arXiv:2006.11239, eq. 5).

    -log p(x_0) <= KL(q(x_(n-1) | x_0) || p(x_(n-1)))                                                          prior
                   + sum over i = n - 1, ..., 1 of E KL(q(x_(i-1) | x_i, x_0) || p(x_(i-1) | x_i))             steps
                   + E -log p(x_0 | x_0')     with x_0' at level 0                                           decoder

Each in bits a dimension. Grey levels are decoded by the probability of their bin (Ho et al. 2020, eq. 13), continuous
data by the density.
"""

import math

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float

from sde_lib.chain import ChainTables, Image, Index

DECODERS = ("exact", "published")
LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def normal_kl(mean1: Array, log_variance1: Array, mean2: Array, log_variance2: Array) -> Array:
    """KL(N(mean1, variance1) || N(mean2, variance2)) element by element, nats; nothing cancels where they are close."""
    d = log_variance1 - log_variance2
    return 0.5 * (jnp.expm1(d) - d + jnp.square(mean1 - mean2) * jnp.exp(-log_variance2))


def log_normal_interval(a: Array, b: Array) -> Array:
    """log of the probability of [a, b], a < b, under the standard normal, element by element, in both tails.

    log Phi(b) + log(1 - Phi(a) / Phi(b)) on the side where both are small; an interval so narrow that the two agree
    to many digits is its density times its width, to second order.
    """
    above = a + b > 0.0
    a, b = jnp.where(above, -b, a), jnp.where(above, -a, b)
    middle, width = 0.5 * (a + b), b - a
    narrow = width * (1.0 + jnp.abs(middle)) < 0.03
    by_density = jnp.log(width) - 0.5 * middle**2 - LOG_SQRT_2PI + width**2 * (middle**2 - 1.0) / 24.0
    top, ratio = log_ndtr(b), log_ndtr(a) - log_ndtr(b)
    ratio = jnp.where(narrow, -1.0, ratio)  # its gradient is not finite at 0
    return jnp.where(narrow, by_density, top + jnp.log(-jnp.expm1(ratio)))


def _published_cdf(x: Array) -> Array:
    """An approximation of Phi (Page 1977) in the public codes of Ho et al. and after them."""
    return 0.5 * (1.0 + jnp.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def decoder_log_likelihood(
    x: Image,
    mean: Image,
    log_std: Array,
    half_bin: float | None,
    bounds: tuple[float, float] = (-1.0, 1.0),
    decoder: str = "exact",
) -> Image:
    """log p(x | mean, std), nats, element by element.

    With `half_bin` x is a grey level and stands for [x - half_bin, x + half_bin]; the outermost, within half a bin of
    the `bounds` of all levels, are open (Ho et al. 2020, eq. 13). Without it the density at x. `decoder` 'published'
    approximates the distribution function and cuts probabilities off at 1e-12, for parity with published numbers.

    Raises:
      ValueError: an unknown decoder.
    """
    if decoder not in DECODERS:
        raise ValueError(f"decoder is {decoder!r}; allowed are {', '.join(DECODERS)}")
    inverse = jnp.exp(-log_std)
    offset = x - mean
    if half_bin is None:
        return -0.5 * (offset * inverse) ** 2 - log_std - LOG_SQRT_2PI
    a, b = (offset - half_bin) * inverse, (offset + half_bin) * inverse
    if decoder == "exact":
        below, above, between = log_ndtr(b), log_ndtr(-a), log_normal_interval(a, b)
    else:
        up_to_a, up_to_b = _published_cdf(a), _published_cdf(b)
        below, above, between = (jnp.log(jnp.maximum(p, 1e-12)) for p in (up_to_b, 1.0 - up_to_a, up_to_b - up_to_a))
    first, last = x < bounds[0] + half_bin, x > bounds[1] - half_bin
    return jnp.where(first, below, jnp.where(last, above, between))


def bits(nats: Image) -> Float[Array, " b"]:
    """The mean over the numbers of each example, in bits."""
    return jnp.mean(nats.reshape(len(nats), -1), axis=1) / math.log(2.0)


def prior_bits(tables: ChainTables, x0: Image, prior_std: float) -> Float[Array, " b"]:
    """KL(q(x_(n-1) | x_0) || N(0, prior_std^2)), bits/dim."""
    d = 2.0 * float(np.log(tables.sigma[-1] / prior_std))
    squares = jnp.square((float(tables.alpha[-1]) / prior_std) * x0)
    return bits(0.5 * (squares + (math.expm1(d) - d)))  # the second part in float64: in float32 it would be noise


def step_bits(
    tables: ChainTables,
    x0: Image,
    x: Image,
    i: Index,
    x0_hat: Image,
    log_variance: Array,
    *,
    half_bin: float | None,
    bounds: tuple[float, float] = (-1.0, 1.0),
    decoder: str = "exact",
) -> Float[Array, " b"]:
    """The term of level i for x = x_i and the reverse step that `x0_hat` and `log_variance` make, bits/dim.

    At level 0 the decoder's; above it the KL of the two posteriors, whose common share of x is left out.
    """
    coefficient = tables.row(tables.posterior_x0, i, x)
    log_posterior = tables.row(tables.posterior_log_variance_clipped, i, x)
    kl = normal_kl(coefficient * x0, log_posterior, coefficient * x0_hat, log_variance)
    mean, log_std = tables.mean(x, x0_hat, i), 0.5 * log_variance
    nll = -decoder_log_likelihood(x0, mean, log_std, half_bin, bounds, decoder)
    return jnp.where(i == 0, bits(nll), bits(kl))
