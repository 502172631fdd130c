"""What the network is told of the results of an edit: words, a class, and what is known of the picture."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from conditions.labels import NO_CLASS
from editing.tasks import MEASURED, Inputs
from experiment import Experiment
from experiment.made import of_levels

READ = ("tokens", "text")
"""The fields of a record that are made of a text, of one kind of network or of the other."""


def told_of(experiment: Experiment, read: Inputs, i: int, small: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The fields of records [1, ...] of which all results of picture i are drawn, and those [count, ...] of each.

    They are what is read of its prompt (``sampling.prompt``, one for all or one each in turn) or no text, the class
    ``sampling.label`` or none, and, of a network that fills in what is not known, what is known of the picture. Of one
    that enlarges they are also the `small` pictures [count, h, w, c], levels as they are stored.
    """
    takes = experiment.conditioner.fields
    enlarged = {} if small is None else {"low_res": np.asarray(of_levels(experiment.codec, small))}
    fields = experiment.told(i, 1, given=tuple(enlarged), said=None if experiment.settings.prompt else ()) | enlarged
    if experiment.sampled_classes:
        label = experiment.settings.label
        fields["label"] = np.array([label if label >= 0 else NO_CLASS])
    if read.known is None or read.originals is None:
        return fields
    if "known_mask" in takes:
        known = read.places_of(i)[None, ..., None]
        fields |= {"known_image": read.originals[i : i + 1], "known_mask": known}
    if "beside" in takes and read.hidden is not None:
        painted = 1.0 - read.places_of(i)[None, ..., None].astype(np.float32)
        fields["beside"] = np.concatenate([painted, read.hidden[i : i + 1]], axis=-1)
    return fields


def texts_of(experiment: Experiment, count: int) -> list[str]:
    """The prompt of each of so many pictures; none without prompts."""
    return experiment.texts(0, count) if experiment.settings.prompt else []


def method_of(experiment: Experiment) -> str:
    """The method by which a measurement is followed; of 'auto' the one that suits what the network is told.

    One that is told what is known is not led ('told', beside x) or has it written over what it denoises ('consistent',
    as GLIDE's); one that is told a text blends, which costs no more than drawing; any other takes 'dps'.
    """
    if (chosen := experiment.config.edit.method) != "auto":
        return chosen
    takes = experiment.conditioner.fields
    if "beside" in takes:
        return "told"
    if "known_mask" in takes:
        return "consistent"
    return "blend" if experiment.settings.prompt else "dps"


def start_of(experiment: Experiment) -> float:
    """The time at which the sampler starts: 1 is noise, and below it the picture is noised."""
    config = experiment.config.edit
    return {"vary": config.strength, "inpaint": config.inpaint_strength}.get(config.task, 1.0)


def pastes(experiment: Experiment) -> bool:
    """Whether known pixels are those of the picture: ``edit.paste``, where that is None if a prompt edits."""
    paste = experiment.config.edit.paste
    return bool(experiment.settings.prompt) if paste is None else paste


def check(experiment: Experiment) -> None:
    """ValueError where what the network is told does not suffice, or fields of ``config.edit`` do not go together."""
    for message in _broken(experiment):
        raise ValueError(message)


def _broken(experiment: Experiment) -> Iterator[str]:
    settings, guide, config = experiment.settings, experiment.guide, experiment.config.edit
    takes, guided = experiment.conditioner.fields, settings.guidance_scale != 1.0
    reads, dropped = bool(set(takes) & set(READ)), experiment.config.training.label_dropout
    if config.task in MEASURED and method_of(experiment) == "told" and not set(takes) & {"beside", "known_mask"}:
        yield (
            "edit.method is 'told', which leads nothing, and the network is not told what is known of a picture; take "
            "blend, consistent or another"
        )
    if config.task != "inpaint" and "beside" in takes:
        yield (
            f"edit.task is {config.task!r}, and the network is told a mask beside each picture, which only 'inpaint' "
            "has; take that"
        )
    if guide and guide.matches and not settings.prompt:
        yield f"sampling.prompt is '', and sampling.guide {settings.guide!r} guides to what a text says; give it one"
    if settings.label >= 0 or settings.prompt:
        return
    if reads and not dropped:
        yield "sampling.prompt is '', and the network has never been without a text; give it one"
    if reads and guided and guide is None:
        yield (
            f"sampling.guidance is {settings.guidance}, and sampling.prompt '': without a text there is nothing to be "
            "guided to; give it one"
        )
    if not experiment.sampled_classes:
        return
    if experiment.num_classes and not dropped:
        yield "sampling.label is -1, and the network has never been without a class; give it one"
    if guided and guide is None:
        yield (
            f"sampling.guidance is {settings.guidance}, and sampling.label -1: without a class there is nothing to be "
            "guided to; give it one"
        )
    if guide and guide.num_classes:
        yield "sampling.label is -1, and sampling.guide guides to a class; give it one"


def facts(experiment: Experiment) -> dict[str, Any]:
    """The fields of ``config.edit`` as they are carried out."""
    own = {name: value for name, value in experiment.config.edit.items() if name not in ("task", "method")}
    return {f"edit.{name}": value for name, value in (own | {"paste": pastes(experiment)}).items()}
