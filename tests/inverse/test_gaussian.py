"""Gaussian data, whose posterior is known: the guided scores in closed form, and samples against the posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import inverse
from benchmarks.inverse import SDES, measurement
from samplers import Settings
from sde_lib import of_score
from tests.inverse.gaussian import KNOWN, Gaussian, Problem, data, prior_draws, problem, problems, slow_but
from tests.oracles import compiled

TIMES = np.array([0.01, 0.05, 0.3, 0.7, 1.0])
X = np.random.default_rng(3).normal(size=(5, 6))


def difference(sde, prior: Gaussian, posterior: Gaussian, wrap) -> np.ndarray:
    """sigma times what a wrapped score is off the posterior's own, at points of five noise levels, [5, 6]."""
    t = jnp.asarray(TIMES)
    x = sde.alpha(t)[:, None] * prior.mean + jnp.hypot(sde.alpha(t), sde.sigma(t))[:, None] * X
    found = compiled(wrap(prior.score(sde)))(x, t)
    return np.asarray(sde.sigma(t)[:, None] * (found - posterior.score(sde)(x, t)))


def case_of(name: str, case: Problem) -> tuple:
    """The benchmark's measurement, y as an array."""
    known, y = measurement(name, case)
    return known, jnp.asarray(y, float)


@pytest.mark.parametrize("name", ["mask", "matrix"])
@pytest.mark.parametrize("sde", slow_but("ve", SDES))
def test_the_posterior_score_is_exact(sde, name: str, x64) -> None:
    """Three conjugate-gradient steps for three numbers; pinned by the conditional Gaussian, noised."""
    case = problems()[name]
    known, y = case_of(name, case)
    wrap = lambda score: inverse.posterior_score(sde, score, known, y, iterations=3).score  # noqa: E731
    assert np.abs(difference(sde, data(), case.posterior, wrap)).max() < 1e-4  # they stop at 1e-6 of the residual


def isotropic() -> tuple[Gaussian, Problem]:
    prior = Gaussian(data().mean, 0.25 * np.eye(6))
    case = problems()["mask"]
    return prior, Problem(case.rows, 0.0, case.y, prior.given(case.rows, case.y, 0.0))


def test_others_are_exact_for_isotropic_data(x64) -> None:
    """Where the unknown does not depend on the known, and r^2 is the true variance; with another r^2 not."""
    sde, (prior, case) = SDES["subvp"], isotropic()
    known, y = case_of("mask", case)
    pigdm, consistent = inverse.METHODS["pigdm"].function, inverse.consistent
    right = lambda score: pigdm(sde, score, known, y, data_std=0.5).score  # noqa: E731
    wrong = lambda score: pigdm(sde, score, known, y, data_std=1.0).score  # noqa: E731
    assert np.abs(difference(sde, prior, case.posterior, right)).max() < 1e-6
    assert np.abs(difference(sde, prior, case.posterior, wrong)).max() > 1e-2
    assert np.abs(difference(sde, prior, case.posterior, lambda s: consistent(sde, s, known, y).score)).max() < 1e-6


@pytest.mark.parametrize("function", [inverse.consistent, inverse.posterior_score])
def test_a_learned_variance_passes_through(function) -> None:
    sde, case = SDES["vp"], problems()["mask"]
    known, y = case_of("mask", case)
    score, x, t = data().score(sde), jnp.asarray(X, jnp.float32), jnp.full(5, 0.5)
    exact = of_score(sde, score)
    plain = compiled(function(sde, exact, known, y))(x, t)
    both = compiled(function(sde, lambda x, t: exact(x, t)._replace(variance=3.0 * x), known, y))(x, t)
    np.testing.assert_allclose(both.eps, plain.eps, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(both.variance, 3.0 * x)


def errors(sde, name: str, method: str, settings: Settings, n: int, **options) -> tuple[float, float]:
    case = problems()[name]
    known, y = case_of(name, case)
    sampler = compiled(inverse.create(sde, data().score(sde), settings, known, method, **options))
    out = sampler(jax.random.key(1), prior_draws(sde, n), y)
    return case.posterior.errors(out.x)


def test_samples_of_the_posterior() -> None:
    """4096 samples, 40 evaluations: the standard error of the mean is 1.6 %, of the covariance 4 %."""
    settings = Settings(method="dpmpp_2m", evaluations=40, grid="quadratic")
    mean, cov = errors(SDES["vp"], "matrix", "posterior", settings, 4096)
    assert mean < 0.05 and cov < 0.05 + 3 * np.sqrt(7 / 4096)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mask", "matrix"])
@pytest.mark.parametrize("sde", SDES.values(), ids=SDES)
def test_the_best_method_is_within_5_percent(sde, name: str) -> None:
    """1000 ancestral steps, 16384 samples, whose own error is 0.8 % in the mean and 2.1 % in the covariance."""
    mean, cov = errors(sde, name, "posterior", Settings(method="ancestral", steps=1000), 16384)
    assert mean < 0.05 and cov < 0.05, (mean, cov)


def test_the_error_norm() -> None:
    """A mean off by two deviations along one of three axes, and a covariance twice as large."""
    case = problem(np.eye(6)[KNOWN], 0.0)
    values, vectors = np.linalg.eigh(case.posterior.cov)
    z = np.random.default_rng(5).normal(size=(200_000, 6))
    z = (z - z.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T))).T
    exact = case.posterior.mean + z * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    np.testing.assert_allclose(case.posterior.errors(exact), 0.0, atol=1e-6)
    moved = exact + 2.0 * np.sqrt(values[-1]) * vectors[:, -1]
    assert case.posterior.errors(moved)[0] == pytest.approx(2.0 / np.sqrt(3.0), rel=1e-6)
    wide = case.posterior.mean + np.sqrt(2.0) * (exact - case.posterior.mean)
    assert case.posterior.errors(wide)[1] == pytest.approx(1.0, rel=1e-6)
