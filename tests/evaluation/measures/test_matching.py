"""The choice among captions, of CLIPs whose answers are known."""

import dataclasses
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.source import take
from evaluation.measures.matching import Matching, captions
from experiment import build
from tests.experiment.test_clip import tiny

N, SCALE = 24, 2.0
ENCODED: list[int] = []
"""How many texts were encoded, each time that a program was traced."""


def experiment_of(favourite: np.ndarray | None):
    """An experiment whose CLIP finds every image to fit the favourite caption alone, or all alike without one."""

    def encode_text(ids: jax.Array) -> jax.Array:
        is_it = jnp.all(ids == favourite, axis=-1)
        return jnp.stack([is_it, ~is_it], axis=-1).astype(jnp.float32)

    def recorded(ids: jax.Array) -> jax.Array:
        ENCODED.append(len(ids))
        return encode_text(ids) if favourite is not None else jnp.ones((len(ids), 2))

    module = types.SimpleNamespace(
        encode_image=lambda x, c_noise: jnp.tile(jnp.asarray([1.0, 0.0]), (len(x), 1)),
        encode_text=recorded,
        agreement=lambda image, text: SCALE * jnp.sum(image * text, axis=-1),
    )
    return dataclasses.replace(
        build(tiny()), network=types.SimpleNamespace(module=lambda variables: module, dtype=None)
    )


@pytest.mark.slow
def test_a_choice_among_all_captions_and_among_some(tmp_path: Path) -> None:
    """Who finds all alike is never right; who has one favourite is right about its images, and as sure as it says."""
    alike = Matching(experiment_of(None), 5).report({}, jax.random.key(0), tmp_path / "alike", {})
    np.testing.assert_allclose(alike["cross_entropy"], np.log(5), rtol=1e-6)
    assert alike["accuracy"] == [0.0] * 3 and alike["captions"] == 5
    every = captions(experiment_of(None))
    assert len(every) == N  # all are different
    favoured = Matching(experiment_of(every[7].clip(0)), N).report({}, jax.random.key(0), tmp_path / "favoured", {})
    np.testing.assert_allclose(favoured["accuracy"], 1 / N, rtol=1e-6)
    right, wrong = np.log1p((N - 1) * np.exp(-SCALE)), np.log(N - 1 + np.exp(SCALE))
    np.testing.assert_allclose(favoured["cross_entropy"], (right + (N - 1) * wrong) / N, rtol=1e-6)


@pytest.mark.slow
def test_a_round_encodes_no_captions_but_those_of_its_own_examples() -> None:
    measure = Matching(experiment_of(None), 5)
    examples = take(measure.experiment.encoded.test, np.arange(3))
    batch = {name: jnp.asarray(examples[name]) for name in measure.experiment.batch_fields}
    variables, keys = measure.prepared({}), jax.random.split(jax.random.key(0), 3)
    assert variables["captions"]["features"].shape == (N, 2)
    ENCODED.clear()
    jax.eval_shape(measure.compute, variables, batch, keys)
    assert ENCODED == [3]
