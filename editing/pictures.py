"""Pictures and masks from files, and from a data set's test images, as levels of the experiment's data."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from data.images import load_image
from data.source import take
from experiment import Experiment
from inverse.ready import REC601

MASKS = ("upper", "lower", "left", "right", "border")


def read(path: str) -> np.ndarray:
    """A picture as float [h, w, 1 or 3] in [0, 1]; one channel where the file is grey.

    Raises:
      ValueError: a file that is no picture.
      OSError: none there.
    """
    try:
        with Image.open(path) as picture:
            grey = picture.mode in ("1", "L", "LA")
        return load_image(path, channels=1 if grey else 3) / 255.0
    except (UnidentifiedImageError, ValueError) as error:
        raise ValueError(f"{path} is not a picture that can be read: {error}") from error


def given(experiment: Experiment, path: str, count: int) -> np.ndarray:
    """Pictures [n, h, w, c] in [0, 1]: that of a file, or, of path '', the first `count` of the test set.

    Raises:
      ValueError: a count that the test set has not, or images that are none.
      OSError: no such file.
    """
    if path:
        return read(path)[None]
    source = experiment.source
    if not 1 <= count <= len(source.test):
        raise ValueError(
            f"edit.images is {experiment.config.edit.images}, which takes {count} test images, and {source.name!r} has "
            f"{len(source.test)}; give edit.image a file, or another number"
        )
    return take(source.test, np.arange(count))["image"] / (source.levels - 1.0)


def encoded(experiment: Experiment, pictures: np.ndarray) -> np.ndarray:
    """Pictures in [0, 1] as what the model sees of their levels, float32; in between levels where they are."""
    centres = experiment.scaler.centres()
    return (centres[0] + (centres[-1] - centres[0]) * pictures).astype(np.float32)


def fitted(experiment: Experiment, pictures: np.ndarray, field: str) -> np.ndarray:
    """The pictures with the data's channels: a grey one thrice, a coloured one's luma.

    Raises:
      ValueError: another size than the model's.
    """
    height, width, channels = experiment.source.shape
    if pictures.shape[1:3] != (height, width):
        raise ValueError(
            f"edit.{field} is {pictures.shape[2]} x {pictures.shape[1]} pixels (width x height), and the model draws "
            f"{width} x {height}; crop or resize the file"
        )
    if pictures.shape[3] == channels:
        return pictures
    return np.repeat(pictures, channels, axis=3) if pictures.shape[3] == 1 else luma(pictures)


def luma(pictures: np.ndarray) -> np.ndarray:
    """One channel: that itself, or Rec. 601's sum of three."""
    return pictures if pictures.shape[3] == 1 else np.sum(pictures * np.array(REC601), axis=3, keepdims=True)


def mask(experiment: Experiment, name: str) -> np.ndarray:
    """True [h, w] where the image is known: a half of it, all but the middle, or a file's brighter pixels.

    Raises:
      ValueError: a file of another size, or with everything or nothing known.
      OSError: neither a name nor a file.
    """
    height, width = experiment.source.shape[:2]
    y, x = np.mgrid[:height, :width]
    if name in MASKS:
        middle = (abs(2 * y - height + 1) < height / 2) & (abs(2 * x - width + 1) < width / 2)
        halves = (2 * y < height, 2 * y >= height, 2 * x < width, 2 * x >= width, ~middle)
        return halves[MASKS.index(name)]
    if not Path(name).is_file():
        raise ValueError(
            f"edit.mask is {name!r}; it is one of {', '.join(MASKS)}, or a picture file, white where known"
        )
    known = fitted_mask(luma(read(name)[None])[0, ..., 0] > 0.5, (height, width), name)
    if known.all() or not known.any():
        raise ValueError(f"edit.mask {name!r}: {'all' if known.all() else 'none'} of it is white; white is known")
    return known


def fitted_mask(known: np.ndarray, shape: tuple[int, int], name: str) -> np.ndarray:
    """The mask, if it has the model's size."""
    if known.shape != shape:
        raise ValueError(
            f"edit.mask {name!r} is {known.shape[1]} x {known.shape[0]} pixels (width x height), and the model draws "
            f"{shape[1]} x {shape[0]}"
        )
    return known
