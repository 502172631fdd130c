"""Dormand-Prince 5(4) for many examples, each with its own steps; a finished one makes room for the next.

The loop's turn is one evaluation of the field for a number of slots, not one step: each slot holds an example and is at
its own stage of its own step. A slot whose example is done writes the result and takes the next of the queue, whose
first evaluation is made together with the others' later stages. So no evaluation is spent on a finished example until
the queue is empty, and the program holds the field once.

First step and step control are those of SciPy's RK45, the solver of the 2021 code: an example's steps are the ones that
`scipy.integrate.solve_ivp` takes for it alone, and a tolerance means the same (Hairer, Norsett and Wanner, Solving
Ordinary Differential Equations I, II.4).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

STAGES = 6  # evaluations a step; its last one is the next step's first
TRIAL = STAGES + 1  # the stage between an example's first evaluation and its first step
EVALUATIONS_TO_START = 2  # the first, and the one at the end of a trial step of Euler's
SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0
EXPONENT = 1.0 / 5.0  # the error estimate is of order 5
CLOSE = 100  # a step that would end within so many units in the last place of the end, ends there
SMALLEST = 10  # units in the last place of t

# Dormand and Prince 1980, table 2. Row i: what of the slopes 0 to i - 1 makes the point of evaluation i; row 6 is the
# step itself, row 7 the trial step.
_ROWS = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    (1.0,),
)
COEFFICIENTS = np.stack([np.pad(np.asarray(row, float), (0, STAGES + 1 - len(row))) for row in _ROWS])
PLACES = np.array([0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0, 1.0])
ERROR = np.array([-71 / 57600, 0.0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40])


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
    rejected: Bool[Array, " s"]
    steps: Int[Array, " s"]


def solve_each(
    field: Callable[[Float[Array, " s"], Any, Any], Any],
    y: Any,
    known: Any,
    start: float,
    end: float,
    *,
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
    coefficients, places = jnp.asarray(COEFFICIENTS, dtype), jnp.asarray(PLACES, dtype)

    def load(example: Array) -> _Slots:
        own, told = (y, known) if slots == n else jax.tree.map(lambda a: a[jnp.minimum(example, n - 1)], (y, known))
        slopes = jax.tree.map(lambda a: jnp.zeros((len(a), STAGES + 1, *a.shape[1:]), a.dtype), own)
        t, zero = jnp.full(slots, first), jnp.zeros(slots, int)
        return _Slots(example, own, told, t, t, zero, slopes, jnp.zeros(slots, bool), zero)

    def size(values: Any, *states: Any) -> Array:
        """Root mean square over an example's numbers, each by what it may err at the larger of its states."""

        def scaled(value: Array, *states: Array) -> Array:
            largest = jnp.max(jnp.abs(jnp.stack(states)), axis=0)
            return jnp.sum(jnp.square(value / (atol + rtol * largest)))

        total = sum(jax.tree.leaves(jax.tree.map(scaled, values, *states)))
        return jnp.sqrt(total / sum(leaf.size for leaf in jax.tree.leaves(values)))

    @jax.vmap
    def trial_step(slot: _Slots, slope: Any) -> Array:
        """Its length, from the first evaluation."""
        here, change = size(slot.y, slot.y), size(slope, slot.y)
        return jnp.where((here < 1e-5) | (change < 1e-5), 1e-6, 0.01 * here / change)

    @jax.vmap
    def first_step(slot: _Slots, slope: Any) -> Array:
        """Its length, from the second."""
        trial, before = slot.ahead - slot.t, jax.tree.map(lambda k: k[0], slot.slopes)
        change, bend = size(before, slot.y), size(jax.tree.map(jnp.subtract, slope, before), slot.y) / trial
        largest = jnp.fmax(change, bend)  # the trial may have led where the field is NaN
        guess = jnp.where(largest <= 1e-15, jnp.maximum(1e-6, trial * 1e-3), (0.01 / largest) ** EXPONENT)
        return jnp.fmin(100.0 * trial, guess)

    @jax.vmap
    def judge(slot: _Slots, candidate: Any, error: Any) -> tuple[Array, Array]:
        """Whether the step is taken, and by what factor the next one, or its repetition, is longer."""
        err = size(error, slot.y, candidate)
        err = jnp.where(jnp.isnan(err), jnp.inf, err)
        factor = SAFETY * err**-EXPONENT
        longest = jnp.where(slot.rejected, 1.0, GROW)
        return err < 1.0, jnp.where(err < 1.0, jnp.minimum(factor, longest), jnp.maximum(factor, SHRINK))

    def evaluate(slot: _Slots) -> tuple[_Slots, Bool[Array, " s"]]:
        """One evaluation; the slots after it, and which of their examples are now done."""
        step, row = slot.ahead - slot.t, coefficients[slot.stage]
        point = jax.tree.map(lambda y, k: y + _combine(step[:, None] * row, k), slot.y, slot.slopes)
        time = jnp.where(places[slot.stage] == 1.0, slot.ahead, slot.t + places[slot.stage] * step)
        slope = jax.tree.map(lambda d: sign * d, field(sign * time, point, slot.known))
        here = jnp.arange(STAGES + 1) == slot.stage[:, None]
        slopes = jax.tree.map(lambda k, d: jnp.where(_like(here, k), d[:, None], k), slot.slopes, slope)
        error = jax.tree.map(lambda k: _combine(step[:, None] * jnp.asarray(ERROR, dtype), k), slopes)
        begun, tried = slot.stage == 0, slot.stage == TRIAL
        ended = (slot.stage == STAGES) & (slot.example < n)
        keep, factor = judge(slot, point, error)
        moved = ended & keep

        def follow(k: Array) -> Array:
            # The later slopes of a step that ended are cleared: a NaN among them would outlive its weight of zero.
            fresh = k.at[:, 0].set(jnp.where(_like(keep, k[:, 0]), k[:, STAGES], k[:, 0])).at[:, 1:].set(0.0)
            return jnp.where(_like(ended, k), fresh, k)

        t = jnp.where(moved, slot.ahead, slot.t)
        h = jnp.where(begun, trial_step(slot, slope), jnp.where(tried, first_step(slot, slope), step * factor))
        shortest = SMALLEST * (jnp.nextafter(t, jnp.asarray(jnp.inf, dtype)) - t)
        h = jnp.where(ended & ~keep, jnp.where(h < shortest, 0.0, h), jnp.maximum(h, shortest))
        ahead = jnp.where(t + h > close, last, t + h)
        slot = slot._replace(
            y=_choose(moved, point, slot.y),
            t=t,
            ahead=jnp.where(begun | tried | ended, ahead, slot.ahead),
            stage=jnp.where(begun, TRIAL, jnp.where(tried | ended, 1, slot.stage + 1)),
            slopes=jax.tree.map(follow, slopes),
            rejected=jnp.where(ended, ~keep, slot.rejected),
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


def _combine(coefficients: Float[Array, "..."], slopes: Float[Array, "s k *d"]) -> Float[Array, "s *d"]:
    return jnp.sum(_like(coefficients, slopes) * slopes, axis=1)
