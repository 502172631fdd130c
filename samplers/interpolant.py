"""Samplers that choose their diffusion: every one of them has the marginals of the process.

In reverse time, for any w(t) >= 0,

    dx = (-velocity + w score) dt + sqrt(2 w) dw

carries noise to data through the same marginals: w = 0 is the probability flow, and w = g^2 / 2 the reverse SDE of
Song et al. 2021. Ma et al. 2024 (SiT, arXiv:2401.08740, eq. 6 and table 6) choose w after the training. Their time runs
from noise to data, here from data to noise.
"""

from collections.abc import Callable
from typing import Annotated

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from limits import OneOf, check, not_negative
from samplers.base import State, Stepper, at, normal_like, out_of_noise
from sde_lib.base import AffineSDE, Coefficient
from sde_lib.prediction import Model, Prediction, as_prediction

Diffusion = Callable[[AffineSDE, Coefficient, float], Coefficient]
DIFFUSIONS: dict[str, Diffusion] = {
    "constant": lambda sde, t, scale: jnp.full_like(t, scale),
    "sbdm": lambda sde, t, scale: 0.5 * scale * sde.diffusion(t) ** 2,
    "sigma": lambda sde, t, scale: scale * sde.sigma(t),
    "linear": lambda sde, t, scale: scale * t,
    "decreasing": lambda sde, t, scale: 0.25 * (1.0 - scale * jnp.cos(jnp.pi * t)) ** 2,
    "increasing-decreasing": lambda sde, t, scale: scale * jnp.sin(jnp.pi * t) ** 2,
}
"""w(t) by name: (sde, t, scale) -> w. "sbdm" is the reverse SDE's, which is infinite where alpha is 0."""

Form = Annotated[str, OneOf(tuple(DIFFUSIONS))]
Scale = Annotated[float, not_negative(note="0 is the probability flow")]


def _drift_fn(
    sde: AffineSDE, model: Model
) -> Callable[[Float[Array, "b *d"], Coefficient, Coefficient], tuple[Prediction, Array]]:
    """(x, t, w) -> the prediction and dx of a unit of reverse time; one evaluation."""
    predict = as_prediction(sde, model)

    def drift(x: Float[Array, "b *d"], t: Coefficient, w: Coefficient) -> tuple[Prediction, Array]:
        prediction = at(predict, x, t)
        velocity = sde.velocity(prediction.x0, prediction.eps, t)
        return prediction, w * predict.score_of(prediction, t) - velocity

    return drift


def interpolant_euler(
    sde: AffineSDE, model: Model, *, diffusion: Form = "sigma", diffusion_scale: Scale = 1.0
) -> Stepper:
    """x_s = x + h (-velocity + w score) + sqrt(2 w h) z, h = t - s: Euler-Maruyama with a diffusion of one's own.

    One evaluation a step, weak order 1; any process. With the grid "published", t_min = 0.04 and denoise = "mean" it is
    the published sampler of SiT. A step from a time at which w is infinite is the exact posterior's.

    Args:
      sde: the process.
      model: what is known of the data.
      diffusion: w(t), a name of `DIFFUSIONS`.
      diffusion_scale: the scale of w.

    Raises:
      ValueError: an unknown diffusion.
    """
    check("interpolant_euler: ", {"diffusion": diffusion}, {"diffusion": OneOf(tuple(DIFFUSIONS))})
    drift = _drift_fn(sde, model)

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        x, h, w = state.x, t - s, DIFFUSIONS[diffusion](sde, t, diffusion_scale)
        prediction, rate = drift(x, t, w)
        mean, std = x + h * rate, jnp.sqrt(2.0 * w * h)
        if diffusion == "sbdm":
            mean, std = out_of_noise(sde, t, s, prediction, mean, std)
        return State(mean + std * normal_like(key, x), mean, state.memory)

    return Stepper(step, evaluations=1)


def interpolant_heun(
    sde: AffineSDE, model: Model, *, diffusion: Form = "sigma", diffusion_scale: Scale = 1.0
) -> Stepper:
    """SiT's Heun step: the noise of `interpolant_euler` is added first, then the drift is followed by Heun's method.

    Two evaluations a step, the second at s, where sigma must not be 0: the grid must end above 0. Its weak order is 1,
    since the noise of a step is that of its beginning; its drift is of order 2. A step from a time at which w is
    infinite is the exact posterior's.

    Args:
      sde: the process.
      model: what is known of the data.
      diffusion: w(t), a name of `DIFFUSIONS`.
      diffusion_scale: the scale of w.

    Raises:
      ValueError: an unknown diffusion.
    """
    check("interpolant_heun: ", {"diffusion": diffusion}, {"diffusion": OneOf(tuple(DIFFUSIONS))})
    drift = _drift_fn(sde, model)

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        h, z = t - s, normal_like(key, state.x)
        w, w_end = (DIFFUSIONS[diffusion](sde, time, diffusion_scale) for time in (t, s))
        w = jnp.where(jnp.isfinite(w), w, 0.0)
        x = state.x + jnp.sqrt(2.0 * w * h) * z
        prediction, first = drift(x, t, w)
        _, second = drift(x + h * first, s, w_end)
        mean, std = x + 0.5 * h * (first + second), jnp.zeros_like(w)
        if diffusion == "sbdm":
            mean, std = out_of_noise(sde, t, s, prediction, mean, std)
        end = mean + std * z
        return State(end, end, state.memory)

    return Stepper(step, evaluations=2)
