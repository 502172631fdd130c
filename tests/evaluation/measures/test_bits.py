"""bits/dim of stored grey levels under a density that is known."""

import dataclasses
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import samplers
from autoencoders.grey_levels import GreyLevels
from configs.vp import toy_mixture8_mlp
from data import Arrays, Source
from evaluation.measures.bits import Bits
from experiment import Experiment
from metrics.likelihood import log_likelihood
from models.functional import Network
from samplers import solve_flow
from sde_lib import VP
from tests.oracles import Mixture, compiled, gaussian

SDE = VP()
N, SHAPE = 297, (2, 2, 1)


@pytest.fixture(scope="module", autouse=True)
def _quick_to_compile() -> Iterator[None]:
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


class Exact(Experiment):
    """An experiment whose score is that of a Gaussian."""

    def predict_fn(self, variables: dict[str, Any], **_: Any) -> Any:
        return _data(self.codec.centered).score(self.sde)


class Midpoints(GreyLevels):
    """Puts a level at the middle of its cell, whatever the keys."""

    def encode(self, image: Any, keys: Any = None) -> Any:
        y = (jnp.asarray(image, jnp.float32) + 0.5) / self.levels
        return 2 * y - 1 if self.centered else y


def _data(centered: bool) -> Mixture:
    """In encoded units; as wide as the range, so that a cell of 1/17 is small."""
    return gaussian(np.zeros(SHAPE) if centered else np.full(SHAPE, 0.5), 0.8 if centered else 0.4)


def _experiment(levels: int, centered: bool, codec: type[GreyLevels] = Midpoints, **fields: Any) -> Exact:
    images = np.random.default_rng(0).integers(0, levels, (N, *SHAPE)).astype(np.uint8)
    records = Arrays({"image": images})
    source = Source("levels", records, records, shape=SHAPE, levels=levels)
    config = toy_mixture8_mlp.get_config()
    config.eval.update({"bpd_probe": "exact", "bpd_max_examples": 0, "batch_size": 100} | fields)
    network = Network.create("mlp", shape=SHAPE, width=4, depth=1)
    trained_with = codec(levels, centered, "none")  # bits/dim dequantise whatever the training did
    return Exact(config, SDE, source, trained_with, network, samplers.Settings())


def bits(experiment: Experiment, variables: dict, key: jax.Array) -> dict[str, Any]:
    """In rounds that nothing else sees."""
    with tempfile.TemporaryDirectory() as folder:
        return Bits(experiment).report(variables, key, Path(folder), {})


def _known(experiment: Exact) -> np.ndarray:
    """-log2 of the mass of each image's cell under the Gaussian, a dimension: SciPy, in units of levels."""
    levels, images = experiment.source.levels, experiment.source.test.arrays["image"].reshape(N, -1).astype(float)
    scale = 0.4 * levels  # [-1, 1] with 0.8 and [0, 1] with 0.4 are the same in levels
    upper, lower = (scipy.stats.norm.cdf((images + i - levels / 2) / scale) for i in (1, 0))
    return -np.log2(upper - lower).mean(axis=1)


@pytest.mark.parametrize(("levels", "centered"), [(17, True), (17, False), (256, True), (256, False)])
def test_bits_are_those_of_the_stored_levels(levels: int, centered: bool) -> None:
    """297 images in batches of 100. A cell's mass is its midpoint's density times its size to 2e-3 bits (17 levels)."""
    experiment = _experiment(levels, centered)
    report, known = bits(experiment, {}, jax.random.key(0)), _known(experiment)
    assert report["examples"] == N
    assert report["mean"] == pytest.approx(known.mean(), abs=1e-3 if levels == 256 else 2e-3)
    assert report["standard_error"] == pytest.approx(known.std(ddof=1) / math.sqrt(N), rel=2e-2)
    assert report["unit"] == "bits/dim" and report["levels"] == levels and report["not_converged"] == 0


def test_dequantisation_averages_over_the_cell() -> None:
    """Uniform noise, averaged over 4 draws an image: within 4 standard errors of the cells, and above them (Jensen)."""
    experiment = _experiment(17, True, GreyLevels, bpd_repeats=4)
    report, known = bits(experiment, {}, jax.random.key(1)), _known(experiment)
    # d bits / d x = x / (s^2 ln 2), x up to 1.6 and the cell's deviation 2 / 17 / sqrt(12): over 4 N draws of 4 pixels
    noise = 1.25 / 0.8**2 / math.log(2) * (2 / 17 / math.sqrt(12)) / math.sqrt(4 * N * 4)
    assert abs(report["mean"] - known.mean()) < 4 * noise + 1e-3
    assert report["repeats"] == 4 and report["dequantization"] == "uniform"


def test_bits_do_not_depend_on_the_batches() -> None:
    """Batches of 100 on one device, of 96 spread over eight: the same noise, the same bits, the whole set."""
    reports = [bits(_experiment(17, True, GreyLevels, batch_size=size), {}, jax.random.key(2)) for size in (100, 96)]
    assert [r["examples"] for r in reports] == [N, N]
    assert reports[0]["mean"] == pytest.approx(reports[1]["mean"], abs=2e-5)
    assert reports[0]["standard_error"] == pytest.approx(reports[1]["standard_error"], abs=2e-5)


def test_the_first_examples_may_be_asked_for_alone() -> None:
    experiment = _experiment(256, True, bpd_max_examples=40)
    assert bits(experiment, {}, jax.random.key(0))["mean"] == pytest.approx(_known(experiment)[:40].mean(), abs=1e-3)


def test_broken_likelihoods_are_an_error() -> None:
    class Broken(Exact):
        def predict_fn(self, variables: dict[str, Any], **_: Any) -> Any:
            return lambda x, t: x * jnp.nan

    good = _experiment(17, True)
    fields = {f.name: getattr(good, f.name) for f in dataclasses.fields(good)}
    with pytest.raises(RuntimeError, match="not finite for 100 of examples 0 to 99"):
        bits(Broken(**fields), {}, jax.random.key(0))


@pytest.mark.slow
def test_latents_decode_to_the_image() -> None:
    score = _data(True).score(SDE)
    x = _data(True).sample(jax.random.key(3), 8)
    there = compiled(lambda x: log_likelihood(SDE, score, x, probe="exact"))(x)
    back = compiled(lambda z: solve_flow(SDE, score, z, 1.0, SDE.t_min).x)(there.latents)
    np.testing.assert_allclose(back, x, atol=2e-3)
    np.testing.assert_allclose(there.nats, _data(True).log_marginal(SDE, x, SDE.t_min), atol=5e-3)
