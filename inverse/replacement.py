"""Replacement: after every step what is known is overwritten by itself, noised to where the step led."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from inverse.measurement import LinearMeasurement
from inverse.steps import Place, placed
from samplers.base import Plan, State, Stepper, normal_like
from sde_lib.base import Process
from sde_lib.prediction import Model


def replacement(stepper: Stepper, process: Process, model: Model, measurement: LinearMeasurement, y: Array) -> Stepper:
    """x + A^+ (y_s - A x) with y_s = alpha_s y + sigma_s A eps after each step of the grid to s, eps drawn anew.

    Song et al. 2021, App. I.2; for a mask, the known part of a noised y beside the unknown part of x. Exact at data.
    The network sees what is known only as noised, and what it generates need not agree with it: cheap, and the
    further from the posterior the more y says of the rest (`inverse.repaint` mends some of that). `model` is not asked:
    no evaluation more than the stepper's; any stepper. The mean takes alpha_s y, and the rest of x stays as denoised as
    the stepper left it (the published code rebuilds the mean from the noisy x).

    Raises:
      ValueError: a noisy measurement; when run, shapes that do not fit, or a traced grid.
    """
    if measurement.noise:
        raise ValueError(f"replacement: takes exact measurements, and noise is {measurement.noise}; use 'posterior'")

    def plan(times: Any) -> Plan:
        place, inner = placed(stepper, process, times)
        return Plan((place, inner.rows), inner.ends)

    def step(key: Key[Array, ""], state: State, place: Place, row: tuple[Any, ...]) -> State:
        key_step, key_noise = jax.random.split(key)
        state = stepper.step(key_step, state, *row)
        noise = measurement.apply(normal_like(key_noise, state.x))
        x = measurement.impose(state.x, place.alpha * y + place.sigma * noise)
        mean = measurement.impose(state.mean, place.alpha * y)
        moved = stepper.place(state, x, *row)._replace(mean=mean)
        return jax.tree.map(lambda a, b: jnp.where(place.ends > 0.0, a, b), moved, state)

    def move(state: State, x: Array, place: Place, row: tuple[Any, ...]) -> State:
        return stepper.place(state, x, *row)

    return dataclasses.replace(stepper, step=step, plan=plan, place=move)
