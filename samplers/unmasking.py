"""Samplers of chains that mask: positions are unmasked, each once, and then stay as they are.

The number of masks at time s is that of the schedule, 1 - alpha(s) of all. `unmasking` lets every mask go by itself,
which is the reverse process; `maskgit` takes so many at a time, the surest first.
"""

import math
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from limits import Flag, check, not_negative
from samplers.base import State, Stepper
from samplers.categorical import batch_time
from sde_lib.base import Coefficient
from sde_lib.categorical import CategoricalProcess, Categories, Weights, drawn, picked
from sde_lib.categorical_prediction import CategoricalModel, as_belief


def check_mask(process: CategoricalProcess, name: str) -> int:
    """The mask of a process; ValueError, naming the sampler, of one without."""
    if process.mask is None:
        raise ValueError(
            f"sampling.method {name!r} is for a process whose mask is a category of its own (sde.name 'masked'); take "
            "'categorical_ancestral', 'tau_leaping' or 'discrete_flow'"
        )
    return process.mask


class Cache(NamedTuple):
    """What the model said last, and of which x; `evaluations` counts how often it was asked."""

    log_p: Weights
    x: Categories
    evaluations: Int[Array, ""]


def unmasking(
    process: CategoricalProcess,
    model: CategoricalModel,
    *,
    cached_answers: Annotated[bool, Flag()] = False,
    likeliest_end: Annotated[bool, Flag()] = False,
) -> Stepper:
    """Every mask goes with the probability (alpha(s) - alpha(t)) / (1 - alpha(t)), to a draw of the model.

    It is the ancestral step of a process that masks, without its products over all states. A network that is not told
    the time says the same again while nothing changes: with `cached_answers` it is asked only where a position of the
    batch has changed (Sahoo et al. 2024, arXiv:2406.07524, sec. 4.1), which with many steps and a small batch is
    seldom; the evaluations that are reported are those of a model that is asked at every step. One evaluation a step.

    Args:
      process: the chain.
      model: what says the probabilities of x_0.
      cached_answers: whether an answer is used again; of a model that is told the time it would be another one.
      likeliest_end: whether the step to data takes the likeliest category and draws none, as published.

    Raises:
      ValueError: a process without a mask.
    """
    mask, belief = check_mask(process, "unmasking"), as_belief(process, model)

    def answer(x: Categories, t: Coefficient, memory: Any) -> tuple[Weights, Any]:
        if not cached_answers:
            return belief(x, batch_time(x, t)).x0, memory

        def again(memory: Cache) -> Cache:
            return memory

        def anew(memory: Cache) -> Cache:
            return Cache(belief(x, batch_time(x, t)).x0, x, memory.evaluations + 1)

        memory = jax.lax.cond(jnp.all(x == memory.x), again, anew, memory)
        return memory.log_p, memory

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        x, (key_when, key_what) = state.x, jax.random.split(key)
        log_p, memory = answer(x, t, state.memory)
        x0 = drawn(key_what, jnp.exp(log_p))
        if likeliest_end:
            x0 = jnp.where(s <= 0.0, jnp.argmax(log_p, axis=-1).astype(jnp.int32), x0)
        goes = (x == mask) & (jax.random.uniform(key_when, x.shape, log_p.dtype) < process.unmasking(s, t))
        x = jnp.where(goes, x0, x)
        return State(x, x, memory)

    def init(x: Categories) -> State:
        if not cached_answers:
            return State(x, x)
        shape = jax.eval_shape(lambda x: belief(x, jnp.ones(len(x), float)).x0, x)
        return State(x, x, Cache(jnp.zeros(shape.shape, shape.dtype), jnp.full_like(x, -1), jnp.zeros((), jnp.int32)))

    return Stepper(step, evaluations=1, init=init, to_data=True)


def maskgit(
    process: CategoricalProcess,
    model: CategoricalModel,
    *,
    choice_temperature: Annotated[float, not_negative(infinite=True, note="published: 4.5; infinite: any order")] = 4.5,
) -> Stepper:
    """All masks are drawn, and those of which the model is surest stay (Chang et al. 2022, arXiv:2202.04200).

    After the step to s as many are masked as the schedule has, floor((1 - alpha(s)) n) of the n that are masked at
    t = 1, and at least one fewer than before; of a start below 1, n is what its masks stand for there. A draw's
    sureness is its log probability plus `choice_temperature` t times Gumbel noise. It prefers likely draws, so its
    samples have less than the model's diversity. At an infinite temperature the order is random, and with a step for
    each position the samples have the model's distribution exactly (any-order autoregression). One evaluation a step.

    Raises:
      ValueError: a process without a mask.
    """
    mask, belief = check_mask(process, "maskgit"), as_belief(process, model)
    check("sampling.", {"choice_temperature": choice_temperature}, {"choice_temperature": not_negative(infinite=True)})

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        x, (key_what, key_order) = state.x, jax.random.split(key)
        log_p = belief(x, batch_time(x, t)).x0
        x0, masked = drawn(key_what, jnp.exp(log_p)), x == mask
        noise = jax.random.gumbel(key_order, x.shape, log_p.dtype)
        sure = noise if math.isinf(choice_temperature) else picked(log_p, x0) + choice_temperature * t * noise
        now = _count(masked)
        first = jnp.where(state.memory < 0.0, now / _share(process, t), state.memory)
        x = jnp.where(masked & ~_least(sure, masked, _left(process, first, now, s)), x0, x)
        return State(x, x, first)

    def init(x: Categories) -> State:
        return State(x, x, jnp.full(len(x), -1.0))  # not known before the first step says the time

    return Stepper(step, evaluations=1, init=init, to_data=True)


def _count(masked: Bool[Array, "b *d"]) -> Int[Array, " b"]:
    """The number of masks of each example."""
    return jnp.sum(masked.reshape(len(masked), -1), axis=1)


def _share(process: CategoricalProcess, t: Coefficient) -> Coefficient:
    """The share that is masked at t of what is at 1."""
    return 1.0 - process.unmasking(t, jnp.ones_like(t))


def _left(process: CategoricalProcess, first: Float[Array, " b"], now: Int[Array, " b"], s: Coefficient) -> Array:
    """How many stay masked after a step to s: what the schedule has, at least one fewer than now, none at s = 0."""
    wanted = jnp.floor(_share(process, s) * first + 1e-4).astype(now.dtype)  # one rounding error below a number is it
    return jnp.where(s <= 0.0, 0, jnp.clip(wanted, 0, jnp.maximum(now - 1, 0)))


def _least(sure: Float[Array, "b *d"], masked: Bool[Array, "b *d"], number: Int[Array, " b"]) -> Bool[Array, "b *d"]:
    """Which are the least sure of the masked positions, so many of each example."""
    flat = jnp.where(masked, sure, jnp.inf).reshape(len(sure), -1)
    rank = jnp.argsort(jnp.argsort(flat, axis=1), axis=1)
    return (rank < number[:, None]).reshape(sure.shape)
