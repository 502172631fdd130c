"""Known positions and guidance over categories: a model in, a model out, for every sampler over categories."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from samplers.base import State, Stepper
from sde_lib.categorical import IMPOSSIBLE, CategoricalProcess, Categories, Weights
from sde_lib.categorical_prediction import BeliefFn, CategoricalModel, as_belief

Where = Bool[Array, "b *d"]


def infilled(process: CategoricalProcess, model: CategoricalModel, known: Categories, where: Where) -> BeliefFn:
    """The model that says `known` of x_0 wherever `where` is True: with it every sampler ends with exactly these.

    On their way known positions are noised as the process noises them. With masks let the sampler be `keeping` them, so
    that the model sees them from the first step on; then what is drawn beside them has the conditional distribution as
    steps grow. A process without a mask shows the model what is known noised, which is an approximation.
    """
    belief = as_belief(process, model)
    certain = jnp.where(jax.nn.one_hot(known, process.categories, dtype=bool), 0.0, IMPOSSIBLE)
    reading = "posterior" if belief.reading == "ratios" else belief.reading

    def function(x: Categories, t: Float[Array, " b"]) -> Weights:
        logits = belief(x, t).x0 if belief.reading == "ratios" else belief.function(x, t)
        return jnp.where(where[..., None], certain.astype(logits.dtype), logits)

    return BeliefFn(process, function, reading)


def keeping(process: CategoricalProcess, stepper: Stepper, known: Categories, where: Where) -> Stepper:
    """The stepper that begins with the known positions and never masks them; as it is on a process without a mask."""
    if process.mask is None:
        return stepper

    def kept(state: State) -> State:
        return state._replace(x=jnp.where(where, known, state.x), mean=jnp.where(where, known, state.mean))

    def init(x: Categories) -> State:
        return stepper.init(jnp.where(where, known, x))

    def step(key: Key[Array, ""], state: State, *row: Array) -> State:
        return kept(stepper.step(key, state, *row))

    return dataclasses.replace(stepper, step=step, init=init)


def logits_guided(
    process: CategoricalProcess, wanted: CategoricalModel, other: CategoricalModel, scale: float | Array
) -> BeliefFn:
    """A model's logits away from those of another: log p_other + scale (log p_wanted - log p_other), normalised.

    Classifier-free guidance on logarithms of probabilities (Chang et al. 2023, arXiv:2301.00704; Schiff et al. 2024,
    arXiv:2412.10193): `other` is the same network told nothing, or a weaker one. Scale 1 is the model itself. Two
    evaluations.

    Raises:
      ValueError: models that are read differently.
    """
    strong, weak = as_belief(process, wanted), as_belief(process, other)
    if strong.reading != weak.reading:
        raise ValueError(
            f"guidance: the logits of one model are read as {strong.reading!r} and of the other as {weak.reading!r}; "
            "they must be of one kind"
        )

    def function(x: Categories, t: Float[Array, " b"]) -> Weights:
        p, q = (each.function(x, t) for each in (strong, weak))
        if strong.reading != "ratios":
            p, q = jax.nn.log_softmax(p, axis=-1), jax.nn.log_softmax(q, axis=-1)
        return p + (jnp.asarray(scale, p.dtype) - 1.0) * (p - q)  # in this form scale 1 is exact

    return BeliefFn(process, function, strong.reading)
