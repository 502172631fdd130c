"""The parts of the variational bound: divergences and decoders against SciPy and guided-diffusion's arrays."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

import sde_lib
from sde_lib import ChainTables
from sde_lib.variational import decoder_log_likelihood, log_normal_interval, normal_kl, prior_bits
from tests.oracles import compiled

VLB = np.load(Path(__file__).parents[1] / "reference" / "discrete" / "vlb.npz")


def test_normal_kl_is_the_published_one(x64) -> None:
    arrays = (jnp.asarray(VLB[f"normal_kl/{name}"]) for name in ("mean1", "logvar1", "mean2", "logvar2"))
    np.testing.assert_allclose(normal_kl(*arrays), VLB["normal_kl/kl"], rtol=1e-10, atol=1e-12)


def test_normal_kl_of_neighbours_keeps_its_digits_in_float32() -> None:
    """KL of log-variances d apart is (e^d - 1 - d) / 2, about d^2 / 4; -1 - d + exp(d) in float32 gives 0 or 1e-7."""
    d = jnp.asarray([1e-4, -1e-3, 1e-2])
    exact = 0.5 * (np.expm1(np.asarray(d, float)) - np.asarray(d, float))
    zero = jnp.zeros(3)
    np.testing.assert_allclose(normal_kl(zero, d, zero, zero), exact, rtol=5e-3)


@pytest.mark.parametrize(("decoder", "column"), [("published", "log_likelihood_nats"), ("exact", None)])
def test_decoders_are_the_published_and_the_exact_one(decoder: str, column: str | None, x64) -> None:
    """1e-8 of the value, down to -1e3 nats and below for the exact distribution function.

    The published one takes differences of probabilities near 0 or 1, whose last digit is 1e-16.
    """
    wanted = VLB[f"decoder/{column or 'log_likelihood_exact_cdf_nats'}"]
    x, mean, log_scale = (jnp.asarray(VLB[f"decoder/{name}"]) for name in ("x", "mean", "log_scale"))
    found = compiled(lambda *a: decoder_log_likelihood(*a, 1 / 255, decoder=decoder))(x, mean, log_scale)
    within = np.abs(found - wanted) <= 1e-8 * np.maximum(1.0, np.abs(wanted))
    assert np.all(within | ((decoder == "published") & (np.abs(np.exp(found) - np.exp(wanted)) < 4e-16)))
    assert (wanted.min() < -1e3) == (decoder == "exact")


@pytest.mark.parametrize("half_bin", [1 / 255, 1 / 16])
def test_the_probabilities_of_all_levels_add_up_to_one(half_bin: float, precision: str) -> None:
    """Any mean, inside the levels or far out, and deviations from a hundredth of a bin to the whole range."""
    means, stds = np.meshgrid([0.0, 0.3123, -0.99, 1.2, -3.0, 7.0], [0.02 * half_bin, half_bin, 0.1, 1.0])
    levels = np.linspace(-1, 1, round(1 / half_bin) + 1)[:, None] + 0 * means.ravel()
    mean, log_std = (np.broadcast_to(a.ravel(), levels.shape) for a in (means, np.log(stds)))
    arrays = (jnp.asarray(a, precision) for a in (levels, mean, log_std))
    total = jnp.exp(compiled(lambda *a: decoder_log_likelihood(*a, half_bin))(*arrays)).sum(axis=0)
    np.testing.assert_allclose(total, 1.0, rtol=2e-5 if precision == "float32" else 1e-9)


def test_intervals_in_both_tails_and_narrow_ones(x64) -> None:
    """Against SciPy's log of the distribution function, whose difference is taken in the tail where it is small."""
    a = np.concatenate([np.linspace(-60, 59, 41), [-0.001, 3.0, -40.0, 12.0, 0.0]])
    b = a + np.concatenate([np.tile([0.05, 1.0], 21)[:41], [0.002, 1e-6, 1e-4, 1e-2, 50.0]])
    low, high = np.where(a + b > 0, -b, a), np.where(a + b > 0, -a, b)
    top, bottom = scipy.stats.norm.logcdf(high), scipy.stats.norm.logcdf(low)
    exact = top + np.log(-np.expm1(bottom - top))
    narrow = b - a < 1e-3  # where SciPy's own difference has lost its digits: the density at the middle
    exact[narrow] = (scipy.stats.norm.logpdf(0.5 * (a + b)) + np.log(b - a))[narrow]
    np.testing.assert_allclose(compiled(log_normal_interval)(a, b), exact, rtol=1e-7, atol=1e-7)


def test_intervals_have_finite_gradients_in_float32() -> None:
    a = jnp.asarray([-300.0, -9.0, -1e-4, 0.5, 20.0, 1e4, -3.0])
    b = a + jnp.asarray([1e-3, 2.0, 2e-4, 1e-7, 1e-2, 5.0, 6.0])
    for argument in (0, 1):
        gradient = compiled(jax.grad(lambda *ab: log_normal_interval(*ab).sum(), argument))(a, b)
        assert np.isfinite(gradient).all(), gradient


def test_continuous_data_are_decoded_by_their_density(x64) -> None:
    x, mean, log_std = (jnp.asarray(v).reshape(3, 1) for v in ([0.1, 3.0, -2.0], [0.0, 1.0, -2.0], [0.0, -1.0, 2.0]))
    found = decoder_log_likelihood(x, mean, log_std, None)
    np.testing.assert_allclose(found, scipy.stats.norm.logpdf(x, mean, np.exp(log_std)), rtol=1e-12)


def test_unknown_decoder_is_named() -> None:
    with pytest.raises(ValueError, match="'tanh'; allowed are exact, published"):
        decoder_log_likelihood(*[jnp.ones((1, 1))] * 3, 0.1, decoder="tanh")


def test_prior_of_the_linear_chain_of_1000(precision: str) -> None:
    """|x0| = 1: 2.911e-5 bits/dim (DDPM's L_T), in float32 as well, where -1 + exp(log variance) would be noise."""
    tables = ChainTables.of(sde_lib.create("discrete"), 1000)
    found = prior_bits(tables, jnp.asarray([[1.0, -1.0, 1.0]], precision), 1.0)
    assert float(found[0]) == pytest.approx(2.911e-5, rel=2e-4)
    variance, mean = tables.sigma[-1] ** 2, tables.alpha[-1]
    p, q = scipy.stats.norm(mean, variance**0.5), scipy.stats.norm(0, 1)
    nats = scipy.integrate.quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -12, 12, epsabs=1e-13)[0]
    assert float(found[0]) == pytest.approx(nats / np.log(2), rel=1e-5)
