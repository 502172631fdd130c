"""The bounds of a variational autoencoder in bits/dim; of a decoder to which its latents say nothing they are exact."""

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import Arrays
from evaluation import measures
from evaluation.measures import vae_bound
from evaluation.measures.vae_bound import SCALE, VAEBound
from evaluation.rounds import Rounds
from experiment import Experiment, build
from tests.training.test_vae import config_of

DENSITY = {"data.uniform_dequantization": True}
N = 12


def measured(options: dict[str, Any], **changes: Any) -> tuple[VAEBound, dict[str, np.ndarray], np.ndarray]:
    """The measure, its columns of some test digits, and these; the network's weights are 0 but for `changes`."""
    experiment = build(config_of(**options))
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), experiment.network.abstract())
    variables["params"] |= {name: jnp.full_like(variables["params"][name], value) for name, value in changes.items()}
    measure = VAEBound(experiment, samples=4)
    images = jnp.asarray(np.stack([experiment.source.test[i]["image"] for i in range(N)]))
    keys = jax.random.split(jax.random.key(0), N)
    columns = jax.jit(measure.compute)(measure.prepared(variables), {"image": images}, keys)
    return measure, {name: np.asarray(column) for name, column in columns.items()}, np.asarray(images)


def check_exact(columns: dict[str, np.ndarray], bits: np.ndarray, rtol: float = 1e-4) -> None:
    """q is the prior, so that the divergence is 0 and every weight p(x)."""
    np.testing.assert_allclose(columns["kl"], 0.0, atol=1e-6)
    np.testing.assert_allclose(columns["nll"], bits, rtol=rtol)
    np.testing.assert_allclose(columns["importance"], bits, rtol=rtol)


def test_whole_levels_by_a_logistic() -> None:
    """The probabilities of the levels are differences of the distribution function, by NumPy."""
    _, columns, images = measured({"model.scale": "fixed", "model.log_scale": -0.7})
    edges = np.concatenate([[-np.inf], (2.0 * np.arange(16) + 1.0) / 16.0 - 1.0, [np.inf]])
    cumulative = 1.0 / (1.0 + np.exp(-edges / math.exp(-0.7)))
    bits = -np.log2(np.diff(cumulative))[images].reshape(N, -1).mean(axis=1)
    check_exact(columns, bits)


@pytest.mark.slow
def test_dequantised_levels_by_a_gaussian() -> None:
    """A level k of 17 lies between 2 k / 17 - 1 and 2 (k + 1) / 17 - 1, and its bits are those of its density there.

    Over the noise within a level they have a mean and a deviation by a Gauss-Legendre rule.
    """
    options = DENSITY | {"model.likelihood": "gaussian", "model.scale": "learned"}
    _, columns, images = measured(options, log_scale=math.log(0.6))
    u, weights = np.polynomial.legendre.leggauss(20)
    x = (2.0 * np.arange(17)[:, None] + 1.0 + u) / 17.0 - 1.0
    density = np.exp(-0.5 * (x / 0.6) ** 2) / (0.6 * math.sqrt(2.0 * math.pi))
    each = -np.log2(density * 2.0 / 17.0)
    mean = each @ weights / 2.0
    variance = (each - mean[:, None]) ** 2 @ weights / 2.0
    expected, error = (of[images].reshape(N, -1) for of in (mean, variance))
    np.testing.assert_allclose(columns["kl"], 0.0, atol=1e-6)
    deviation = np.sqrt(error.sum(axis=1)) / error.shape[1]
    assert (np.abs(columns["nll"] - expected.mean(axis=1)) < 5.0 * deviation).all()
    np.testing.assert_allclose(columns["importance"], columns["nll"], rtol=1e-5)


@pytest.mark.slow
def test_a_flat_density_has_the_bits_of_equal_levels() -> None:
    """The continuous Bernoulli of logit 0 is uniform."""
    _, columns, _ = measured(DENSITY | {"model.likelihood": "continuous_bernoulli", "model.scale": "none"})
    check_exact(columns, np.full(N, math.log2(17.0)), rtol=1e-6)


@pytest.mark.slow
def test_the_best_scale_is_that_of_the_training_set() -> None:
    options = DENSITY | {"model.likelihood": "gaussian", "model.scale": "optimal"}
    measure, columns, _ = measured(options)
    found = float(measure.prepared({"params": _zeros(measure), "fixed": {}})[SCALE]["log_scale"])
    train = np.stack([example["image"] for example in (measure.experiment.source.train[i] for i in range(1500))])
    square = np.mean(((2.0 * train + 1.0) / 17.0 - 1.0) ** 2) + 1.0 / (3.0 * 17.0**2)
    assert found == pytest.approx(0.5 * math.log(square), rel=1e-3)
    np.testing.assert_allclose(columns["importance"], columns["nll"], rtol=1e-5)


def _zeros(measure: VAEBound) -> dict[str, Any]:
    abstract = measure.experiment.network.abstract()["params"]
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), abstract)


def test_the_report_names_decoder_samples_and_dequantisation() -> None:
    measure = VAEBound(build(config_of(**{"model.scale": "fixed"})), samples=4)
    part = measure.numbers({name: np.ones((1, 3)) for name in ("nll", "kl", "importance")}, {})
    text = "\n".join(VAEBound.rows(part))
    assert "Importance-weighted with 4 samples" in text and "discretised_logistic, scale fixed" in text
    assert "Dequantisation: none" in text and part["mean"] == pytest.approx(part["nll"] + part["kl"])
    others = [each for each in measures.MEASURES.values() if each.name == VAEBound.name and each is not VAEBound]
    assert len(others) == 3 and not any(each.rows(part) for each in others)


def test_what_has_no_bound_is_refused() -> None:
    experiment = build(config_of(**{"model.likelihood": "bernoulli", "model.scale": "none"}))
    with pytest.raises(ValueError, match="is 'bernoulli', and the data have 17 grey levels, of which it is no likelih"):
        VAEBound.check(experiment)


def bound_of(scale: str) -> VAEBound:
    options = DENSITY | {"model.likelihood": "gaussian", "model.scale": scale}
    return VAEBound(build(config_of(**options)), samples=4)


def with_another_example(experiment: Experiment, split: str) -> Experiment:
    changed = {name: array.copy() for name, array in getattr(experiment.source, split).arrays.items()}
    changed["image"][3] = 16 - changed["image"][3]
    return dataclasses.replace(experiment, source=dataclasses.replace(experiment.source, **{split: Arrays(changed)}))


@pytest.mark.parametrize("scale", ["learned", "optimal"])
def test_rounds_are_used_again_only_where_all_that_they_depend_on_is_the_same(
    scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are said to be the same; training examples, and how many, count where the scale is theirs."""
    measure, settings = bound_of(scale), {"likelihood": "gaussian", "scale": scale, "dequantization": "uniform"}
    experiment = measure.experiment
    assert measure.settings == {"samples": 4, **settings}

    def used_again(other: VAEBound) -> bool:
        found = Rounds(tmp_path / "rounds", other.about({}, jax.random.key(0)), total=1, size=1).missing() == []
        if not found:  # what was there has been set aside, and is made anew
            shutil.rmtree(tmp_path / "rounds")
            rounds()
        return found

    def rounds() -> None:
        Rounds(tmp_path / "rounds", measure.about({}, jax.random.key(0)), total=1, size=1).write(0, nll=np.ones(1))

    rounds()
    assert used_again(VAEBound(experiment, samples=4))
    assert not used_again(VAEBound(experiment, samples=5))
    for name in settings:
        other = VAEBound(experiment, samples=4)
        other.settings = measure.settings | {name: "another"}
        assert not used_again(other), name
    assert not used_again(VAEBound(with_another_example(experiment, "test"), samples=4))
    of_training = scale == "optimal"
    assert used_again(VAEBound(with_another_example(experiment, "train"), samples=4)) == (not of_training)
    monkeypatch.setattr(vae_bound, "MOST", 1000)
    assert used_again(measure) == (not of_training)
