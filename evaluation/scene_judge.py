"""A judge of pictures of scenes: it reads how many digits there are, which, their colours, sizes and place, the ground.

Colours, sizes and places are computed from the pixels; the digits are told apart by a support vector machine that saw
renderings of real training digits alone, no generated picture. `accuracy` says how often the judge is right about
renderings of real test digits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from data.digits import digits
from data.scene import COLOURS, GROUNDS, PLACES, RELATIONS, SIZES, Scene, Thing, describe, parse
from data.scenes import HEIGHTS, render
from data.source import Records, take

PARTS = ("count", "digit", "colour", "size", "place", "ground")
EVERY = "every"

INKED = 0.4  # the coverage from which a pixel belongs to a digit
SPECK = 3  # fewer pixels that hang together are no digit nor a part of one
SIDE, MARGIN = 14, 0.15  # of the picture of a digit that the classifier sees, in pixels; around it, in sides
SHARPNESS = 2.0  # the factor of scikit-learn's usual gamma, 1 / (features x variance), in the kernel of the classifier
BLURRED, NOISY = 0.7, 12.0  # at most so blurred (deviation in pixels) and noisy (in levels) are the renderings it saw
BLURS = 8  # different ones among pictures that are spoilt
RENDERINGS = 6  # of each training digit, half of them small


class Found(NamedTuple):
    """A thing in a picture: its box as top, left, bottom, right; its colour by name; what it covers of each pixel."""

    box: tuple[int, int, int, int]
    colour: str
    cover: Float[np.ndarray, "h w"]


@dataclass(frozen=True)
class SceneJudge:
    """A judge of pictures of one size; `of_size` makes one."""

    size: int
    digits: Any  # scikit-learn's classifier

    @classmethod
    def of_size(cls, size: int = 32, *, renderings: int = RENDERINGS, seed: int = 0) -> "SceneJudge":
        """The judge whose classifier is trained on so many renderings of each training digit; seconds on one core."""
        from sklearn.svm import SVC

        scenes, pictures = rendered(digits().train, size, renderings, seed=seed)
        seen, labels = [], []
        for scene, (_, things) in zip(scenes, map(found, spoilt(pictures, seed=seed)), strict=True):
            if len(things) == len(scene.things):
                seen += [_seen(thing) for thing in things]
                labels += [thing.digit for thing in scene.things]
        features = np.stack(seen)
        return cls(size, SVC(C=10.0, gamma=SHARPNESS / (SIDE**2 * features.var())).fit(features, labels))

    def read(self, pictures: UInt8[np.ndarray, "n size size 3"]) -> list[Scene | None]:
        """The scene that each picture shows; None where it shows no digit, or more than two."""
        self._check(pictures)
        readings = [found(picture) for picture in pictures]
        seen = [_seen(thing) for _, things in readings for thing in things]
        labels = iter(self.digits.predict(np.stack(seen)) if seen else [])
        scenes = []
        for ground, things in readings:
            whole = tuple(Thing(self._size(thing), thing.colour, int(next(labels))) for thing in things)
            scenes.append(Scene(whole, _place(things, self.size), ground) if len(things) in (1, 2) else None)
        return scenes

    def judge(
        self, captions: Sequence[str], pictures: UInt8[np.ndarray, "n size size 3"]
    ) -> dict[str, Bool[np.ndarray, " n"]]:
        """Which parts of each caption are true of its picture: each of PARTS, and EVERY for all of them at once.

        The parts of two things are right where they are right of both. Where a picture shows the two things in each
        other's place, the place is wrong and the digits, colours and sizes are right. Another number of things than the
        caption says makes every part but the ground wrong.

        Raises:
          ValueError: a caption is no scene (`data.scene.parse`), or the pictures are of another shape.
        """
        if len(captions) != len(pictures):
            raise ValueError(f"there are {len(captions)} captions of {len(pictures)} pictures; give each picture one")
        rows = [_right(parse(str(said)), read) for said, read in zip(captions, self.read(pictures), strict=True)]
        parts = np.array(rows, bool).reshape(len(rows), len(PARTS))
        return {**dict(zip(PARTS, parts.T, strict=True)), EVERY: np.asarray(parts.all(axis=1))}

    def _size(self, thing: Found) -> str:
        small, large = HEIGHTS[self.size]
        return SIZES[int(2 * (thing.box[2] - thing.box[0]) > small + large)]

    def _check(self, pictures: np.ndarray) -> None:
        wanted = (self.size, self.size, 3)
        if pictures.dtype != np.uint8 or pictures.shape[1:] != wanted:
            raise ValueError(
                f"the judge reads pictures uint8 [n, {', '.join(map(str, wanted))}], and these are "
                f"{pictures.dtype} {list(pictures.shape)}"
            )


def check(shape: tuple[int, ...], captions: Sequence[str]) -> None:
    """Refuse, with a ValueError, pictures of a shape that no scene has, and a caption that is no scene."""
    if shape not in [(size, size, 3) for size in HEIGHTS]:
        sizes = ", ".join(f"{size}x{size}x3" for size in HEIGHTS)
        raise ValueError(f"pictures of scenes are {sizes}, and these are {'x'.join(map(str, shape))}")
    for caption in captions:
        parse(caption)


def accuracy(judge: SceneJudge, *, renderings: int = 4, blur: float = 0.0, noise: float = 0.0) -> dict[str, float]:
    """How often the judge is right about pictures of real test digits, part by part, each digit as often as any other.

    Args:
      judge: the judge.
      renderings: how often each of the 297 test digits is rendered; three of them make two pictures.
      blur, noise: how the pictures are spoilt, see `spoilt`.
    """
    scenes, pictures = rendered(digits().test, judge.size, renderings, seed=1)
    pictures = spoilt(pictures, blur=(blur, blur), noise=(noise, noise))
    return {part: float(right.mean()) for part, right in judge.judge(list(map(describe, scenes)), pictures).items()}


def rendered(
    written: Records, size: int, renderings: int, *, seed: int
) -> tuple[list[Scene], UInt8[np.ndarray, "n size size 3"]]:
    """Scenes of one and of two things in turn, and their pictures: each digit so many times, large every other time."""
    rng, every = np.random.default_rng(seed), take(written, np.arange(len(written)))
    images, labels, scenes, pictures = every["image"][..., 0], every["label"], list[Scene](), []
    for number in range(renderings):
        order = list(rng.permutation(len(labels)))
        while order:
            which = [order.pop() for _ in range(min(len(order), 1 + len(scenes) % 2))]
            colours = [str(colour) for colour in rng.choice(list(COLOURS), len(which))]
            things = tuple(Thing(SIZES[number % 2], c, int(labels[i])) for c, i in zip(colours, which, strict=True))
            places = list(PLACES if len(which) == 1 else RELATIONS)
            scenes.append(Scene(things, str(rng.choice(places)), str(rng.choice(list(GROUNDS)))))
            pictures.append(render(scenes[-1], list(images[which]), size, rng.random((2, 2))))
    return scenes, np.stack(pictures)


def spoilt(
    pictures: UInt8[np.ndarray, "n h w c"],
    *,
    blur: tuple[float, float] = (0.0, BLURRED),
    noise: tuple[float, float] = (0.0, NOISY),
    seed: int = 0,
) -> UInt8[np.ndarray, "n h w c"]:
    """Pictures with a little blur and noise, as generated ones have, the deviation of each between two bounds."""
    from scipy.ndimage import gaussian_filter

    rng, found = np.random.default_rng(seed), pictures.astype(np.float32)
    for i, sigma in enumerate(np.linspace(*blur, BLURS)):
        found[i::BLURS] = gaussian_filter(found[i::BLURS], (0.0, sigma, sigma, 0.0), mode="nearest")
    found += rng.uniform(*noise, (len(found), 1, 1, 1)) * rng.standard_normal(found.shape, np.float32)
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)


def found(picture: UInt8[np.ndarray, "h w 3"]) -> tuple[str, list[Found]]:
    """The ground of a picture by name, and its things, the left or upper one first."""
    pixels, grounds = picture.astype(np.float32), np.array(list(GROUNDS.values()), np.float32)
    nearest = ((grounds**2).sum(axis=1) - 2.0 * pixels @ grounds.T).argmin(axis=-1)
    ground = int(np.bincount(nearest.ravel(), minlength=len(GROUNDS)).argmax())
    from_ground = pixels - np.median(pixels[nearest == ground], axis=0)

    # A pixel is the ground and as much of a colour as the digit covers; what is left over speaks against the colour.
    colours = np.array(list(COLOURS.values()), np.float32) - grounds[ground]
    along, lengths = from_ground @ colours.T, (colours**2).sum(axis=1)  # [h, w, colours], [colours]
    covers = np.clip(along / lengths, 0.0, 1.0)
    left_over = (from_ground**2).sum(axis=-1)[..., None] - 2.0 * covers * along + covers**2 * lengths
    cover = np.take_along_axis(covers, left_over.argmin(axis=-1)[..., None], -1)[..., 0]
    things = []
    for box in _boxes(_without_specks(cover >= INKED)):
        inside = slice(box[0], box[2]), slice(box[1], box[3])
        colour = int(left_over[inside].sum(axis=(0, 1)).argmin())
        own = np.zeros_like(cover)
        own[max(0, box[0] - 1) : box[2] + 1, max(0, box[1] - 1) : box[3] + 1] = 1.0  # a neighbour lies outside it
        things.append(Found(box, tuple(COLOURS)[colour], own * covers[..., colour]))
    return tuple(GROUNDS)[ground], things


def _without_specks(inked: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    from scipy.ndimage import label

    parts, _ = label(inked, np.ones((3, 3)))
    counts = np.bincount(parts.ravel())
    counts[0] = 0
    return (counts >= SPECK)[parts]


def _boxes(inked: Bool[np.ndarray, "h w"]) -> list[tuple[int, int, int, int]]:
    """The boxes of the things, parted by empty columns or, where there are none, by empty rows."""
    columns, rows = _runs(inked, axis=0), _runs(inked, axis=1)
    if len(columns) > 1:
        whole = [(_ends(inked[:, slice(*run)], axis=1), run) for run in columns]
    else:
        whole = [(run, _ends(inked[slice(*run)], axis=0)) for run in rows]
    return [(top, left, bottom, right) for (top, bottom), (left, right) in whole]


def _ends(inked: Bool[np.ndarray, "h w"], axis: int) -> tuple[int, int]:
    """Where what is inked begins and ends, seen along an axis: its first and last column for 0, row for 1."""
    places = np.flatnonzero(inked.any(axis=axis))
    return int(places[0]), int(places[-1]) + 1


def _runs(inked: Bool[np.ndarray, "h w"], axis: int) -> list[tuple[int, int]]:
    """Where each run of inked columns (axis 0) or rows (1) begins and ends, parted by two empty ones at least."""
    places = np.flatnonzero(inked.any(axis=axis))
    if not len(places):
        return []
    cuts = np.flatnonzero(np.diff(places) > 2)
    starts, ends = [places[0], *places[cuts + 1]], [*places[cuts], places[-1]]
    return [(int(start), int(end) + 1) for start, end in zip(starts, ends, strict=True)]


def _seen(thing: Found) -> Float[np.ndarray, " pixels"]:
    """What the classifier sees of a thing: its coverage in the square around its box, resized."""
    top, left, bottom, right = thing.box
    side = max(bottom - top, right - left) * (1.0 + 2.0 * MARGIN)
    y, x = (top + bottom - side) / 2, (left + right - side) / 2
    cover, square = Image.fromarray(thing.cover), (x, y, x + side, y + side)  # what lies outside the picture is empty
    seen = cover.transform((SIDE, SIDE), Image.Transform.EXTENT, square, Image.Resampling.BILINEAR)
    return np.asarray(seen).ravel()


def _place(things: list[Found], size: int) -> str:
    middles = [((thing.box[0] + thing.box[2]) / 2, (thing.box[1] + thing.box[3]) / 2) for thing in things]
    if len(middles) == 2:
        down, right = (abs(first - second) for first, second in zip(*middles, strict=True))
        return "above" if down > right else "left of"
    (middle,) = middles
    return min(
        PLACES,
        key=lambda name: sum((m / size - (0.25 + 0.5 * p)) ** 2 for m, p in zip(middle, PLACES[name], strict=True)),
    )


def _right(said: Scene, read: Scene | None) -> tuple[bool, ...]:
    """Whether each of PARTS that a caption says is what was read."""
    if read is None or len(read.things) != len(said.things):
        return (False, False, False, False, False, read is not None and read.ground == said.ground)

    def alike(things: Sequence[Thing]) -> tuple[bool, ...]:
        pairs = list(zip(said.things, things, strict=True))
        return tuple(
            all(getattr(a, part) == getattr(b, part) for a, b in pairs) for part in ("digit", "colour", "size")
        )

    as_read, exchanged = alike(read.things), alike(read.things[::-1])
    in_place = read.place == said.place and sum(as_read) >= sum(exchanged)
    return (True, *max(as_read, exchanged, key=sum), in_place, read.ground == said.ground)
