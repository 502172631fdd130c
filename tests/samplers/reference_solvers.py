"""The recorded runs of public samplers: their problems, grids and noise, and how our steppers are put through them.

All runs of one problem and one kind of table are one compiled scan: their plans are padded with rows that do nothing
and stacked, and the stepper's own `step` is mapped over the stack. So that different processes fit in one stack, the
score is evaluated at the row's own (alpha, sigma); that they are the process's at the row's time is checked apart.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplers import Stepper
from samplers import linear as machine
from samplers.base import Plan
from samplers.nodes import host
from sde_lib import AffineSDE, Prediction
from tests.oracles import Mixture, compiled

FOLDER = Path(__file__).parents[1] / "reference" / "samplers"
PROBLEMS = ("gm2", "gm16")
some_or_all = pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"])
"""Every seventh run, so that each family and problem comes up, or, marked slow, each one."""
Model = Callable[[Any, Any, Any], Any]
"""(x, alpha, sigma) -> score."""


@functools.cache
def read(name: str) -> Any:
    """A json of the reference."""
    return json.loads((FOLDER / name).read_text())


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """The arrays of an npz of the reference."""
    return dict(np.load(FOLDER / f"{name}.npz"))


def cases(name: str) -> list[dict]:
    """The runs of one implementation."""
    return read("cases.json")[name]["cases"]


def mixture(name: str) -> Mixture:
    """The analytic data."""
    return Mixture(*(np.array(read("problem.json")["problems"][name][key]) for key in ("weights", "means", "stds")))


def guided(problem: str, component: int, scale: float):
    """The mixture's score moved by the gradient of log p(component | x): guidance, of a classifier or without one."""
    whole = mixture(problem)
    alone = type(whole)(np.ones(1), whole.means[component : component + 1], whole.stds[component : component + 1])

    def score(x, alpha, sigma):
        s = whole.gradient(x, alpha, sigma)
        return s + scale * (alone.gradient(x, alpha, sigma) - s)

    return score


def final(name: str, case: dict) -> np.ndarray:
    """The recorded final sample."""
    return arrays(name)[f"final/{case['problem']}"][case["row"]]


class At:
    """A model at the (alpha, sigma) of the row that is being run, for a stepper's constructor."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.level: tuple[Any, Any] = (None, None)

    def __call__(self, x: Any, t: Any) -> Any:
        alpha, sigma = self.level
        eps = -sigma * self.model(x, alpha, sigma)
        return Prediction((x - sigma * eps) / alpha, eps)


class Run(NamedTuple):
    """One run: the process, the stepper and the score it closes over, its prediction, grid, start and noise draws.

    A list of grids is gone through one after the other.
    `draws` are taken in the order of the noisy rows; with `churned` each step takes one, used or not.
    """

    sde: AffineSDE
    stepper: Stepper
    score: At
    prediction: str
    times: np.ndarray | list[np.ndarray]
    x: np.ndarray
    draws: np.ndarray | None = None
    churned: bool = False


def solve(runs: list[Run]) -> list[np.ndarray]:
    """The trajectory [rows, b, d] of every run, the state after each row."""
    plans = [plan(run) for run in runs]
    kinds: dict[tuple, list[int]] = {}
    for i, run in enumerate(runs):
        row = plans[i].rows[0]
        structure = jax.tree.structure(run.stepper.init(jnp.asarray(run.x)))
        kind = (run.x.shape, row.x.shape[1], run.draws is None, structure, run.prediction, id(run.score.model))
        kinds.setdefault(kind, []).append(i)
    results: dict[int, np.ndarray] = {}
    for members in kinds.values():
        n = max(len(plans[i].rows[0].t) for i in members)
        first = runs[members[0]]
        stacked = jax.tree.map(lambda *a: np.stack(a), *[_padded(plans[i].rows[0], n) for i in members])
        levels = [
            np.stack([host(f, t) for f in (runs[i].sde.alpha, runs[i].sde.sigma)])
            for i, t in zip(members, stacked.t, strict=True)
        ]
        noise = np.stack([_noise(runs[i], plans[i], n) for i in members])
        starts = np.stack([runs[i].x for i in members])

        def path(x: Any, rows: Any, levels: Any, noise: Any, first: Run = first) -> Any:
            def body(state: Any, call: Any) -> Any:
                row, first.score.level, z = call
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(machine, "normal_like", lambda key, x: z)
                    state = first.stepper.step(jax.random.key(0), state, row)
                return state, state.x

            return jax.lax.scan(body, first.stepper.init(x), (rows, tuple(levels), noise))[1]

        for i, states in zip(
            members, np.asarray(compiled(jax.vmap(path))(starts, stacked, np.stack(levels), noise)), strict=True
        ):
            results[i] = states[: len(plans[i].rows[0].t)]
    return [results[i] for i in range(len(runs))]


def plan(run: Run) -> Plan:
    """The run's table."""
    if not isinstance(run.times, list):
        return run.stepper.plan(run.times)
    rows = [run.stepper.plan(times).rows for times in run.times]
    rows = jax.tree.map(lambda *a: np.concatenate(a), *rows)
    return Plan(rows, np.arange(len(rows[0].t)))


def _padded(row: Any, n: int) -> Any:
    """The table with n rows, the added ones leaving the state as it is."""
    more = n - len(row.t)
    stay = np.zeros((more, row.x.shape[1]))
    stay[:, 0] = 1.0
    t = np.concatenate([row.t, np.repeat(row.t[-1:], more)])
    before = np.concatenate([row.before, np.tile([1.0, 0.0], (more, 1))])
    x, base = (np.concatenate([a, stay]) for a in (row.x, row.base))
    return type(row)(t, before, x, base, np.concatenate([row.carry, np.ones(more)]), np.append(row.x0, np.zeros(more)))


def _noise(run: Run, plan: Plan, n: int) -> np.ndarray:
    """The draw of each row: the next recorded one where the row adds noise, 0 elsewhere."""
    z = np.zeros((n, *run.x.shape))
    if run.draws is not None:
        row = plan.rows[0]
        noisy = (row.before[:, 1] != 0) | (row.x[:, -1] != 0)
        draw = np.searchsorted(plan.ends, np.arange(len(noisy))) if run.churned else np.cumsum(noisy) - 1
        for i in np.flatnonzero(noisy):
            z[i] = run.draws[draw[i]]
    return z
