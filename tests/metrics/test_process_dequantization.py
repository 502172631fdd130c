"""Bits of grey levels by the flow, dequantised by the process's own noise."""

import jax.numpy as jnp
import numpy as np
import pytest

from metrics.likelihood import log_likelihood
from sde_lib.bound import dequantized
from sde_lib.learned import learned_vp
from tests.oracles import Mixture, compiled


def test_with_the_exact_score_they_are_the_entropy_of_the_levels(x64: None) -> None:
    """Four levels of unequal probability, noise by Gauss-Hermite; a uniform dequantisation would ask for a density."""
    levels, p = np.linspace(-1.0, 1.0, 4), np.array([0.1, 0.2, 0.3, 0.4])
    data, sde = Mixture(p, levels[:, None], np.zeros(4)), learned_vp(features=0, gamma_min=-8.0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(6)
    x0, eps = jnp.asarray(levels.repeat(6)[:, None]), jnp.asarray(np.tile(nodes, 4)[:, None])

    @compiled
    def bits() -> jnp.ndarray:
        z, lacking = dequantized(sde, x0, eps, levels)
        nats = log_likelihood(sde, data.score(sde), z, probe="exact", rtol=1e-5, atol=1e-5).nats
        return lacking - nats / jnp.log(2.0)

    found = (p[:, None] * weights / weights.sum()).ravel() @ np.asarray(bits())
    assert found == pytest.approx(-np.sum(p * np.log2(p)), abs=5e-3)
