"""Pictures and masks from files, and from a data set's test images, as levels of the experiment's data.

A file may have any size: what has the model's proportions is cut out of its middle and resized to the model's pixels
with antialiasing (Lanczos), as the pictures of data sets are; a pixel of a mask is known where more than half of its
area is. What is transparent in a picture is laid on white.
"""

from pathlib import Path

import numpy as np
from absl import logging

from data.images import fitted, fitted_mask, largest_inside, load_image
from data.listing import SUFFIXES
from data.source import take
from experiment import Experiment
from experiment.showing import MODALITIES
from inverse.ready import REC601

MASKS = ("upper", "lower", "left", "right", "border")
"""What is known of the height and width of pictures, and of all frames or slices."""
ALONG = ("first", "last", "ends")
"""What is known along the first axis of other data: of time, of depth, of points; all but the middle half of 'ends'."""
OPAQUE = WHITE = 127  # alpha and grey above it


def _in_folder(path: str) -> list[Path]:
    """The picture files of a folder, by name; none where the path is no folder."""
    folder = Path(path)
    if not path or not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)


def _read(path: str, field: str, channels: int | None = None) -> np.ndarray:
    """The file of ``edit.<field>``, uint8 [h, w, channels]; a ValueError, or an OSError, where it is none."""
    if not Path(path).exists():
        raise FileNotFoundError(f"edit.{field} is {path!r}, and there is no such file")
    if not Path(path).is_file():
        raise ValueError(
            f"edit.{field} is {path!r}, which is not a file, nor a folder that holds some; give it a picture"
        )
    try:
        return load_image(path, channels=channels)
    except ValueError as error:
        raise ValueError(f"edit.{field} is {path!r}, not a picture that can be read: {error}") from error


def given(
    experiment: Experiment, path: str, count: int, field: str = "image", *, smaller: tuple[int, int] | None = None
) -> np.ndarray:
    """Pictures [n, h, w, c] in [0, 1]: of a file, of all files of a folder, or, of path '', `count` of the test set.

    Data of another modality are of the test set alone; without levels they are as they are.

    That of a file has one channel where it is grey, else three, and the model's size; or the size `smaller`, where that
    is given and a side of the picture is shorter than the model's. Those of a folder come by their names, each as the
    data's are.

    Raises:
      ValueError: a count that the test set has not, a file that is no picture, or a folder without any.
      OSError: no such file.
    """
    if field == "image" and (files := _in_folder(path)):
        each = [given(experiment, str(file), 1, smaller=smaller) for file in files]
        shapes = {one.shape for one in each}
        if len({shape[1:3] for shape in shapes}) > 1:
            raise ValueError(
                f"edit.image is {path!r}, of whose pictures some are smaller than the model's and some are not; give "
                "it those of one kind"
            )
        return np.concatenate([_as_data(experiment, one) for one in each] if len(shapes) > 1 else each)
    if path:
        picture = _read(path, field)
        size = experiment.codec.pictures.shape[0], experiment.codec.pictures.shape[1]
        if smaller is not None and any(np.less(picture.shape[:2], size)):
            size = smaller
        _say_size(picture.shape, size, f"edit.{field} {path!r}")
        return fitted(picture, size)[None] / 255.0
    source = experiment.source
    if experiment.codec.pictures.shape != source.shape:
        raise ValueError(
            f"sampling.height and sampling.width ask for pictures of {experiment.codec.pictures.shape}, and those of "
            f"{source.name!r} are {source.shape}; give edit.image files, or leave both at 0"
        )
    if not 1 <= count <= len(source.test):
        raise ValueError(
            f"edit.images is {experiment.config.edit.images}, which takes {count} test images, and {source.name!r} has "
            f"{len(source.test)}; give edit.image a file, or another number"
        )
    stored = take(source.test, np.arange(count))[experiment.codec.pictures.field]
    return stored / (source.levels - 1.0) if source.levels else stored


def _say_size(shape: tuple[int, ...], size: tuple[int, int], what: str) -> None:
    """One line where a file has another size than is needed."""
    height, width = shape[:2]
    if (height, width) != size:
        kept = largest_inside((height, width), size)
        logging.info(
            "%s is %d x %d pixels (width x height): its central %d x %d are resized to %d x %d",
            *(what, width, height, *kept[::-1], *size[::-1]),
        )


def encoded(experiment: Experiment, pictures: np.ndarray) -> np.ndarray:
    """Pictures in [0, 1] as what the model sees of their levels, float32; in between levels where they are.

    With the data's channels: a grey one thrice, a coloured one's luma. Data without levels are as they are.
    """
    if experiment.codec.pictures.levels is None:
        return pictures.astype(np.float32)
    centres = experiment.codec.pictures.centres()
    return (centres[0] + (centres[-1] - centres[0]) * _as_data(experiment, pictures)).astype(np.float32)


def _as_data(experiment: Experiment, pictures: np.ndarray) -> np.ndarray:
    """The pictures with the data's channels."""
    channels = experiment.source.shape[-1]
    if pictures.shape[-1] == channels:
        return pictures
    return np.repeat(pictures, channels, axis=3) if pictures.shape[3] == 1 else luma(pictures)


def luma(pictures: np.ndarray) -> np.ndarray:
    """One channel: that itself, or Rec. 601's sum of three."""
    return pictures if pictures.shape[3] == 1 else np.sum(pictures * np.array(REC601), axis=3, keepdims=True)


def masks(experiment: Experiment, name: str, count: int) -> np.ndarray:
    """The `mask` of that name, True [1, h, w], or those of the files of a folder, [count, h, w], by their names.

    Of data without height and width a mask is of whatever axes stand before the channels.

    Raises:
      ValueError: as `mask`, or a folder of another number of files.
    """
    files = _in_folder(name)
    if not files:
        return mask(experiment, name)[None]
    if len(files) != count:
        raise ValueError(f"edit.mask {name!r} holds {len(files)} masks, and there are {count} pictures; give each one")
    return np.stack([mask(experiment, str(file)) for file in files])


def mask(experiment: Experiment, name: str) -> np.ndarray:
    """True [h, w] where the image is known: a half of it, all but the middle, or what a file says.

    Of clips and volumes it is [frames, h, w], the same of all frames, or those of ALONG; of signals, sets of points and
    texts the latter, [length] or [points].

    A file without transparency is known where it is white, brighter than half. In one of which some pixels are
    transparent the alpha alone counts: opaque is known, transparent is not, whatever the colours, so that a picture out
    of which a hole was cut is a mask too. Such a file whose opaque part is itself painted black, or in black and white,
    says two things and is refused.

    Raises:
      ValueError: neither a name nor a file, no picture, two things said, or everything or nothing known.
    """
    shape, modality = experiment.codec.pictures.shape, MODALITIES[experiment.codec.pictures.modality]
    first, along = modality.pixels, () if modality.is_picture else ALONG
    if name in along:
        before = shape[:-1] or shape  # a text has no channels
        places = np.arange(shape[0]).reshape(-1, *[1] * (len(before) - 1))
        parts = 2 * places < shape[0], 2 * places >= shape[0], abs(2 * places - shape[0] + 1) >= shape[0] / 2
        return np.broadcast_to(parts[ALONG.index(name)], before)
    height, width = (1, 1) if first is None else shape[first : first + 2]
    y, x = np.mgrid[:height, :width]
    if name in MASKS and first is not None:
        middle = (abs(2 * y - height + 1) < height / 2) & (abs(2 * x - width + 1) < width / 2)
        halves = (2 * y < height, 2 * y >= height, 2 * x < width, 2 * x >= width, ~middle)
        return np.broadcast_to(halves[MASKS.index(name)], shape[:-1])
    if along:
        names = ", ".join((*along, *(() if first is None else MASKS)))
        raise ValueError(f"edit.mask is {name!r}; of {modality.words} it is one of {names}")
    if not Path(name).is_file():
        raise ValueError(
            f"edit.mask is {name!r}; it is one of {', '.join(MASKS)}, or a picture file, white where known"
        )
    grey, alpha = np.moveaxis(_read(name, "mask", channels=2), 2, 0)
    opaque, transparency = alpha > OPAQUE, bool((alpha <= OPAQUE).any())
    if transparency and _black_and_white(grey[opaque]):
        raise ValueError(
            f"edit.mask {name!r} has transparent pixels, and its opaque ones are painted black: fill the transparent "
            "ones, with white where the picture is known, or paint no black"
        )
    _say_size(grey.shape, (height, width), f"edit.mask {name!r}")
    known = fitted_mask(opaque if transparency else grey > WHITE, (height, width))
    what = "opaque" if transparency else "white"
    if known.all() or not known.any():
        raise ValueError(f"edit.mask {name!r}: {'all' if known.all() else 'none'} of it is {what}; {what} is known")
    logging.info("edit.mask %r: %.0f %% are known, where it is %s", name, 100 * known.mean(), what)
    return known


def reduced(experiment: Experiment, known: np.ndarray) -> np.ndarray:
    """True [h, w] at the places of x of which all pixels are known; `known` itself where x are pixels.

    Raises:
      ValueError: there is no such place.
    """
    if experiment.codec.shape == experiment.codec.pictures.shape:
        return known
    (height, width), (h, w) = known.shape, experiment.codec.shape[:2]
    found = np.asarray(known.reshape(h, height // h, w, width // w).all(axis=(1, 3)))
    if not found.any():
        raise ValueError(
            f"edit.mask {experiment.config.edit.mask!r}: each latent stands for {height // h} x {width // w} pixels, "
            "and nowhere are all of those known; give a mask with larger parts"
        )
    return found


def _black_and_white(grey: np.ndarray) -> bool:
    """Whether nearly all of these grey levels, uint8, are black or white, and black is among them."""
    black, white = grey < 16, grey > 239
    return bool(black.any()) and float((black | white).mean()) > 0.9
