"""The sub-variance-preserving SDE (Song et al. 2021, eq. 12)."""

import dataclasses

import jax.numpy as jnp

from sde_lib.base import AffineSDE, Coefficient, Kernel
from sde_lib.schedules import BetaSchedule, LinearBeta


@dataclasses.dataclass(frozen=True)
class SubVP(AffineSDE):
    """VP's alpha = exp(-B/2) with the smaller sigma = 1 - exp(-B); g^2 = beta (1 - exp(-2B))."""

    schedule: BetaSchedule = LinearBeta()

    def _integral(self, t: Coefficient) -> Coefficient:
        return self.schedule.integral(jnp.zeros_like(t), t)

    def alpha(self, t: Coefficient) -> Coefficient:
        """exp(-B(t) / 2)."""
        return jnp.exp(-0.5 * self._integral(t))

    def sigma(self, t: Coefficient) -> Coefficient:
        """1 - exp(-B(t))."""
        return -jnp.expm1(-self._integral(t))

    def rates(self, t: Coefficient) -> tuple[Coefficient, Coefficient]:
        """-beta alpha / 2 and beta alpha^2."""
        beta, alpha = self.schedule.beta(t), self.alpha(t)
        return -0.5 * beta * alpha, beta * alpha**2

    def drift_coefficient(self, t: Coefficient) -> Coefficient:
        """-beta(t) / 2."""
        return -0.5 * self.schedule.beta(t)

    def diffusion(self, t: Coefficient) -> Coefficient:
        """sqrt(beta(t) (1 - exp(-2 B(t))))."""
        return jnp.sqrt(-self.schedule.beta(t) * jnp.expm1(-2.0 * self._integral(t)))

    @property
    def prior_std(self) -> float:
        """1."""
        return 1.0

    def transition(self, s: Coefficient, t: Coefficient) -> Kernel:
        """scale = exp(-B(s, t) / 2), std^2 = (1 - exp(-B(s, t))) (1 - exp(-B(s) - B(t))).

        The product is sigma(t)^2 - scale^2 sigma(s)^2 after B(t) = B(s) + B(s, t) is put in: no cancellation.
        """
        b, both = self.schedule.integral(s, t), self._integral(s) + self._integral(t)
        std = jnp.sqrt(jnp.expm1(-b) * jnp.expm1(-both))
        return Kernel(jnp.exp(-0.5 * b), std, self.sigma(s) / self.sigma(t))
