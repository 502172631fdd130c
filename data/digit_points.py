"""The ink of scikit-learn's digits as sets of points in the plane."""

import numpy as np

from data.digits import digits
from data.source import Arrays, Source

SCALE = 2.0
"""Pixels that are one unit, so that the coordinates have a variance of about one."""


def digit_points(*, points: int = 64, train_length: int = 15_000, test_length: int = 297) -> Source:
    """Sets of so many points float32 [points, 2] with the label of their digit; x points right, and y up.

    Each point lies in a pixel that is drawn in proportion to its ink, anywhere in it alike. The points of a set are
    independent of each other given its digit, so that their order says nothing. Set i is of digit i, and beyond the
    last digit of the first again, with points of its own; it is the same whatever the lengths are.
    """
    of_images = digits()
    train, test = (
        _drawn(getattr(of_images, name).arrays, points, length, seed)
        for seed, (name, length) in enumerate((("train", train_length), ("test", test_length)))
    )
    names = of_images.class_names
    return Source("digit_points", train, test, (points, 2), None, len(names), names, modality="point_set")


def _drawn(arrays: dict[str, np.ndarray], points: int, length: int, seed: int) -> Arrays:
    images, number = arrays["image"][..., 0], np.arange(length) % len(arrays["image"])
    _, height, width = images.shape
    ink = np.cumsum(images.reshape(len(images), -1), axis=1, dtype=np.float64)
    # Row i of what is drawn row by row does not depend on how many rows follow.
    drawn = np.random.default_rng([seed, points]).random((length, points, 3))
    found = np.empty((length, points, 2), np.float32)
    for i, digit in enumerate(number):
        pixel = np.searchsorted(ink[digit], drawn[i, :, 0] * ink[digit, -1], side="right")
        row, column = np.divmod(pixel, width)
        found[i, :, 0] = (column + drawn[i, :, 1] - width / 2) / SCALE
        found[i, :, 1] = (height / 2 - row - drawn[i, :, 2]) / SCALE
    return Arrays({"image": found, "label": arrays["label"][number]})
