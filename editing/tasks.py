"""What each task is: which measurement of an image, and how a given picture answers it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

import inverse
from editing import gaps, pictures
from experiment import Experiment
from experiment.showing import MODALITIES
from inverse import LinearMeasurement

MEASURED = ("inpaint", "colorize", "super_resolve")
OF_PIXELS = ("colorize", "super_resolve")


@dataclasses.dataclass(frozen=True, eq=False)
class Inputs:
    """What a task begins with.

    Attributes:
      pictures: whole images [n, height, width, channels], floats of the codec's `pictures`; None where only
        measurements were given.
      originals: the x of them, [n, ...]; the same where pictures themselves are modelled.
      measurement: of x, of those of MEASURED.
      y: what was measured of each, [n, ...]; of categories these themselves, and `gaps.UNKNOWN` where they are not.
      known: of 'inpaint', True [height, width] where the images are known, or [n, height, width], of each its own; of
        other data [length], [frames, height, width], ..., whatever axes stand before the channels.
      hidden: of 'inpaint', of a network that is told of it: the x of the images with grey where they are not known.
      other_pictures, others: of 'interpolate', the images at the other end, and the x of them.
    """

    pictures: np.ndarray | None
    originals: np.ndarray | None
    measurement: LinearMeasurement | None = None
    y: np.ndarray | None = None
    known: np.ndarray | None = None
    hidden: np.ndarray | None = None
    other_pictures: np.ndarray | None = None
    others: np.ndarray | None = None

    def measurement_of(self, i: int) -> LinearMeasurement | None:
        """The measurement of image i."""
        if self.known is None or self.pictures is None or self.measurement is None:
            return self.measurement
        if self.known.ndim == self.pictures.ndim - 2:  # one for all of them
            return self.measurement
        return inverse.mask(self.places_of(i), noise=self.measurement.noise)

    def places_of(self, i: int) -> np.ndarray:
        """True [h, w] at the numbers of x that are known of image i, of 'inpaint'."""
        measurement: Any = self.measurement
        places, originals = np.asarray(measurement.known), self.originals
        alike = originals is not None and places.ndim == originals.ndim - 2
        return places if alike else places[i, ..., 0]

    def __len__(self) -> int:
        given = self.y if self.originals is None else self.originals
        return 0 if given is None else len(given)


def inputs(experiment: Experiment, config: ConfigDict) -> Inputs:
    """Read what ``config.edit`` names.

    Raises:
      ValueError: a file that is no picture, or a picture that the task cannot take.
      OSError: no such file.
    """
    source, modality = experiment.source, MODALITIES[experiment.source.modality]
    if modality.panels is None:
        raise ValueError(
            f"--mode=edit shows examples one by one, and those of {source.name!r} are {modality.words}, of which all "
            "stand in one scatter; take another data set"
        )
    if source.padded:
        raise ValueError(
            f"--mode=edit is for sets of as many points each, and of {source.name!r} points of its sets may be absent "
            "(data.varying); take a run without"
        )
    if config.task in OF_PIXELS and not modality.is_picture:
        others = ", ".join(sorted({*TASK_INPUTS} - {*OF_PIXELS}))
        raise ValueError(
            f"edit.task {config.task!r} is for images, and the examples of {source.name!r} are {modality.words}; take "
            f"one of {others}"
        )
    if modality.is_picture and source.levels is None:
        raise ValueError(f"--mode=edit is for images of grey levels, and those of {source.name!r} have none")
    for field in ("image", "other"):
        if config[field] and not modality.is_picture and not (field == "image" and source.alphabet):
            raise ValueError(
                f"edit.{field} is {config[field]!r}, a picture, and the examples of {source.name!r} are "
                f"{modality.words}; leave it '', for those of the test set"
            )
    if config.task in OF_PIXELS and experiment.codec.shape != experiment.codec.pictures.shape:
        raise ValueError(
            f"edit.task {config.task!r} measures pixels, which are no linear function of latents (data.codec is "
            f"{experiment.config.data.codec!r}); of latents are {', '.join(sorted({*TASK_INPUTS} - {*OF_PIXELS}))}"
        )
    return TASK_INPUTS[config.task](experiment, config)


def _whole(experiment: Experiment, config: ConfigDict) -> Inputs:
    if experiment.source.alphabet:
        x = gaps.given(experiment, config)
        whole = None if (x == gaps.UNKNOWN).any() else np.asarray(experiment.codec.pictures.encode(x))
        return Inputs(whole, x)
    whole = pictures.encoded(experiment, pictures.given(experiment, config.image, config.images))
    return Inputs(whole, np.asarray(experiment.codec.of_pictures(whole)))


def _inpaint(experiment: Experiment, config: ConfigDict) -> Inputs:
    whole = _whole(experiment, config)
    if experiment.of_categories:
        return _filled_in(experiment, config, whole)
    known = pictures.masks(experiment, config.mask, len(whole))
    places = np.stack([pictures.reduced(experiment, each) for each in known])
    alike = len(known) == 1
    measurement = inverse.mask(places[0] if alike else places[..., None], noise=config.noise)
    found = dataclasses.replace(_measured(whole, measurement), known=known[0] if alike else known)
    if "beside" not in experiment.conditioner.fields:
        return found
    grey = np.float32(experiment.codec.pictures.centres().mean())
    hidden: Any = whole.pictures
    hidden = np.where(known[..., None], hidden, grey).astype(np.float32)
    return dataclasses.replace(found, hidden=np.asarray(experiment.codec.of_pictures(hidden)))


def _filled_in(experiment: Experiment, config: ConfigDict, whole: Inputs) -> Inputs:
    """What is known of categories, which is measured of none: they themselves."""
    if whole.pictures is None and config.inpaint_strength < 1.0:
        raise ValueError(
            f"edit.inpaint_strength is {config.inpaint_strength}, which begins with the text noised, and edit.image "
            f"{config.image!r} has gaps; set it to 1"
        )
    shown = None
    if experiment.source.alphabet:
        known = gaps.known(experiment, config)
    else:
        masks = pictures.masks(experiment, config.mask, len(whole))
        known, shown = masks[..., None], masks[0] if len(masks) == 1 else masks
    x: Any = whole.originals
    y = np.where(known, x, gaps.UNKNOWN)
    if (y != gaps.UNKNOWN).all():
        raise ValueError(
            f"edit.image {config.image!r} has no sign {config.mask!r}, and nothing of it is to be filled in; write one "
            "for each unknown symbol"
        )
    return dataclasses.replace(whole, y=y, known=shown)


def _vary(experiment: Experiment, config: ConfigDict) -> Inputs:
    whole = _whole(experiment, config)
    if whole.pictures is None:
        raise ValueError(
            f"edit.task 'vary' noises a whole text, and edit.image {config.image!r} has gaps, or fewer symbols than "
            f"the {experiment.codec.shape[0]} of this run; take 'inpaint'"
        )
    return whole


def _colorize(experiment: Experiment, config: ConfigDict) -> Inputs:
    channels = experiment.source.shape[2]
    if channels != 3:
        raise ValueError(
            f"edit.task 'colorize' needs a model of colour images; those of {experiment.source.name!r} have {channels} "
            "channel"
        )
    measurement, found = inverse.grey(noise=config.noise), pictures.given(experiment, config.image, config.images)
    whole = pictures.encoded(experiment, found)
    if found.shape[3] == 3:
        return _measured(Inputs(whole, whole), measurement)
    return Inputs(None, None, measurement, whole[..., :1])


def _super_resolve(experiment: Experiment, config: ConfigDict) -> Inputs:
    (height, width, _), factor = experiment.codec.pictures.shape, config.factor
    measurement = inverse.downsample(factor, noise=config.noise)
    if height % factor or width % factor:
        raise ValueError(f"edit.factor is {factor}, which does not divide the model's {width} x {height} pixels")
    found = pictures.given(experiment, config.image, config.images, smaller=(height // factor, width // factor))
    encoded = pictures.encoded(experiment, found)
    small = found.shape[1] < height  # then it is what was measured
    if small:
        return Inputs(None, None, measurement, encoded)
    return _measured(Inputs(encoded, encoded), measurement)


def _measured(whole: Inputs, measurement: LinearMeasurement) -> Inputs:
    return dataclasses.replace(
        whole, measurement=measurement, y=np.asarray(jax.jit(measurement.apply)(whole.originals))
    )


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
    of_a, of_b = (np.asarray(experiment.codec.of_pictures(end)) for end in (a, b))
    return Inputs(a, of_a, other_pictures=b, others=of_b)


TASK_INPUTS: dict[str, Callable[[Experiment, ConfigDict], Inputs]] = {
    "inpaint": _inpaint,
    "colorize": _colorize,
    "super_resolve": _super_resolve,
    "vary": _vary,
    "interpolate": _interpolate,
}
