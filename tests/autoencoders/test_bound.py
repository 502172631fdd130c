"""Bounds of a variational autoencoder's likelihood, where that is known: a linear decoder with Gaussian noise."""

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autoencoders.bound import free_bits, importance_weighted, log_weights
from autoencoders.linear_gaussian import LinearGaussian
from autoencoders.posterior import Posterior

FOLDER = Path(__file__).parents[1] / "reference" / "baselines"
KNOWN = json.loads((FOLDER / "vae_gan.json").read_text())
with np.load(FOLDER / "vae_gan.npz") as archive:
    ARRAYS = {name.partition("/")[2]: archive[name] for name in archive if name.startswith("linear_gaussian/")}
EXACT = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def known() -> tuple[LinearGaussian, jax.Array, Posterior]:
    """The model, the points and the q of the arrays."""
    model = LinearGaussian(*(jnp.asarray(ARRAYS[name]) for name in ("W", "b", "sigma")))
    return model, jnp.asarray(ARRAYS["x"]), Posterior(jnp.asarray(ARRAYS["q_mean"]), jnp.asarray(ARRAYS["q_logvar"]))


def test_the_likelihood_and_the_bound_in_closed_form() -> None:
    model, x, q = known()
    np.testing.assert_allclose(model.log_likelihood(x), ARRAYS["log_px"], **EXACT)
    mean, covariance = model.posterior(x)
    np.testing.assert_allclose(mean, ARRAYS["posterior_mean"], **EXACT)
    np.testing.assert_allclose(covariance, ARRAYS["posterior_cov"], **EXACT)
    np.testing.assert_allclose(-model.expected_nll(x, q), ARRAYS["expected_reconstruction"], **EXACT)
    np.testing.assert_allclose(q.kl(), ARRAYS["kl"], **EXACT)
    np.testing.assert_allclose(model.bound(x, q), ARRAYS["elbo"], **EXACT)
    gap = model.log_likelihood(x) - model.bound(x, q)
    np.testing.assert_allclose(gap, ARRAYS["kl_q_to_true_posterior"], **EXACT)


def test_importance_weights_of_given_noise() -> None:
    model, x, q = known()
    weights = log_weights(q, jnp.asarray(ARRAYS["eps"]), lambda z: model.nll(x, z))
    np.testing.assert_allclose(weights, ARRAYS["log_weights"], **EXACT)
    np.testing.assert_allclose(importance_weighted(weights[:1]), ARRAYS["elbo_one_sample"], **EXACT)
    np.testing.assert_allclose(weights.mean(axis=0), ARRAYS["elbo_mean8"], **EXACT)
    np.testing.assert_allclose(importance_weighted(weights), ARRAYS["iwae8"], **EXACT)


def test_more_samples_come_nearer_to_the_likelihood() -> None:
    """The means over 512 sets of k samples lie between the bound and the likelihood, and grow with k."""
    model, x, q = known()
    exact, found = model.log_likelihood(x), [model.bound(x, q)]
    for k in (2, 8, 64):
        noise = jax.random.normal(jax.random.key(k), (512, k, *q.mean.shape))
        sets = jax.lax.map(lambda eps: importance_weighted(log_weights(q, eps, lambda z: model.nll(x, z))), noise)
        found.append(sets.mean(axis=0))
        assert (found[-1] < exact + 4.0 * sets.std(axis=0) / np.sqrt(512)).all()
    assert (np.diff(jnp.stack(found), axis=0) > 0.0).all()


def test_the_divergence_and_its_gradients() -> None:
    worked = KNOWN["kl_to_standard_normal"]
    mean, log_variance = jnp.asarray([worked["mu"]]), jnp.asarray([worked["logvar"]])
    np.testing.assert_allclose(Posterior(mean, log_variance).kl_each()[0], worked["per_dim"], **EXACT)
    np.testing.assert_allclose(Posterior(mean, log_variance).kl(), worked["total"], **EXACT)
    slopes = jax.grad(lambda *moments: Posterior(*moments).kl().sum(), (0, 1))(mean, log_variance)
    for slope, name in zip(slopes, ("d_mu", "d_logvar"), strict=True):
        np.testing.assert_allclose(slope[0], worked[name], **EXACT)
    worked = KNOWN["kl_two_normals"]
    q, p = (
        Posterior(jnp.full((1, 1), worked[f"{n}_mean"]), jnp.full((1, 1), 2 * np.log(worked[f"{n}_std"]))) for n in "qp"
    )
    np.testing.assert_allclose(q.kl_to(p), worked["kl"], **EXACT)


def test_free_bits() -> None:
    worked = KNOWN["beta_and_free_bits"]
    each = jnp.asarray([worked["kl_per_latent"]])
    np.testing.assert_allclose(free_bits(each, worked["free_bits_lambda"]), worked["free_bits_kl"], **EXACT)
    np.testing.assert_allclose(worked["beta"] * free_bits(each, 0.0), worked["beta_kl"], **EXACT)
