"""What decoders say of pictures: worked numbers, whole probability, and draws that have it."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autoencoders.grey_levels import GreyLevels
from models.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    ContinuousBernoulli,
    DiscretisedLogistic,
    Gaussian,
    bernoulli_nll,
    continuous_bernoulli_nll,
    log_normaliser,
)

KNOWN = json.loads((Path(__file__).parents[1] / "reference" / "baselines" / "vae_gan.json").read_text())


@pytest.fixture(autouse=True)
def in_float64() -> Any:
    with jax.enable_x64(True):
        yield


def picture(*numbers: float) -> jax.Array:
    """One picture [1, 1, n, 1]."""
    return jnp.asarray(numbers, float).reshape(1, 1, -1, 1)


def close(found: Any, known: Any) -> None:
    np.testing.assert_allclose(np.ravel(found), np.ravel(known), rtol=1e-9, atol=1e-12)


def test_a_gaussian_and_its_bits() -> None:
    known = KNOWN["gaussian_decoder"]
    said = Gaussian(picture(known["mean"]), jnp.log(jnp.asarray(known["sigma"])))
    nll = float(said.nll(picture(known["x"])).sum())
    close(nll, known["nll_nats"])
    close(nll / math.log(2.0), known["nll_bits"])
    _, half_bin = GreyLevels(256, True, "none").bins()
    close(nll / math.log(2.0) - math.log2(2.0 * half_bin), known["bits_per_dim_of_256_levels_on_minus1_1"])
    assert GreyLevels(256, True, "uniform").bits_offset() == 7.0  # as the note there says


def test_the_best_deviation_of_an_example() -> None:
    known = KNOWN["optimal_sigma_decoder"]
    said, x = Gaussian(picture(*known["mean"])), picture(*known["x"])
    close(jnp.exp(said.best(x)), known["sigma"])
    close(said.nll(x).sum(), known["nll_total_nats"])
    for other in (0.9, 1.1):
        worse = dataclasses.replace(said, log_scale=jnp.log(other * jnp.exp(said.best(x))))
        assert worse.nll(x).sum() > said.nll(x).sum()


def test_bernoullis() -> None:
    known = KNOWN["bernoulli_decoder"]
    logits, y = jnp.asarray(known["logits"]), jnp.asarray(known["x"])
    close(bernoulli_nll(y, logits), known["nll"])
    close(0.5 * (Bernoulli(picture(*known["logits"])).centre + 1.0), known["probability"])
    close(Bernoulli(picture(*known["logits"])).nll(2.0 * picture(*known["x"]) - 1.0), known["nll"])
    known = KNOWN["continuous_bernoulli"]
    logits, y = jnp.asarray(known["logits"]), jnp.asarray(known["x"])
    close(log_normaliser(logits), known["log_normaliser"])
    close(continuous_bernoulli_nll(y, logits), known["nll"])


def test_discretised_logistics() -> None:
    known = KNOWN["discretised_logistic_decoder"]
    for row in known["rows"]:
        said = DiscretisedLogistic(picture(row["mean"]), jnp.asarray(row["log_scale"]), known["levels"])
        close(-said.nll(picture(2.0 * row["level"] / 255.0 - 1.0)), row["log_prob_nats"])


LOGITS = (-30.0, -3.0, -0.21, -0.19, -1e-3, 0.0, 0.1, 0.5, 4.0, 60.0)


@pytest.mark.parametrize("location", [-3.0, -1.0, -0.03, 0.2, 1.0])
@pytest.mark.parametrize("log_scale", [-9.0, -3.0, 1.0])
def test_the_probabilities_of_all_levels_are_1(location: float, log_scale: float) -> None:
    for levels in (2, 17, 256):
        x = picture(*np.linspace(-1.0, 1.0, levels))
        said = DiscretisedLogistic(jnp.full_like(x, location), jnp.asarray(log_scale), levels)
        nll = said.nll(x)
        assert np.isfinite(nll).all()
        close(jnp.exp(-nll).sum(), 1.0)


def test_the_continuous_bernoulli_is_a_density_with_its_mean() -> None:
    """By a Gauss-Legendre rule on [-1, 1], also where the series stands in for the formula."""
    x, weights = np.polynomial.legendre.leggauss(200)
    for logit in LOGITS:
        said = ContinuousBernoulli(jnp.full((1, 1, len(x), 1), logit))
        density = np.exp(-np.ravel(said.nll(picture(*x))))
        np.testing.assert_allclose(weights @ density, 1.0, rtol=1e-9)
        np.testing.assert_allclose(np.ravel(said.centre)[0], weights @ (x * density), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_gradients_are_finite_and_those_of_differences(name: str) -> None:
    kind = LIKELIHOODS[name]
    x = picture(*([1.0] * len(LOGITS)))

    def total(location: jax.Array) -> jax.Array:
        return kind(location, None if "none" in kind.scales else jnp.asarray(-0.5), 17).nll(x).sum()

    at, step = picture(*LOGITS), 1e-6
    found = jax.grad(total)(at)
    assert np.isfinite(found).all()
    for i in range(len(LOGITS)):
        one = step * jnp.zeros_like(at).at[0, 0, i, 0].set(1.0)
        np.testing.assert_allclose(found[0, 0, i, 0], (total(at + one) - total(at - one)) / (2 * step), atol=1e-5)


@pytest.mark.parametrize(
    "said",
    [
        Gaussian(jnp.full((4096, 1, 1, 1), 0.2), jnp.asarray(-3.0)),
        Bernoulli(jnp.full((4096, 1, 1, 1), -0.7)),
        ContinuousBernoulli(jnp.full((4096, 1, 1, 1), 1.5)),
        ContinuousBernoulli(jnp.full((4096, 1, 1, 1), -4.0)),
        ContinuousBernoulli(jnp.full((4096, 1, 1, 1), 0.01)),
        DiscretisedLogistic(jnp.full((4096, 1, 1, 1), 0.1), jnp.asarray(-2.5), 17),
    ],
    ids=lambda said: type(said).__name__,
)
def test_draws_have_its_mean_and_deviation(said: Any) -> None:
    """Those of the density or of the probabilities of its levels, within four standard errors of 4096 draws."""
    drawn = np.ravel(said.draw(jax.random.split(jax.random.key(0), 4096))).astype(np.float64)
    if said.of_levels:
        x = np.linspace(-1.0, 1.0, said.levels or 2)
        weights = np.ones(len(x))
        assert np.isin(np.round((drawn + 1.0) * (len(x) - 1) / 2, 6), np.arange(len(x))).all()
    else:
        x, weights = np.polynomial.legendre.leggauss(400)
    one = dataclasses.replace(said, location=jnp.full((1, 1, len(x), 1), said.location[0, 0, 0, 0]))
    density = weights * np.exp(-np.ravel(one.nll(picture(*x))))
    mean = density @ x
    deviation = math.sqrt(density @ (x - mean) ** 2)
    assert abs(drawn.mean() - mean) < 4.0 * deviation / 64.0
    assert abs(drawn.std() / deviation - 1.0) < 0.1


def test_draws_of_small_logits_have_the_mean_too() -> None:
    """coth(l / 2) - 2 / l, within five standard errors of 10^5 draws of a nearly uniform density."""
    for logit in (-0.19, 0.19):
        said = ContinuousBernoulli(jnp.full((1, 100_000, 1, 1), logit, jnp.float32))
        mean = np.mean(said.draw(jax.random.split(jax.random.key(0), 1)), dtype=np.float64)
        known = 1.0 / math.tanh(0.5 * logit) - 2.0 / logit
        assert abs(mean - known) < 5.0 / math.sqrt(3.0 * 100_000) < abs(known)
