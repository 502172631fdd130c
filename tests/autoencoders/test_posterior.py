"""The posterior of a KL autoencoder against latent diffusion's own, and against closed forms."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autoencoders.posterior import Posterior

REFERENCE = Path(__file__).parents[1] / "reference" / "networks" / "posterior.npz"


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_it_is_the_published_one(precision):
    with jax.enable_x64(precision == "float64"):
        io = {name: np.moveaxis(a, 1, -1) if a.ndim == 4 else a for name, a in np.load(REFERENCE).items()}
        of = lambda name: Posterior.of_moments(jnp.asarray(io[name], precision))  # noqa: E731
        posterior, other = of("moments"), of("other_moments")
        sample = posterior.sample(io["noise"])
        found = {
            "mean": posterior.mean,
            "mode": posterior.mean,
            "logvar": posterior.log_variance,
            "std": posterior.std,
            "var": posterior.variance,
            "sample": sample,
            "kl": posterior.kl(),
            "kl_to_other": posterior.kl_to(other),
            "nll_of_sample": posterior.nll(sample),
        }
        if precision == "float32":  # the sample is rounded, and its distance to the mean divided by e^-15
            del found["nll_of_sample"]
        for name, value in found.items():
            np.testing.assert_allclose(value, io[name], rtol=1e-5, err_msg=name)
        assert io["logvar"].min() == -30 and io["logvar"].max() == 20  # both bounds are met


def test_divergences_of_known_gaussians():
    same = Posterior(jnp.zeros((2, 3, 3, 1)), jnp.zeros((2, 3, 3, 1)))
    assert (same.kl() == 0).all() and (same.kl_to(same) == 0).all()
    moved = Posterior(jnp.full((2, 3, 3, 1), 2.0), jnp.full((2, 3, 3, 1), jnp.log(4.0)))
    np.testing.assert_allclose(moved.kl(), 9 * 0.5 * (4 + 4 - 1 - np.log(4)), rtol=1e-6)
    np.testing.assert_allclose(moved.kl_to(same), moved.kl(), rtol=1e-6)
    np.testing.assert_allclose(same.kl_to(moved), 9 * 0.5 * (4 / 4 + 1 / 4 - 1 + np.log(4)), rtol=1e-6)
    np.testing.assert_allclose(same.nll(jnp.ones((2, 3, 3, 1))), 9 * 0.5 * (np.log(2 * np.pi) + 1), rtol=1e-6)


def test_beyond_its_bounds_the_log_variance_has_no_gradient():
    moments = jnp.array([[[[0.0, -40.0]], [[0.0, 1.0]], [[0.0, 30.0]]]])
    gradient = jax.grad(lambda m: Posterior.of_moments(m).log_variance.sum())(moments)
    assert gradient[..., 1].ravel().tolist() == [0.0, 1.0, 0.0] and not gradient[..., 0].any()
