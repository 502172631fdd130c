"""Coefficients, marginals, priors and discrete chains against arrays of the published code."""

import jax.numpy as jnp
import numpy as np
import pytest

from sde_lib import VE, VP, SubVP, expand
from tests.oracles import REFERENCE

SDES = {"vp": VP(), "subvp": SubVP(), "ve": VE(sigma_min=0.01, sigma_max=50.0)}
TABLE = dict(np.load(REFERENCE / "sde.npz"))
RTOL = {"float32": 2e-6, "float64": 1e-12}


def array(name: str, precision: str) -> jnp.ndarray:
    return jnp.asarray(TABLE[name], precision)


def close(found: jnp.ndarray, name: str, precision: str, *, rtol: float | None = None, atol: float = 0.0) -> None:
    """Against the float64 arrays, whose inputs are the float32 ones: the float32 ones carry the old code's error."""
    assert found.dtype == precision
    np.testing.assert_allclose(found, TABLE[f"{name}_f64"], rtol=rtol or RTOL[precision], atol=atol)


@pytest.mark.parametrize("name", SDES)
def test_coefficients(name: str, precision: str) -> None:
    sde, t, x = SDES[name], array("t", precision), array("x", precision)
    close(expand(sde.drift_coefficient(t), x) * x, f"{name}_drift", precision)
    close(sde.diffusion(t), f"{name}_diffusion", precision, rtol=1e-9 if precision == "float64" else None)
    mean, std = sde.marginal(x, t)
    close(mean, f"{name}_mean", precision)
    close(sde.alpha(t), f"{name}_mean_coeff", precision)
    close(std, f"{name}_std", precision, rtol=1e-9 if precision == "float64" else None)


@pytest.mark.parametrize("name", SDES)
def test_plain_float32_code_agrees_away_from_its_cancellation(name: str) -> None:
    sde, t = SDES[name], array("t", "float32")
    late = np.asarray(t) > 0.09
    for found, key in ((sde.diffusion(t), "diffusion"), (sde.sigma(t), "std"), (sde.alpha(t), "mean_coeff")):
        np.testing.assert_allclose(found[late], TABLE[f"{name}_{key}"][late], rtol=3e-6)


@pytest.mark.parametrize("name", SDES)
def test_prior_log_prob(name: str, precision: str) -> None:
    close(SDES[name].prior_log_prob(array("z", precision)), f"{name}_prior_logp", precision)


@pytest.mark.parametrize("name", SDES)
def test_discretization(name: str, precision: str) -> None:
    """x_{i+1} = x + f + G z of the published chain: our scale is 1 + f / x, our std is G."""
    t, x = array("t", precision), array("x", precision)
    kernel = SDES[name].discretization(1000, t)
    close(kernel.std, f"{name}_disc_G", precision, rtol=1e-9 if precision == "float64" else None)
    step = kernel.scale.reshape(-1, 1, 1, 1) * x - x  # a difference of nearly equal numbers: bounded by x
    close(
        step,
        f"{name}_disc_f",
        precision,
        rtol=1e-9,
        atol=np.abs(x).max() * (2e-7 if precision == "float32" else 1e-15),
    )


@pytest.mark.parametrize("name", ["vp", "ve"])
def test_discretization_takes_the_published_index_on_the_published_grid(name: str, precision: str) -> None:
    t = array(f"{name}_grid_t", precision)
    levels = {"vp": TABLE["vp_discrete_betas_f64"] ** 0.5, "ve": _smld_deviations()}[name]
    np.testing.assert_allclose(SDES[name].discretization(1000, t).std, levels[TABLE[f"{name}_grid_index"]], rtol=2e-6)


def _smld_deviations() -> np.ndarray:
    sigmas = TABLE["ve_discrete_sigmas_f64"]
    return np.sqrt(np.diff(np.concatenate([[0.0], sigmas**2])))


def test_discrete_betas() -> None:
    np.testing.assert_allclose(VP().schedule.discrete_betas(1000), TABLE["vp_discrete_betas_f64"], rtol=1e-12)
    abar = np.cumprod(1.0 - VP().schedule.discrete_betas(1000))
    np.testing.assert_allclose(abar, TABLE["vp_alphas_cumprod_f64"], rtol=1e-12)


def test_ancestral_ratio_of_the_discrete_chains(precision: str) -> None:
    """std_ratio is sigma_{i-1} / sigma_i of the discrete chain, zero at the first level."""
    index = np.arange(1000)
    t = jnp.asarray((index + 0.5) / 999, precision)
    variance = 1.0 - TABLE["vp_alphas_cumprod_f64"]
    for name, sigma in (("vp", np.sqrt(variance)), ("ve", TABLE["ve_discrete_sigmas_f64"])):
        ratio = np.append(0.0, sigma[:-1] / sigma[1:])
        found = SDES[name].discretization(1000, t).std_ratio
        np.testing.assert_allclose(found[:999], ratio[:999], rtol=1e-6 if precision == "float32" else 1e-11)
