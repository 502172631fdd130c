"""What a sampler of an experiment follows: the network's score for given classes, guided, kept in range."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jaxtyping import Array, Int
from ml_collections import ConfigDict

import samplers
import sde_lib
from configs import default
from experiment import inputs
from experiment.workdir import Workdir
from models.conditions import NO_CLASS
from samplers.classifier import classifier_guided
from samplers.guidance import autoguidance, classifier_free

if TYPE_CHECKING:
    from experiment.build import Experiment

GUIDE = "guide_"
"""Ahead of the names of the guide's variables among those of a run."""


def guided_score(
    experiment: "Experiment",
    variables: dict[str, Any],
    settings: samplers.Settings,
    sde: sde_lib.AffineSDE,
    labels: Int[Array, " b"] | None,
) -> sde_lib.ScoreFn | sde_lib.ScoreAndVarianceFn:
    """The network's score, on the chain that the settings ask for, for these classes, guided and thresholded.

    The settings are those that are carried out (`samplers.settled`).
    """
    chain = on_chain(settings)
    process = sde_lib.Levels(sde, experiment.num_scales, exact=chain) if experiment.num_scales else sde
    return samplers.thresholded(
        process,
        _guided(experiment, variables, settings, process, chain, labels),
        settings.threshold,
        quantile=settings.threshold_quantile,
        low=-1.0 if experiment.scaler.centered else 0.0,
    )


def on_chain(settings: samplers.Settings) -> bool:
    """Whether the sampler asks a discretely trained network for its levels, rather than for what is smooth in t.

    It does where it visits levels; the settings are those that are carried out (`samplers.settled`).
    """
    stochastic = not (settings.method == "ode" or settings.flow or settings.few_step)
    return settings.discretization > 0 and stochastic


def _guided(
    experiment: "Experiment",
    variables: dict[str, Any],
    settings: samplers.Settings,
    process: sde_lib.AffineSDE | sde_lib.Levels,
    chain: bool,
    labels: Int[Array, " b"] | None,
) -> Callable:
    make = experiment.score_and_variance_fn if settings.learned_variance else experiment.score_fn

    def score(x: Array, t: Array, labels: Array) -> Any:
        return make(variables, chain=chain, condition=experiment.condition(labels))(x, t)

    told = make(variables, chain=chain, condition=experiment.condition(labels))
    scale, guide = settings.guidance_scale, experiment.guide
    interval = {"low": settings.guidance_low, "high": settings.guidance_high}
    if guide is None and (scale == 1.0 or labels is None):
        return told
    if guide is None:
        none = jnp.full_like(labels, NO_CLASS)
        return classifier_free(process, score, labels, none, scale, rescale=settings.guidance_rescale, **interval)
    of_guide = {name.removeprefix(GUIDE): value for name, value in variables.items() if name.startswith(GUIDE)}
    if guide.classifies:
        return classifier_guided(process, told, guide.log_prob_fn(of_guide, labels, chain=chain), scale, **interval)
    weak = guide.score_fn(of_guide, chain=chain, condition=guide.condition(labels))
    return autoguidance(process, told, weak, scale, rescale=settings.guidance_rescale, **interval)


def check(experiment: "Experiment") -> None:
    """ValueError where ``config.sampling`` asks for classes or guidance that the network and its guide cannot give."""
    config, settings, guide = experiment.config, experiment.settings, experiment.guide
    told = experiment.num_classes
    if told and told != experiment.source.num_classes:
        raise ValueError(
            f"model.label_dim is {told}, and the examples of {experiment.source.name!r} have "
            f"{experiment.source.num_classes or 'no'} classes; set it to {experiment.source.num_classes}"
        )
    classes = told or (guide.num_classes if guide else 0)
    if guide and guide.num_classes and not guide.classifies and not told:
        raise ValueError(
            f"sampling.guide {settings.guide!r} is a model of {guide.num_classes} classes, of which this network knows "
            "none, so its samples would leave their class; give a classifier, or a weaker model without classes"
        )
    if guide and (guide.sde.parameters or repr(guide.sde) != repr(experiment.sde)):
        theirs, ours = guide.config.sde.to_dict(), config.sde.to_dict()
        learned = " (each with a schedule of its own)" if guide.sde.parameters else ""
        raise ValueError(
            f"sampling.guide {settings.guide!r} has learned the noise {theirs} and this run {ours}{learned}; they must "
            "be the same"
        )
    if guide and guide.num_classes not in (0, classes):
        raise ValueError(f"sampling.guide {settings.guide!r} knows {guide.num_classes} classes, and this run {classes}")
    if guide and guide.classifies and settings.guidance_rescale:
        raise ValueError(
            f"sampling.guidance_rescale is {settings.guidance_rescale}, which is for guidance by a second score, and "
            f"sampling.guide {settings.guide!r} is a classifier; set it to 0"
        )
    if settings.label >= classes and settings.label >= 0:
        allowed = f"0 to {classes - 1}, or -1 for each in turn" if classes else "-1: the network takes no classes"
        raise ValueError(f"sampling.label is {settings.label}; allowed is {allowed}")
    if settings.guidance_scale == 1.0 or guide is not None:
        return
    if not told:
        raise ValueError(
            f"sampling.guidance is {settings.guidance} ({settings.guidance_convention}), and the network takes no "
            "classes to be guided by (model.label_dim is 0); leave it at 1, or give sampling.guide the folder of a "
            "classifier or of a weaker model"
        )
    if not config.training.label_dropout:
        raise ValueError(
            f"sampling.guidance is {settings.guidance} ({settings.guidance_convention}), and training.label_dropout 0: "
            "the network has not learned the unconditional score; leave it at 1, or give sampling.guide a weaker model"
        )


def config_of_guide(config: ConfigDict) -> ConfigDict | None:
    """The config of the run in ``sampling.guide``, None where there is none.

    Raises:
      ValueError: a folder that holds no run, a damaged config of one, or one of another process or other images.
    """
    folder = config.sampling.guide
    if not folder:
        return None
    run = Workdir(folder)
    if not run.config_file.exists():
        raise ValueError(f"sampling.guide is {folder!r}, which holds no run (no config.json)")
    saved, guide = run.config(), default.get_config()
    with guide.unlocked():
        for section in ("sde", "model", "data", "training"):  # how it is sampled and evaluated does not matter
            guide[section] = saved[section]
    for key in ("image_size", "num_channels", "centered"):
        ours, theirs = config.data.get(key), guide.data.get(key)
        if ours != theirs:
            raise ValueError(
                f"sampling.guide {folder!r} has data.{key} {theirs}, and this run {ours}; a guide must have seen the "
                "same kind of images"
            )
    inputs.check_files(guide, run)
    return guide
