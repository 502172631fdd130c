"""A chain whose last level has no signal: its levels, its rates, and samplers that begin there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sde_lib
from configs.discrete import digits
from experiment.build import build
from samplers import Settings, create
from sde_lib.discrete import zero_terminal_snr
from tests.oracles import compiled, gaussian

BETAS = np.linspace(0.01, 0.2, 20)


def chain(**options) -> sde_lib.AffineSDE:
    return sde_lib.create("discrete", schedule="table", betas=tuple(BETAS), zero_snr=True, **options)


def test_the_first_level_stays_and_the_last_has_no_signal() -> None:
    """alpha falls from its own first value to 0, as a straight function of what it was."""
    alpha, sigma = chain().levels(20)
    was = np.sqrt(np.cumprod(1.0 - BETAS))
    np.testing.assert_allclose([alpha[0], sigma[-1]], [was[0], 1.0])
    assert alpha[-1] == 0.0
    slopes = np.diff(alpha) / np.diff(was)
    np.testing.assert_allclose(slopes, slopes[0])
    np.testing.assert_allclose(alpha**2 + sigma**2, 1.0)
    again = zero_terminal_snr(zero_terminal_snr(BETAS))
    np.testing.assert_allclose(again, zero_terminal_snr(BETAS), rtol=1e-12)


def test_between_levels_alpha_falls_to_0_at_a_finite_rate(x64) -> None:
    sde, n, h = chain(), 20, 1e-6
    levels, inner = jnp.arange(1, n + 1) / n, jnp.array([0.31, 0.97, 0.999])
    alpha, sigma = sde.levels(n)

    @compiled
    def found(levels, inner):
        both = lambda t: jnp.stack([sde.alpha(t), sde.sigma(t)])  # noqa: E731
        end, half, step = jnp.ones(()), jnp.asarray(1.0 - 0.5 / n), sde.transition(jnp.asarray(0.5), jnp.ones(()))
        steepness = jnp.stack(sde.rates(inner)), (both(inner + h) - both(inner - h)) / (2 * h)
        return both(levels), sde.alpha(half), steepness, sde.rates(end), step, sde.schedule.integral(end, end)

    at_levels, halfway, (rates, differences), at_end, step, nothing = found(levels, inner)
    np.testing.assert_allclose(at_levels, [alpha, sigma], rtol=1e-10)
    np.testing.assert_allclose(halfway, 0.5 * alpha[-2], rtol=1e-10)
    np.testing.assert_allclose(rates, differences, rtol=1e-5)
    np.testing.assert_allclose(at_end, (-n * alpha[-2], 0.0), atol=1e-10)
    assert (step.scale, step.std, nothing) == (0.0, 1.0, 0.0)


METHODS = {
    "ddim": {"evaluations": 100, "grid": "trailing"},
    "dpmpp_2m": {"evaluations": 40, "grid": "trailing"},
    "ancestral": {"steps": 200, "discretization": 200, "grid": "levels", "denoise": "mean"},
    "euler_maruyama": {"steps": 200},
    "flow_heun": {"flow_steps": 100},
    "ode": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_samplers_begin_without_signal(method: str) -> None:
    """Of 4000 samples of N(0.5, 0.5^2) the standard errors are 0.008 and 0.006: a start with signal would be seen."""
    sde = sde_lib.create("discrete", n=200, beta_min=0.5, beta_max=4.0, zero_snr=True)
    sampler = create(sde, gaussian(np.array([0.5]), 0.5).predict(sde), Settings(method=method, **METHODS[method]))
    x = compiled(sampler)(jax.random.key(1), sde.prior_sample(jax.random.key(0), (4000, 1))).x
    assert abs(float(x.mean()) - 0.5) < 0.035
    assert abs(float(x.std()) - 0.5) < 0.03


def test_a_network_that_predicts_eps_is_refused() -> None:
    config = digits.get_config()
    with config.unlocked():
        config.sde.zero_snr = True
    with pytest.raises(ValueError, match=r"model.prediction is 'eps', and the last level of the chain has no signal"):
        build(config)
    with pytest.raises(ValueError, match="allowed are at least 2, each between 0 and 1, of which the last may be 1"):
        sde_lib.create("discrete", schedule="table", betas=(0.1, 1.0, 0.5))
