"""The affine Gaussian process: everything that follows from alpha and sigma, written once.

Data is noised by the linear SDE

    dx = f(t) x dt + g(t) dw,        t in [0, 1], data at 0, noise at 1,

whose marginals given the data are Gaussian, ``x_t = alpha(t) x_0 + sigma(t) eps``. Differentiating
mean and variance gives the two identities that tie the coefficients together (Song et al. 2021,
arXiv:2011.13456, eq. 29-33; Karras et al. 2022, arXiv:2206.00364, App. B):

    f = d/dt log alpha,        g^2 = d/dt sigma^2 - 2 f sigma^2.

Hence ``g^2 / sigma^2 = d/dt log(sigma^2 / alpha^2)``: along every such process the likelihood
weight is the rate at which the log signal-to-noise ratio falls.
"""

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from limits import check, share

T_MIN = share(above=True, below=True, note="published: 1e-5")
ROUNDING = 2.5e-7
"""How far a time may lie off a noise level and be taken for it: two roundings of a time near 1 in float32."""
Coefficient = Float[Array, "..."]
"""A number per time: a scalar, or one per example, shape [b]."""


@runtime_checkable
class Process(Protocol):
    """What noises the data, x_t = alpha x_0 + sigma eps: an SDE, or the levels of a discrete chain.

    A class that derives from it gives alpha and sigma.
    """

    def alpha(self, t: Coefficient) -> Coefficient:
        """Scale of the data at time t."""

    def sigma(self, t: Coefficient) -> Coefficient:
        """Standard deviation of the noise at time t."""

    def rates(self, t: Coefficient) -> tuple[Coefficient, Coefficient]:
        """alpha'(t) and sigma'(t)."""
        t = jnp.asarray(t)
        alpha, sigma = (jax.jvp(f, (t,), (jnp.ones_like(t),))[1] for f in (self.alpha, self.sigma))
        return alpha, sigma

    def log_snr(self, t: Coefficient) -> Coefficient:
        """log(alpha^2 / sigma^2), falling in t."""
        return 2.0 * (jnp.log(self.alpha(t)) - jnp.log(self.sigma(t)))

    def marginal(self, x0: Float[Array, "b *d"], t: Coefficient) -> tuple[Float[Array, "b *d"], Coefficient]:
        """Mean [b, ...] and standard deviation of p(x_t | x_0)."""
        return expand(self.alpha(t), x0) * x0, self.sigma(t)


class Kernel(NamedTuple):
    """One forward step ``x_t = scale * x_s + std * z`` from s to t, s < t.

    ``std_ratio`` is sigma(s) / sigma(t), which the ancestral sampler's variance needs.
    """

    scale: Coefficient
    std: Coefficient
    std_ratio: Coefficient


def expand(coefficient: Coefficient, x: Float[Array, "b ..."]) -> Float[Array, "..."]:
    """Shape a coefficient, scalar or [b], so that it multiplies ``x`` [b, ...] example by example."""
    c = jnp.asarray(coefficient, x.dtype)
    return c.reshape(c.shape + (1,) * (x.ndim - c.ndim)) if c.ndim else c


@dataclasses.dataclass(frozen=True)
class AffineSDE(Process, abc.ABC):
    """A linear SDE with Gaussian marginals; a process gives alpha and sigma, from which all the rest follows.

    It gives the other coefficients itself where their own formula keeps more digits, or costs less. alpha may be 0 at
    t = 1, where f and g are then infinite, but neither the velocity nor the transition.

    Attributes:
      t_min: the smallest time at which the score is used, in training and for the likelihood;
        below it the score of a data set is unbounded.
      noise_exponent: p of sigma ~ t^p near t = 0, or 1 where sigma is smooth there; the adaptive flow integrates in
        t^p, so that its velocity, (d sigma / dt) eps near data, stays bounded.
    """

    t_min: float = dataclasses.field(default=1e-5, kw_only=True)
    noise_exponent: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check("sde.", {"t_min": self.t_min}, {"t_min": T_MIN})

    @property
    def parameters(self) -> dict[str, Array]:
        """What of the process is trained with the network, by name; here nothing."""
        return {}

    @property
    def interior(self) -> tuple[str, ...]:
        """Those parameters that leave log SNR at both ends of time as it is."""
        return ()

    def with_parameters(self, parameters: dict[str, Any]) -> "AffineSDE":
        """The same process with other values of its `parameters`."""
        return self

    @abc.abstractmethod
    def alpha(self, t: Coefficient) -> Coefficient:
        """Scale of the data at time t."""

    @abc.abstractmethod
    def sigma(self, t: Coefficient) -> Coefficient:
        """Standard deviation of the noise at time t."""

    def drift_coefficient(self, t: Coefficient) -> Coefficient:
        """f(t): the forward drift is f(t) x."""
        return self.rates(t)[0] / self.alpha(t)

    def diffusion(self, t: Coefficient) -> Coefficient:
        """g(t)."""
        alpha, sigma = self.alpha(t), self.sigma(t)
        alpha_rate, sigma_rate = self.rates(t)
        return jnp.sqrt(2.0 * sigma * jnp.maximum(sigma_rate - alpha_rate / alpha * sigma, 0.0))

    @property
    def prior_std(self) -> float:
        """Standard deviation of the Gaussian that stands for the marginal at t = 1: sigma(1), or a published one."""
        with jax.ensure_compile_time_eval():
            return float(self.sigma(jnp.ones(())))

    def transition(self, s: Coefficient, t: Coefficient) -> Kernel:
        """The exact kernel from s to t > s: scale = alpha(t) / alpha(s), std^2 = sigma(t)^2 - scale^2 sigma(s)^2.

        Here by std^2 = sigma(t)^2 (1 - SNR(t) / SNR(s)), which loses fewer digits than the difference where s is close
        to t.
        """
        ratio = jnp.exp(self.log_snr(t) - self.log_snr(s))
        std = self.sigma(t) * jnp.sqrt(jnp.maximum(1.0 - ratio, 0.0))
        return Kernel(self.alpha(t) / self.alpha(s), std, self.sigma(s) / self.sigma(t))

    def discretization(self, n: int, t: Coefficient) -> Kernel:
        """The n-step forward step that arrives at t in the published code, for parity with published numbers.

        Here: Euler's, scale = 1 + f / n, std = g / sqrt(n) (Song et al. 2021, App. E); VP and VE have
        their own. Not exact: use `transition` wherever a published number does not depend on it.
        """
        f, g = self.drift_coefficient(t), self.diffusion(t)
        ratio = self.sigma(jnp.maximum(t - 1.0 / n, 0.0)) / self.sigma(t)
        return Kernel(1.0 + f / n, g / n**0.5, ratio)

    @property
    def num_levels(self) -> int:
        """The levels of a process that is a chain; 0 in continuous time, whose chains have any number of them."""
        return 0

    def level_position(self, t: Coefficient, n: int) -> Coefficient:
        """Where t lies among the n levels: i at level i, the cleanest 0; a fraction between two."""
        return t * (n - 1)

    def level_index(self, t: Coefficient, n: int) -> Array:
        """floor of `level_position`, the level 0 to n - 1; a time one rounding error below a level is on it.

        On the published grid, linspace(1, 1e-3, n), it lags by one in half the steps once n exceeds 1000; the sampler's
        grid 'levels' meets every index for any n.
        """
        return (t * (n - 1) + ROUNDING * n).astype(int)

    def level_time(self, index: Coefficient, n: int) -> Coefficient:
        """The t of level `index`, i / (n - 1) in the published chains: the inverse of `level_position`."""
        return index / (n - 1)

    def levels(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """alpha and sigma of the n noise levels of discrete training and of the published n-step chain, float64.

        Raises:
          ValueError: none was published for this process; VP (DDPM) and VE (SMLD) have one.
        """
        raise ValueError(
            f"sde: {type(self).__name__} has no published chain of {n} noise levels; train it in continuous time "
            "(training.continuous=True), or use vp or ve"
        )

    def posterior(
        self, x: Float[Array, "b *d"], x0: Float[Array, "b *d"], t: Coefficient, s: Coefficient
    ) -> tuple[Float[Array, "b *d"], Coefficient]:
        """Mean [b, ...] and standard deviation of p(x_s | x_t = x, x_0), s < t.

        mean = (scale sigma_s^2 x_t + alpha_s std^2 x_0) / sigma_t^2, deviation = std sigma_s / sigma_t
        (Ho et al. 2020, arXiv:2006.11239, eq. 6-7, for any affine process).
        """
        k = self.transition(s, t)
        noise = (k.std / self.sigma(t)) ** 2
        mean = expand(k.scale * k.std_ratio**2, x) * x + expand(self.alpha(s) * noise, x) * x0
        return mean, k.std * k.std_ratio

    def reverse_drift(
        self, x: Float[Array, "b *d"], t: Coefficient, score: Float[Array, "b *d"]
    ) -> Float[Array, "b *d"]:
        """Drift of the reverse-time SDE, f x - g^2 score (Anderson 1982; Song et al. 2021, eq. 6)."""
        return expand(self.drift_coefficient(t), x) * x - expand(self.diffusion(t) ** 2, x) * score

    def velocity(self, x0: Float[Array, "b *d"], eps: Float[Array, "b *d"], t: Coefficient) -> Float[Array, "b *d"]:
        """Velocity dx/dt of the probability flow, alpha' x0 + sigma' eps, at x = alpha x0 + sigma eps.

        It equals f x - g^2 score / 2 (Song et al. 2021, eq. 13) without a division by alpha or sigma.
        """
        alpha_rate, sigma_rate = self.rates(t)
        return expand(alpha_rate, x0) * x0 + expand(sigma_rate, x0) * eps

    def time_of_log_snr(self, log_snr: Coefficient) -> Coefficient:
        """The t in [t_min, 1] at which `log_snr` takes the given value, by bisection on log t.

        Values outside the range of [t_min, 1] give the nearer end.
        """
        target = jnp.asarray(log_snr)

        def halve(_: Array | int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bracket
            middle = 0.5 * (low + high)
            too_clean = self.log_snr(jnp.exp(middle)) > target
            return jnp.where(too_clean, middle, low), jnp.where(too_clean, high, middle)

        low = jnp.full_like(target, jnp.log(self.t_min))
        low, high = jax.lax.fori_loop(0, 60, halve, (low, jnp.zeros_like(target)))
        return jnp.exp(0.5 * (low + high))

    def prior_sample(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Draw from the Gaussian prior at t = 1, float32 (float64 under x64)."""
        return self.prior_std * jax.random.normal(key, shape, dtype=float)

    def prior_log_prob(self, z: Float[Array, "b *d"]) -> Float[Array, " b"]:
        """Log-density (nats) of each example under the prior at t = 1."""
        d = z[0].size
        squares = jnp.sum((z / self.prior_std).reshape(len(z), -1) ** 2, axis=1)
        return -0.5 * squares - 0.5 * d * jnp.log(2 * jnp.pi * self.prior_std**2)
