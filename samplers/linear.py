"""Solvers whose every update is linear in the sample and in the network's answers: DDIM to UniPC, one machine.

Such a solver is a table. Each row says where the network is evaluated, and which linear combination of the state and
of the answers so far comes next:

    m_0 = x0, eps or v at (x, t)
    x    <- keep base + sum_j c_j m_j + noise z              where the next row evaluates
    base <- the same with numbers of its own                 where the step began

A one-stage method needs no `base`: it is x. A solver's file holds nothing but the formula of its numbers, in float64
(see `samplers.nodes`); what runs on the device is the same few operations for all of them, one evaluation a row.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from samplers.base import Plan, State, Stepper, at, normal_like
from samplers.nodes import Node, nodes
from sde_lib.base import AffineSDE, Coefficient, expand
from sde_lib.prediction import Model, Prediction, as_prediction

PREDICTIONS = ("x0", "eps")


class Move(NamedTuple):
    """keep base + sum_j c_j m_j + noise z, the newest answer first."""

    keep: float
    coefficients: Sequence[float] = ()
    noise: float = 0.0


class Row(NamedTuple):
    """One evaluation, at `node`, and what follows; `ends` where it completes a step of the grid.

    `before` comes ahead of the evaluation: the sample times its first number, plus noise of its second (churn). `base`
    is None where it is as `x`. `x0` is how much of the newest answer's x0 is added where answers are eps.
    """

    node: Node
    x: Move
    base: Move | None = None
    before: tuple[float, float] = (1.0, 0.0)
    ends: bool = True
    x0: float = 0.0


Table = Callable[[list[Node]], list[Row]]


@dataclasses.dataclass(frozen=True)
class Method:
    """What a solver's table needs: which answer it combines, how many it remembers, what else it does.

    Attributes:
      prediction: 'x0', 'eps' or 'v' = alpha eps - sigma x0, what m_j are.
      memory: how many answers are kept, the newest included.
      stages: whether rows have a base of their own.
      multistep: whether a step uses answers of steps before it.
      noisy: whether any row adds noise.
      evaluations: of a step of the grid that does not end in data.
      out_of_noise: whether its table divides by no alpha, and so leads out of a point where that is 0 by itself.
    """

    prediction: str = "x0"
    memory: int = 1
    stages: bool = False
    multistep: bool = False
    noisy: bool = False
    evaluations: int = 1
    out_of_noise: bool = False


class _Coefficients(NamedTuple):
    """The table as arrays [rows], before: [rows, 2], and x, base: [rows, memory + 2].

    Where the sample is moved after a row, its base moves `carry` times as far.
    """

    t: Any
    before: Any
    x: Any
    base: Any
    carry: Any
    x0: Any


def linear(sde: AffineSDE, model: Model, method: Method, table: Table) -> Stepper:
    """The stepper of a table. Its plan needs the grid's numbers, so the grid must not be traced."""
    predict = as_prediction(sde, model)

    def numbers(move: Move) -> list[float]:
        coefficients = list(move.coefficients) + [0.0] * (method.memory - len(move.coefficients))
        return [move.keep, *coefficients, move.noise]

    def plan(times: Any) -> Plan:
        rows = _rows(table, nodes(sde, times), method)
        t, x0 = np.array([row.node.t for row in rows]), np.array([row.x0 for row in rows])
        before = np.array([row.before for row in rows])
        x, base = np.array([[numbers(row.x), numbers(row.base or row.x)] for row in rows]).swapaxes(0, 1)
        ends = np.flatnonzero([row.ends for row in rows])
        carry = np.array([*(_carry(*pair) for pair in itertools.pairwise(rows)), 1.0])
        return Plan((_Coefficients(t, before, x, base, carry, x0),), ends)

    def init(x: Float[Array, "b *d"]) -> State:
        history = (jnp.zeros_like(x),) * method.memory
        return State(x, x, (x if method.stages else None, history))

    def step(key: Key[Array, ""], state: State, row: _Coefficients) -> State:
        x, (base, history) = state.x, state.memory
        base = base if method.stages else x
        z = normal_like(key, x) if method.noisy else None
        if z is not None:
            x, base = (row.before[0] * a + row.before[1] * z for a in (x, base))
        answer = at(predict, x, row.t)
        history = (_said(sde, method.prediction, answer, row.t), *history[:-1])

        def move(numbers: Array) -> tuple[Array, Array]:
            mean = numbers[0] * base + sum(numbers[1 + j] * m for j, m in enumerate(history))
            mean = mean + row.x0 * answer.x0 if method.prediction == "eps" else mean
            return mean, mean if z is None else mean + numbers[-1] * z

        mean, moved = move(row.x)
        return State(moved, mean, (move(row.base)[1] if method.stages else None, history))

    def place(state: State, x: Float[Array, "b *d"], row: _Coefficients) -> State:
        base, history = state.memory
        base = base + row.carry * (x - state.x) if method.stages else None
        return state._replace(x=x, memory=(base, history))

    return Stepper(
        step,
        evaluations=1,
        init=init,
        plan=plan,
        per_step=method.evaluations,
        correctable=not method.stages,
        place=place,
        one_step=not method.multistep,
    )


def _said(sde: AffineSDE, prediction: str, answer: Prediction, t: Coefficient) -> Array:
    """The answer in the form that a method combines."""
    if prediction == "v":
        alpha, sigma = expand(sde.alpha(t), answer.eps), expand(sde.sigma(t), answer.eps)
        return alpha * answer.eps - sigma * answer.x0
    return answer.eps if prediction == "eps" else answer.x0


def _rows(table: Table, grid: list[Node], method: Method) -> list[Row]:
    """The table's rows; on a grid that begins where alpha is 0 the first step is DDIM's, and the table follows it.

    There rho is infinite, and what every solver of order 1 does is x_s = alpha_s x0 + sigma_s eps.
    """
    if grid[0].alpha > 0.0 or method.out_of_noise:
        return table(grid)
    t, s = grid[:2]
    keep = s.sigma / t.sigma
    first = Row(t, Move(keep, [s.alpha])) if method.prediction == "x0" else Row(t, Move(keep), x0=s.alpha)
    return [first, *(table(grid[1:]) if len(grid) > 2 else [])]


def _carry(row: Row, following: Row) -> float:
    """How far the base moves with the sample at the end of a step.

    As far, where they are the same point. UniPC's lags a step behind, and the next row takes it, times `keep`, to
    where the sample is now.
    """
    if row.base is None or following.base is None or not row.ends:
        return 1.0
    return 1.0 / following.base.keep
