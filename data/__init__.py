"""Sources of examples by name; see also `data.pipeline`, which makes batches of them."""

import inspect
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import limits
from data import files
from data.arrays import point_sets, volumes
from data.clips import clips
from data.digit_points import digit_points
from data.digits import digits
from data.folder import folder
from data.moving_digits import digit_volumes, moving_digits
from data.photo_patches import photo_patches
from data.pydoc_topics import pydoc_topics
from data.scenes import scenes
from data.sounds import sounds
from data.source import Arrays, Source
from data.text import text
from data.tfds import tfds
from data.tfds_text import tfds_text
from data.tones import tones
from data.toy import SHAPES, toy

__all__ = ["SOURCES", "Arrays", "Source", "create"]

SOURCES: dict[str, Callable[..., Source]] = {
    "digits": digits,
    "folder": folder,
    "photo_patches": photo_patches,
    "pydoc_topics": pydoc_topics,
    "scenes": scenes,
    "text": text,
    "tfds": tfds,
    "tones": tones,
    "sounds": sounds,
    "moving_digits": moving_digits,
    "clips": clips,
    "digit_volumes": digit_volumes,
    "volumes": volumes,
    "digit_points": digit_points,
    "point_sets": point_sets,
    "tfds_text": tfds_text,
    **{f"toy_{shape}": partial(toy, shape) for shape in SHAPES},
}
"""The constructors of data sets by name."""

OF_FILES = ("sounds", "clips", "volumes", "point_sets")
"""Those that read a folder, and whose options say the shape of their examples."""

NUMBERS: dict[str, limits.Number] = {
    "image_size": limits.whole(1, 10**6),
    "num_channels": limits.Number(1, 3, note="grey or RGB"),
    "size": limits.whole(1, 10**6),
    "crop": limits.whole(1, 10**6),
    **dict.fromkeys(("height", "width", "depth", "frames", "points", "count"), limits.whole(1, 10**6)),
    **dict.fromkeys(("channels", "coordinates"), limits.whole(1, 1000)),
    "rate": limits.positive(note="samples, or frames, a second"),
    "gain": limits.positive(note="what samples are multiplied by; 1 leaves them in [-1, 1]"),
    "length": limits.whole(1, 10**9, note="samples of a signal, symbols of a text"),
    "stride": limits.whole(0, 10**9, note="symbols between the beginnings of two chunks; 0: data.length"),
    "train_length": limits.Number(1, 10**9),
    "test_length": limits.Number(0, 10**9),
    "test_fraction": limits.share(below=True, note="0: no test set"),
}
"""What each number among the data sets' options may be, by name."""

OF_TFDS = ("tfds", "tfds_text")
"""Those whose name may be followed by that of a TFDS data set."""


def create(name: str, **options: Any) -> Source:
    """The source called `name`; `tfds:cifar10` is short for `tfds` with `dataset="cifar10"`; so is `tfds_text:lm1b`.

    `options` are the constructor's keyword arguments. An unknown name or option, and a value that is not allowed, are a
    ValueError.
    """
    known = options_of(name)
    for option in options:
        limits.check_known(f"option of dataset {name}", option, known)
    kind, _, dataset = name.partition(":")
    if dataset:
        options["dataset"] = dataset
    parameters = inspect.signature(SOURCES[kind]).parameters
    missing = [p.name for p in parameters.values() if p.default is p.empty and p.name not in options]
    if missing:
        raise ValueError(f"dataset {name!r} needs the option {missing[0]!r}; its options are {', '.join(parameters)}")
    limits.check("data.", options, limits.of_options(SOURCES[kind], NUMBERS))
    return SOURCES[kind](**options)


def without_files(name: str, **options: Any) -> Source | None:
    """The source of that name without examples, where its options say the shape of these; None where they do not.

    It stands for a data set of files that need not be there, as where samples are drawn of a trained run. Sets of
    varying number are read where they are there, since samples have as many points as these.
    """
    if options.get("varying") and os.path.isdir(options.get("path", "")):
        return create(name, **options)
    return create(name, **options | {"path": files.NOWHERE}) if name in OF_FILES else None


def options_of(name: str) -> dict[str, Any]:
    """The options of the source of that name and the type of each, as an annotation; ValueError: an unknown name."""
    kind, _, dataset = name.partition(":")
    if kind not in SOURCES or (dataset and kind not in OF_TFDS):
        limits.check_known("dataset", name, [*SOURCES, "tfds:cifar10"])
    parameters = inspect.signature(SOURCES[kind]).parameters
    return {option: p.annotation for option, p in parameters.items() if not (dataset and option == "dataset")}
