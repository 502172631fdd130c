"""Euler-Maruyama on the reverse-time SDE."""

import jax.numpy as jnp
from jaxtyping import Array, Key

from samplers.base import State, Stepper, at, normal_like
from sde_lib.base import AffineSDE, Coefficient
from sde_lib.prediction import ScoreFn


def euler_maruyama(sde: AffineSDE, score: ScoreFn) -> Stepper:
    """x_s = x + (s - t) [f x - g^2 score] + g sqrt(t - s) z (Song et al. 2021, App. E).

    One evaluation a step; weak order 1 (strong order 1 as well where g does not depend on x, as here).
    Works with every SDE and any grid. Needs hundreds of steps: use an ODE method for few.
    """

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        x = state.x
        mean = x + (s - t) * sde.reverse_drift(x, t, at(score, x, t))
        noise = sde.diffusion(t) * jnp.sqrt(t - s) * normal_like(key, x)
        return State(mean + noise, mean, state.memory)

    return Stepper(step, evaluations=1)
