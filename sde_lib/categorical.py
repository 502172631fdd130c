"""Chains over categories: each position of x is a category of its own chain, whose steps are matrices of probabilities.

With Q(s, t)[i, j] = q(x_t = j | x_s = i) for s < t every position is noised by itself, q(x_t | x_0) is an entry of
Q(0, t), and the step back is (Austin et al. 2021, arXiv:2107.03006, eq. 3 and 4)

    q(x_s | x_t, x_0)  ~  Q(s, t)[x_s, x_t]  Q(0, s)[x_0, x_s],
    p(x_s | x_t)  =  sum over x_0 of p(x_0 | x_t) q(x_s | x_t, x_0)  ~  Q(s, t)[x_s, x_t]  (e Q(0, s))[x_s],

where e(x_0) ~ p(x_0 | x_t) / Q(0, t)[x_0, x_t] is what a model says of x_0 from the other positions alone
(`sde_lib.categorical_prediction`). So a process gives columns of Q(s, t), rows of Q(0, t) and the product of a row of
weights with Q(0, t), and no step here makes a matrix of an example.

Data are the categories 0 to K - 1; a chain may have one more state, the mask, which is K and no data value. x is int32
[b, ...], and what has a number for every category has them last, [b, ..., K].
"""

import abc
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from limits import check, share, whole
from sde_lib.base import Coefficient
from sde_lib.categorical_schedules import KeepSchedule, Linear

CATEGORIES = whole(2, 1_000_000)
T_MIN = share(below=True, note="0 where nothing is lost at data; published: 1e-3")
IMPOSSIBLE = -1e30
"""The logarithm that stands for that of 0: a number whose product with 0, and whose gradient, is 0."""

Categories = Int[Array, "b *d"]
Weights = Float[Array, "b *d k"]
"""A number for each data category: probabilities, or logarithms of such."""
StateWeights = Float[Array, "b *d s"]
"""A number for each state of a chain, the mask's among them."""


def per_example(coefficient: Shaped[Array, "..."] | float, dimensions: int) -> Shaped[Array, "..."]:
    """A number of each example, scalar or [b], in the shape that multiplies an array of so many dimensions."""
    c = jnp.asarray(coefficient)
    return c.reshape(c.shape + (1,) * (dimensions - c.ndim)) if c.ndim else c


def log_of(p: Float[Array, "..."], log_eps: float = 0.0) -> Float[Array, "..."]:
    """log p, `IMPOSSIBLE` where p is 0; with `log_eps` log(p + log_eps), as published code cuts it off (1e-6)."""
    if log_eps:
        return jnp.log(p + log_eps)
    return jnp.where(p > 0.0, jnp.log(jnp.where(p > 0.0, p, 1.0)), IMPOSSIBLE)


def picked(numbers: StateWeights, x: Categories) -> Float[Array, "b *d"]:
    """The number of the category x at each position."""
    return jnp.take_along_axis(numbers, x[..., None], axis=-1)[..., 0]


def drawn(key: Key[Array, ""], probabilities: StateWeights) -> Categories:
    """A category of each position, int32, by inverting the distribution function at one uniform number a position.

    The probabilities need no sum of 1.
    """
    cumulative = jnp.cumsum(probabilities, axis=-1)
    u = jax.random.uniform(key, probabilities.shape[:-1], probabilities.dtype) * cumulative[..., -1]
    index = jnp.sum(cumulative <= u[..., None], axis=-1, dtype=jnp.int32)  # one of probability 0 is never drawn
    return jnp.minimum(index, probabilities.shape[-1] - 1)


class CategoricalProcess(abc.ABC):
    """A chain over categories, in continuous time or of levels; a process gives the matrices' action.

    A chain of n levels has them at t = 1/n, 2/n, ..., 1, the cleanest first, and is asked there and at 0 alone.

    Attributes:
      categories: K, the number of data categories.
      t_min: the smallest time at which a loss in continuous time asks the model.
    """

    categories: int
    t_min: float = 0.0

    @property
    def states(self) -> int:
        """The number of states of the chain: K, or K + 1 with a mask."""
        return self.categories

    @property
    def mask(self) -> int | None:
        """The state that is the mask, and no data value; None of a chain without one."""
        return None

    @property
    def num_levels(self) -> int:
        """The levels of a chain; 0 in continuous time."""
        return 0

    def is_cleanest(self, t: Coefficient) -> Bool[Array, "..."]:
        """Whether t is the first level from data, of a chain."""
        return jnp.asarray(t) * self.num_levels < 1.5

    def grid(self, steps: int, start: float = 1.0) -> np.ndarray:
        """The times of a sampler of so many equal steps, from `start` to 0; of a chain some of its levels, and 0.

        A chain starts at the level nearest to `start`, and takes no more steps than it has levels up to there.

        Raises:
          ValueError: more steps than levels.
        """
        n = self.num_levels
        if not n:
            return np.linspace(start, 0.0, steps + 1)
        if steps > n:
            raise ValueError(f"sampling.steps is {steps}, and the chain has {n} levels; it must be at most {n}")
        first = max(1, round(start * n))
        return np.round(np.linspace(first, 0, min(steps, first) + 1)) / n

    def respaced(self, steps: int, start: float = 1.0) -> "CategoricalProcess":
        """The chain whose levels are those of `grid`, where its steps must be its own; else itself."""
        return self

    @property
    def begins_noised(self) -> bool:
        """Whether x at t_min, in continuous time, is not the data themselves."""
        return self.t_min > 0.0

    @property
    def parameters(self) -> dict[str, Array]:
        """The parameters that are trained with the network; no process over categories has any."""
        return {}

    @abc.abstractmethod
    def onto(self, x: Categories, s: Coefficient, t: Coefficient) -> StateWeights:
        """q(x_t = x | x_s = y) for every state y, [b, ..., states]: columns of Q(s, t), s < t."""

    @abc.abstractmethod
    def from_data(self, weights: Weights, t: Coefficient) -> StateWeights:
        """The weights [b, ..., K] of x_0 times Q(0, t), [b, ..., states]."""

    @abc.abstractmethod
    def marginal(self, x0: Categories, t: Coefficient) -> StateWeights:
        """q(x_t = y | x_0) for every state y, [b, ..., states]: rows of Q(0, t)."""

    @abc.abstractmethod
    def prior(self) -> Float[Array, " k"]:
        """The probabilities of the states at t = 1 that stand for the marginal there, [states]."""

    def entering(self, x: Categories, t: Coefficient) -> Float[Array, "b *d"]:
        """The rate at which the chain jumps into x from each other state, of one in continuous time.

        Raises:
          ValueError: a chain of levels, which has no rates.
        """
        raise ValueError(f"sde: {self._without('rates')}, or the ancestral sampler and the bound of its steps")

    def denoising_rate(self, t: Coefficient) -> Coefficient:
        """The rate at which what was replaced comes back, of a process that replaces.

        Raises:
          ValueError: another one.
        """
        raise ValueError(f"sde: {self._without('a rate of denoising')}")

    def churning_rate(self, t: Coefficient) -> Coefficient:
        """The rate at which what is kept and what is lost are exchanged where both are, of a process that replaces.

        Raises:
          ValueError: another one.
        """
        raise ValueError(f"sde: {self._without('a rate of denoising')}")

    def unmasking(self, s: Coefficient, t: Coefficient) -> Coefficient:
        """The probability that what is masked at t was not at s < t, of a process that replaces.

        Raises:
          ValueError: another one.
        """
        raise ValueError(f"sde: {self._without('a mask')}")

    def earlier_ratios(self, ratios: StateWeights, s: Coefficient, t: Coefficient) -> StateWeights:
        """p_s(y) / p_t(x) of the ratios p_t(y) / p_t(x) [b, ..., states], s < t, of a process that replaces.

        Raises:
          ValueError: another one.
        """
        raise ValueError(f"sde: {self._without('an inverse of its steps')}")

    def evidence_of_ratios(self, log_ratios: StateWeights, t: Coefficient) -> Weights:
        """The evidence [b, ..., K] that log p_t(y) / p_t(x) [b, ..., states] stand for; of what is negative log 0."""
        earlier = self.earlier_ratios(jnp.exp(log_ratios), jnp.zeros_like(t), t)
        return log_of(earlier[..., : self.categories])

    def _without(self, what: str) -> str:
        name = type(self).__name__
        return f"{name} is a chain without {what}; take a process that replaces (masked, uniform)"

    def likelihood(self, x: Categories, t: Coefficient) -> Weights:
        """q(x_t = x | x_0 = y) for every data category y, [b, ..., K]."""
        return self.onto(x, jnp.zeros_like(t), t)[..., : self.categories]

    def noise(self, key: Key[Array, ""], x0: Categories, t: Coefficient) -> Categories:
        """A draw of x_t given x_0."""
        return drawn(key, self.marginal(x0, t))

    def prior_sample(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Categories:
        """A draw of the prior at t = 1, int32."""
        return drawn(key, jnp.broadcast_to(self.prior(), (*shape, self.states)))

    def posterior_logits(
        self, x0: Categories, x: Categories, s: Coefficient, t: Coefficient, log_eps: float = 0.0
    ) -> StateWeights:
        """log q(x_s = y | x_t = x, x_0) for every state y but for a constant of each position, [b, ..., states]."""
        return log_of(self.onto(x, s, t), log_eps) + log_of(self.marginal(x0, s), log_eps)

    def reverse_logits(
        self, evidence: Weights, x: Categories, s: Coefficient, t: Coefficient, log_eps: float = 0.0
    ) -> StateWeights:
        """log p(x_s = y | x_t = x) for every state y but for a constant of each position, [b, ..., states].

        Args:
          evidence: the logarithm of what a model says of x_0 without the position's own x (`Belief.evidence`).
          x, s, t: the state at t, and the time s < t to which the step leads; at s = 0 it is p(x_0 | x_t).
          log_eps: what published code adds to probabilities in their logarithms.
        """
        weights = self.from_data(jax.nn.softmax(evidence, axis=-1), s)
        return log_of(self.onto(x, s, t), log_eps) + log_of(weights, log_eps)


@dataclasses.dataclass(frozen=True)
class Replacing(CategoricalProcess):
    """Each category is kept to time t with probability alpha(t), or else was replaced, whatever it was.

    What replaces it is one state, the absorbing one, or a draw of all, each as likely:

        Q(s, t) = (alpha(t) / alpha(s)) I + (1 - alpha(t) / alpha(s)) 1 pi^T,

    of which every product is a closed form. These are D3PM's uniform and absorbing chains (Austin et al. 2021), masked
    diffusion (MDLM, Sahoo et al. 2024, arXiv:2406.07524; MD4, Shi et al. 2024, arXiv:2406.04329), the graphs of SEDD
    (Lou et al. 2024, arXiv:2310.16834) and the mixture paths of discrete flow matching (Gat et al. 2024,
    arXiv:2407.15595).

    Attributes:
      categories: K.
      schedule: alpha(t).
      absorbing: the state that replaces, K for the mask, a category of its own. D3PM published K // 2, the middle grey,
        which is a data value too; None for a draw of all K.
      levels: the number of levels of a chain, 0 in continuous time.
      t_min: the smallest time of a loss in continuous time.
    """

    categories: int
    schedule: KeepSchedule = Linear()
    absorbing: int | None = None
    levels: int = 0
    t_min: float = 0.0

    def __post_init__(self) -> None:
        check("sde.", {"t_min": self.t_min}, {"t_min": T_MIN})
        check("", {"the number of categories": self.categories}, {"the number of categories": CATEGORIES})
        if self.absorbing is not None and not 0 <= self.absorbing <= self.categories:
            raise ValueError(
                f"sde: the absorbing state is {self.absorbing}; allowed are 0 to {self.categories - 1}, the data's own "
                f"categories, and {self.categories}, the mask"
            )

    @property
    def states(self) -> int:
        """K, and one more where the mask is one of its own."""
        return self.categories + (self.absorbing == self.categories)

    @property
    def mask(self) -> int | None:
        """K, where the absorbing state is no data value."""
        return self.absorbing if self.absorbing == self.categories else None

    @property
    def num_levels(self) -> int:
        """`levels`."""
        return self.levels

    @property
    def begins_noised(self) -> bool:
        """Whether something is lost at t_min, where it is no chain of levels, whose steps lead to data."""
        with jax.ensure_compile_time_eval():
            return not self.levels and float(self.lost(jnp.asarray(self.t_min, float))) > 0.0

    def kept(self, t: Coefficient) -> Coefficient:
        """alpha(t), but not 0, so that what is seen unmasked counts as kept however unlikely that is."""
        alpha = jnp.asarray(self.schedule.alpha(jnp.asarray(t, jnp.result_type(t, float))))
        return jnp.maximum(alpha, jnp.finfo(alpha.dtype).tiny)

    def lost(self, t: Coefficient) -> Coefficient:
        """1 - alpha(t)."""
        return self.schedule.lost(jnp.asarray(t, jnp.result_type(t, float)))

    def into(self, x: Categories, dtype: jnp.dtype) -> Float[Array, "b *d"]:
        """pi(x), the probability of x among what replaces."""
        if self.absorbing is None:
            return jnp.full(x.shape, 1.0 / self.categories, dtype)
        return (x == self.absorbing).astype(dtype)

    def prior(self) -> Float[Array, " k"]:
        """pi."""
        return self.into(jnp.arange(self.states), jnp.result_type(float))

    def onto(self, x: Categories, s: Coefficient, t: Coefficient) -> StateWeights:
        """alpha(t) / alpha(s) at y = x, and pi(x) times the rest at every y."""
        kept, lost = self._between(s, t)
        kept, lost = per_example(kept, x.ndim + 1), per_example(lost, x.ndim)
        return jax.nn.one_hot(x, self.states, dtype=kept.dtype) * kept + (lost * self.into(x, kept.dtype))[..., None]

    def _between(self, s: Coefficient, t: Coefficient) -> tuple[Coefficient, Coefficient]:
        """alpha(t) / alpha(s), and 1 minus it as a difference of what is lost."""
        kept = self.kept(s)
        return self.kept(t) / kept, jnp.clip((self.lost(t) - self.lost(s)) / kept, 0.0, 1.0)

    def from_data(self, weights: Weights, t: Coefficient) -> StateWeights:
        """alpha(t) weights + (1 - alpha(t)) pi times their sum."""
        dimensions, total = weights.ndim, jnp.sum(weights, axis=-1, keepdims=True)
        kept, lost = (per_example(c, dimensions).astype(weights.dtype) for c in (self.schedule.alpha(t), self.lost(t)))
        weights = jnp.pad(weights, [(0, 0)] * (dimensions - 1) + [(0, self.states - self.categories)])
        return kept * weights + lost * total * self.prior().astype(weights.dtype)

    def marginal(self, x0: Categories, t: Coefficient) -> StateWeights:
        """alpha(t) at y = x_0, and (1 - alpha(t)) pi."""
        kept, lost = (per_example(c, x0.ndim + 1) for c in (self.kept(t), self.lost(t)))
        return jax.nn.one_hot(x0, self.states, dtype=kept.dtype) * kept + lost * self.prior().astype(kept.dtype)

    def entering(self, x: Categories, t: Coefficient) -> Float[Array, "b *d"]:
        """-alpha'(t) / alpha(t) times pi(x)."""
        rate = per_example(self.schedule.rate(t) / self.kept(t), x.ndim)
        return rate * self.into(x, rate.dtype)

    def denoising_rate(self, t: Coefficient) -> Coefficient:
        """-alpha'(t) / (1 - alpha(t)): how fast what was replaced comes back, and the weight of the masked loss.

        It is 0 where nothing is lost.
        """
        lost = self.lost(t)
        return jnp.where(lost > 0.0, self.schedule.rate(t) / jnp.where(lost > 0.0, lost, 1.0), 0.0)

    def churning_rate(self, t: Coefficient) -> Coefficient:
        """-alpha'(t) / (alpha(t) (1 - alpha(t))), 0 where nothing is kept."""
        alpha = jnp.asarray(self.schedule.alpha(t))
        return jnp.where(alpha > 0.0, self.denoising_rate(t) / jnp.where(alpha > 0.0, alpha, 1.0), 0.0)

    def earlier_ratios(self, ratios: StateWeights, s: Coefficient, t: Coefficient) -> StateWeights:
        """(ratios - (1 - a) pi times their sum) / a with a = alpha(t) / alpha(s), the inverse of a step."""
        kept, lost = (per_example(c, ratios.ndim).astype(ratios.dtype) for c in self._between(s, t))
        total = jnp.sum(ratios, axis=-1, keepdims=True)
        return (ratios - lost * self.prior().astype(ratios.dtype) * total) / kept

    def unmasking(self, s: Coefficient, t: Coefficient) -> Coefficient:
        """(alpha(s) - alpha(t)) / (1 - alpha(t)), 0 where nothing is lost."""
        lost = self.lost(t)
        return jnp.where(lost > 0.0, (lost - self.lost(s)) / jnp.where(lost > 0.0, lost, 1.0), 0.0)

    def noise(self, key: Key[Array, ""], x0: Categories, t: Coefficient) -> Categories:
        """x_0, or what replaces it: one uniform number a position, and for a draw of all another one."""
        key_lost, key_into = jax.random.split(key)
        lost = per_example(self.lost(t), x0.ndim)
        replaced = jax.random.uniform(key_lost, x0.shape, lost.dtype) < lost
        return jnp.where(replaced, self.prior_sample(key_into, x0.shape), x0).astype(jnp.int32)

    def prior_sample(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Categories:
        """The absorbing state everywhere, or each state as likely."""
        if self.absorbing is None:
            return jax.random.randint(key, shape, 0, self.categories, jnp.int32)
        return jnp.full(shape, self.absorbing, jnp.int32)
