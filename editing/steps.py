"""The compiled edit of one picture, by what its task asks of a sampler."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import inverse
import samplers
import sde_lib
from editing.tasks import Inputs
from editing.telling import check, method_of, start_of, told_of
from experiment import Experiment
from experiment.sampling import guided
from models.materialize import network_jit
from samplers import Samples
from samplers.base import normal_like
from sde_lib.prediction import Model


def sampler_name(experiment: Experiment) -> str:
    """The sampler of the task: an interpolation follows the adaptive flow, whatever the config's method."""
    return "ode" if experiment.config.edit.task == "interpolate" else experiment.settings.method


def edit_of(
    experiment: Experiment, variables: dict[str, Any], read: Inputs, small: np.ndarray | None = None
) -> Callable:
    """The compiled edit of one picture; making it once of another model refuses what does not go together.

    It is the function (variables, key, told, measurement, x0 [1, ...], y [1, ...], other x0) -> images [count, h, w, c]
    and the evaluations spent on each. `told` are fields of records, [1, ...] for all results or [count, ...]; of a run
    that enlarges, `small` are any pictures [count, ...] of those that it may be told.
    """
    config, sde, count = experiment.config.edit, experiment.process(variables), experiment.config.edit.count
    start, chosen = start_of(experiment), dataclasses.replace(experiment.settings, method=sampler_name(experiment))
    settings = samplers.settled(sde, chosen, start)
    along = samplers.process_of(sde, settings, start)
    noising = experiment.noising(variables, chain=settings.on_chain, sde=along)
    check(experiment)

    def model(variables: dict[str, Any], told: dict[str, jax.Array]) -> sde_lib.PredictFn:
        def of_batch(x: jax.Array, t: jax.Array) -> sde_lib.Prediction:
            each = jax.tree.map(lambda field: jnp.repeat(field, len(x) // len(field), axis=0), told)
            return guided(experiment, variables, settings, sde, each, start)(x, t)

        return sde_lib.PredictFn(noising, of_batch)

    def measured(model: Model) -> Callable[..., Samples]:
        method = method_of(experiment)
        known = inverse.METHODS.get(method)
        options = {name: config[name] for name in known.options if name in config} if known else {}
        begun = 0.0, along.prior_std * settings.prior_scale
        if start < 1.0:
            begun = inverse.noise_at_start(sde, settings, start, process=noising)
        if known and "begun" in known.options:
            options["begun"] = begun
        first: Any = read.measurement_of(0)
        sampler = inverse.create(sde, model, settings, first, method, process=noising, start=start, **options)

        def run(key: jax.Array, measurement: inverse.LinearMeasurement, x0: Any, y: jax.Array, _: Any) -> Samples:
            key_prior, key_path = jax.random.split(key)
            shape = count, *experiment.codec.shape
            if start == 1.0:
                return sampler(key_path, along.prior_sample(key_prior, shape), y, measurement)
            x0 = jnp.repeat(x0, count, axis=0)
            return sampler(key_path, begun[0] * x0 + begun[1] * normal_like(key_prior, x0), y, measurement)

        return run

    def varied(model: Model) -> Callable[..., Samples]:
        sampler = inverse.vary(sde, model, settings, start, process=noising)
        return lambda key, _, x0, *__: sampler(key, jnp.repeat(x0, count, axis=0))

    def between(model: Model) -> Callable[..., Samples]:
        samplers.create(sde, model, settings)
        fractions, tolerances = np.linspace(0.0, 1.0, count).tolist(), {"rtol": settings.rtol, "atol": settings.atol}

        def run(_: Any, __: Any, a: jax.Array, ___: Any, b: jax.Array) -> Samples:
            found = inverse.interpolate(sde, model, a, b, fractions, **tolerances)
            return Samples(found.x[:, 0], found.evaluations)

        return run

    make = {"vary": varied, "interpolate": between}.get(config.task, measured)
    make(lambda x, t: x)
    told_of(experiment, read, 0, small)  # what cannot be read is refused
    return network_jit(
        lambda variables, key, told, *given: make(model(variables, told))(key, *given)[:2], experiment.network.dtype
    )
