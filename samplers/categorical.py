"""Samplers over categories: the steps back of a chain whose model says the probabilities of x_0.

Each is a `Stepper` whose sample is int32 [b, ...]. The positions of x move independently of each other within a step,
so that samples have the model's distribution only as steps grow; with masks the steps back are exact but for that.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from limits import Flag, check, not_negative, share
from samplers.base import State, Stepper
from sde_lib.base import Coefficient
from sde_lib.categorical import CategoricalProcess, Categories, StateWeights, drawn, per_example
from sde_lib.categorical_prediction import CategoricalModel, as_belief

FASTEST = 1e30
"""The rate that stands for an infinite one, of which a sum is finite."""


def batch_time(x: Categories, t: Coefficient) -> Float[Array, " b"]:
    """The time of the whole batch, [b]."""
    return jnp.full(len(x), t, jnp.result_type(t, float))


def moved(x: Categories, memory: object = ()) -> State:
    """The state at x."""
    return State(x, x, memory)


def categorical_ancestral(
    process: CategoricalProcess,
    model: CategoricalModel,
    *,
    likeliest_end: Annotated[bool, Flag()] = False,
    log_eps: Annotated[float, share(below=True, note="published: 1e-6; 0 is exact")] = 0.0,
) -> Stepper:
    """x_s is drawn from p(x_s | x_t), the posterior of the chain averaged over what the model says of x_0.

    Published for D3PM (Austin et al. 2021, arXiv:2107.03006, eq. 4) and, with masks, for MDLM and MD4; of a model that
    gives ratios it is the analytic sampler, or Tweedie tau-leaping, of SEDD (Lou et al. 2024, arXiv:2310.16834). The
    step to s = 0 draws x_0. One evaluation a step. On a chain of levels the grid must be its levels.

    Args:
      process: the chain.
      model: what says the probabilities of x_0.
      likeliest_end: whether the step to data takes the likeliest category and draws none, as D3PM and MDLM publish.
      log_eps: what published code adds to probabilities in their logarithms (D3PM: 1e-6).
    """
    belief = as_belief(process, model)

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        probabilities = belief.stepped(state.x, s, batch_time(state.x, t), log_eps)
        x = drawn(key, probabilities)
        if likeliest_end:
            x = jnp.where(s <= 0.0, jnp.argmax(probabilities, axis=-1).astype(jnp.int32), x)
        return moved(x)

    return Stepper(step, evaluations=1, to_data=True)


def jumped(key: Key[Array, ""], x: Categories, rates: StateWeights, duration: Coefficient) -> Categories:
    """x after jumps at these rates [b, ..., states], 0 for x itself, held for so long: at most one a position."""
    key_jump, key_into = jax.random.split(key)
    rates = jnp.minimum(rates, FASTEST)
    total = jnp.sum(rates, axis=-1)
    jumps = jax.random.uniform(key_jump, x.shape, total.dtype) < -jnp.expm1(-duration * total)
    return jnp.where(jumps & (total > 0.0), drawn(key_into, rates), x)


def tau_leaping(process: CategoricalProcess, model: CategoricalModel) -> Stepper:
    """Each position jumps at the rates of the reverse process at t, held over the step (Campbell et al. 2022).

    arXiv:2205.14987; a position that would jump more than once, for which no order of categories gives a meaning, jumps
    once. The step to s = 0 draws x_0. One evaluation a step, of a process in continuous time.
    """
    belief = as_belief(process, model)

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        x, time = state.x, batch_time(state.x, t)
        return moved(jax.lax.cond(s <= 0.0, to_data, leap, key, x, time, s))

    def to_data(key: Key[Array, ""], x: Categories, t: Float[Array, " b"], s: Coefficient) -> Categories:
        return drawn(key, belief.stepped(x, s, t))

    def leap(key: Key[Array, ""], x: Categories, t: Float[Array, " b"], s: Coefficient) -> Categories:
        return jumped(key, x, belief.rates(x, t), per_example(t - s, x.ndim))

    return Stepper(step, evaluations=1, to_data=True)


def jump_corrector(
    process: CategoricalProcess,
    model: CategoricalModel,
    *,
    jump_size: Annotated[float, not_negative(note="in steps of the grid")] = 1.0,
) -> Stepper:
    """Jumps forward and back at once, which leave p_t as it is (Campbell et al. 2022, sec. 4.4): a corrector.

    The rates of the process from x and those of the reverse process from x are added, and held for `jump_size` times
    the length of the grid's step, so that categories that were drawn apart meet again. One evaluation.
    """
    belief = as_belief(process, model)
    check("sampling.", {"jump_size": jump_size}, {"jump_size": not_negative()})

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        x, time = state.x, batch_time(state.x, t)
        every = jnp.broadcast_to(jnp.arange(process.states), (len(x), process.states))
        forward = process.entering(every, time).reshape(len(x), *[1] * (x.ndim - 1), process.states)
        rates = belief.rates(x, time) + jnp.where(jnp.arange(process.states) != x[..., None], forward, 0.0)
        return moved(jumped(key, x, rates, jump_size * (t - s)))

    return Stepper(step, evaluations=1)


def discrete_flow(
    process: CategoricalProcess,
    model: CategoricalModel,
    *,
    flow_churn: Annotated[float, not_negative(note="published: 0, or about 1 with many steps")] = 0.0,
) -> Stepper:
    """Jumps to a draw of x_0 at the rate -alpha' / (1 - alpha) (Gat et al. 2024, arXiv:2407.15595).

    x_0 is drawn of the model, and each position that differs from it jumps there. With `flow_churn` c jumps are added
    that leave the distribution as it is, and correct what was drawn before: at the rate c (-alpha') / (alpha (1 -
    alpha)) into a new draw of x_t given x_0. The step to s = 0 takes the draw. One evaluation a step.
    """
    belief = as_belief(process, model)
    check("sampling.", {"flow_churn": flow_churn}, {"flow_churn": not_negative()})

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        key_data, key_jump = jax.random.split(key)
        x, time = state.x, batch_time(state.x, t)
        x0 = drawn(key_data, jnp.exp(belief(x, time).x0))
        there = jumped(key_jump, x, flow_rates(process, x, x0, time, flow_churn), t - s)
        return moved(jnp.where(s <= 0.0, x0, there))

    return Stepper(step, evaluations=1, to_data=True)


def flow_rates(
    process: CategoricalProcess, x: Categories, x0: Categories, t: Float[Array, " b"], churn: float = 0.0
) -> StateWeights:
    """The rates of `discrete_flow` from x for this draw x_0, [b, ..., states], 0 for x itself."""
    data = jax.nn.one_hot(x0, process.states, dtype=t.dtype)
    rates = per_example(process.denoising_rate(t), data.ndim) * data
    if churn:
        rates = rates + churn * per_example(process.churning_rate(t), data.ndim) * process.marginal(x0, t)
    return jnp.where(jnp.arange(process.states) != x[..., None], rates, 0.0)
