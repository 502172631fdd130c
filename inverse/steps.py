"""Where each row of a stepper's plan is on its grid: what a wrapper of steppers is told beside the row itself."""

from typing import Any, NamedTuple

import jax
import numpy as np

from samplers.base import Plan, Stepper
from samplers.nodes import host
from sde_lib.base import Process


class Place(NamedTuple):
    """Of each row, [rows]: whether a step of the grid begins and ends with it, the step's time, and where it leads.

    Attributes:
      begins: 1 or 0.
      ends: 1 or 0.
      t: the time at which the step began.
      alpha: scale of the data where the step ends.
      sigma: standard deviation of the noise there.
    """

    begins: Any
    ends: Any
    t: Any
    alpha: Any
    sigma: Any


def levels(process: Process, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """alpha and sigma at those times, float64; a last time of 0 is data, also under VE, whose sigma(0) is sigma_min."""
    alpha, sigma = (np.array(host(f, times)) for f in (process.alpha, process.sigma))
    if times[-1] == 0.0:
        alpha[-1], sigma[-1] = 1.0, 0.0
    return alpha, sigma


def visited(plan: Plan, times: Any) -> np.ndarray:
    """The grid's times at which its steps begin and end, float64 [steps + 1].

    Raises:
      ValueError: a grid that is traced.
    """
    if isinstance(times, jax.core.Tracer):
        raise ValueError("inverse: the grid is a traced array; give it as numbers, outside what is compiled")
    times = np.asarray(times, np.float64)
    return np.append(times[:1], plan.reached(times))


def placed(stepper: Stepper, process: Process, times: Any) -> tuple[Place, Plan]:
    """The stepper's plan, and where its rows are."""
    plan = stepper.plan(times)
    stops = visited(plan, times)
    alpha, sigma = levels(process, stops)
    rows = len(jax.tree.leaves(plan.rows)[0])
    step = np.searchsorted(plan.ends, np.arange(rows))
    ends = np.isin(np.arange(rows), plan.ends)
    begins = np.append(True, ends[:-1])
    numbers = (begins.astype(np.float64), ends.astype(np.float64), stops[step], alpha[step + 1], sigma[step + 1])
    return Place(*numbers), plan
