"""Blending: after every step what is known is overwritten by itself, with the noise that the sample began with."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from inverse.measurement import LinearMeasurement
from inverse.steps import Place, placed
from samplers.base import Plan, State, Stepper
from sde_lib.base import Process
from sde_lib.prediction import Model


def blend(
    stepper: Stepper,
    process: Process,
    model: Model,
    measurement: LinearMeasurement,
    y: Array,
    *,
    begun: tuple[float, float] = (0.0, 1.0),
) -> Stepper:
    """x + A^+ (alpha_s y + sigma_s A eps - A x) after each step of the grid to s; eps is always that of the beginning.

    Of a mask it is how diffusers fills in pictures with a network that knows of no mask (blended latent diffusion,
    Avrahami et al. 2022, arXiv:2206.02779, is the same with noise drawn anew, as `replacement` is): what is known goes
    along one straight path to y. The last step leads to y itself. No evaluation more than the stepper's; any stepper.

    Args:
      stepper: the method.
      process: the noise that what is known has at each time.
      model: not asked.
      measurement: A.
      y: [b, ...], or [1, ...] for all.
      begun: the scale of y and the deviation of the noise in the x at which it begins, which tell what its noise was;
        (0, its deviation) of noise alone.

    Raises:
      ValueError: a noisy measurement; when run, shapes that do not fit, or a traced grid.
    """
    if measurement.noise:
        raise ValueError(f"blend: takes exact measurements, and noise is {measurement.noise}; use 'posterior'")
    scale, deviation = begun

    def init(x: Float[Array, "b *d"]) -> State:
        state = stepper.init(x)
        noise = (measurement.apply(x) - scale * y) / deviation
        return state._replace(memory=(state.memory, noise))

    def plan(times: Any) -> Plan:
        place, inner = placed(stepper, process, times)
        rows = np.arange(len(place.ends))
        last = rows > (inner.ends[-2] if len(inner.ends) > 1 else -1)
        clean = place._replace(alpha=np.where(last, 1.0, place.alpha), sigma=np.where(last, 0.0, place.sigma))
        return Plan((clean, inner.rows), inner.ends)

    def step(key: Key[Array, ""], state: State, place: Place, row: tuple[Any, ...]) -> State:
        memory, noise = state.memory
        state = stepper.step(key, state._replace(memory=memory), *row)
        x = measurement.impose(state.x, place.alpha * y + place.sigma * noise)
        mean = measurement.impose(state.mean, place.alpha * y + place.sigma * noise)
        moved = stepper.place(state, x, *row)._replace(mean=mean)
        found = jax.tree.map(lambda a, b: jnp.where(place.ends > 0.0, a, b), moved, state)
        return found._replace(memory=(found.memory, noise))

    def move(state: State, x: Array, place: Place, row: tuple[Any, ...]) -> State:
        memory, noise = state.memory
        moved = stepper.place(state._replace(memory=memory), x, *row)
        return moved._replace(memory=(moved.memory, noise))

    return dataclasses.replace(stepper, init=init, step=step, plan=plan, place=move)
