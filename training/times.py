"""The times t that a loss trains at: `Times` draws them for the examples of a batch.

Every distribution is a map from u, uniform on [0, 1), to t. As maps of one uniform number they serve independent and
stratified draws alike, on every process.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, Int

from experiment.ranges import FIELDS
from limits import check_declared
from samplers import grids
from sde_lib import AffineSDE, NoiseLevels
from training.draws import Draws

Time = Float[Array, " b"]
LOSS_AWARE = "loss_aware"


def log_snr_range(sde: AffineSDE) -> tuple[Array, Array]:
    """Return log SNR at t_min and at 1."""
    return sde.log_snr(jnp.asarray(sde.t_min)), sde.log_snr(jnp.asarray(1.0))


def log_snr(sde: AffineSDE, u: Time) -> Time:
    """Return t uniform in log SNR between its values at 1 and t_min: the density is g^2 / sigma^2, up to a constant."""
    first, last = log_snr_range(sde)
    return sde.time_of_log_snr(last + u * (first - last))


def lognormal(sde: AffineSDE, u: Time, options: "Times") -> Time:
    """Return t with ln(sigma / alpha) ~ N(P_mean, P_std^2) (Karras et al. 2022, arXiv:2206.00364, table 1).

    What falls outside [t_min, 1] is put on the nearer end: with sigma from 0.002 to 80 that is 2 in 10^5 of all draws.
    """
    return sde.time_of_log_snr(-2.0 * (options.P_mean + options.P_std * ndtri(u)))


def logit_normal(sde: AffineSDE, u: Time, options: "Times") -> Time:
    """Return t with log(t / (1 - t)) ~ N(logit_mean, logit_std^2) (Esser et al. 2024, arXiv:2403.03206, eq. 19).

    What falls below t_min is put there.
    """
    t = jax.nn.sigmoid(options.logit_mean + options.logit_std * ndtri(u))
    return jnp.clip(t, sde.t_min, 1.0)


TIMES: dict[str, Callable[..., Time]] = {
    "uniform": lambda sde, u, options: sde.t_min + u * (1.0 - sde.t_min),
    "log_snr": lambda sde, u, options: log_snr(sde, u),
    "lognormal": lognormal,
    "logit_normal": logit_normal,
}
"""The distributions of continuous time by name, as functions of (process, u [b], `Times`)."""


def level_times(levels: NoiseLevels, u: Time, probabilities: Float[Array, " n"] | None = None) -> Time:
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


class LossHistory(NamedTuple):
    """The history holds the last losses of each of n levels, oldest first, and how many there are; the rest is 0.

    Levels are drawn by them as in Nichol and Dhariwal 2021 (arXiv:2102.09672, eq. 18): level i with probability
    proportional to sqrt(E L_i^2), its loss weighted by 1 / (n p_i). The expectation is that of uniform levels, the
    variance less where losses differ by orders of magnitude, as the terms of the variational bound do. E is over the
    last losses of each level; until every level has so many, levels are uniform.
    """

    losses: Float[Array, "n h"]
    counts: Int[Array, " n"]

    @classmethod
    def create(cls, n: int, length: int) -> "LossHistory":
        """Return an empty one, of `length` losses a level (published: 10)."""
        return cls(jnp.zeros((n, length), float), jnp.zeros(n, jnp.int32))

    def probabilities(self, uniform: float) -> Float[Array, " n"]:
        """Return p_i, mixed with a share `uniform` (published: 0.001) of uniform levels so that none is forgotten."""
        n, length = self.losses.shape
        root = jnp.sqrt(jnp.mean(jnp.square(self.losses), axis=1))
        aware = (1.0 - uniform) * root / jnp.maximum(jnp.sum(root), jnp.finfo(root.dtype).tiny) + uniform / n
        full = jnp.all(self.counts == length)
        p = jnp.where(full, aware, jnp.ones(n, root.dtype))
        return p / jnp.sum(p)

    def updated(self, level: Int[Array, " b"], losses: Float[Array, " b"]) -> "LossHistory":
        """Return it with these losses appended in order; what is too old goes."""
        n, length = self.losses.shape
        same = level[:, None] == level[None, :]
        before = jnp.sum(jnp.tril(same, -1), axis=1)  # how many of this batch come before it at its level
        added = jnp.zeros(n, jnp.int32).at[level].add(1)
        dropped = jnp.maximum(self.counts + added - length, 0)
        source = jnp.arange(length) + dropped[:, None]
        old = jnp.take_along_axis(self.losses, jnp.minimum(source, length - 1), axis=1)
        kept = jnp.where(source < self.counts[:, None], old, 0.0)
        place = self.counts[level] + before - dropped[level]
        place = jnp.where(place < 0, length, place)  # out of range: more of one level in a batch than are kept
        new = kept.at[level, place].set(losses.astype(kept.dtype), mode="drop")
        return LossHistory(new, jnp.minimum(self.counts + added, length))


@dataclasses.dataclass(frozen=True)
class Times:
    """The way in which t is drawn for the examples of a batch.

    Attributes:
      time_sampling: a name of `TIMES`; on noise levels "uniform", each as often, or "loss_aware" (`LossHistory`).
      stratified: whether each of B equal strata of a global batch gives one t, instead of B independent draws.
      P_mean, P_std: mean and standard deviation of ln(sigma / alpha) of "lognormal".
      logit_mean, logit_std: mean and standard deviation of log(t / (1 - t)) of "logit_normal".
      time_shift: s of the shift t' = s t / (1 + (s - 1) t) of continuous times (Esser et al. 2024, eq. 23): above 1
        it moves them towards noise, which pictures of higher resolution need; 1 leaves them.
      loss_history: how many losses a level "loss_aware" keeps.
      uniform_probability: the share of uniform levels in "loss_aware".

    Raises:
      ValueError: an option is out of its range.
    """

    time_sampling: Annotated[str, FIELDS["training.time_sampling"]] = "uniform"
    stratified: Annotated[bool, FIELDS["training.stratified"]] = False
    P_mean: Annotated[float, FIELDS["training.P_mean"]] = -1.2
    P_std: Annotated[float, FIELDS["training.P_std"]] = 1.2
    logit_mean: Annotated[float, FIELDS["training.logit_mean"]] = 0.0
    logit_std: Annotated[float, FIELDS["training.logit_std"]] = 1.0
    time_shift: Annotated[float, FIELDS["training.time_shift"]] = 1.0
    loss_history: Annotated[int, FIELDS["training.loss_history"]] = 10
    uniform_probability: Annotated[float, FIELDS["training.uniform_probability"]] = 0.001

    def __post_init__(self) -> None:
        check_declared("training.", self)

    def __call__(self, process: AffineSDE | NoiseLevels, draws: Draws, history: LossHistory | None = None) -> Time:
        """Return the t of a part of a batch. Levels are drawn by the history, and without one each as often."""
        u = uniform_numbers(draws, self.stratified)
        if isinstance(process, NoiseLevels):
            return level_times(process, u, history and history.probabilities(self.uniform_probability))
        t = TIMES[self.time_sampling](process, u, self)
        return t if self.time_shift == 1.0 else jnp.maximum(grids.shifted_times(t, self.time_shift), process.t_min)
