"""A sampler of what agrees with a measurement, from the sampler's settings and the method's name."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import samplers
from inverse.measurement import LinearMeasurement
from inverse.methods import METHODS
from samplers.base import Samples
from samplers.settings import Settings
from sde_lib.base import AffineSDE, Process
from sde_lib.prediction import Model


def create(
    sde: AffineSDE,
    model: Model,
    settings: Settings,
    measurement: LinearMeasurement,
    method: str = "posterior",
    *,
    process: Process | None = None,
    trajectory: bool = False,
    start: float = 1.0,
    **options: Any,
) -> Callable[..., Samples]:
    """The sampler ``(key, z [b, ...], y [b, ...]) -> Samples``, z drawn from the prior; jit it once.

    Where the measurement is exact, A x = y in the result (`LinearMeasurement.impose`; a mask's y bit for bit), but for
    the method 'told', which leaves it to the network. y may
    be [1, ...], one for all. A fourth argument takes another measurement of the same kind: as an argument of what is
    compiled, another mask of the same shape does not compile again. Evaluations are counted without backward passes.

    Args:
      sde: the process that the sampler reverses.
      model: its predictions or score; a learned variance (`Settings.learned_variance`) needs one that predicts it.
      settings: the sampler's.
      measurement: A and its noise.
      method: one of METHODS.
      process: what the network knows, where that is not the SDE: the levels of a discrete chain.
      trajectory: as in `samplers.create`; what it holds is as the steps leave it.
      start: where the grid begins.
      options: the method's.

    Raises:
      ValueError: an unknown method or option, a measurement with noise that the method does not take, a sampler it does
        not go with, or what `samplers.create` refuses; before anything is traced. On use, shapes that do not fit.
    """
    if method not in METHODS:
        raise ValueError(f"inverse: method is {method!r}; known are {', '.join(METHODS)}")
    chosen = METHODS[method]
    for name in options:
        if name not in chosen.options:
            known = ", ".join(chosen.options) or "none"
            raise ValueError(f"inverse: method {method!r} has no option {name!r}; known are {known}")
    if chosen.wraps == "stepper" and settings.method == "ode":
        others = ", ".join(name for name, other in METHODS.items() if other.wraps == "model")
        raise ValueError(f"inverse: {method!r} acts between steps, and sampling.method 'ode' has none; use {others}")
    noises = samplers.process_of(sde, settings, start) if settings.scheduled else process or sde

    def sampler(measurement: LinearMeasurement, y: Any) -> Callable:
        if chosen.wraps == "model":
            told = chosen.function(noises, model, measurement, y, **options)
            return samplers.create(sde, told, settings, trajectory=trajectory, start=start)

        def wrap(stepper: samplers.Stepper) -> samplers.Stepper:
            return chosen.function(stepper, noises, model, measurement, y, **options)

        return samplers.create(sde, model, settings, trajectory=trajectory, wrap=wrap, start=start)

    sampler(measurement, jnp.zeros(0))  # refuses whatever is wrong; y is not looked at

    def run(
        key: Key[Array, ""],
        z: Float[Array, "b *d"],
        y: Float[Array, "n *m"],
        measurement: LinearMeasurement = measurement,
    ) -> Samples:
        y = jnp.asarray(y, z.dtype)
        jax.eval_shape(measurement.residual, z, y)  # shapes that do not fit, before they are met in a loop
        samples = sampler(measurement, y)(key, z)
        if measurement.noise or not chosen.exact:
            return samples
        return samples._replace(x=measurement.impose(samples.x, y))

    return run
