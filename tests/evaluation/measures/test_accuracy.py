"""A classifier's accuracy by noise level: of classifiers whose answers are known, on the held-out digits."""

import csv
import dataclasses
import re
import types
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.ve import digits_classifier as ve
from configs.vp import digits_classifier as vp
from data.digits import digits
from evaluation.measures.accuracy import Accuracy, levels
from evaluation.report import markdown
from evaluation.run import check
from experiment import build

N = 297
CONSTANT = np.linspace(0.0, 1.8, 10)


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled() -> Iterator[None]:
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def experiment_of(config, answer, **settings):
    """An experiment of that classifier, (x, c_noise) -> logits, in place of the config's network."""
    config.eval.update(settings)
    network = types.SimpleNamespace(apply=lambda variables, x, c_noise, condition: answer(x, c_noise), dtype=None)
    return dataclasses.replace(build(config), network=network)


def by_mean(x, _):
    """Minus the squared distances to the mean digits of the training set."""
    train = digits().train.arrays
    means = np.stack([train["image"][train["label"] == k].mean(axis=0) for k in range(10)]) / 8.0 - 1.0
    return -jnp.sum((x[:, None] / 2.0 - means.astype(np.float32)) ** 2, axis=(2, 3, 4))


@pytest.mark.slow
def test_what_does_not_look_at_the_image_is_as_good_at_every_level(tmp_path):
    """Constant logits: the last class's share of the test set, and its cross-entropy, exactly."""
    experiment = experiment_of(ve.get_config(), lambda x, _: jnp.tile(jnp.asarray(CONSTANT, x.dtype), (len(x), 1)))
    found = Accuracy(experiment).report({}, jax.random.key(0), tmp_path, {})
    label = experiment.source.test.arrays["label"]
    entropy = np.log(np.exp(CONSTANT).sum()) - CONSTANT[label].mean()
    np.testing.assert_allclose(found["accuracy"], (label == 9).mean(), rtol=1e-6)
    np.testing.assert_allclose(found["cross_entropy"], entropy, rtol=1e-5)
    assert (found["examples"], found["classes"]) == (N, 10)
    np.testing.assert_allclose(np.diff(found["log_snr"]), 2 * np.log(0.01 / 6.0) / 11, rtol=1e-4)  # uniform in t
    np.testing.assert_allclose(np.diff(found["t"]), (1 - 1e-5) / 11, rtol=1e-4)


@pytest.mark.slow
def test_images_have_the_noise_that_the_classifier_is_told_of(tmp_path):
    """Their mean square at each level is that of digits at its SNR: over 297 times 64 numbers within some percent."""
    pixels = (digits().test.arrays["image"] + 0.5) / 8.5 - 1.0
    square, seen = np.mean(pixels**2) + 1 / (12 * 8.5**2), []

    def weigh(x, log_snr):
        snr = jnp.exp(log_snr)
        expected = (snr * square + 1.0) / (0.25 * snr + 1.0)
        jax.debug.callback(lambda *numbers: seen.append(numbers), jnp.mean(x**2), jnp.mean(expected), jnp.mean(log_snr))
        return jnp.zeros((len(x), 10))

    found = Accuracy(experiment_of(vp.get_config(), weigh)).report({}, jax.random.key(2), tmp_path, {})
    jax.effects_barrier()
    sizes, expected, told = np.array(sorted(seen, key=lambda numbers: -numbers[2])).T
    np.testing.assert_allclose(told, found["log_snr"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(sizes, expected, rtol=0.03)
    assert np.ptp(expected) > 0.5


@pytest.mark.slow
def test_the_nearest_mean_digit_is_the_right_one_while_it_can_be_seen(tmp_path):
    """At the clean end as often as NumPy says, in noise by chance; in batches of 64 or all at once the same."""
    test = digits().test.arrays
    clean = np.asarray(by_mean(2.0 * (test["image"] / 8.0 - 1.0), None)).argmax(axis=1) == test["label"]
    found = []
    for size in (N, 64):
        experiment = experiment_of(vp.get_config(), by_mean, batch_size=size, accuracy_levels=4)
        found.append(Accuracy(experiment).report({}, jax.random.key(1), tmp_path / str(size), {}))
    whole, parts = found
    assert whole["accuracy"] == parts["accuracy"]
    np.testing.assert_allclose(whole["cross_entropy"], parts["cross_entropy"], rtol=1e-5)
    assert whole["accuracy"][0] == pytest.approx(clean.mean(), abs=0.02)  # grey levels are dequantised
    assert whole["accuracy"][-1] == pytest.approx(0.1, abs=3 * np.sqrt(0.09 / N))
    assert whole["log_snr"][0] > 10 > 0 > whole["log_snr"][-1]

    folder = tmp_path / "64"
    rows = list(csv.DictReader((folder / "accuracy.csv").open()))
    assert [float(row["accuracy"]) for row in rows] == pytest.approx(whole["accuracy"], rel=1e-6)
    assert (folder / "accuracy.png").exists()
    report = {
        "dataset": "digits",
        "checkpoint": {"step": 3, "ema": True, "ema_rate": 0.9},
        "seed": 0,
        "sde": {},
        "seeds": 1,
    }
    report |= {"accuracy": whole, "environment": {"device": "cpu", "processes": 1, "versions": {}}}
    lines = [line for line in markdown(report).splitlines() if line.startswith("| 1") and " % |" in line]
    assert f"| {100 * whole['accuracy'][0]:.1f} +- " in lines[0]


def test_levels_of_a_chain_are_the_chains():
    config = vp.get_config()
    with config.unlocked():
        config.model.num_scales = 40
    config.model.noise_label, config.training.continuous = "index", False
    experiment = experiment_of(config, by_mean)
    np.testing.assert_allclose(levels(experiment, 4) * 39, [0, 13, 26, 39], atol=1e-9)


def test_what_cannot_be_examined_is_refused():
    for settings, named in (
        ({"enable_bpd": True}, "a classifier, without likelihood or samples"),
        ({"enable_sampling": True}, "eval.enable_sampling to False"),
    ):
        experiment = experiment_of(vp.get_config(), by_mean, **settings)
        with pytest.raises(ValueError, match=re.escape(named)):
            check(experiment, likelihood=True)
