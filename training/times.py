"""Which noise levels are trained how often: `Times` draws t for the examples of a batch.

Every distribution is a map from u, uniform on [0, 1), to t. As maps of one uniform number they serve independent and
stratified draws alike, on every process.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Float

from sde_lib import AffineSDE, Levels
from training.draws import Draws
from training.importance import LossHistory
from training.options import check_options, options_of

Time = Float[Array, " b"]
LOSS_AWARE = "loss_aware"


def uniform(sde: AffineSDE, u: Time) -> Time:
    """Return t uniform on [t_min, 1]."""
    return sde.t_min + u * (1.0 - sde.t_min)


def log_snr(sde: AffineSDE, u: Time) -> Time:
    """Return t uniform in log SNR between its values at 1 and t_min: the density is g^2 / sigma^2, up to a constant."""
    first, last = log_snr_range(sde)
    return sde.time_of_log_snr(last + u * (first - last))


def lognormal(sde: AffineSDE, u: Time, *, P_mean: float = -1.2, P_std: float = 1.2) -> Time:
    """Return t with ln(sigma / alpha) ~ N(P_mean, P_std^2) (Karras et al. 2022, arXiv:2206.00364, table 1).

    What falls outside [t_min, 1] is put on the nearer end: with sigma from 0.002 to 80 that is 2 in 10^5 of all draws.
    """
    return sde.time_of_log_snr(-2.0 * (P_mean + P_std * ndtri(u)))


TIMES: dict[str, Callable[..., Time]] = {"uniform": uniform, "log_snr": log_snr, "lognormal": lognormal}
"""The distributions of continuous time. Their keyword arguments are fields of `Times`."""


def log_snr_range(sde: AffineSDE) -> tuple[Array, Array]:
    """Return log SNR at t_min and at 1."""
    return sde.log_snr(jnp.asarray(sde.t_min)), sde.log_snr(jnp.asarray(1.0))


def level_times(levels: Levels, u: Time, probabilities: Float[Array, " n"] | None = None) -> Time:
    """Return the t of noise levels, each of which is drawn as often as the others, or by its probability."""
    if probabilities is None:
        index = jnp.floor(u * levels.n)
    else:
        index = jnp.searchsorted(jnp.cumsum(probabilities), u, side="right").astype(u.dtype)
    return levels.sde.level_time(jnp.minimum(index, levels.n - 1), levels.n)


def uniform_numbers(draws: Draws, stratified: bool) -> Float[Array, " b"]:
    """Return u in [0, 1) for each example: independent, or one from each of B equal strata of the global batch."""
    if stratified:
        return (jax.random.uniform(draws.batch) + draws.place / draws.size) % 1.0
    return jax.vmap(jax.random.uniform)(draws.time)


@dataclasses.dataclass(frozen=True)
class Times:
    """How t is drawn for the examples of a batch.

    Attributes:
      time_sampling: a name of `TIMES`; on noise levels "uniform", each as often, or "loss_aware" (`LossHistory`).
      stratified: whether each of B equal strata of a global batch gives one t, instead of B independent draws.
      P_mean, P_std: mean and standard deviation of ln(sigma / alpha) of "lognormal".
      loss_history: how many losses a level "loss_aware" keeps.
      uniform_probability: the share of uniform levels in "loss_aware".

    Raises:
      ValueError: an option is out of its range.
    """

    time_sampling: str = "uniform"
    stratified: bool = False
    P_mean: float = -1.2
    P_std: float = 1.2
    loss_history: int = 10
    uniform_probability: float = 0.001

    def __post_init__(self) -> None:
        check_options(self)

    def check(self, process: AffineSDE | Levels) -> None:
        """Raise ValueError where continuous time is to be drawn of levels, or levels of continuous time."""
        if isinstance(process, Levels):
            if self.time_sampling not in ("uniform", LOSS_AWARE):
                raise ValueError(
                    f"training.time_sampling is {self.time_sampling!r}, a distribution of continuous time; with "
                    "training.continuous=False it must be 'uniform', each noise level as often, or 'loss_aware'"
                )
        elif self.time_sampling == LOSS_AWARE:
            raise ValueError(
                "training.time_sampling is 'loss_aware', which is for noise levels; set training.continuous=False and "
                "model.num_scales"
            )

    def history(self, process: AffineSDE | Levels) -> LossHistory | None:
        """Return the empty history that "loss_aware" begins with; None for the other ways."""
        if isinstance(process, Levels) and self.time_sampling == LOSS_AWARE:
            return LossHistory.create(process.n, self.loss_history)
        return None

    def __call__(self, process: AffineSDE | Levels, draws: Draws, history: LossHistory | None = None) -> Time:
        """Return the t of a part of a batch. Levels are drawn by the history, and without one each as often."""
        u = uniform_numbers(draws, self.stratified)
        if isinstance(process, Levels):
            return level_times(process, u, history and history.probabilities(self.uniform_probability))
        draw = TIMES[self.time_sampling]
        return draw(process, u, **{name: getattr(self, name) for name in options_of(draw)})
