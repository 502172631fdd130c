"""Bounds over categories as training losses (`sde_lib.categorical_bound`): of a chain's steps, or in continuous time.

The loss of an example estimates its bound, in bits a number, from one time, but for the prior, which does not depend on
the network. D3PM, MDLM and MD4 are this with their processes:

    D3PM (Austin et al. 2021, arXiv:2107.03006):   sde d3pm; cross_entropy_weight 0.001 makes its hybrid loss
    MDLM (Sahoo et al. 2024, arXiv:2406.07524):    sde masked, stratified times; importance_sampling makes weights equal
    MD4 (Shi et al. 2024, arXiv:2406.04329):       sde masked with its schedules; bound_steps is its finite form

A finite number of steps costs no more: the term of one of them stands for all.
"""

import abc
import dataclasses
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from experiment.ranges import FIELDS
from sde_lib import BeliefFn, CategoricalProcess
from sde_lib.categorical import Categories, Replacing, picked
from sde_lib.categorical_bound import flow_nats, rate_nats, score_entropy_nats, step_nats, step_of
from sde_lib.variational import bits
from training.examples import Examples
from training.losses.base import Loss
from training.model import Scores, TrainedModel
from training.times import uniform_numbers

Bits = Float[Array, " b"]


@dataclasses.dataclass(frozen=True, eq=False)
class OverCategories(Loss):
    """A loss that is the integral over t of a rate, and what is said at t_min, where the process begins.

    Attributes:
      process: the chain.
      stratified: whether each of B equal strata of a global batch gives one t, instead of B independent draws.
      importance_sampling: whether t is drawn so that log(1 - alpha) is uniform, of a process that replaces: the
        expectation is the same, and with masks every t then counts alike.

    Raises:
      ValueError: an option is out of its range, or the process has no rates.
    """

    process: CategoricalProcess  # type: ignore[assignment]  # the base's is of Gaussian noise
    stratified: Annotated[bool, FIELDS["training.stratified"]] = False
    importance_sampling: Annotated[bool, FIELDS["training.importance_sampling"]] = False
    of_categories = True
    ignores: ClassVar[tuple[str, ...]] = ("reduce_mean",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.levels or self.process.num_levels:
            return
        self.process.denoising_rate(jnp.ones(()))  # refuses a chain that has none
        if self.importance_sampling and self.process.t_min == 0.0:
            raise ValueError(
                "training.importance_sampling draws t uniformly in the logarithm of what is lost, which has no end at "
                "t = 0; set sde.t_min (published: 1e-3)"
            )

    @property
    def levels(self) -> int:
        """The number of steps of a chain; 0 in continuous time."""
        return 0

    @abc.abstractmethod
    def rate(self, belief: BeliefFn, x0: Categories, x: Categories, t: Bits) -> Float[Array, "b *d"]:
        """Return the rate of the bound at x_t = x, nats."""

    def times(self, u: Bits) -> tuple[Bits, Bits]:
        """Return t of numbers uniform in [0, 1), and the weight of a rate there."""
        t_min = self.process.t_min
        if not self.importance_sampling:
            return t_min + (1.0 - t_min) * u, jnp.full_like(u, 1.0 - t_min)
        process = self.process
        assert isinstance(process, Replacing)  # others were refused
        first, last = (jnp.log(process.lost(jnp.asarray(end, u.dtype))) for end in (t_min, 1.0))
        t = process.schedule.time_of_lost(jnp.exp(first + u * (last - first)))
        return t, (last - first) / process.denoising_rate(t)

    def __call__(self, model: TrainedModel, examples: Examples, state: None = None) -> Scores:
        """Return the estimate of the bound without its prior; one network evaluation, two where it begins noised."""
        x0, draws, process = examples.x0, examples.draws, self.process
        belief, noise = model.belief_fn(process), jax.vmap(process.noise)
        t, weight = self.times(uniform_numbers(draws, self.stratified))
        loss = weight * bits(self.rate(belief, x0, noise(draws.noise, x0, t), t))
        if process.begins_noised:
            start = jnp.full_like(t, process.t_min)
            loss = loss + bits(-picked(belief(noise(draws.second, x0, start), start).x0, x0))
        return {"loss": loss}


@dataclasses.dataclass(frozen=True, eq=False)
class CategoricalBound(OverCategories):
    """The loss is the bound, and beside it the cross-entropy of what the network is read as saying.

    Attributes:
      bound_steps: 0 for the process's own, continuous time or its levels; T for T equal steps of a continuous one.
      cross_entropy_weight: of -log p(x_0 | x_t) beside the bound.
      log_eps: what is added to probabilities in the logarithms of a chain's steps, as published.
    """

    bound_steps: Annotated[int, FIELDS["training.bound_steps"]] = 0
    cross_entropy_weight: Annotated[float, FIELDS["training.cross_entropy_weight"]] = 0.0
    log_eps: Annotated[float, FIELDS["training.log_eps"]] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.process.num_levels and self.bound_steps not in (0, self.process.num_levels):
            raise ValueError(
                f"training.bound_steps is {self.bound_steps}, and the chain has {self.process.num_levels} levels; set "
                "it to 0"
            )
        if self.levels and self.importance_sampling:
            raise ValueError(
                "training.importance_sampling is of continuous time, and the bound of steps; set it to False"
            )
        if not self.levels and (self.cross_entropy_weight or self.log_eps):
            raise ValueError(
                f"training.cross_entropy_weight is {self.cross_entropy_weight} and training.log_eps {self.log_eps}, of "
                "a bound of steps, and this one is in continuous time; set both to 0, or training.bound_steps"
            )

    @property
    def levels(self) -> int:
        """The number of steps; 0 in continuous time."""
        return self.process.num_levels or self.bound_steps

    def rate(self, belief: BeliefFn, x0: Categories, x: Categories, t: Bits) -> Float[Array, "b *d"]:
        """Return the bound's rate."""
        return rate_nats(self.process, belief(x, t), x0, x, t)

    def __call__(self, model: TrainedModel, examples: Examples, state: None = None) -> Scores:
        """Return the estimate of the bound; of n steps it is n times the term of one, and one network evaluation."""
        if not (n := self.levels):
            return super().__call__(model, examples, state)
        x0, draws, process = examples.x0, examples.draws, self.process
        s, t = step_of(uniform_numbers(draws, self.stratified), n)
        x = jax.vmap(process.noise)(draws.noise, x0, t)
        belief = model.belief_fn(process)(x, t)
        bound = n * bits(step_nats(process, belief, x0, x, s, t, self.log_eps))
        if not self.cross_entropy_weight:
            return {"loss": bound}
        cross_entropy = bits(-picked(belief.said, x0))
        return {"loss": bound + self.cross_entropy_weight * cross_entropy, "cross_entropy": cross_entropy}


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreEntropy(OverCategories):
    """The loss is the denoising score entropy (Lou et al. 2024, arXiv:2310.16834) of the ratios p_t(y) / p_t(x).

    Of a network that gives ratios (model.reading 'ratios') these need be of no distribution, and the entropy is what
    trains them to be; of any other it is the bound that `CategoricalBound` has in continuous time.
    """

    def rate(self, belief: BeliefFn, x0: Categories, x: Categories, t: Bits) -> Float[Array, "b *d"]:
        """Return the score entropy."""
        return score_entropy_nats(self.process, belief.ratios(x, t), x0, x, t)


@dataclasses.dataclass(frozen=True, eq=False)
class DiscreteFlow(OverCategories):
    """The loss is the generalised KL of discrete flow matching (Gat et al. 2024; Shaul et al. 2024)."""

    def rate(self, belief: BeliefFn, x0: Categories, x: Categories, t: Bits) -> Float[Array, "b *d"]:
        """Return the generalised KL."""
        return flow_nats(self.process, belief(x, t), x0, x, t)
