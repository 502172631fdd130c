"""Numbers worked by hand from the papers' formulas."""

import jax.numpy as jnp
import numpy as np
import pytest

from sde_lib import VP, CosineBeta, LinearBeta
from sde_lib.prediction import from_x0_eps, to_x0_eps


def _time_of(abar: float) -> jnp.ndarray:
    """Where the linear VP process has that alpha^2."""
    return VP().time_of_log_snr(jnp.log(abar / (1 - jnp.asarray(abar))))


@pytest.mark.parametrize(
    ("abar", "x0", "eps", "x"), [(0.81, [2.0], [-0.5], [1.582055]), (0.64, [3.0, 0.0], [-1.0, 2.0], [1.8, 1.2])]
)
def test_closed_form_noising(abar: float, x0: list, eps: list, x: list, x64) -> None:
    mean, std = VP().marginal(jnp.asarray([x0]), _time_of(abar))
    np.testing.assert_allclose(mean[0] + std * jnp.asarray(eps), x, atol=5e-7)


def test_x0_and_score_from_eps(x64) -> None:
    alpha, sigma = jnp.sqrt(jnp.asarray(0.36)), jnp.sqrt(jnp.asarray(0.64))
    x, eps = jnp.asarray([[1.2, -0.3]]), jnp.asarray([[0.5, -1.0]])
    x0, _ = to_x0_eps("eps", eps, x, alpha, sigma)
    np.testing.assert_allclose(x0, [[4 / 3, 5 / 6]], rtol=1e-12)
    np.testing.assert_allclose(from_x0_eps("score", x0, eps, alpha, sigma), [[-0.625, 1.25]], rtol=1e-12)


def test_signal_to_noise_ratio(x64) -> None:
    assert float(jnp.exp(VP().log_snr(_time_of(0.81)))) == pytest.approx(4.26316, abs=5e-6)


def test_linear_chain_of_1000() -> None:
    abar = np.cumprod(1 - LinearBeta(0.1, 20.0).discrete_betas(1000))
    known = {0: 0.9999, 99: 0.8970181, 249: 0.5240854, 499: 0.07858724, 749: 0.003350550, 999: 4.0358298e-5}
    for i, value in known.items():
        assert abar[i] == pytest.approx(value, rel=2e-7)
    assert np.argmin(np.abs(abar / (1 - abar) - 1)) == 258


def test_cosine_chain_of_1000() -> None:
    betas = CosineBeta().discrete_betas(1000)
    abar = np.cumprod(1 - betas)
    known = {499: 0.4938436, 749: 0.1442721, 998: 2.4288e-6, 999: 2.4288e-9}
    assert betas[0] == pytest.approx(4.128422e-5, rel=1e-6)
    for i, value in known.items():
        assert abar[i] == pytest.approx(value, rel=2e-5 if i > 900 else 2e-7)
    assert np.sum(betas == 0.999) == 1


def test_vp_ends_at_the_published_abar(x64) -> None:
    assert float(VP().alpha(jnp.ones(())) ** 2) == pytest.approx(4.318575e-5, rel=2e-7)


def test_cosine_continuous_is_the_chain_in_the_limit(x64) -> None:
    """Below t_max the continuous alpha^2 is the discrete abar of a long chain (1e-6: the ends of its steps)."""
    n = 1000
    abar = np.cumprod(1 - CosineBeta().discrete_betas(n))
    i = np.array([9, 99, 499, 899])
    t = jnp.asarray((i + 1) / n / CosineBeta().t_max)
    np.testing.assert_allclose(VP(CosineBeta()).alpha(t) ** 2, abar[i], rtol=1e-9)
