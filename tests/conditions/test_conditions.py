"""Conditions: what is told, what tells nothing, and what is dropped how often."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import conditions
from conditions import NO_CLASS, Condition, Conditioner, Known, Labels, LowRes, Together, Tokens

KEYS = jax.random.split(jax.random.key(0), 2000)
BATCH = {"label": np.arange(2000) % 3, "image": np.zeros((2000, 2)), "caption": np.arange(4000.0).reshape(2000, 2, 1)}
BATCH |= {"tokens": np.arange(6000).reshape(2000, 3), "mask": np.arange(6000).reshape(2000, 3) % 3 < 2}
BATCH |= {"low_res": np.arange(8000.0, dtype=np.float32).reshape(2000, 2, 2, 1)}


class Captions(Conditioner):
    """A stand-in for text: words [b, n, d] and their mask [b, n]; nothing is one word that says so."""

    fields = ("caption",)

    def encode(self, batch: Mapping[str, Any], keys: Any = None) -> Condition:
        words = jnp.asarray(batch["caption"])
        return {"text": words, "text_mask": jnp.ones(words.shape[:2], bool)}

    def none(self, condition: Condition) -> Condition:
        mask = jnp.zeros_like(condition["text_mask"]).at[:, 0].set(True)
        return {"text": jnp.full_like(condition["text"], -7.0), "text_mask": mask}


KINDS = {"labels": Labels(3), "captions": Captions(), "both": Together((Labels(3), Captions())), "neither": Together()}
BATCH |= {
    "known_image": np.ones((2000, 2, 3, 1), np.float32),
    "known_mask": np.arange(12000).reshape(2000, 2, 3, 1) % 2,
}
KINDS |= {"known": Known(), "tokens": Tokens(), "low_res": LowRes(2, 0.5), "upsampler": Together((Tokens(), LowRes(2)))}


def test_labels_are_one_hot_and_nothing_is_zeros() -> None:
    labels = Labels(3)
    condition = labels.encode({"label": np.array([2, 0, NO_CLASS])})
    np.testing.assert_array_equal(condition["label"], [[0, 0, 1], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(labels.none(condition)["label"], np.zeros((3, 3)))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_has_the_shape_of_what_is_told(kind: str) -> None:
    condition = KINDS[kind].encode({name: BATCH[name] for name in KINDS[kind].fields}, KEYS)
    nothing = KINDS[kind].none(condition)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), nothing) == jax.tree.map(lambda a: (a.shape, a.dtype), condition)
    assert all(len(entry) == 2000 for entry in condition.values())


@pytest.mark.parametrize("kind", ["labels", "captions", "both"])
def test_an_example_is_told_all_or_nothing_as_often_as_asked_and_by_its_own_key(kind: str) -> None:
    """The share of 2000 within 4 standard errors; half of the batch gives half of the result."""
    conditioner = KINDS[kind]
    condition = conditioner.encode(BATCH)
    dropped = conditioner.drop(KEYS, condition, 0.3)
    nothing = conditioner.none(condition)

    def same(whole: Condition) -> np.ndarray:
        """Whether an example is told what it is in `whole`, [2000]; alike for all entries."""
        each = [np.asarray(dropped[name] == whole[name]).reshape(2000, -1).all(axis=1) for name in condition]
        assert all((entry == each[0]).all() for entry in each)
        return each[0]

    np.testing.assert_array_equal(same(condition), ~same(nothing))
    assert abs(same(nothing).mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 2000)
    half = conditioner.drop(KEYS[1000:], jax.tree.map(lambda a: a[1000:], condition), 0.3)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[1000:]), half, dropped)


def test_a_network_is_told_what_its_options_say() -> None:
    assert conditions.of_network({"label_dim": 3, "nf": 8}) == Together((Labels(3),))
    glide = {"tokens": 3, "upsampling": 2, "low_res_noise": 0.5, "inpaint": True}
    assert conditions.of_network(glide) == Together((Tokens(), Known(), LowRes(2, 0.5)))
    for options in ({"label_dim": 0}, {"nf": 8}):
        conditioner = conditions.of_network(options)
        assert conditioner.fields == () and conditioner.encode(BATCH) == {}


def test_a_text_is_dropped_by_its_mask_and_an_empty_one_tells_nothing() -> None:
    tokens = Tokens()
    condition = tokens.encode(BATCH)
    assert condition["tokens"].dtype == jnp.int32 and condition["mask"].dtype == bool
    dropped = tokens.drop(KEYS, condition, 0.3)
    np.testing.assert_array_equal(dropped["tokens"], BATCH["tokens"])
    told = np.asarray(tokens.told(dropped))
    np.testing.assert_array_equal(dropped["mask"], BATCH["mask"] & told[:, None])
    assert abs(told.mean() - 0.7) < 4 * np.sqrt(0.3 * 0.7 / 2000)


def test_a_smaller_picture_is_noised_by_a_deviation_of_each_examples_own_in_training_alone() -> None:
    """Deviations uniform up to 0.5: of 2000 their mean within 4 standard errors, none above; half is half."""
    pictures = {"low_res": np.ones((2000, 8, 8, 3), np.float32)}
    conditioner = LowRes(4, 0.5)
    np.testing.assert_array_equal(conditioner.encode(pictures)["low_res"], pictures["low_res"])
    np.testing.assert_array_equal(LowRes(4).encode(pictures, KEYS)["low_res"], pictures["low_res"])
    noised = conditioner.encode(pictures, KEYS)
    deviations = np.asarray(noised["low_res"]).reshape(2000, -1).std(axis=1)
    assert abs(deviations.mean() - 0.25) < 4 * (0.5 / 12**0.5) / 2000**0.5
    assert 0.48 < deviations.max() < 0.5 * (1 + 4 / (2 * 192) ** 0.5)
    half = conditioner.encode({"low_res": pictures["low_res"][1000:]}, KEYS[1000:])
    np.testing.assert_array_equal(half["low_res"], noised["low_res"][1000:])
    np.testing.assert_array_equal(conditioner.none(noised)["low_res"], noised["low_res"])
    assert not conditioner.told(noised).any()


def test_training_makes_the_smaller_picture_of_the_data_unless_the_records_have_one() -> None:
    x0 = np.arange(32.0).reshape(1, 4, 8, 1)
    boxes = [[x0[0, i : i + 2, j : j + 2].mean() for j in (0, 2, 4, 6)] for i in (0, 2)]
    conditioner = Together((Labels(3), LowRes(2)))
    np.testing.assert_allclose(conditioner.make(jnp.asarray(x0))["low_res"][0, ..., 0], boxes)
    assert conditioner.fields == ("label", "low_res") and conditioner.made_fields == ("low_res",)


def test_what_is_not_given_is_left_out_unless_the_network_needs_it() -> None:
    conditioner = Together((Tokens(), LowRes(2)))
    assert conditioner.of({"low_res": BATCH["low_res"], "tokens": None}) == Together((LowRes(2),))
    assert conditioner.of(BATCH) == conditioner
    message = "needs the field 'low_res' of each example, and none was given; given are mask, tokens"
    with pytest.raises(ValueError, match=message):
        conditioner.of({"tokens": BATCH["tokens"], "mask": BATCH["mask"]})


def test_training_hides_one_rectangle_of_each_image_of_any_size() -> None:
    """Lengths uniform from 1 to the side: of 2000 each as often as the others within 5 standard errors; by its key."""
    images = np.random.default_rng(0).normal(size=(2000, 4, 5, 2)).astype(np.float32)
    known = Known()
    condition = known.encode(known.make(jnp.asarray(images)), KEYS)
    mask = np.asarray(condition["known_mask"])
    np.testing.assert_array_equal(condition["known_image"], images * mask)
    hidden = mask[..., 0] == 0
    rows, columns = hidden.any(axis=2), hidden.any(axis=1)
    np.testing.assert_array_equal(hidden, rows[:, :, None] & columns[:, None, :])
    for side in (rows, columns):
        size = side.shape[1]
        assert (np.abs(np.diff(np.pad(side, ((0, 0), (1, 1))).astype(int), axis=1)).sum(axis=1) == 2).all()
        counts = np.bincount(side.sum(axis=1), minlength=size + 1)
        assert counts[0] == 0 and np.all(np.abs(counts[1:] - 2000 / size) < 5 * (2000 / size) ** 0.5)
    half = known.encode(known.make(jnp.asarray(images[1000:])), KEYS[1000:])
    np.testing.assert_array_equal(half["known_mask"], mask[1000:])
    assert not known.told(condition).any()


def test_an_image_that_is_known_in_part_is_told_as_it_is_given() -> None:
    known = Known()
    condition = known.encode(BATCH)
    np.testing.assert_array_equal(condition["known_mask"], BATCH["known_mask"])
    np.testing.assert_array_equal(condition["known_image"], BATCH["known_mask"])  # the image is 1
    assert Together((known,)).of({"known_image": BATCH["known_image"]}) == Together()
