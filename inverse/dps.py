"""Diffusion posterior sampling: after every step, downhill in the distance of the denoised image from y."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from inverse.measurement import LinearMeasurement
from inverse.ranges import RANGES
from inverse.steps import Place, placed
from limits import check
from samplers.base import Plan, State, Stepper, at
from sde_lib.base import Coefficient, Process
from sde_lib.prediction import Model, as_prediction


def dps(
    stepper: Stepper,
    process: Process,
    model: Model,
    measurement: LinearMeasurement,
    y: Array,
    *,
    zeta: float = 1.0,
) -> Stepper:
    """x_s - zeta grad |y - A x0(x_t)|, the gradient in x_t, after each step of the grid from t to s; x0 is the model's.

    Chung et al. 2022 (arXiv:2209.14687, Algorithm 1 with zeta_i = zeta / (2 |y - A x0|), as the authors' code has it;
    there 0.3 to 1 on images). Within `inverse.replacement` it is MCG (Chung et al. 2022, arXiv:2206.00941). A step's
    strength is not derived from the noise level, so the result depends on zeta and on the number of steps: for many
    steps (1000). One evaluation and one backward pass more a step of the grid. `model` is the one the stepper follows.

    Raises:
      ValueError: a zeta that is not positive; when run, shapes that do not fit, or a traced grid.
    """
    check("dps: ", {"zeta": zeta}, RANGES)
    predict = as_prediction(process, model)

    def distance(x: Float[Array, "b *d"], t: Coefficient) -> Array:
        residual = measurement.residual(at(predict, x, t).x0, y)
        square = jnp.sum(residual.reshape(len(x), -1) ** 2, axis=1)
        return jnp.sum(jnp.sqrt(jnp.where(square > 0.0, square, 1.0)) * (square > 0.0))  # a slope of 0 where it is 0

    def pull(x: Float[Array, "b *d"], t: Coefficient) -> Float[Array, "b *d"]:
        return zeta * jax.grad(distance)(x, t)

    def init(x: Float[Array, "b *d"]) -> State:
        state = stepper.init(x)
        return state._replace(memory=(state.memory, None if stepper.correctable else jnp.zeros_like(x)))

    def plan(times: Any) -> Plan:
        place, inner = placed(stepper, process, times)
        return Plan((place, inner.rows), inner.ends)

    def step(key: Key[Array, ""], state: State, place: Place, row: tuple[Any, ...]) -> State:
        inner, held = state.memory
        if stepper.correctable:
            found, held = pull(state.x, place.t), None
        else:  # a step of several rows: the gradient is that of its beginning
            found = held = jax.lax.cond(place.begins > 0.0, lambda: pull(state.x, place.t), lambda: held)
        after = stepper.step(key, state._replace(memory=inner), *row)
        shift = jnp.where(place.ends > 0.0, found, 0.0)
        moved = stepper.place(after, after.x - shift, *row)
        return State(moved.x, after.mean - shift, (moved.memory, held))

    def move(state: State, x: Float[Array, "b *d"], place: Place, row: tuple[Any, ...]) -> State:
        inner, held = state.memory
        moved = stepper.place(state._replace(memory=inner), x, *row)
        return moved._replace(memory=(moved.memory, held))

    per_end = stepper.per_end + 1
    return dataclasses.replace(stepper, step=step, init=init, plan=plan, place=move, per_end=per_end)
