"""Conditions: what is told, what tells nothing, and what is dropped how often."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import conditions
from conditions import NO_CLASS, Condition, Conditioner, Labels, Together

KEYS = jax.random.split(jax.random.key(0), 2000)
BATCH = {"label": np.arange(2000) % 3, "image": np.zeros((2000, 2)), "caption": np.arange(4000.0).reshape(2000, 2, 1)}


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
    for options in ({"label_dim": 0}, {"nf": 8}):
        conditioner = conditions.of_network(options)
        assert conditioner.fields == () and conditioner.encode(BATCH) == {}
