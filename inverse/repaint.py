"""RePaint: replacement, with the steps taken again and again after going back up the noise levels."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from inverse.measurement import LinearMeasurement
from inverse.ranges import RANGES
from inverse.replacement import replacement
from inverse.steps import levels, visited
from limits import check
from samplers.base import Plan, State, Stepper, normal_like
from sde_lib.base import Process
from sde_lib.prediction import Model


class Up(NamedTuple):
    """What comes ahead of each row: the sample times `scale`, plus noise of deviation `std`; 1 and 0 for nothing."""

    scale: Any
    std: Any


def step_order(steps: int, resamplings: int, jump: int) -> list[int]:
    """The step taken next, again and again: 0 is the noisiest, steps - 1 the last; falls only where it goes back up.

    After every `jump` steps, counted from one before the end of the grid, it goes back up as many, resamplings - 1
    times; not beyond the beginning. With jump 1 it is the paper's Algorithm 1: every step but the last `resamplings`
    times.
    """
    stops = {steps - left: resamplings - 1 for left in range(1, steps - jump + 1, jump)}  # by how many steps are done
    order, done = [], 0
    while done < steps:
        order.append(done)
        done += 1
        if stops.get(done, 0):
            stops[done] -= 1
            done -= jump
    return order


def repaint(
    stepper: Stepper,
    process: Process,
    model: Model,
    measurement: LinearMeasurement,
    y: Array,
    *,
    resamplings: int = 10,
    jump: int = 10,
) -> Stepper:
    """`replacement`, going back up `jump` steps by forward noise, so that each is taken `resamplings` times.

    Lugmayr et al. 2022 (arXiv:2201.09865, Algorithm 1 and App. B; published: 10 and 10 on 250 steps of an ancestral
    sampler). What is generated is noised together with what is known and denoised again, until they agree. Going up
    costs nothing; in all about `resamplings` times the evaluations (see `step_order`). A learned variance is fine; a
    method that uses answers of earlier steps is not.

    Raises:
      ValueError: a noisy measurement, a multistep method, or no resampling or jump; when run, as `replacement`.
    """
    if not stepper.one_step:
        raise ValueError("repaint: takes steps again, and this method uses answers of earlier ones; use e.g. ancestral")
    check("repaint: ", {"resamplings": resamplings, "jump": jump}, RANGES)
    inner = replacement(stepper, process, model, measurement, y)

    def plan(times: Any) -> Plan:
        once = inner.plan(times)
        if resamplings > 1 and jump >= len(once.ends):
            raise ValueError(f"repaint: jump is {jump} and the grid has {len(once.ends)} steps; it must have more")
        alpha, sigma = levels(process, visited(once, times))
        firsts = np.append(0, once.ends[:-1] + 1)
        order = step_order(len(once.ends), resamplings, jump)
        which: list[int] = []
        scales: list[float] = []
        stds: list[float] = []
        ends: list[int] = []
        here = 0
        for step in order:
            rows = range(firsts[step], once.ends[step] + 1)
            scale, variance = 1.0, 0.0
            if step < here:  # it goes back up, from a level at which alpha is not 0
                scale = alpha[step] / alpha[here]
                variance = sigma[step] ** 2 - (scale * sigma[here]) ** 2
            which += rows
            scales += [scale, *[1.0] * (len(rows) - 1)]
            stds += [max(variance, 0.0) ** 0.5, *[0.0] * (len(rows) - 1)]
            ends.append(len(which) - 1)
            here = step + 1
        rows = jax.tree.map(lambda a: np.asarray(a)[which], once.rows)
        return Plan((Up(np.array(scales), np.array(stds)), rows), np.array(ends))

    def step(key: Key[Array, ""], state: State, up: Up, row: tuple[Any, ...]) -> State:
        key_up, key_step = jax.random.split(key)
        raised = inner.place(state, up.scale * state.x + up.std * normal_like(key_up, state.x), *row)
        return inner.step(key_step, raised, *row)

    def move(state: State, x: Array, up: Up, row: tuple[Any, ...]) -> State:
        return inner.place(state, x, *row)

    return dataclasses.replace(inner, step=step, plan=plan, place=move)
