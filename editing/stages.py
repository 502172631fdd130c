"""Inpainting in stages: what one run has painted in small pictures, another paints at full size, as GLIDE's two do.

Each further stage is the run of ``sampling.upsampler`` (Nichol et al. 2022, arXiv:2112.10741, sec. 2.3 and 4.3). It
edits the same pictures, with the same mask and the same prompts, each read at its own size and by its own tokenizer,
and is told what the stage before has made of them, in whole levels. Its sampler is that of its own run.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from editing import categories
from editing.steps import edit_of
from editing.tasks import Inputs, inputs
from experiment import Experiment
from experiment.sampling import UPSAMPLER


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """One run's part of an edit.

    Attributes:
      experiment: the run.
      read: the pictures at its size, and what is known of them.
      apply: (key, what the network is told, what is measured, inputs of one picture) -> images [count, h, w, c] and the
        evaluations spent on each (`editing.steps.edit_of`).
    """

    experiment: Experiment
    read: Inputs
    apply: Callable


def stages(experiment: Experiment, variables: dict[str, Any], read: Inputs) -> list[Stage]:
    """The stages of an edit of what was `read` for the first one; further ones are those of its upsamplers.

    The variables are those of the run, its guide, its upsampler and all that serves that (`experiment.weights`).

    Raises:
      ValueError: what is edited does not go with one of the runs.
      OSError: a picture is not there.
    """
    own = {name: values for name, values in variables.items() if not name.startswith(UPSAMPLER)}
    make = categories.edit_of if experiment.of_categories else edit_of
    found = [Stage(experiment, read, partial(make(experiment, own, read), own))]
    count = experiment.config.edit.count
    while upsampler := found[-1].experiment.upsampler:
        small = np.zeros((count, *found[-1].experiment.codec.pictures.shape), np.uint8)
        variables = {n.removeprefix(UPSAMPLER): v for n, v in variables.items() if n.startswith(UPSAMPLER)}
        own = {name: values for name, values in variables.items() if not name.startswith(UPSAMPLER)}
        stage = _asked_alike(upsampler, experiment)
        read = inputs(stage, stage.config.edit)
        found.append(Stage(stage, read, partial(edit_of(stage, own, read, small), own)))
    return found


def _asked_alike(upsampler: Experiment, experiment: Experiment) -> Experiment:
    """The upsampler that is given the prompts, and where it knows classes the class, of the run that it enlarges."""
    label = experiment.settings.label if upsampler.num_classes else -1
    settings = dataclasses.replace(upsampler.settings, prompt=experiment.settings.prompt, label=label)
    return dataclasses.replace(upsampler, settings=settings, prompts=experiment.prompts)
