"""Bits and bounds of an upsampler: of the picture given the smaller one, which is made of it without noise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from autoencoders.grey_levels import GreyLevels
from configs.vp import toy_mixture8_mlp
from data import Arrays, Source
from evaluation.measures.bits import Bits
from experiment import Experiment, likelihood
from models.functional import Network
from sde_lib import VP
from sde_lib.prediction import of_score
from tests.oracles import compiled

N, SHAPE, LEVELS, SPREAD = 5, (4, 4, 1), 4, 0.3


class Exact(Experiment):
    """The data lie around the enlarged small picture, as a Gaussian with that deviation."""

    def predict_fn(self, variables: dict[str, Any], *, condition: Any = None, **_: Any) -> Any:
        middle = condition["low_res"].repeat(2, axis=1).repeat(2, axis=2)

        def score(x: jax.Array, t: jax.Array) -> jax.Array:
            alpha, sigma = (a.reshape(-1, 1, 1, 1) for a in (self.sde.alpha(t), self.sde.sigma(t)))
            return (alpha * middle - x) / (alpha**2 * SPREAD**2 + sigma**2)

        return of_score(self.sde, score)


def experiment(levels: int | None, data: np.ndarray) -> Exact:
    config = toy_mixture8_mlp.get_config()
    with config.unlocked():
        config.model.update(name="glide", upsampling=2, low_res_noise=0.5, tokens=1)
    config.eval.update(bpd_probe="exact", bpd_max_examples=0, batch_size=N)
    records = Arrays({"image": data})
    source = Source("levels", records, records, shape=SHAPE, levels=levels)
    network = Network.create("mlp", shape=SHAPE, width=4, depth=1)
    codec = GreyLevels(levels, True, "none", SHAPE)
    return Exact(config, VP(), source, codec, network, samplers.Settings())


def nats_of(x: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """-log N(x; the means of 2 x 2 pixels of `clean`, SPREAD) of each example."""
    middle = clean.reshape(N, 2, 2, 2, 2, 1).mean((2, 4)).repeat(2, axis=1).repeat(2, axis=2)
    each = 0.5 * ((x - middle) / SPREAD) ** 2 + np.log(SPREAD * np.sqrt(2 * np.pi))
    return each.sum((1, 2, 3))


def measured(own: Exact) -> np.ndarray:
    assert "low_res" not in own.batch_fields and own.batch_fields[0] == "image"
    Bits.check(own)
    keys = jax.random.split(jax.random.key(1), N)
    run = compiled(lambda image: likelihood.bits(own, {"params": {}}, {"image": image}, keys))
    return np.asarray(run(jnp.asarray(own.source.test.arrays["image"]))["bits"], np.float64)


@pytest.mark.slow
def test_bits_are_those_of_the_picture_given_the_smaller_one() -> None:
    x = np.random.default_rng(0).normal(size=(N, *SHAPE)).astype(np.float32)
    expected = nats_of(x.astype(np.float64), x.astype(np.float64)) / np.log(2) / x[0].size
    np.testing.assert_allclose(measured(experiment(None, x)), expected, rtol=3e-4)


@pytest.mark.slow
def test_the_smaller_picture_has_no_noise_of_dequantisation() -> None:
    """The noise lies within a level, and the receiver has whole levels: the small picture is of their middles."""
    data = np.random.default_rng(0).integers(0, LEVELS, (N, *SHAPE)).astype(np.uint8)
    own = experiment(LEVELS, data)
    dequantize = jax.vmap(jax.random.split)(jax.random.split(jax.random.key(1), N))[:, 0]
    uniform = GreyLevels(LEVELS, True, "uniform", SHAPE)
    x = np.asarray(uniform.encode(data, dequantize), np.float64)
    expected = nats_of(x, data / 1.5 - 1.0) / np.log(2) / x[0].size + np.log2(LEVELS / 2)
    np.testing.assert_allclose(measured(own), expected, atol=3e-3)  # the flow ends at t_min
