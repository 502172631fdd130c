"""Closed forms that tests measure against: Gaussian mixtures, whose score, density and samples are known at every t."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sde_lib import PredictFn, Prediction, Process

REFERENCE = Path(__file__).parent / "reference" / "score_sde"


@dataclasses.dataclass(frozen=True, eq=False)
class Fixed(Process):
    """A process of one noise level whatever t is, a number or one an example, and of the rates that are given."""

    alpha_of_all: Any
    sigma_of_all: Any
    rates_of_all: tuple[Any, Any] = (-1.0, 1.0)

    def alpha(self, t: Array) -> Array:
        return jnp.asarray(self.alpha_of_all)

    def sigma(self, t: Array) -> Array:
        return jnp.asarray(self.sigma_of_all)

    def rates(self, t: Array) -> tuple[Array, Array]:
        return jnp.asarray(self.rates_of_all[0]), jnp.asarray(self.rates_of_all[1])


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """sum_k w_k N(mu_k, s_k^2 I) on arrays of any shape; noised to (alpha, sigma) it is again a mixture.

    Under x_t = alpha x_0 + sigma eps the component k becomes N(alpha mu_k, alpha^2 s_k^2 + sigma^2). Everything is
    computed in the type of x; alpha and sigma are scalars or one per example.
    """

    weights: np.ndarray  # [k]
    means: np.ndarray  # [k, *d]
    stds: np.ndarray  # [k]

    def _parts(self, x: Array, alpha: Array, sigma: Array) -> tuple[Array, Array, Array]:
        """Log of the joint density [b, k], offsets to the means [b, k, D], variances [b, k]."""
        w, mu, s = (jnp.asarray(a, x.dtype) for a in (self.weights, self.means, self.stds))
        a, b = (jnp.broadcast_to(jnp.asarray(c, x.dtype), (len(x),))[:, None] for c in (alpha, sigma))
        offsets = a[..., None] * mu.reshape(1, len(mu), -1) - x.reshape(len(x), 1, -1)
        v = (a * s) ** 2 + b**2
        d = offsets.shape[-1]
        log_joint = jnp.log(w) - 0.5 * d * jnp.log(2 * jnp.pi * v) - 0.5 * jnp.sum(offsets**2, -1) / v
        return log_joint, offsets, v

    def log_density(self, x: Array, alpha: Array = 1.0, sigma: Array = 0.0) -> Array:
        """log p(x) [b], nats."""
        return jax.nn.logsumexp(self._parts(x, alpha, sigma)[0], axis=1)

    def responsibilities(self, x: Array, alpha: Array = 1.0, sigma: Array = 0.0) -> Array:
        """Posterior weight of each component, [b, k]."""
        return jax.nn.softmax(self._parts(x, alpha, sigma)[0], axis=1)

    def gradient(self, x: Array, alpha: Array, sigma: Array) -> Array:
        """grad_x log p(x), the shape of x."""
        log_joint, offsets, v = self._parts(x, alpha, sigma)
        pulls = jax.nn.softmax(log_joint, axis=1) / v
        return jnp.sum(pulls[..., None] * offsets, axis=1).reshape(x.shape)

    def score(self, sde) -> Callable[[Array, Array], Array]:
        """The exact `ScoreFn` of this data under the process."""
        return lambda x, t: self.gradient(x, sde.alpha(t), sde.sigma(t))

    def pair(self, x: Array, alpha: Array, sigma: Array) -> Prediction:
        """E[x_0 | x] and E[eps | x], which divide by neither alpha nor sigma."""
        log_joint, offsets, v = self._parts(x, alpha, sigma)
        w, mu, s = (jnp.asarray(a, x.dtype) for a in (self.weights, self.means, self.stds))
        a, b = (jnp.broadcast_to(jnp.asarray(c, x.dtype), (len(x),))[:, None, None] for c in (alpha, sigma))
        shares = jax.nn.softmax(log_joint, axis=1)[..., None]
        x0 = mu.reshape(1, len(w), -1) - a * (s**2 / v)[..., None] * offsets
        eps = -b / v[..., None] * offsets
        return Prediction(*(jnp.sum(shares * part, axis=1).reshape(x.shape) for part in (x0, eps)))

    def predict(self, sde) -> PredictFn:
        """The exact predictions of this data under the process."""
        return PredictFn(sde, lambda x, t: self.pair(x, sde.alpha(t), sde.sigma(t)))

    def log_marginal(self, sde, x: Array, t: float) -> Array:
        """log p_t(x) [b]."""
        t = jnp.asarray(t, x.dtype)
        return self.log_density(x, sde.alpha(t), sde.sigma(t))

    def sample(self, key: Array, n: int, alpha: Array = 1.0, sigma: Array = 0.0) -> Array:
        """n exact samples."""
        pick, noise = jax.random.split(key)
        k = jax.random.choice(pick, len(self.weights), (n,), p=jnp.asarray(self.weights))
        means, stds = jnp.asarray(self.means, float)[k], jnp.asarray(self.stds, float)[k]
        std = jnp.sqrt((alpha * stds) ** 2 + sigma**2).reshape(-1, *[1] * (means.ndim - 1))
        return alpha * means + std * jax.random.normal(noise, means.shape, means.dtype)

    def sample_marginal(self, sde, key: Array, n: int, t: float) -> Array:
        """n exact samples of p_t."""
        t = jnp.asarray(t, float)
        return self.sample(key, n, sde.alpha(t), sde.sigma(t))


def gaussian(mean: np.ndarray, std: float) -> Mixture:
    """One isotropic Gaussian."""
    return Mixture(np.ones(1), np.asarray(mean, float)[None], np.array([std]))


def planar() -> Mixture:
    """The two-dimensional mixture of the reference arrays, on arrays [b, 2]."""
    table = json.loads((REFERENCE / "mixture.json").read_text())
    return Mixture(*(np.array(table[key]) for key in ("weights", "means", "stds")))


def published_marginal(name: str, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m, sigma) at t by the formulas of the reference arrays' README, float64 NumPy, none of our code."""
    t = np.asarray(t, np.float64)
    if name == "ve":
        return np.ones_like(t), 0.01 * (50.0 / 0.01) ** t
    log_m = -(t**2) * (20.0 - 0.1) / 4 - t * 0.1 / 2
    variance = -np.expm1(2 * log_m)
    return np.exp(log_m), np.sqrt(variance) if name == "vp" else variance


def published_score(name: str) -> Callable[[Array, Array], Array]:
    """The score behind the reference arrays: float64 NumPy inside, cast to the type of x; compiled code calls back."""
    table = json.loads((REFERENCE / "mixture.json").read_text())
    w, mu, s = (np.array(table[key]) for key in ("weights", "means", "stds"))

    def values(x: np.ndarray, t: np.ndarray) -> np.ndarray:
        flat = np.asarray(x, np.float64).reshape(len(x), 1, -1)
        m, sigma = (c.reshape(-1, 1) for c in published_marginal(name, t))
        offsets = m[..., None] * mu - flat
        v = (m * s) ** 2 + sigma**2
        log_joint = np.log(w) - np.log(2 * np.pi * v) - np.sum(offsets**2, -1) / (2 * v)
        shares = np.exp(log_joint - log_joint.max(1, keepdims=True))
        pulls = shares / shares.sum(1, keepdims=True) / v
        return np.sum(pulls[..., None] * offsets, 1).reshape(x.shape).astype(x.dtype)

    return lambda x, t: jax.pure_callback(values, jax.ShapeDtypeStruct(x.shape, x.dtype), x, t)


def statistics(x: Array, data: Mixture, alpha: float = 1.0, sigma: float = 0.0) -> np.ndarray:
    """24 numbers of each point [n, 2]: moments, component weights, waves of two lengths in four directions."""
    scale = float(np.sqrt((alpha * data.stds.max()) ** 2 + sigma**2) + alpha * np.abs(data.means).max())
    angles = np.linspace(0.0, np.pi, 4, endpoint=False)
    waves = np.concatenate([k * np.stack([np.cos(angles), np.sin(angles)]) for k in (1.0, 3.0)], axis=1) / scale
    moments = jnp.stack([x[:, 0], x[:, 1], x[:, 0] ** 2, x[:, 1] ** 2, x[:, 0] * x[:, 1]], axis=1)
    phases = x @ jnp.asarray(waves, x.dtype)
    parts = moments, data.responsibilities(x, alpha, sigma), jnp.cos(phases), jnp.sin(phases)
    return np.asarray(jnp.concatenate(parts, axis=1), np.float64)


@functools.cache
def _planar_statistics(alpha: float, sigma: float) -> tuple[np.ndarray, np.ndarray, int]:
    n = 2**18
    exact = statistics(planar().sample(jax.random.key(8190), n, alpha, sigma), planar(), alpha, sigma)
    return exact.mean(0), exact.std(0), n


def z_scores(samples: Array, alpha: float = 1.0, sigma: float = 0.0) -> np.ndarray:
    """How many standard errors the samples' `statistics` lie from those of the planar mixture at (alpha, sigma).

    The exact means and deviations come from 2^18 exact draws, whose own error is part of the standard error.
    """
    mean, std, n = _planar_statistics(alpha, sigma)
    found = statistics(samples, planar(), alpha, sigma)
    return (found.mean(0) - mean) / (std * np.sqrt(1 / len(found) + 1 / n))


def compiled(function: Callable) -> Callable:
    """jit without XLA's optimisation, which takes most of the time of a small program that runs twice."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})
