"""What each task is: which measurement of an image, and how a given picture answers it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

import inverse
from editing import pictures
from experiment import Experiment
from inverse import LinearMeasurement

MEASURED = ("inpaint", "colorize", "super_resolve")


class Inputs(NamedTuple):
    """What a task begins with.

    Attributes:
      originals: whole images [n, h, w, c] as the model sees them; None where only measurements were given.
      measurement: of those of MEASURED.
      y: what was measured of each, [n, ...].
      others: of 'interpolate', the images at the other end.
    """

    originals: np.ndarray | None
    measurement: LinearMeasurement | None = None
    y: np.ndarray | None = None
    others: np.ndarray | None = None

    def __len__(self) -> int:
        given = self.y if self.originals is None else self.originals
        return 0 if given is None else len(given)


def inputs(experiment: Experiment, config: ConfigDict) -> Inputs:
    """Read what ``config.edit`` names.

    Raises:
      ValueError: a file that is no picture, or a picture that the task cannot take.
      OSError: no such file.
    """
    if len(experiment.source.shape) != 3 or experiment.source.levels is None:
        raise ValueError(f"--mode=edit is for images; the examples of {experiment.source.name!r} are points")
    return TASK_INPUTS[config.task](experiment, config)


def _whole(experiment: Experiment, config: ConfigDict) -> Inputs:
    return Inputs(pictures.encoded(experiment, pictures.given(experiment, config.image, config.images)))


def _inpaint(experiment: Experiment, config: ConfigDict) -> Inputs:
    measurement = inverse.mask(pictures.mask(experiment, config.mask), noise=config.noise)
    return _measured(_whole(experiment, config).originals, measurement)


def _colorize(experiment: Experiment, config: ConfigDict) -> Inputs:
    channels = experiment.source.shape[2]
    if channels != 3:
        raise ValueError(
            f"edit.task 'colorize' needs a model of colour images; those of {experiment.source.name!r} have {channels} "
            "channel"
        )
    measurement, found = inverse.grey(noise=config.noise), pictures.given(experiment, config.image, config.images)
    whole = pictures.encoded(experiment, found)
    return _measured(whole, measurement) if found.shape[3] == 3 else Inputs(None, measurement, whole[..., :1])


def _super_resolve(experiment: Experiment, config: ConfigDict) -> Inputs:
    (height, width, _), factor = experiment.source.shape, config.factor
    measurement = inverse.downsample(factor, noise=config.noise)
    if height % factor or width % factor:
        raise ValueError(f"edit.factor is {factor}, which does not divide the model's {width} x {height} pixels")
    found = pictures.given(experiment, config.image, config.images, smaller=(height // factor, width // factor))
    encoded = pictures.encoded(experiment, found)
    small = found.shape[1] < height  # then it is what was measured
    return Inputs(None, measurement, encoded) if small else _measured(encoded, measurement)


def _measured(whole: np.ndarray | None, measurement: LinearMeasurement) -> Inputs:
    return Inputs(whole, measurement, np.asarray(jax.jit(measurement.apply)(whole)))


def _interpolate(experiment: Experiment, config: ConfigDict) -> Inputs:
    if bool(config.image) != bool(config.other):
        raise ValueError(
            f"edit.image is {config.image!r} and edit.other {config.other!r}; 'interpolate' needs two files, or neither"
        )
    if config.image:
        ends = [pictures.given(experiment, config[field], 1, field) for field in ("image", "other")]
    else:
        both = pictures.given(experiment, "", 2 * config.images)
        ends = [both[0::2], both[1::2]]
    a, b = (pictures.encoded(experiment, end) for end in ends)
    return Inputs(a, others=b)


TASK_INPUTS: dict[str, Callable[[Experiment, ConfigDict], Inputs]] = {
    "inpaint": _inpaint,
    "colorize": _colorize,
    "super_resolve": _super_resolve,
    "vary": _whole,
    "interpolate": _interpolate,
}
