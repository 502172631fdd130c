"""The variance-preserving SDE, dx = -beta/2 x dt + sqrt(beta) dw (Song et al. 2021, eq. 11)."""

import dataclasses
import itertools
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from sde_lib.base import AffineSDE, Coefficient, Kernel
from sde_lib.schedules import BetaSchedule, LinearBeta


@dataclasses.dataclass(frozen=True)
class Scheduled(AffineSDE):
    """dx = -beta/2 x dt + g dw: with B(t) the integral of beta, alpha = exp(-B/2); the prior is a unit Gaussian."""

    schedule: BetaSchedule = LinearBeta()

    def integral(self, t: Coefficient) -> Coefficient:
        """B(t)."""
        return self.schedule.integral(jnp.zeros_like(t), t)

    def alpha(self, t: Coefficient) -> Coefficient:
        """exp(-B(t) / 2)."""
        return jnp.exp(-0.5 * self.integral(t))

    def drift_coefficient(self, t: Coefficient) -> Coefficient:
        """-beta(t) / 2."""
        return -0.5 * self.schedule.beta(t)

    @property
    def prior_std(self) -> float:
        """1."""
        return 1.0


@dataclasses.dataclass(frozen=True)
class VP(Scheduled):
    """alpha = exp(-B/2), sigma^2 = 1 - exp(-B).

    ``-expm1(-B)`` keeps float32 exact near t = 0, where ``1 - exp(-B)`` loses the variance.
    """

    noise_exponent: ClassVar[float] = 0.5

    def sigma(self, t: Coefficient) -> Coefficient:
        """sqrt(1 - exp(-B(t)))."""
        return jnp.sqrt(-jnp.expm1(-self.integral(t)))

    def rates(self, t: Coefficient) -> tuple[Coefficient, Coefficient]:
        """-beta alpha / 2 and beta alpha^2 / (2 sigma)."""
        half, alpha = 0.5 * self.schedule.beta(t), self.alpha(t)
        return -half * alpha, half * alpha**2 / self.sigma(t)

    def diffusion(self, t: Coefficient) -> Coefficient:
        """sqrt(beta(t))."""
        return jnp.sqrt(self.schedule.beta(t))

    def transition(self, s: Coefficient, t: Coefficient) -> Kernel:
        """scale = exp(-B(s, t) / 2), std^2 = 1 - exp(-B(s, t))."""
        b = self.schedule.integral(s, t)
        return Kernel(jnp.exp(-0.5 * b), jnp.sqrt(-jnp.expm1(-b)), self.sigma(s) / self.sigma(t))

    def discretization(self, n: int, t: Coefficient) -> Kernel:
        """The DDPM chain of n steps at index floor(t (n - 1)): scale^2 = 1 - beta_i, std^2 = beta_i."""
        betas = self._betas(n)
        variance = -np.expm1(_log_alpha_bar(betas))
        ratio = np.sqrt(np.concatenate([[0.0], variance[:-1]]) / variance)
        i = self.level_index(t, n)
        tables = np.sqrt(1.0 - betas), np.sqrt(betas), ratio
        return Kernel(*(jnp.asarray(table, t.dtype)[i] for table in tables))

    def levels(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """DDPM's n levels: alpha_i^2 is the product of 1 - beta_j up to i (Ho et al. 2020, eq. 4)."""
        log_alpha_bar = _log_alpha_bar(self._betas(n))
        return np.exp(0.5 * log_alpha_bar), np.sqrt(-np.expm1(log_alpha_bar))

    def _betas(self, n: int) -> np.ndarray:
        """DDPM's n betas; ValueError where a step would add more noise than there is in the end."""
        betas = self.schedule.discrete_betas(n)
        if betas.max() >= 1.0:
            least = next(k for k in itertools.count(n + 1) if self.schedule.discrete_betas(k).max() < 1.0)
            raise ValueError(
                f"sde: {n} noise levels are too few: beta_i reaches {betas.max():.3g}, and must stay below 1; this "
                f"schedule needs at least {least} (published: 1000)"
            )
        return betas


def _log_alpha_bar(betas: np.ndarray) -> np.ndarray:
    """log of the products of 1 - beta up to each level; minus infinity at a level behind a beta of 1."""
    with np.errstate(divide="ignore"):
        return np.cumsum(np.log1p(-betas))
