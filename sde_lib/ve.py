"""The variance-exploding SDE, dx = sqrt(d sigma^2 / dt) dw (Song et al. 2021, eq. 9)."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from limits import check, positive
from sde_lib.base import AffineSDE, Coefficient, Kernel

SIGMAS = {"sigma_min": positive(), "sigma_max": positive()}


def check_sigmas(low: float, high: float, published: str) -> None:
    """ValueError unless 0 < sigma_min < sigma_max."""
    check("sde.", {"sigma_min": low, "sigma_max": high}, SIGMAS)
    if low >= high:
        raise ValueError(f"sde: sigma_min {low}, sigma_max {high}; allowed is 0 < sigma_min < sigma_max ({published})")


@dataclasses.dataclass(frozen=True)
class VE(AffineSDE):
    """sigma(t) = sigma_min (sigma_max / sigma_min)^t, alpha = 1; at t = 0 the data carry sigma_min already.

    sigma_max should be about the largest distance between two data points (Song and Ermon 2020).
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sigmas(self.sigma_min, self.sigma_max, "published for CIFAR-10: 0.01 and 50")

    @property
    def _rate(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def alpha(self, t: Coefficient) -> Coefficient:
        """1."""
        return jnp.ones_like(t)

    def sigma(self, t: Coefficient) -> Coefficient:
        """sigma_min (sigma_max / sigma_min)^t."""
        return self.sigma_min * jnp.exp(self._rate * t)

    def rates(self, t: Coefficient) -> tuple[Coefficient, Coefficient]:
        """0 and sigma log(sigma_max / sigma_min)."""
        return jnp.zeros_like(t), self._rate * self.sigma(t)

    @property
    def prior_std(self) -> float:
        """sigma_max."""
        return self.sigma_max

    def transition(self, s: Coefficient, t: Coefficient) -> Kernel:
        """scale = 1, std^2 = sigma(t)^2 - sigma(s)^2."""
        shrink = self._rate * (s - t)
        return Kernel(jnp.ones_like(shrink), self.sigma(t) * jnp.sqrt(-jnp.expm1(2.0 * shrink)), jnp.exp(shrink))

    def discretization(self, n: int, t: Coefficient) -> Kernel:
        """The SMLD chain of n noise levels at index floor(t (n - 1)); below the first level lies 0."""
        i = self.level_index(t, n)
        sigma = self.sigma(i.astype(t.dtype) / (n - 1))
        ratio = jnp.where(i == 0, 0.0, jnp.exp(jnp.asarray(-self._rate / (n - 1), t.dtype)))
        return Kernel(jnp.ones_like(sigma), sigma * jnp.sqrt(1.0 - ratio**2), ratio)

    def levels(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """SMLD's n levels, a geometric sequence from sigma_min to sigma_max (Song and Ermon 2019)."""
        return np.ones(n), np.geomspace(self.sigma_min, self.sigma_max, n)
