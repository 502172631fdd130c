"""The rules between the fields of a config, and between them and what they name: one table, each rule by itself.

What a single field may be is in `experiment.ranges`, and what the options of a process, a network, a data set or a
sampler may be is checked by their constructors. A rule of this file concerns fields that contradict each other, or the
data set, the network or the guide that the config names.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

import sde_lib
from experiment import ranges
from experiment.experiment import Experiment, image_shape
from models import CLASSIFIERS


class Rule(NamedTuple):
    """A rule: where `broken` holds, `message` says what was received, what is allowed and how to mend it.

    Both take what the rules of a table are about: a config c, its data set (a `data.Source`), or an experiment e.
    """

    broken: Callable[..., Any]
    message: Callable[..., str]


def check(rules: Sequence[Rule], *about: Any) -> None:
    """Refuse what breaks a rule.

    Raises:
      ValueError: the message of the first rule that is broken.
    """
    for rule in rules:
        if rule.broken(*about):
            raise ValueError(rule.message(*about))


def check_config(config: ConfigDict) -> None:
    """Refuse a config in which a field is out of its range, or fields contradict each other.

    Raises:
      ValueError: the first that is wrong.
    """
    ranges.check_config(config)
    check(OF_CONFIG, config)


OF_CONFIG = (
    Rule(
        lambda c: c.training.continuous and c.model.noise_label in sde_lib.LEVEL_LABELS,
        lambda c: (
            f"model.noise_label {c.model.noise_label!r} counts noise levels, and training.continuous is True; set it "
            f"to False, or take one of {', '.join(sde_lib.NOISE_LABELS)}"
        ),
    ),
    Rule(
        lambda c: not c.training.continuous and c.model.get("num_scales", 0) < 2,
        lambda c: (
            f"training.continuous is False and model.num_scales {c.model.get('num_scales', 0)}: say how many noise "
            "levels (published: 1000)"
        ),
    ),
    Rule(
        lambda c: c.sampling.grid == "levels" and c.training.continuous,
        lambda c: (
            "sampling.grid 'levels' is for networks trained on noise levels (training.continuous=False); use uniform"
        ),
    ),
    Rule(
        lambda c: c.training.loss in ("hybrid", "variational") and c.data.uniform_dequantization,
        lambda c: f"training.loss {c.training.loss!r} decodes whole levels; set data.uniform_dequantization to False",
    ),
    Rule(
        lambda c: c.model.name in CLASSIFIERS and c.model.preconditioning != "none",
        lambda c: (
            f"model.preconditioning is {c.model.preconditioning!r}, and {c.model.name} is a classifier, whose input is "
            "scaled in its own way; set it to 'none'"
        ),
    ),
    *(
        Rule(
            lambda c, bound=bound: (
                c.model.get(bound) is not None and c.model[bound] != c.sde.get(bound, c.model[bound])
            ),
            lambda c, bound=bound: (
                f"model.{bound} is {c.model[bound]} and sde.{bound} {c.sde[bound]}; the network divides by the "
                "process's sigma, so the two must be equal"
            ),
        )
        for bound in ("sigma_min", "sigma_max")
    ),
)
"""Rules of a config: its fields must not contradict each other."""

OF_DATA = (
    Rule(
        lambda c, source: image_shape(c) is None and len(source.shape) == 3,
        lambda c, source: f"data.image_size and data.num_channels are missing; {source.name!r} has {source.shape}",
    ),
    Rule(
        lambda c, source: image_shape(c) not in (None, source.shape),
        lambda c, source: (
            f"data.image_size {c.data.image_size}, data.num_channels {c.data.num_channels}: the images of "
            f"{c.data.dataset!r} are {source.shape} (height, width, channels)"
        ),
    ),
    Rule(
        lambda c, source: c.data.random_flip and len(source.shape) != 3,
        lambda c, source: (
            f"data.random_flip is for images; the examples of {source.name!r} are {source.shape}; set it to False"
        ),
    ),
    Rule(
        lambda c, source: c.sampling.threshold != "none" and source.levels is None,
        lambda c, source: (
            f"sampling.threshold {c.sampling.threshold!r}: {source.name!r} has no range; set it to 'none'"
        ),
    ),
    Rule(
        lambda c, source: c.model.get("label_dim", 0) not in (0, source.num_classes),
        lambda c, source: (
            f"model.label_dim is {c.model.label_dim}, and the examples of {source.name!r} have "
            f"{source.num_classes or 'no'} classes; set it to {source.num_classes}"
        ),
    ),
)
"""Rules of a config and its data set."""


def _guidance(e: Experiment) -> str:
    return f"sampling.guidance is {e.settings.guidance} ({e.settings.guidance_convention})"


def _unguided(e: Experiment) -> bool:
    return e.settings.guidance_scale == 1.0 or e.guide is not None


def _draws_variance(e: Experiment) -> bool:
    """Whether a sampler that the config names asks the network for the variance of its steps."""
    methods = {e.settings.method, *e.config.eval.samplers}
    return any(dataclasses.replace(e.settings, method=method).learned_variance for method in methods)


OF_GUIDE = (
    *(
        Rule(
            lambda e, field=field: e.config.data.get(field) != e.guide.config.data.get(field),
            lambda e, field=field: (
                f"sampling.guide {e.settings.guide!r} has data.{field} {e.guide.config.data.get(field)}, and this run "
                f"{e.config.data.get(field)}; a guide must have seen the same kind of images"
            ),
        )
        for field in ("image_size", "num_channels", "centered")
    ),
    Rule(
        lambda e: e.guide.num_classes and not e.guide.classifies and not e.num_classes,
        lambda e: (
            f"sampling.guide {e.settings.guide!r} is a model of {e.guide.num_classes} classes, of which this network "
            "knows none, so its samples would leave their class; give a classifier, or a weaker model without classes"
        ),
    ),
    Rule(
        lambda e: e.guide.sde.parameters or repr(e.guide.sde) != repr(e.sde),
        lambda e: (
            f"sampling.guide {e.settings.guide!r} has learned the noise {e.guide.config.sde.to_dict()} and this run "
            f"{e.config.sde.to_dict()}{' (each with a schedule of its own)' if e.guide.sde.parameters else ''}; they "
            "must be the same"
        ),
    ),
    Rule(
        lambda e: e.guide.num_classes not in (0, e.sampled_classes),
        lambda e: (
            f"sampling.guide {e.settings.guide!r} knows {e.guide.num_classes} classes, and this run {e.sampled_classes}"
        ),
    ),
    Rule(
        lambda e: e.guide.classifies and e.settings.guidance_rescale,
        lambda e: (
            f"sampling.guidance_rescale is {e.settings.guidance_rescale}, which is for guidance by a second score, and "
            f"sampling.guide {e.settings.guide!r} is a classifier; set it to 0"
        ),
    ),
)
"""Rules of an experiment with a guide."""

OF_SAMPLERS = (
    Rule(
        lambda e: e.settings.label >= 0 and e.settings.label >= e.sampled_classes,
        lambda e: (
            f"sampling.label is {e.settings.label}; allowed is "
            + (
                f"0 to {e.sampled_classes - 1}, or -1 for each in turn"
                if e.sampled_classes
                else "-1: the network takes no classes"
            )
        ),
    ),
    Rule(
        lambda e: not _unguided(e) and not e.num_classes,
        lambda e: (
            f"{_guidance(e)}, and the network takes no classes to be guided by (model.label_dim is 0); leave it at 1, "
            "or give sampling.guide the folder of a classifier or of a weaker model"
        ),
    ),
    Rule(
        lambda e: not _unguided(e) and not e.config.training.label_dropout,
        lambda e: (
            f"{_guidance(e)}, and training.label_dropout 0: the network has not learned the unconditional score; leave "
            "it at 1, or give sampling.guide a weaker model"
        ),
    ),
    Rule(
        lambda e: e.config.model.preconditioning != "none" and _draws_variance(e),
        lambda e: (
            f"sampling.variance is {e.settings.variance!r} and model.preconditioning "
            f"{e.config.model.preconditioning!r}, whose networks say nothing of a variance; use small or large"
        ),
    ),
    Rule(
        lambda e: _draws_variance(e) and not e.predicts_variance,
        lambda e: (
            f"sampling.variance is {e.settings.variance!r}, and the network predicts none; use small or large, or a "
            "network with twice the channels (model.learned_variance=True)"
        ),
    ),
)
"""Rules of an experiment and the samplers that its config names: what they ask for, the network must know."""
