"""Euler-Maruyama on the reverse-time SDE."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Key

from samplers.base import Plan, State, Stepper, at, from_time_to_time, normal_like, out_of_noise
from sde_lib.base import AffineSDE, Coefficient
from sde_lib.prediction import Model, as_prediction


def euler_maruyama(sde: AffineSDE, model: Model) -> Stepper:
    """x_s = x + (s - t) [f x - g^2 score] + g sqrt(t - s) z (Song et al. 2021, App. E).

    One evaluation a step; weak order 1 (strong order 1 as well where g does not depend on x, as here).
    It works with every SDE and on any grid, and needs hundreds of steps: an ODE method is for few. A step from a time
    at which alpha is 0 is the exact posterior's.
    """
    predict = as_prediction(sde, model)

    def plan(times: Any) -> Plan:
        """(t, s, t - s): times in float64 are subtracted before they are rounded."""
        rows, ends = from_time_to_time(times)
        return Plan((*rows, times[:-1] - times[1:]), ends)

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient, h: Coefficient | None = None) -> State:
        x, h = state.x, t - s if h is None else h
        prediction = at(predict, x, t)
        mean = x - h * sde.reverse_drift(x, t, predict.score_of(prediction, t))
        mean, std = out_of_noise(sde, t, s, prediction, mean, sde.diffusion(t) * jnp.sqrt(h))
        return State(mean + std * normal_like(key, x), mean, state.memory)

    return Stepper(step, evaluations=1, plan=plan)
