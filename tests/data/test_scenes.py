"""Scenes in words: the grammar, what training never shows, and that a picture is what its caption says."""

from itertools import combinations, product

import numpy as np
import pytest

import data
from data import fingerprint
from data.digits import digits
from data.scene import (
    COLOURS,
    DIGITS,
    GROUNDS,
    LETTERS,
    LONGEST,
    PLACES,
    RELATIONS,
    SIZES,
    VOCABULARY,
    Scene,
    Thing,
    describe,
    held_out,
    parse,
)
from data.scenes import GAP, HEIGHTS, boxes, numbered, render
from data.scenes import combinations as numbers

ONES = [Scene((Thing(*thing),), *rest) for *thing, rest in product(SIZES, COLOURS, range(10), product(PLACES, GROUNDS))]
TWO = Scene((Thing("small", "red", 3), Thing("large", "blue", 7)), "above", "grey")


def test_the_grammar() -> None:
    assert describe(TWO) == "a small red three above a large blue seven on grey"
    assert describe(TWO, backwards=True) == "a large blue seven below a small red three on grey"
    beside = TWO._replace(place="left of")
    assert describe(beside, backwards=True) == "a large blue seven right of a small red three on grey"
    one = Scene(TWO.things[:1], "in the top left corner", "white")
    assert describe(one) == "a small red three in the top left corner on white"
    for scene in (TWO, beside, one):
        assert parse(describe(scene)) == parse(f"  {describe(scene, backwards=len(scene.things) == 2)} ") == scene
    assert len({describe(scene) for scene in ONES}) == len(ONES) == 2400
    assert all(parse(describe(scene)) == scene for scene in ONES[::7])


def test_the_vocabulary_and_the_longest_caption_are_those_of_every_caption() -> None:
    twos = [Scene((thing,) * 2, place, "black") for (thing, *_), *_ in ONES[::20] for place in RELATIONS]
    captions = [describe(s, backwards=b) for s in twos for b in (False, True)] + [describe(scene) for scene in ONES]
    assert {word for caption in captions for word in caption.split()} == set(VOCABULARY)
    assert len(VOCABULARY) == len(set(VOCABULARY)) == 35
    assert max(len(caption.split()) for caption in captions) == LONGEST
    assert max(map(len, captions)) <= LETTERS


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ("a small rde three in the centre on grey", "'rde' (did you mean 'red'?)"),
        ("a small red three on grey", "'a small red three on grey' is no scene; one reads"),
        ("a small red three in the centre on red", "is no scene"),
        ("a small red three in the centre on grey a small", "is no scene"),
        ("", "'' is no scene"),
    ],
)
def test_what_is_no_caption_is_one_line(caption: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        parse(caption)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_colours_are_far_apart_from_each_other_and_from_every_ground() -> None:
    shades = np.array([*COLOURS.values(), *GROUNDS.values()], float)
    assert min(np.linalg.norm(a - b) for a, b in combinations(shades, 2)) >= 100


def test_training_never_shows_what_is_held_out_and_shows_every_attribute() -> None:
    of = {(things, unseen): set(numbers(things, unseen)) for things in (1, 2) for unseen in (False, True)}
    assert len(of[1, False] | of[1, True]) == 2400 == len(of[1, False]) + len(of[1, True])
    assert len(of[2, False] | of[2, True]) == 2 * 4 * 120**2 == len(of[2, False]) + len(of[2, True])
    assert {numbered(1, n) for n in range(2400)} == set(ONES)
    source, unseen = data.create("scenes", size=16), data.create("scenes", size=16, unseen=True)
    for records, expected in ((source.train, False), (source.test, False), (unseen.train, False), (unseen.test, True)):
        scenes = [records.scene(i) for i in range(400)]
        assert {held_out(scene) for scene in scenes} == {expected}
        for attribute in ("digit", "colour", "size"):
            known = {"digit": set(range(10)), "colour": set(COLOURS), "size": set(SIZES)}[attribute]
            assert {getattr(thing, attribute) for scene in scenes for thing in scene.things} == known
        assert {scene.place for scene in scenes} == {*PLACES, *RELATIONS}
        assert {scene.ground for scene in scenes} == set(GROUNDS)
    # The rules that the documentation states.
    red_zero = Scene((Thing("small", "red", 0),), "in the centre", "white")
    assert held_out(red_zero) and not held_out(red_zero._replace(things=(Thing("small", "green", 0),)))
    assert held_out(Scene((Thing("large", "yellow", 9),), "in the centre", "grey")) and not held_out(TWO)
    assert held_out(TWO._replace(things=(TWO.things[0], Thing("large", "blue", 6))))  # three and six are nine


@pytest.mark.parametrize("size", HEIGHTS)
def test_things_stand_where_the_caption_says_for_every_shift(size: int) -> None:
    """Inside the picture; apart by GAP along the axis of their relation, and closer than that along the other."""
    ends = np.array(list(product([0.0, 0.999], repeat=4))).reshape(-1, 2, 2)
    for shifts, sizes, place in product(ends, product(SIZES, repeat=2), RELATIONS):
        scene = Scene(tuple(Thing(s, "red", 3) for s in sizes), place, "grey")
        first, second = found = boxes(scene, size, shifts)
        assert (found >= 0).all() and (found <= size).all()
        heights = [HEIGHTS[size][SIZES.index(s)] for s in sizes]
        assert list(found[:, 2] - found[:, 0]) == list(found[:, 3] - found[:, 1]) == heights
        along = 0 if place == "above" else 1
        assert second[along] - first[2 + along] >= GAP
        middles = (found[:, :2] + found[:, 2:]) / 2
        assert abs(np.subtract(*middles[:, 1 - along])) <= size / 8 + 1
        assert np.diff(middles[:, along]) >= size / 3
    for name, place in PLACES.items():
        one = boxes(Scene((Thing("small", "red", 3),), name, "grey"), size)
        middle = (one[0, :2] + one[0, 2:]) / 2 / size
        np.testing.assert_allclose(middle, 0.25 + 0.5 * np.array(place), atol=0.06)


def test_a_picture_has_its_colours_and_nothing_beside_its_things() -> None:
    images = digits().train.arrays["image"][:2, ..., 0]
    picture, (first, second) = render(TWO, images), boxes(TWO, 32)
    outside = np.ones((32, 32), bool)
    for (top, left, bottom, right), thing in zip((first, second), TWO.things, strict=True):
        outside[top:bottom, left:right] = False
        part = picture[top:bottom, left:right].astype(int)
        assert np.abs(part - COLOURS[thing.colour]).sum(axis=-1).min() <= 6  # it is covered whole somewhere
        inked = np.abs(part - GROUNDS["grey"]).sum(axis=-1) > 60
        assert inked[0].any() and inked[-1].any()  # as high as its size says
    assert picture.dtype == np.uint8 and (picture[outside] == GROUNDS["grey"]).all()


def test_scenes_are_pure_functions_of_split_and_index() -> None:
    short, long = (data.create("scenes", train_length=n, test_length=n, size=24) for n in (20, 300))
    assert short.shape == (24, 24, 3) and short.levels == 256
    for split in ("train", "test"):
        a, b = getattr(short, split), getattr(long, split)
        assert (len(a), len(b)) == (20, 300)
        many = b.take(np.arange(300))
        assert many["image"].shape == (300, 24, 24, 3) and many["image"].dtype == np.uint8
        for i in (0, 7, 19):
            for one in (a[i], b[i]):
                np.testing.assert_array_equal(one["image"], many["image"][i])
                assert one["caption"] == many["caption"][i]
            assert parse(str(many["caption"][i])) == b.scene(i)
            assert len(b.boxes(i)) == len(b.scene(i).things)
        kinds = [len(b.scene(i).things) for i in range(300)]
        assert abs(kinds.count(1) - 150) < 4 * np.sqrt(75)
        backwards = [i for i in range(300) if kinds[i] == 2 and many["caption"][i] != describe(b.scene(i))]
        assert abs(len(backwards) - kinds.count(2) / 2) < 4 * np.sqrt(kinds.count(2) / 4)


def test_train_and_test_have_the_digits_of_their_own_split() -> None:
    source, written = data.create("scenes"), digits()
    for split in ("train", "test"):
        np.testing.assert_array_equal(getattr(source, split).images, getattr(written, split).arrays["image"][..., 0])
        records = getattr(source, split)
        assert all((records.labels[own] == digit).all() for digit, own in enumerate(records.of_digit))


def test_what_changes_a_fingerprint() -> None:
    def of(split: str = "train", **options) -> str:
        options = {"train_length": 20, "test_length": 20} | options
        return fingerprint.of_records(getattr(data.create("scenes", **options), split))

    assert of() == of(test_length=3, unseen=True)
    assert len({of(), of(size=16), of(train_length=19), of("test"), of("test", unseen=True)}) == 5


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scenes: data\.size is 28; it must be 16, 24, 32"):
        data.create("scenes", size=28)
    assert len(DIGITS) == 10
