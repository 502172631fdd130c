"""The process of Karras et al. 2022 (arXiv:2206.00364): noise whose standard deviation is the time."""

import dataclasses

import jax.numpy as jnp

from limits import check
from sde_lib.base import AffineSDE, Coefficient, Kernel
from sde_lib.ve import SIGMAS, check_sigmas


@dataclasses.dataclass(frozen=True)
class EDM(AffineSDE):
    """alpha = 1, sigma(t) = sigma_max t: VE with a linear noise level, exactly data at t = 0; t_min is where it ends.

    The paper's t is sigma itself, from 80 down to 0.002; here t = sigma / sigma_max.
    """

    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check("sde.", vars(self), SIGMAS)

    def alpha(self, t: Coefficient) -> Coefficient:
        """1."""
        return jnp.ones_like(t)

    def sigma(self, t: Coefficient) -> Coefficient:
        """sigma_max t."""
        return self.sigma_max * t

    def rates(self, t: Coefficient) -> tuple[Coefficient, Coefficient]:
        """0 and sigma_max."""
        return jnp.zeros_like(t), jnp.full_like(t, self.sigma_max)

    def transition(self, s: Coefficient, t: Coefficient) -> Kernel:
        """scale = 1, std^2 = sigma_max^2 (t - s) (t + s)."""
        return Kernel(jnp.ones_like(s), self.sigma_max * jnp.sqrt((t - s) * (t + s)), s / t)


def edm(*, sigma_min: float = 0.002, sigma_max: float = 80.0) -> EDM:
    """The process from sigma_max to sigma_min, which is the noise at its t_min.

    Raises:
      ValueError: bounds that are not 0 < sigma_min < sigma_max.
    """
    check_sigmas(sigma_min, sigma_max, "published: 0.002 and 80")
    return EDM(sigma_max=sigma_max, t_min=sigma_min / sigma_max)
