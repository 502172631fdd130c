"""Dormand-Prince 5(4) for many examples, each with its own steps; a finished one makes room for the next.

The loop's turn is one evaluation of the field for a number of slots, not one step: each slot holds an example and is at
its own stage of its own step. A slot whose example is done writes the result and takes the next of the queue, whose
first evaluation is made together with the others' later stages. So no evaluation is spent on a finished example until
the queue is empty, and the program holds the field once.

Tableau and step control are diffrax's; an example's steps are those that `diffrax.diffeqsolve` takes for it alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

STAGES = 6  # evaluations a step; its last one is the next step's first
ORDER = 5
TABLEAU = diffrax.Dopri5.tableau
# Row i: what of the slopes 0 to i - 1 makes the point of evaluation i. The last row is the step itself.
WEIGHTS = np.stack([np.zeros(STAGES + 1), *(np.pad(a, (0, STAGES + 1 - len(a))) for a in TABLEAU.a_lower)])
PLACES = np.append(0.0, TABLEAU.c)
CLOSE = 100  # a step that would end within so many units in the last place of the end, ends there


class Solution(NamedTuple):
    """States at the end [n, ...], steps begun [n], rejected ones included, and whether the end was reached [n]."""

    y: Any
    steps: Int[Array, " n"]
    reached: Bool[Array, " n"]


class _Slots(NamedTuple):
    """What each slot holds; example n is none."""

    example: Int[Array, " s"]
    y: Any
    known: Any
    t: Float[Array, " s"]
    ahead: Float[Array, " s"]
    stage: Int[Array, " s"]
    slopes: Any
    errors: tuple[Float[Array, " s"], Float[Array, " s"]]
    steps: Int[Array, " s"]


def solve_each(
    field: Callable[[Float[Array, " s"], Any, Any], Any],
    y: Any,
    known: Any,
    start: float,
    end: float,
    *,
    first_step: float,
    rtol: float,
    atol: float,
    max_steps: int,
    slots: int,
) -> Solution:
    """Integrate dy/dt = field(t [s], y [s, ...], known [s, ...]) of n examples, `slots` at a time.

    The error norm is an example's own, over all its numbers. Results do not depend on `slots` beyond what rounding in
    batches of another size does. An example whose step shrinks to nothing, or of `max_steps`, has not reached the end.

    Args:
      y: a pytree of arrays [n, ...], the states at `start`, to be taken to `end`.
      known: a pytree of arrays [n, ...], what else the field is told of the examples.
      start, end: in either order; they differ.
      slots: at most n.
    """
    n, dtype = len(jax.tree.leaves(y)[0]), jax.tree.leaves(y)[0].dtype
    sign = 1.0 if end > start else -1.0
    first, last = jnp.asarray(sign * start, dtype), jnp.asarray(sign * end, dtype)
    close = last
    for _ in range(CLOSE):
        close = jnp.nextafter(close, jnp.asarray(-jnp.inf, dtype))
    weights, places = jnp.asarray(WEIGHTS, dtype), jnp.asarray(PLACES, dtype)
    control = diffrax.PIDController(rtol=rtol, atol=atol)

    def load(example: Array) -> _Slots:
        own, told = (y, known) if slots == n else jax.tree.map(lambda a: a[jnp.minimum(example, n - 1)], (y, known))
        slopes = jax.tree.map(lambda a: jnp.zeros((len(a), STAGES + 1, *a.shape[1:]), a.dtype), own)
        t, one, zero = jnp.full(slots, first), jnp.ones(slots, dtype), jnp.zeros(slots, int)
        return _Slots(example, own, told, t, jnp.minimum(t + first_step, last), zero, slopes, (one, one), zero)

    @jax.vmap
    def judge(slot: _Slots, candidate: Any, error: Any) -> tuple[Any, ...]:
        error = jax.tree.map(lambda e: jnp.where(jnp.isnan(e), jnp.inf, e), error)
        # What diffrax's PIDController remembers: the last error, the one before, whether the step was the shortest.
        state = (*slot.errors, False)
        keep, t, ahead, _, (*errors, _), _ = control.adapt_step_size(
            slot.t, slot.ahead, slot.y, candidate, None, error, ORDER, state
        )
        t = jnp.minimum(t, last)
        halved = t + 0.5 * (last - t)
        return keep, t, jnp.where(ahead > close, jnp.where(keep, last, halved), ahead), tuple(errors)

    def evaluate(slot: _Slots) -> tuple[_Slots, Bool[Array, " s"]]:
        """One evaluation; the slots after it, and which of their examples are now done."""
        step, row = slot.ahead - slot.t, weights[slot.stage]
        point = jax.tree.map(lambda y, k: y + _combine(step[:, None] * row, k), slot.y, slot.slopes)
        time = jnp.where(places[slot.stage] == 1.0, slot.ahead, slot.t + places[slot.stage] * step)
        slope = jax.tree.map(lambda d: sign * d, field(sign * time, point, slot.known))
        here = jnp.arange(STAGES + 1) == slot.stage[:, None]
        slopes = jax.tree.map(lambda k, d: jnp.where(_like(here, k), d[:, None], k), slot.slopes, slope)
        error = jax.tree.map(lambda k: _combine(step[:, None] * jnp.asarray(TABLEAU.b_error, dtype), k), slopes)
        ended = (slot.stage == STAGES) & (slot.example < n)
        keep, t, ahead, errors = judge(slot, point, error)
        moved = ended & keep

        def follow(k: Array) -> Array:
            # The later slopes of a step that ended are cleared: a NaN among them would outlive its weight of zero.
            begun = k.at[:, 0].set(jnp.where(_like(keep, k[:, 0]), k[:, STAGES], k[:, 0])).at[:, 1:].set(0.0)
            return jnp.where(_like(ended, k), begun, k)

        slot = slot._replace(
            y=_choose(moved, point, slot.y),
            t=jnp.where(ended, t, slot.t),
            ahead=jnp.where(ended, ahead, slot.ahead),
            stage=jnp.where(ended, 1, slot.stage + 1),
            slopes=jax.tree.map(follow, slopes),
            errors=_choose(ended, errors, slot.errors),
            steps=slot.steps + ended,
        )
        # Not `<=`: the step after a NaN is a NaN.
        return slot, ended & ((slot.t >= last) | (slot.steps >= max_steps) | ~(slot.ahead > slot.t))

    def busy(slot: _Slots) -> Bool[Array, ""]:
        return (slot.example < n).any()

    def result(slot: _Slots) -> Solution:
        return Solution(slot.y, slot.steps, slot.t >= last)

    begin = load(jnp.arange(slots))
    if slots == n:  # nobody waits: no rows move, and a batch over several devices stays where it is

        def stay(slot: _Slots) -> _Slots:
            slot, done = evaluate(slot)
            return slot._replace(example=jnp.where(done, n, slot.example))

        return result(jax.lax.while_loop(busy, stay, begin))

    def turn(carry: tuple[_Slots, Array, Solution]) -> tuple[_Slots, Array, Solution]:
        slot, queue, out = carry
        slot, done = evaluate(slot)

        def hand_over() -> tuple[_Slots, Array, Solution]:
            place = jnp.where(done, slot.example, n)
            written = jax.tree.map(lambda all_, own: all_.at[place].set(own, mode="drop"), out, result(slot))
            example = jnp.where(done, jnp.minimum(queue + jnp.cumsum(done) - 1, n), slot.example)
            loaded = load(example)
            return _choose(done & (example < n), loaded, slot._replace(example=example)), queue + done.sum(), written

        return jax.lax.cond(done.any(), hand_over, lambda: (slot, queue, out))

    out = Solution(y, jnp.zeros(n, int), jnp.zeros(n, bool))
    return jax.lax.while_loop(lambda carry: busy(carry[0]), turn, (begin, jnp.asarray(slots), out))[2]


def _like(a: Array, b: Array) -> Array:
    return a.reshape(a.shape + (1,) * (b.ndim - a.ndim))


def _choose(mask: Bool[Array, " s"], a: Any, b: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(_like(mask, a), a, b), a, b)


def _combine(weights: Float[Array, "..."], slopes: Float[Array, "s k *d"]) -> Float[Array, "s *d"]:
    return jnp.sum(_like(weights, slopes) * slopes, axis=1)
