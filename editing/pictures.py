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
    """Pictures in [0, 1] as what the model sees of their levels, float32; in between levels where they are.

    With the data's channels: a grey one thrice, a coloured one's luma.
    """
    centres, channels = experiment.scaler.centres(), experiment.source.shape[2]
    if pictures.shape[3] != channels:
        pictures = np.repeat(pictures, channels, axis=3) if pictures.shape[3] == 1 else luma(pictures)
    return (centres[0] + (centres[-1] - centres[0]) * pictures).astype(np.float32)


def whole(experiment: Experiment, pictures: np.ndarray, field: str) -> np.ndarray:
    """Pictures in [0, 1] of ``edit.<field>`` as the model sees them.

    Raises:
      ValueError: another size than the model's.
    """
    _check_size(experiment, pictures.shape[1:3], field)
    return encoded(experiment, pictures)


def _check_size(experiment: Experiment, size: tuple[int, ...], what: str) -> None:
    """ValueError unless `size`, (height, width), is the model's."""
    height, width = experiment.source.shape[:2]
    if size != (height, width):
        raise ValueError(
            f"edit.{what} is {size[1]} x {size[0]} pixels (width x height), and the model draws {width} x {height}; "
            "crop or resize the file"
        )


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
    known = luma(read(name)[None])[0, ..., 0] > 0.5
    _check_size(experiment, known.shape, f"mask {name!r}")
    if known.all() or not known.any():
        raise ValueError(f"edit.mask {name!r}: {'all' if known.all() else 'none'} of it is white; white is known")
    return known
