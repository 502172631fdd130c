"""The variational bound of a process in continuous time (Kingma et al. 2021, arXiv:2107.00630, eq. 4, 13, 17).

With x_0' the data noised to t_min, where the process begins,

    -log p(x) <= KL(q(x_1 | x) || p(x_1))                                                     prior
                 + 1/2 E_(t, eps) (-d log SNR / dt) |eps - eps_hat(x_t, t)|^2                  diffusion
                 + E -log p(x | x_0'),                                                        reconstruction

each in bits a dimension of each example. A chain of T equal steps has 1/2 T (SNR(s) / SNR(t) - 1) |.|^2, s = t - 1/T,
for its diffusion part, and falls to the limit as T grows. Here for every affine process, by its own coefficients: the
rate of log SNR is g^2 / sigma^2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sde_lib.base import AffineSDE, Coefficient, expand
from sde_lib.chain import Image
from sde_lib.prediction import PredictFn
from sde_lib.variational import LOG_SQRT_2PI, bits


class Bound(NamedTuple):
    """The three terms, bits/dim of each example or of their mean; their sum bounds -log p(x) in expectation."""

    diffusion: Float[Array, "..."]
    prior: Float[Array, "..."]
    reconstruction: Float[Array, "..."]

    @property
    def total(self) -> Float[Array, "..."]:
        """The bound."""
        return self.diffusion + self.prior + self.reconstruction


def bound_times(sde: AffineSDE, u: Float[Array, "..."], steps: int = 0) -> Coefficient:
    """t of numbers u uniform in [0, 1): uniform on [t_min, 1], or the later end of each of `steps` equal steps."""
    if steps:
        u = (jnp.floor(u * steps) + 1.0) / steps
    return sde.t_min + (1.0 - sde.t_min) * u


def diffusion_weighting(sde: AffineSDE, t: Coefficient, steps: int = 0) -> Coefficient:
    """w with the diffusion term E w |eps - eps_hat|^2 for t as `bound_times` has it; nats."""
    if not steps:
        return 0.5 * (1.0 - sde.t_min) * (sde.diffusion(t) / sde.sigma(t)) ** 2
    step = (1.0 - sde.t_min) / steps
    kernel = sde.transition(jnp.maximum(t - step, sde.t_min), t)
    # SNR(s) / SNR(t) - 1 = std^2 / (scale sigma_s)^2: no difference of two SNRs.
    return 0.5 * steps * (kernel.std / (kernel.scale * kernel.std_ratio * sde.sigma(t))) ** 2


def diffusion_bits(
    sde: AffineSDE, predict: PredictFn, x0: Image, t: Float[Array, " b"], eps: Image, steps: int = 0
) -> Float[Array, " b"]:
    """An unbiased estimate of the diffusion term from one t an example; one network evaluation."""
    mean, std = sde.marginal(x0, t)
    errors = bits(jnp.square(predict(mean + expand(std, x0) * eps, t).eps - eps))
    return diffusion_weighting(sde, t, steps) * errors


def prior_bits(sde: AffineSDE, x0: Image) -> Float[Array, " b"]:
    """KL(N(alpha_1 x, sigma_1^2) || N(0, prior_std^2))."""
    one = jnp.ones((), x0.dtype)
    d = 2.0 * jnp.log(sde.sigma(one) / sde.prior_std)
    squares = jnp.square(sde.alpha(one) / sde.prior_std * x0)
    return bits(0.5 * (squares + (jnp.expm1(d) - d)))


def first_noise(sde: AffineSDE, dtype: jnp.dtype) -> Array:
    """sigma / alpha at t_min: the noise of data of scale 1 that the decoder takes away."""
    t = jnp.asarray(sde.t_min, dtype)
    return sde.sigma(t) / sde.alpha(t)


def reconstruction_bits(
    sde: AffineSDE, x0: Image, eps: Image, levels: Float[np.ndarray, " n"] | None
) -> Float[Array, " b"]:
    """-log p(x | x_0') for x_0' = x + noise eps at t_min: what a network is not asked for.

    p(x | x_0') is proportional to N(x_0'; x, noise^2) over the grey `levels` that x takes (Kingma et al. 2021, eq. 4);
    without levels x is continuous and p = N(x; x_0', noise^2).
    """
    noise = first_noise(sde, x0.dtype)
    if levels is None:
        return bits(0.5 * eps**2 + (jnp.log(noise) + LOG_SQRT_2PI))
    # (x_0' - level) / noise; that of x itself is eps.
    offsets = eps[..., None] + (x0[..., None] - jnp.asarray(levels, x0.dtype)) / noise
    return bits(0.5 * eps**2 + jax.nn.logsumexp(-0.5 * offsets**2, axis=-1))


def dequantized(
    sde: AffineSDE, x0: Image, eps: Image, levels: Float[np.ndarray, " n"]
) -> tuple[Image, Float[Array, " b"]]:
    """Grey levels as points z at t_min, and what -log2 p(z) / d lacks there to bound -log p(x), bits/dim.

    -log p(x) <= E -log p(z) - log p(x | z) + log q(z | x) for z = alpha x + sigma eps: the process's own noise in the
    place of uniform dequantisation, for a likelihood such as the flow's; the bound has the same decoder.
    """
    mean, std = sde.marginal(x0, jnp.asarray(sde.t_min, x0.dtype))
    log_q = bits(-0.5 * eps**2 - (jnp.log(std) + LOG_SQRT_2PI))
    return mean + std * eps, reconstruction_bits(sde, x0, eps, levels) + log_q
