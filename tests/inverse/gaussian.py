"""Correlated Gaussian data and linear measurements: score, posterior and its score in closed form."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array


@dataclasses.dataclass(frozen=True, eq=False)
class Gaussian:
    """N(mean, cov) on vectors [d], float64; computed with in the type of x. The covariance may be singular."""

    mean: np.ndarray
    cov: np.ndarray

    def score(self, sde) -> Callable[[Array, Array], Array]:
        """The score of N(alpha mean, alpha^2 cov + sigma^2 I)."""
        values, vectors = np.linalg.eigh(self.cov)

        def score(x: Array, t: Array) -> Array:
            mean, v, basis = (jnp.asarray(a, x.dtype) for a in (self.mean, np.maximum(values, 0.0), vectors))
            alpha, sigma = sde.alpha(t)[:, None], sde.sigma(t)[:, None]
            return -(((x - alpha * mean) @ basis) / (alpha**2 * v + sigma**2)) @ basis.T

        return score

    def given(self, rows: np.ndarray, y: np.ndarray, noise: float) -> "Gaussian":
        """The posterior of x_0 with y = rows x_0 + noise n."""
        gain = self.cov @ rows.T @ np.linalg.inv(rows @ self.cov @ rows.T + noise**2 * np.eye(len(rows)))
        cov = self.cov - gain @ rows @ self.cov
        return Gaussian(self.mean + gain @ (y - rows @ self.mean), 0.5 * (cov + cov.T))

    def errors(self, samples: Array) -> tuple[float, float]:
        """How far mean and covariance of samples [n, d] are off, in units of this distribution on its support.

        With u the samples whitened by it, in k dimensions: |mean of u| / sqrt(k) and |cov of u - 1|_F / sqrt(k): the
        root mean square, over directions, of the mean's error in standard deviations, and the relative error of the
        covariance. Of exact samples they are about 1 / sqrt(n) and sqrt((k + 1) / n).
        """
        values, vectors = np.linalg.eigh(self.cov)
        kept = values > 1e-9 * values.max()
        white = (np.asarray(samples, np.float64) - self.mean) @ vectors[:, kept] / np.sqrt(values[kept])
        k = kept.sum()
        mean, cov = np.linalg.norm(white.mean(0)), np.linalg.norm(np.cov(white.T).reshape(k, k) - np.eye(k))
        return float(mean / np.sqrt(k)), float(cov / np.sqrt(k))


def data() -> Gaussian:
    """Six correlated dimensions, variances along the axes from 0.1 to 2, and a mean."""
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    return Gaussian(rng.normal(size=6), basis @ np.diag(np.geomspace(0.1, 2.0, 6)) @ basis.T)


KNOWN = np.array([True, False, True, False, False, True])


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A measurement by its numbers, one y, and the posterior."""

    rows: np.ndarray
    noise: float
    y: np.ndarray
    posterior: Gaussian


def problem(rows: np.ndarray, noise: float) -> Problem:
    """With y that of a draw of the data."""
    rng, prior = np.random.default_rng(1), data()
    x0 = prior.mean + np.linalg.cholesky(prior.cov) @ rng.normal(size=6)
    y = rows @ x0 + noise * rng.normal(size=len(rows))
    return Problem(rows, noise, y, prior.given(rows, y, noise))


def problems() -> dict[str, Problem]:
    """Three numbers of six known exactly; three mixed sums with noise."""
    mixed = np.random.default_rng(2).normal(size=(3, 6))
    return {"mask": problem(np.eye(6)[KNOWN], 0.0), "matrix": problem(mixed, 0.3)}


def slow_but(quick: str, cases: dict[str, Any]) -> list:
    """Parameters of a test by name, all but those of these names (with blanks between) marked slow."""
    marks = {name: [] if name in quick.split() else [pytest.mark.slow] for name in cases}
    values = {name: case if isinstance(case, tuple) else (case,) for name, case in cases.items()}
    return [pytest.param(*values[name], id=name, marks=marks[name]) for name in cases]


def prior_draws(sde, n: int, key: int = 0) -> Array:
    """Where samplers start, [n, 6]."""
    return sde.prior_sample(jax.random.key(key), (n, 6))
