"""beta(t) of the variance-preserving family, each with its integral in a form that does not cancel."""

import abc
import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from sde_lib.base import Coefficient


@dataclasses.dataclass(frozen=True)
class BetaSchedule(abc.ABC):
    """A noise rate beta(t) >= 0 on [0, 1]."""

    @abc.abstractmethod
    def beta(self, t: Coefficient) -> Coefficient:
        """The rate at t."""

    @abc.abstractmethod
    def integral(self, s: Coefficient, t: Coefficient) -> Coefficient:
        """B(s, t), the integral of beta from s to t; accurate also for t close to s."""

    @abc.abstractmethod
    def discrete_betas(self, n: int) -> np.ndarray:
        """The n values beta_i of the discrete chain, float64."""


@dataclasses.dataclass(frozen=True)
class LinearBeta(BetaSchedule):
    """beta(t) = beta_min + t (beta_max - beta_min) (Song et al. 2021, eq. 32; Ho et al. 2020)."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.beta_min <= self.beta_max or self.beta_max == 0.0:
            raise ValueError(
                f"sde: beta_min {self.beta_min}, beta_max {self.beta_max}; allowed is 0 <= beta_min <= beta_max "
                "with beta_max > 0 (published: 0.1 and 20)"
            )

    def beta(self, t: Coefficient) -> Coefficient:
        """The rate at t."""
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def integral(self, s: Coefficient, t: Coefficient) -> Coefficient:
        """(t - s) beta((s + t) / 2): exact for a linear rate."""
        return (t - s) * self.beta(0.5 * (s + t))

    def discrete_betas(self, n: int) -> np.ndarray:
        """linspace(beta_min / n, beta_max / n, n), float64 (Song et al. 2021, App. C)."""
        return np.linspace(self.beta_min / n, self.beta_max / n, n)


@dataclasses.dataclass(frozen=True)
class CosineBeta(BetaSchedule):
    """alpha(t)^2 = cos^2(a(t)) / cos^2(a(0)), a(t) = pi/2 (t t_max + s) / (1 + s) (Nichol and Dhariwal 2021).

    The published schedule has t_max = 1, where beta is infinite; its discrete form clips beta at 0.999.
    Here time is scaled so that t = 1 is the published t_max = 0.9946 (alpha^2 = 7e-5, about as noisy as
    the linear schedule's end; Lu et al. 2022, arXiv:2206.00927, App. D.4).
    """

    s: float = 0.008
    t_max: float = 0.9946

    def __post_init__(self) -> None:
        if not (self.s >= 0.0 and 0.0 < self.t_max < 1.0):
            raise ValueError(f"sde: s {self.s}, t_max {self.t_max}; allowed is s >= 0 and 0 < t_max < 1")

    def _complement(self, t: Coefficient) -> Coefficient:
        """pi/2 - a(t), the angle whose sine is cos a(t): no cancellation as t -> 1."""
        return (0.5 * math.pi / (1.0 + self.s)) * ((1.0 - self.t_max) + self.t_max * (1.0 - t))

    def beta(self, t: Coefficient) -> Coefficient:
        """The rate at t, -d/dt log alpha(t)^2."""
        return (math.pi * self.t_max / (1.0 + self.s)) / jnp.tan(self._complement(t))

    def integral(self, s: Coefficient, t: Coefficient) -> Coefficient:
        """-2 log(cos a(t) / cos a(s)), the ratio as 1 + r with r small when t is close to s."""
        d = (0.5 * math.pi * self.t_max / (1.0 + self.s)) * (t - s)
        r = -2.0 * jnp.sin(0.5 * d) ** 2 - jnp.sin(d) / jnp.tan(self._complement(s))
        ratio = jnp.sin(self._complement(t)) / jnp.sin(self._complement(s))
        near = r > -0.5
        return -2.0 * jnp.where(near, jnp.log1p(jnp.where(near, r, 0.0)), jnp.log(ratio))

    def discrete_betas(self, n: int) -> np.ndarray:
        """1 - alpha-bar(i+1) / alpha-bar(i), clipped at 0.999, float64 (Nichol and Dhariwal 2021, eq. 17)."""
        angle = 0.5 * math.pi * (np.arange(n + 1) / n + self.s) / (1.0 + self.s)
        alpha_bar = np.cos(angle) ** 2
        return np.minimum(1.0 - alpha_bar[1:] / alpha_bar[:-1], 0.999)


SCHEDULES = {"linear": LinearBeta, "cosine": CosineBeta}
