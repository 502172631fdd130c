"""Signals, clips and sets of points have the likelihood of a Gaussian that is known, and are drawn from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import inverse
import samplers
from samplers import Settings, draw_probes, solve_flow
from sde_lib import VP
from tests.oracles import compiled

SDE, T_MIN = VP(), 1e-5
SHAPES = {"signal": (6, 1), "clip": (2, 2, 2, 1), "volume": (3, 1, 2, 1), "point_set": (3, 2)}


def correlated(size: int) -> np.ndarray:
    """A covariance in which every number depends on every other, of deviations about 1/2 to 2."""
    factor = np.random.default_rng(size).standard_normal((size, size)) / np.sqrt(size)
    return factor @ factor.T + 0.2 * np.eye(size)


def marginal(covariance: np.ndarray, t: float) -> np.ndarray:
    """The covariance at time t, alpha^2 C + sigma^2."""
    alpha, sigma = float(SDE.alpha(jnp.asarray(t))), float(SDE.sigma(jnp.asarray(t)))
    return alpha**2 * covariance + sigma**2 * np.eye(len(covariance))


def score_of(covariance: np.ndarray):
    """-(alpha^2 C + sigma^2)^-1 x of examples of any shape."""
    values, vectors = np.linalg.eigh(covariance)

    def score(x, t):
        alpha, sigma = (of(t).reshape(-1, 1) for of in (SDE.alpha, SDE.sigma))
        rotated = x.reshape(len(x), -1) @ jnp.asarray(vectors, x.dtype)
        scaled = rotated / (alpha**2 * jnp.asarray(values, x.dtype) + sigma**2)
        return -(scaled @ jnp.asarray(vectors.T, x.dtype)).reshape(x.shape)

    return score


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n == "point_set" else pytest.mark.slow) for n in SHAPES])
def test_the_density_is_that_of_the_gaussian(name: str) -> None:
    """float32 at a tolerance of 1e-5, exact divergence: 2e-3 nats of about 10 for each of 16 examples."""
    shape, size = SHAPES[name], int(np.prod(SHAPES[name]))
    covariance = correlated(size)
    start, end = (multivariate_normal(cov=marginal(covariance, t)) for t in (T_MIN, 1.0))
    x = jnp.asarray(start.rvs(16, random_state=0).reshape(-1, *shape), jnp.float32)
    score = score_of(covariance)
    solve = compiled(lambda x: solve_flow(SDE, score, x, T_MIN, 1.0, probes=draw_probes(None, x, "exact")))
    flow = solve(x)
    assert flow.x.shape == x.shape and bool(flow.converged.all())
    found = flow.delta_log_density + end.logpdf(np.asarray(flow.x).reshape(16, -1))
    np.testing.assert_allclose(found, start.logpdf(np.asarray(x).reshape(16, -1)), atol=2e-3 * size / 6)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_what_is_known_of_an_example_stays_to_the_bit(name: str) -> None:
    """Half of its places are given, and the others are drawn and differ."""
    shape, size = SHAPES[name], int(np.prod(SHAPES[name]))
    covariance, known = correlated(size), np.arange(size // shape[-1]).reshape(shape[:-1]) % 2 == 0
    y = jnp.asarray(np.random.default_rng(3).standard_normal((1, *shape)), jnp.float32)
    settings = Settings(method="dpmpp_2m", evaluations=20, t_min=1e-3)
    run = inverse.create(SDE, score_of(covariance), settings, inverse.mask(known), "pigdm", data_std=1.0)
    keys = jax.random.split(jax.random.key(0))
    x = np.asarray(compiled(run)(keys[1], SDE.prior_sample(keys[0], (8, *shape)), y).x)
    np.testing.assert_array_equal(x[:, known], np.broadcast_to(y[:, known], (8, *y[0, known].shape)))
    assert np.isfinite(x).all() and x[:, ~known].std(axis=0).min() > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_samples_have_the_covariance(name: str) -> None:
    """Of 8000 samples each entry lies within 5 standard errors, sqrt((C_ii C_jj + C_ij^2) / n)."""
    shape, size = SHAPES[name], int(np.prod(SHAPES[name]))
    covariance = correlated(size)
    sampler = samplers.create(SDE, score_of(covariance), Settings(method="dpmpp_2m", evaluations=60, t_min=1e-4))
    keys = jax.random.split(jax.random.key(1))
    x = np.asarray(compiled(sampler)(keys[0], SDE.prior_sample(keys[1], (8000, *shape))).x).reshape(8000, -1)
    deviation = np.sqrt((np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2) / 8000)
    assert np.all(np.abs(x.T @ x / 8000 - covariance) < 5 * deviation + 2e-2)
