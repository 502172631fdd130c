"""Straightness against Gaussian data, along whose paths the velocity is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metrics.straightness import straightness
from sde_lib import GVP, Flow
from tests.oracles import compiled, gaussian


@pytest.mark.parametrize("std", [0.4, 1e-6])
def test_it_is_the_variance_of_the_velocity(std: float, x64) -> None:
    """A path is mean (1 - t) + e d(t) with d^2 = ((1 - t) std)^2 + t^2; to a point of data it is straight."""
    mean, z = np.array([0.7, -0.2]), jax.random.normal(jax.random.key(0), (5, 2))
    found = compiled(lambda z: straightness(Flow(), gaussian(mean, std).predict(Flow()), z, steps=200))(z)
    t = (np.arange(10**5) + 0.5) / 10**5
    rate = (t - (1 - t) * std**2) / np.hypot((1 - t) * std, t)
    np.testing.assert_allclose(found[0], mean + std * np.asarray(z), atol=2e-4)
    np.testing.assert_allclose(found[1], np.sum(np.asarray(z) ** 2, axis=1) * rate.var(), rtol=2e-3, atol=1e-7)


def test_it_is_of_the_time_of_the_process(x64) -> None:
    """On the circle the path to a point bends: z sin(pi t / 2) + mean cos(pi t / 2)."""
    mean, z = np.array([0.7, -0.2]), jax.random.normal(jax.random.key(0), (5, 2))
    found = compiled(lambda z: straightness(GVP(), gaussian(mean, 1e-6).predict(GVP()), z, steps=200))(z)[1]
    v = 0.5 * np.pi * np.stack([np.cos(a := 0.5 * np.pi * (np.arange(10**4) + 0.5) / 10**4), -np.sin(a)])
    paths = np.einsum("kt,kbd->tbd", v, np.stack([np.asarray(z), np.broadcast_to(mean, (5, 2))]))
    np.testing.assert_allclose(found, paths.var(axis=0).sum(axis=1), rtol=1e-3)
    assert float(jnp.min(found)) > 0.1
