"""What a model says of categories: the probabilities of x_0 given all of x_t, and given all but a position's own.

By Bayes' rule the two differ by what the position itself says, which is the process's own and needs no model:

    log p(x_0 | x_t)  =  evidence(x_0)  +  log q(x_t | x_0)  +  constant.

With masks they agree where x is masked, and where it is not x_0 = x (the substitutions of MDLM, Sahoo et al. 2024,
arXiv:2406.07524, sec. 3.2.3). A network may be trained to say either one, or the ratios p_t(y) / p_t(x) of score
entropy (Lou et al. 2024, arXiv:2310.16834), and each gives the others.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from limits import OneOf, check
from sde_lib.base import Coefficient
from sde_lib.categorical import (
    IMPOSSIBLE,
    CategoricalProcess,
    Categories,
    StateWeights,
    Weights,
    log_of,
    per_example,
    picked,
)
from sde_lib.prediction import NetworkFn

READINGS = ("posterior", "evidence", "published", "ratios")
"""What the logits of a network may be: see `CategoricalReading`."""

CategoricalFn = Callable[[Categories, Float[Array, " b"]], Weights]
"""(x [b, ...], t [b]) -> logits [b, ..., K]: log p(x_0 | x_t) of each position but for a constant."""

RatioFn = Callable[[Categories, Float[Array, " b"]], StateWeights]
"""(x [b, ...], t [b]) -> log p_t(y) / p_t(x) [b, ..., states] for y that differs from x in that position alone."""


class Belief(NamedTuple):
    """What a model says at (x, t), logarithms of probabilities of the data categories at each position.

    Attributes:
      x0: log p(x_0 | x_t), [b, ..., K], normalised.
      evidence: the same without what x at the position says, [b, ..., K], but for a constant.
      said: what the network was read as saying, normalised: the one of the two that it is trained for.
    """

    x0: Weights
    evidence: Weights
    said: Weights


@dataclasses.dataclass(frozen=True)
class BeliefFn:
    """(x [b, ...], t [b]) -> `Belief`: a model along one process, which every sampler and bound over categories takes.

    Attributes:
      process: the chain.
      function: (x, t) -> the network's logits [b, ..., K].
      reading: what they are: 'posterior', log p(x_0 | x_t); 'evidence', that without the position's own x; 'published',
        D3PM's, which are the former at the cleanest level, the first step from data, and the latter at the others;
        'ratios', the output of a `RatioFn` [b, ..., states], of a process that replaces.
    """

    process: CategoricalProcess
    function: CategoricalFn | RatioFn
    reading: str = "posterior"

    def __post_init__(self) -> None:
        check("", {"the reading of logits": self.reading}, {"the reading of logits": OneOf(READINGS)})

    def __call__(self, x: Categories, t: Float[Array, " b"]) -> Belief:
        """What the model says; one evaluation."""
        logits = self.function(x, t)
        own = log_of(self.process.likelihood(x, t)).astype(logits.dtype)
        if self.reading == "ratios":
            return of_evidence(self.process.evidence_of_ratios(logits, t), own)
        posterior, evidence = of_posterior(logits, own), of_evidence(logits, own)
        if self.reading == "posterior":
            return posterior
        if self.reading == "evidence":
            return evidence
        cleanest = per_example(self.process.is_cleanest(t), logits.ndim)
        said = jax.nn.log_softmax(logits, axis=-1)
        # There also where the step from data has 0, but for a mask of its own, beside which x_0 is seen.
        x0 = jnp.where(cleanest, said if self.process.mask is None else posterior.x0, evidence.x0)
        return Belief(x0, jnp.where(cleanest, posterior.evidence, logits), said)

    def ratios(self, x: Categories, t: Float[Array, " b"]) -> StateWeights:
        """The `RatioFn`; one evaluation of the model."""
        if self.reading == "ratios":
            return self.function(x, t)
        return log_ratios(self.process, self(x, t).evidence, x, t)

    def rates(self, x: Categories, t: Float[Array, " b"]) -> StateWeights:
        """The rates of the reverse process from x to every other state, [b, ..., states]; one evaluation.

        They are the rates from y to x times p_t(y) / p_t(x); out of a mask the rate of denoising times p(x_0 = y |
        x_t).
        """
        others = jnp.arange(self.process.states) != x[..., None]
        if self.reading == "ratios" or self.process.mask is None:
            rates = self.process.entering(x, t)[..., None] * jnp.exp(self.ratios(x, t))
            return jnp.where(others, rates, 0.0)
        denoised = per_example(self.process.denoising_rate(t), x.ndim + 1) * jnp.exp(self(x, t).x0)
        denoised = jnp.pad(denoised, [(0, 0)] * x.ndim + [(0, 1)])
        return jnp.where((x == self.process.mask)[..., None], denoised, 0.0)

    def stepped(self, x: Categories, s: Coefficient, t: Float[Array, " b"], log_eps: float = 0.0) -> StateWeights:
        """p(x_s = y | x_t = x) for every state y, [b, ..., states], but for a factor; one evaluation.

        Ratios are carried to s as they are, p_s(y) / p_t(x) = sum over z of p_t(z) / p_t(x) Q(s, t)^-1[z, y] (Lou et
        al. 2024, arXiv:2310.16834, Theorem 4.1), so that those of no distribution give what the published code draws
        from; what is negative counts as 0.
        """
        to_data = per_example(jnp.asarray(s) <= 0.0, x.ndim + 1)
        if self.reading == "ratios":
            earlier = self.process.earlier_ratios(jnp.exp(self.function(x, t)), s, t)
            found = jnp.maximum(earlier * self.process.onto(x, s, t), 0.0)
            no_data = jnp.arange(self.process.states) >= self.process.categories
            return jnp.where(to_data & no_data, 0.0, found)
        belief = self(x, t)
        found = jax.nn.softmax(self.process.reverse_logits(belief.evidence, x, s, t, log_eps), axis=-1)
        if self.reading != "published":
            return found
        x0 = jnp.pad(jnp.exp(belief.x0), [(0, 0)] * x.ndim + [(0, self.process.states - self.process.categories)])
        return jnp.where(to_data, x0, found)


@dataclasses.dataclass(frozen=True)
class CategoricalReading:
    """What a network's logits are, and how it is told the noise, as `Parameterization` says it of a score.

    Attributes:
      reading: a name of `READINGS`.
    """

    reading: str = "posterior"

    def belief_fn(self, process: CategoricalProcess, network: NetworkFn) -> BeliefFn:
        """The model that a network (x [b, ...], c_noise [b]) -> logits is; c_noise is 999 t, from 0 to 999."""
        return BeliefFn(process, lambda x, t: network(x, 999.0 * t), self.reading)


def of_posterior(logits: Weights, own: Weights) -> Belief:
    """The belief of logits that are log p(x_0 | x_t), but where `own`, log q(x_t = x | x_0), rules x_0 out."""
    possible = own > 0.5 * IMPOSSIBLE
    x0 = jax.nn.log_softmax(jnp.where(possible, logits, IMPOSSIBLE), axis=-1)
    return Belief(x0, jnp.where(possible, x0 - jnp.where(possible, own, 0.0), IMPOSSIBLE), x0)


def of_evidence(logits: Weights, own: Weights) -> Belief:
    """The belief of logits that leave out the position's own x; `own` is log q(x_t = x | x_0)."""
    x0 = jax.nn.log_softmax(logits + own, axis=-1)
    return Belief(x0, logits, x0)


def log_ratios(process: CategoricalProcess, evidence: Weights, x: Categories, t: Coefficient) -> StateWeights:
    """log p_t(y) / p_t(x) that the evidence stands for, [b, ..., states], 0 at y = x.

    The ratio is the sum over x_0 of p(x_0 | x_t) q(y | x_0) / q(x | x_0) (Lou et al. 2024).
    """
    log_p = log_of(process.from_data(jax.nn.softmax(evidence, axis=-1), t))
    return log_p - picked(log_p, x)[..., None]


def as_belief(process: CategoricalProcess, model: "CategoricalModel") -> BeliefFn:
    """What every sampler and bound does first with its model: a plain function gives log p(x_0 | x_t)."""
    return model if isinstance(model, BeliefFn) else BeliefFn(process, model)


CategoricalModel = BeliefFn | CategoricalFn
"""What samplers and bounds take."""
