"""Pictures of scenes in words: coloured handwritten digits on a coloured ground, with captions; no download is needed.

`data.scene` says what a scene is and how it is said. Here one is rendered with real digits of scikit-learn.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

import limits
from data.digits import digits
from data.fingerprint import of_arrays, of_facts
from data.scene import (
    COLOURS,
    GROUNDS,
    LETTERS,
    PLACES,
    RELATIONS,
    SIZES,
    VOCABULARY,
    Scene,
    Thing,
    combined_anew,
    describe,
)
from data.source import Example, Records, Source, take

HEIGHTS = {16: (5, 7), 24: (7, 11), 32: (8, 14)}
"""By the side of the picture, the heights of a small and of a large digit, in pixels."""

GAP = 2  # pixels at least between two digits, along the axis of their relation
INK = 16.0  # the level of a handwritten digit that covers a pixel whole

DRAWN = 9
"""What is drawn of a scene: its kind, its attributes, which name is first, two handwritings, two shifts of two axes."""


def scenes(*, size: int = 32, train_length: int = 100_000, test_length: int = 2_000, unseen: bool = False) -> Source:
    """Scenes of one or two digits in equal parts, `size` pixels a side: "image" uint8 [size, size, 3] and "caption".

    Training shows the training digits of `data.digits` in combinations that `data.scene.held_out` does not hold out.
    The test set shows the test digits, in combinations of the same kind or, with `unseen`, in held-out ones alone. The
    lengths are virtual: scene i is the same whatever they are.

    Raises:
      ValueError: `size` is none of HEIGHTS.
    """
    if size not in HEIGHTS:
        raise ValueError(f"scenes: data.size is {limits.shown(size)}; it must be {', '.join(map(str, HEIGHTS))}")
    written = digits()
    train = Scenes(written.train, size=size, length=train_length, seed=0)
    test = Scenes(written.test, size=size, length=test_length, seed=2 if unseen else 1, unseen=unseen)
    return Source("scenes", train, test, shape=(size, size, 3), levels=256, vocabulary=VOCABULARY)


class Scenes:
    """Records of `length` random scenes, all kinds of one thing or two that are held out, or all that are not.

    Args:
      written: the handwritten digits, "image" [n, 8, 8, 1] with levels to 16, and "label".
      size: the side of a picture, one of HEIGHTS.
      length: how many scenes there are.
      seed: the seed of what is drawn.
      unseen: whether they are of combinations that training never shows.
    """

    def __init__(self, written: Records, *, size: int, length: int, seed: int, unseen: bool = False):
        self.size, self.unseen = size, unseen
        every = take(written, np.arange(len(written)))
        self.images, self.labels = every["image"][..., 0], every["label"]
        self.of_digit = [np.flatnonzero(self.labels == digit) for digit in range(10)]
        # Row i of a table drawn row by row does not depend on how many rows follow.
        self.table = np.random.default_rng(seed).random((length, DRAWN))

    def __len__(self) -> int:
        return len(self.table)

    def scene(self, index: int) -> Scene:
        """The attributes of scene `index`."""
        kind, which = self.table[index, :2]
        things = 1 if kind < 0.5 else 2
        numbers = combinations(things, self.unseen)
        return numbered(things, int(numbers[int(which * len(numbers))]))

    def boxes(self, index: int) -> Int[np.ndarray, "things 4"]:
        """The squares that the things of scene `index` stand in, see `boxes`."""
        return boxes(self.scene(index), self.size, self.table[index, 5:].reshape(2, 2))

    def _one(self, index: int) -> tuple[np.ndarray, str]:
        scene, row = self.scene(index), self.table[index]
        of_things = [self.of_digit[thing.digit] for thing in scene.things]
        which = [own[int(u * len(own))] for own, u in zip(of_things, row[3:5], strict=False)]
        picture = render(scene, [self.images[i] for i in which], self.size, row[5:].reshape(2, 2))
        return picture, describe(scene, backwards=len(of_things) == 2 and row[2] < 0.5)

    def __getitem__(self, index: int) -> Example:
        picture, caption = self._one(index)
        return {"image": picture, "caption": caption}

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The scenes at `indices`: "image" [n, size, size, 3] and "caption", texts [n]."""
        pictures, captions = zip(*(self._one(int(i)) for i in indices), strict=True)
        return {"image": np.stack(pictures), "caption": np.array(captions, f"<U{LETTERS}")}

    def fingerprint(self) -> str:
        """The fingerprint is that of the digits, of what is drawn, and of how scenes are made, said and seen."""
        made = [self.size, HEIGHTS[self.size], self.unseen, COLOURS, GROUNDS, PLACES, RELATIONS, VOCABULARY]
        arrays = {"images": self.images, "labels": self.labels, "table": self.table}
        numbers = {f"of {things}": combinations(things, self.unseen) for things in (1, 2)}
        return of_facts(["scenes", made, of_arrays(arrays | numbers)])


def _tables(things: int) -> tuple[Sequence[Any], ...]:
    """What the attributes of a scene of so many things are chosen from: place, ground, and of each thing its own."""
    places = tuple(PLACES if things == 1 else RELATIONS)
    return (places, tuple(GROUNDS), *(SIZES, tuple(COLOURS), range(10)) * things)


def numbered(things: int, number: int) -> Scene:
    """The scene of that number among all of one or two things; every scene has one number."""
    tables = _tables(things)
    found = np.unravel_index(number, [len(table) for table in tables])
    place, ground, *own = (table[int(i)] for table, i in zip(tables, found, strict=True))
    return Scene(tuple(Thing(*own[i : i + 3]) for i in range(0, len(own), 3)), place, ground)


@cache
def combinations(things: int, unseen: bool) -> Int[np.ndarray, " n"]:
    """The numbers of the scenes of one or two things that are held out from training, or of those that are not."""
    lengths = [len(table) for table in _tables(things)]
    found = np.unravel_index(np.arange(math.prod(lengths)), lengths)
    own = found[2:]
    return np.flatnonzero(combined_anew(np.stack(own[2::3], -1), np.stack(own[1::3], -1)) == unseen)


def boxes(scene: Scene, size: int, shifts: Float[np.ndarray, "two axes"] | None = None) -> Int[np.ndarray, "things 4"]:
    """The square of pixels that each thing stands in: top, left, bottom, right, the last two not included.

    Args:
      scene: the attributes.
      size: the side of the picture, one of HEIGHTS.
      shifts: where within its place each thing stands, downwards and to the right, in [0, 1); None: in the middle.
        A thing in a half of the picture stays within it, GAP apart from the other half.
    """
    where = RELATIONS[scene.place] if len(scene.things) == 2 else (PLACES[scene.place],)
    found, jitter, within = [], size // 16, (size - GAP) // 2
    for i, (thing, place) in enumerate(zip(scene.things, where, strict=True)):
        side, corner = HEIGHTS[size][SIZES.index(thing.size)], []
        for axis, along in enumerate(place):
            # The middle of the picture, or that of its first half; the second half is the first one mirrored.
            start = (size - side) // 2 if along == 0.5 else round(size / 4 - side / 2)
            low, high = (start - jitter, start + jitter)
            low, high = (low, high) if along == 0.5 else (max(0, low), min(high, within - side))
            place_in = 0.5 if shifts is None else shifts[i, axis]
            offset = low + int(place_in * (high - low + 1))
            corner.append(size - side - offset if along == 1.0 else offset)
        found.append((*corner, corner[0] + side, corner[1] + side))
    return np.array(found)


def glyph(digit: Int[np.ndarray, "8 8"], height: int) -> Float[np.ndarray, "height width"]:
    """A handwritten digit as coverage from 0 to 1, cut to its ink and resized to that height; it is no wider."""
    columns = np.flatnonzero((digit >= 2).any(axis=0))
    ink = digit[:, columns[0] : columns[-1] + 1].astype(np.float32) / INK
    width = max(2, round(ink.shape[1] * height / ink.shape[0]))
    return np.clip(np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC)), 0.0, 1.0)


def render(
    scene: Scene,
    written: Sequence[Int[np.ndarray, "8 8"]],
    size: int = 32,
    shifts: Float[np.ndarray, "two axes"] | None = None,
) -> UInt8[np.ndarray, "size size 3"]:
    """The picture of a scene.

    Args:
      scene: the attributes.
      written: for each thing a handwritten digit of scikit-learn that is the digit of the thing, levels 0 to 16.
      size: the side of the picture, one of HEIGHTS.
      shifts: where within its place each thing stands, as `boxes` takes them.
    """
    picture = np.empty((size, size, 3), np.float32)
    picture[:] = GROUNDS[scene.ground]
    for thing, digit, box in zip(scene.things, written, boxes(scene, size, shifts), strict=True):
        top, left, bottom, right = box
        cover = glyph(digit, bottom - top)
        left += (right - left - cover.shape[1]) // 2
        part = picture[top:bottom, left : left + cover.shape[1]]
        part += cover[..., None] * (np.array(COLOURS[thing.colour], np.float32) - part)
    return np.rint(picture).astype(np.uint8)
