"""The processes of flow matching: data and noise are interpolated, and nothing of the data is left at t = 1.

Both have alpha(1) = 0 exactly, so the flow begins at noise alone. There f and g are infinite, while the velocity, the
transition and the posterior are finite; samplers take a first step that needs no more than these.
"""

import abc
import dataclasses
import math

import jax.numpy as jnp

from sde_lib.base import AffineSDE, Coefficient, Kernel


@dataclasses.dataclass(frozen=True)
class Interpolation(AffineSDE):
    """A process from data to noise alone, for which alpha(1) = 0 and sigma(1) = 1."""

    @property
    def prior_std(self) -> float:
        """1."""
        return 1.0

    @abc.abstractmethod
    def time_of_noise(self, ratio: Coefficient) -> Coefficient:
        """The t at which sigma / alpha has the given value."""

    def time_of_log_snr(self, log_snr: Coefficient) -> Coefficient:
        """The t in [t_min, 1] at which `log_snr` takes the given value, in closed form."""
        return jnp.clip(self.time_of_noise(jnp.exp(-0.5 * jnp.asarray(log_snr))), self.t_min, 1.0)


@dataclasses.dataclass(frozen=True)
class Flow(Interpolation):
    """alpha = 1 - t, sigma = t, of velocity eps - x0 (Liu et al. 2022, arXiv:2209.03003; Lipman et al. 2022,
    arXiv:2210.02747): each point goes straight from its data to its noise.
    """

    def alpha(self, t: Coefficient) -> Coefficient:
        """1 - t."""
        return 1.0 - t

    def sigma(self, t: Coefficient) -> Coefficient:
        """t."""
        return jnp.asarray(t)

    def rates(self, t: Coefficient) -> tuple[Coefficient, Coefficient]:
        """-1 and 1."""
        one = jnp.ones_like(t)
        return -one, one

    def diffusion(self, t: Coefficient) -> Coefficient:
        """sqrt(2 t / (1 - t))."""
        return jnp.sqrt(2.0 * t / (1.0 - t))

    def log_snr(self, t: Coefficient) -> Coefficient:
        """2 log((1 - t) / t)."""
        return 2.0 * (jnp.log1p(-t) - jnp.log(t))

    def time_of_noise(self, ratio: Coefficient) -> Coefficient:
        """r / (1 + r)."""
        return 1.0 / (1.0 + 1.0 / ratio)

    def transition(self, s: Coefficient, t: Coefficient) -> Kernel:
        """scale = (1 - t) / (1 - s), std^2 = (t - s) (s + t - 2 s t) / (1 - s)^2."""
        std = jnp.sqrt((t - s) * (s * (1.0 - t) + t * (1.0 - s))) / (1.0 - s)
        return Kernel((1.0 - t) / (1.0 - s), std, s / t)


@dataclasses.dataclass(frozen=True)
class GVP(Interpolation):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2): the generalised variance-preserving path (Ma et al. 2024,
    arXiv:2401.08740, sec. 2.4), which turns data into noise at constant speed.
    """

    def alpha(self, t: Coefficient) -> Coefficient:
        """cos(pi t / 2), as the sine of the angle that is left, which is 0 at t = 1 in any precision."""
        return jnp.sin(0.5 * math.pi * (1.0 - t))

    def sigma(self, t: Coefficient) -> Coefficient:
        """sin(pi t / 2)."""
        return jnp.sin(0.5 * math.pi * t)

    def rates(self, t: Coefficient) -> tuple[Coefficient, Coefficient]:
        """-pi sigma / 2 and pi alpha / 2."""
        return -0.5 * math.pi * self.sigma(t), 0.5 * math.pi * self.alpha(t)

    def diffusion(self, t: Coefficient) -> Coefficient:
        """sqrt(pi sigma / alpha)."""
        return jnp.sqrt(math.pi * self.sigma(t) / self.alpha(t))

    def time_of_noise(self, ratio: Coefficient) -> Coefficient:
        """2 arctan(r) / pi."""
        return 2.0 / math.pi * jnp.arctan(ratio)

    def transition(self, s: Coefficient, t: Coefficient) -> Kernel:
        """scale = alpha(t) / alpha(s), std^2 = sin(pi (t - s) / 2) sin(pi (t + s) / 2) / alpha(s)^2.

        The second sine is taken of what t + s leaves to 2 where that is less: it vanishes there too.
        """
        alpha, total = self.alpha(s), jnp.minimum(s + t, (1.0 - s) + (1.0 - t))
        sines = jnp.sin(0.5 * math.pi * (t - s)) * jnp.sin(0.5 * math.pi * total)
        return Kernel(self.alpha(t) / alpha, jnp.sqrt(sines) / alpha, self.sigma(s) / self.sigma(t))
