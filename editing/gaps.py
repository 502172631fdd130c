"""Texts to fill in or to vary: those of the test set, or one from a file with a sign for each symbol that is unknown.

Where a text is shorter than the model's, what follows its end is unknown too.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from ml_collections import ConfigDict

from data.text import read
from editing import pictures
from experiment import Experiment

UNKNOWN = -1
"""What stands for a category that is not known; it is no symbol of an alphabet, and is shown as none."""


def given(experiment: Experiment, config: ConfigDict) -> Int[np.ndarray, "n length"]:
    """The symbols of the text in ``edit.image``, one, or of `edit.images` chunks of the test set; UNKNOWN in its gaps.

    Each sign ``edit.mask``, where that is a single character, stands for a symbol that is not known. A line break at
    the end of the file is no part of the text.

    Raises:
      ValueError: the file is not there or no text, it has a symbol that the alphabet has not, or is too long; a sign
        without a file.
    """
    alphabet: Any = experiment.source.alphabet
    path, sign = config.image, sign_of(config)
    if not path and sign:
        raise ValueError(
            f"edit.mask is {sign!r}, which stands for unknown symbols of a text of one's own, and edit.image is ''; "
            f"give that a text file, or take one of {', '.join(pictures.ALONG)}"
        )
    if not path:
        return pictures.given(experiment, "", config.images).astype(np.int32)
    whole, what = read(path, "edit.image").removesuffix("\n"), f"edit.image {path!r}"
    parts = whole.split(sign) if sign else [whole]
    found = np.zeros(0, np.int32)
    for i, part in enumerate(parts):
        gap, known = [UNKNOWN] * (i > 0), alphabet.encode(part, what) if part else []
        found = np.concatenate([found, gap, known]).astype(np.int32)
    (length,) = experiment.codec.shape
    if len(found) > length:
        raise ValueError(f"{what} has {len(found)} {alphabet.unit}s, and the texts of this run {length}; shorten it")
    return np.pad(found, (0, length - len(found)), constant_values=UNKNOWN)[None]


def known(experiment: Experiment, config: ConfigDict) -> Bool[np.ndarray, " length"]:
    """True where a text is known, besides its gaps: everywhere, or what ``edit.mask`` names (`pictures.ALONG`).

    Raises:
      ValueError: ``edit.mask`` is neither a name nor a single character.
    """
    if sign_of(config):
        return np.ones(experiment.codec.shape, bool)
    return pictures.mask(experiment, config.mask)


def sign_of(config: ConfigDict) -> str:
    """The character that stands for a gap; '' where ``edit.mask`` is a name."""
    return config.mask if len(config.mask) == 1 else ""
