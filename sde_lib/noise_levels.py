"""The process as a discretely trained network knows it: n noise levels instead of a continuum."""

import dataclasses

import jax.numpy as jnp

from limits import check
from sde_lib.base import ROUNDING, AffineSDE, Coefficient, Process
from sde_lib.discrete import CHAIN


@dataclasses.dataclass(frozen=True)
class NoiseLevels(Process):
    """The n published noise levels of an SDE as functions of t: level i at the SDE's `level_time`, the cleanest is 0.

    DDPM's levels lie off the SDE's own alpha(t), sigma(t) near data: at t = 0 they have sigma 0.01, the SDE has 0. So
    what trains on the levels, and what steps from one to the next, asks for the level's own numbers.

    Attributes:
      sde: the process; ValueError if it has no published levels.
      n: how many levels: N of the network, whatever the sampler's number of steps.
      exact: alpha and sigma at t are those of level floor(t (n - 1)), as the published discrete losses and samplers
        have it; else the SDE's own, smooth in t, for the probability flow and its likelihood.
    """

    sde: AffineSDE
    n: int
    exact: bool = True

    def __post_init__(self) -> None:
        check("model.", {"num_scales": self.n}, {"num_scales": CHAIN["n"]})
        self.sde.levels(self.n)

    def alpha(self, t: Coefficient) -> Coefficient:
        """Scale of the data at t."""
        return self._table(0, t) if self.exact else self.sde.alpha(t)

    def sigma(self, t: Coefficient) -> Coefficient:
        """Standard deviation of the noise at t."""
        return self._table(1, t) if self.exact else self.sde.sigma(t)

    def rates(self, t: Coefficient) -> tuple[Coefficient, Coefficient]:
        """alpha'(t) and sigma'(t) of the SDE, with which a network that predicts a velocity is read on levels too."""
        return self.sde.rates(t)

    def position(self, t: Coefficient) -> Coefficient:
        """The position of t among the levels is i at level i, the cleanest 0, and a fraction between two.

        Where they are exact, it is a whole number at a time that is one rounding error off a level. A network that has
        something of its own for each level, as GLIDE's CLIP has, is so told of no other.
        """
        position = self.sde.level_position(t, self.n)
        nearest = jnp.round(position)
        return (
            jnp.where(jnp.abs(position - nearest) <= ROUNDING * self.n, nearest, position) if self.exact else position
        )

    def _table(self, column: int, t: Coefficient) -> Coefficient:
        return jnp.asarray(self.sde.levels(self.n)[column], t.dtype)[self.sde.level_index(t, self.n)]
