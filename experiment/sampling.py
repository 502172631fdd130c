"""The predictions that an experiment's samplers follow: for given classes, guided, and kept in range."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Int, Key

import samplers
import sde_lib
from conditions import Condition
from experiment.experiment import Experiment
from samplers.classifier import classifier_guided
from samplers.guidance import autoguidance, classifier_free

GUIDE = "guide_"
"""Ahead of the names of the guide's variables among those of a run."""


def keys_of_batch(key: Key[Array, ""], i: int) -> tuple[Key[Array, ""], Key[Array, ""]]:
    """The keys of batch i of a set of samples, that of its points of the prior and that of its way to data.

    Whoever draws the batch takes these, so that a command and Python give the same samples.
    """
    key_prior, key_path = jax.random.split(jax.random.fold_in(key, i))
    return key_prior, key_path


def sampler(
    experiment: Experiment,
    variables: dict[str, Any],
    method: str,
    sde: sde_lib.AffineSDE | None = None,
    labels: Any = None,
) -> Callable:
    """The sampler of that name with the experiment's settings, for examples of these classes [b] (`labels`).

    `sde` is ``experiment.process(variables)``, made outside where the variables are traced: solvers take their tables
    from a noise schedule of concrete numbers.
    """
    settings = experiment.settings_of(method)
    sde = sde or experiment.process(variables)
    return samplers.create(sde, guided(experiment, variables, settings, sde, labels), settings)


def guided(
    experiment: Experiment,
    variables: dict[str, Any],
    settings: samplers.Settings,
    sde: sde_lib.AffineSDE,
    labels: Int[Array, " b"] | None,
) -> sde_lib.PredictFn:
    """The network's predictions, on the chain that the settings ask for, for these classes, guided and thresholded.

    The settings are those that are carried out (`samplers.settled`).
    """
    chain = on_chain(settings)
    process = sde_lib.Levels(sde, experiment.num_scales, exact=chain) if experiment.num_scales else sde
    return samplers.thresholded(
        process,
        _guided(experiment, variables, settings, process, chain, labels),
        settings.threshold,
        quantile=settings.threshold_quantile,
        low=-1.0 if experiment.codec.centered else 0.0,
    )


def on_chain(settings: samplers.Settings) -> bool:
    """Whether the sampler asks a discretely trained network for its levels, rather than for what is smooth in t.

    It does where it visits levels; the settings are those that are carried out (`samplers.settled`).
    """
    stochastic = not (settings.method == "ode" or settings.flow or settings.few_step)
    return settings.discretization > 0 and stochastic


def _guided(
    experiment: Experiment,
    variables: dict[str, Any],
    settings: samplers.Settings,
    process: sde_lib.AffineSDE | sde_lib.Levels,
    chain: bool,
    labels: Int[Array, " b"] | None,
) -> sde_lib.PredictFn:
    condition = experiment.condition({"label": labels})

    def model(x: Array, t: Array, condition: Condition) -> sde_lib.Prediction:
        return experiment.predict_fn(variables, chain=chain, condition=condition)(x, t)

    told = experiment.predict_fn(variables, chain=chain, condition=condition)
    scale, guide = settings.guidance_scale, experiment.guide
    interval = {"low": settings.guidance_low, "high": settings.guidance_high}
    if guide is None:
        if scale == 1.0 or condition is None:
            return told
        none = experiment.conditioner.none(condition)
        return classifier_free(process, model, condition, none, scale, rescale=settings.guidance_rescale, **interval)
    of_guide = {name.removeprefix(GUIDE): value for name, value in variables.items() if name.startswith(GUIDE)}
    if guide.classifies:
        return classifier_guided(process, told, guide.log_prob_fn(of_guide, labels, chain=chain), scale, **interval)
    weak = guide.predict_fn(of_guide, chain=chain, condition=guide.condition({"label": labels}))
    return autoguidance(process, told, weak, scale, rescale=settings.guidance_rescale, **interval)
