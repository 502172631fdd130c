"""The sub-variance-preserving SDE (Song et al. 2021, eq. 12)."""

import dataclasses

import jax.numpy as jnp

from sde_lib.base import Coefficient, Kernel
from sde_lib.vp import Scheduled


@dataclasses.dataclass(frozen=True)
class SubVP(Scheduled):
    """VP's alpha = exp(-B/2) with the smaller sigma = 1 - exp(-B); g^2 = beta (1 - exp(-2B))."""

    def sigma(self, t: Coefficient) -> Coefficient:
        """1 - exp(-B(t))."""
        return -jnp.expm1(-self.integral(t))

    def rates(self, t: Coefficient) -> tuple[Coefficient, Coefficient]:
        """-beta alpha / 2 and beta alpha^2."""
        beta, alpha = self.schedule.beta(t), self.alpha(t)
        return -0.5 * beta * alpha, beta * alpha**2

    def transition(self, s: Coefficient, t: Coefficient) -> Kernel:
        """scale = exp(-B(s, t) / 2), std^2 = (1 - exp(-B(s, t))) (1 - exp(-B(s) - B(t))).

        The product is sigma(t)^2 - scale^2 sigma(s)^2 after B(t) = B(s) + B(s, t) is put in: no cancellation.
        """
        b, both = self.schedule.integral(s, t), self.integral(s) + self.integral(t)
        std = jnp.sqrt(jnp.expm1(-b) * jnp.expm1(-both))
        return Kernel(jnp.exp(-0.5 * b), std, self.sigma(s) / self.sigma(t))
