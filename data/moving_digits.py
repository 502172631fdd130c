"""Digits that move: clips of scikit-learn's digits, and the same frames stacked as volumes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from data.digits import digits
from data.fingerprint import of_arrays, of_facts
from data.source import Example, Source

FASTEST = 2.0  # pixels a frame along each axis
RATE = 8.0  # frames a second, for whoever looks at them


def moving_digits(
    *, frames: int = 8, size: int = 16, count: int = 1, train_length: int = 20_000, test_length: int = 1_000
) -> Source:
    """Clips uint8 [frames, size, size, 1] of 17 levels: `count` digits that move evenly and bounce off the borders.

    They are those of Moving MNIST (Srivastava et al. 2015, arXiv:1502.04681, sec. 4.1) on a small scale. Where digits
    meet, the lighter pixel is seen. A single digit is the clip's label. Digits to train on move in the training set and
    those to test on in the test set. The lengths are virtual: clip i is the same whatever they are.

    Raises:
      ValueError: `size` has no room for a digit.
    """
    return _moving("moving_digits", "clip", frames, size, count, (train_length, test_length))


def digit_volumes(*, depth: int = 8, size: int = 12, train_length: int = 20_000, test_length: int = 1_000) -> Source:
    """Volumes uint8 [depth, size, size, 1] of 17 levels: the frames of one moving digit as slices; see `moving_digits`.

    Raises:
      ValueError: `size` has no room for a digit.
    """
    return _moving("digit_volumes", "volume", depth, size, 1, (train_length, test_length))


def _moving(name: str, modality: str, frames: int, size: int, count: int, lengths: tuple[int, int]) -> Source:
    of_images = digits()
    if size < of_images.shape[0]:
        raise ValueError(f"{name}: data.size is {size}, and a digit is {of_images.shape[0]} pixels wide; enlarge it")
    both: Any = of_images.train, of_images.test
    train, test = (
        Moving(records.arrays, (frames, size, count), length, seed)
        for seed, (records, length) in enumerate(zip(both, lengths, strict=True))
    )
    classes, names = (10, of_images.class_names) if count == 1 else (0, ())
    shape = (frames, size, size, 1)
    return Source(name, train, test, shape, of_images.levels, classes, names, modality=modality, rate=RATE)


class Moving:
    """`length` clips of (frames, size, count): so many of these digits in each, drawn when they are asked for."""

    def __init__(self, arrays: Mapping[str, np.ndarray], options: tuple[int, int, int], length: int, seed: int):
        self.images, self.labels, (self.frames, self.size, count) = arrays["image"], arrays["label"], options
        # Row i of a table drawn row by row does not depend on how many rows follow.
        table = np.random.default_rng([seed, count]).random((length, count, 5))
        self.digit = (table[..., 0] * len(self.images)).astype(np.int32)
        self.start, self.speed = table[..., 1:3], FASTEST * (2.0 * table[..., 3:5] - 1.0)

    def __len__(self) -> int:
        return len(self.digit)

    def __getitem__(self, index: int) -> Example:
        return {name: values[0] for name, values in self.take(np.array([index])).items()}

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The clips at `indices`, and the label of each where it has one digit."""
        side, room = self.images.shape[1], self.size - self.images.shape[1]
        clips = np.zeros((len(indices), self.frames, self.size, self.size, 1), np.uint8)
        way = self.start[indices] * room + self.speed[indices] * np.arange(self.frames)[:, None, None, None]
        turned = np.abs((way + room) % (2 * room) - room) if room else np.zeros_like(way)
        places = np.rint(turned).astype(int)  # [frames, n, count, 2]
        for (t, i, j), (top, left) in zip(np.ndindex(places.shape[:3]), places.reshape(-1, 2), strict=True):
            window = clips[i, t, top : top + side, left : left + side]
            np.maximum(window, self.images[self.digit[indices[i], j]], out=window)
        labels = {"label": self.labels[self.digit[indices, 0]]} if self.digit.shape[1] == 1 else {}
        return {"image": clips, **labels}

    def fingerprint(self) -> str:
        """It is that of the digits, of how they move and of the size of the frames."""
        moved = {"images": self.images, "labels": self.labels, "digit": self.digit}
        moved |= {"start": self.start, "speed": self.speed}
        return of_facts(["moving", self.frames, self.size, of_arrays(moved)])
