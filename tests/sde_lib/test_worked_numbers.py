"""Numbers worked by hand from the papers' formulas."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import sde_lib
from sde_lib import VP, ChainTables, CosineBeta, LinearBeta
from sde_lib.prediction import PredictFn, of_eps
from tests.oracles import Fixed

EXAMPLES = json.loads((Path(__file__).parents[1] / "reference" / "discrete" / "worked_examples.json").read_text())


def _two_levels(abar_before: float, abar: float) -> ChainTables:
    """The chain of two levels with these alpha^2."""
    both = np.array([abar_before, abar])
    return ChainTables(np.sqrt(both), np.sqrt(1 - both))


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
    process, t = Fixed(0.6, 0.8), jnp.ones(1)
    x, eps = jnp.asarray([[1.2, -0.3]]), jnp.asarray([[0.5, -1.0]])
    predict = PredictFn(process, lambda x, t: of_eps(process, x, t, eps))
    np.testing.assert_allclose(predict(x, t).x0, [[4 / 3, 5 / 6]], rtol=1e-12)
    np.testing.assert_allclose(predict.score(x, t), [[-0.625, 1.25]], rtol=1e-12)


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


def test_ddpm_reverse_step(x64) -> None:
    """alpha .9, abar .5, x .7, eps .2: the mean, x0, and the small and the large deviation."""
    tables, i = _two_levels(0.5 / 0.9, 0.5), jnp.ones(1, int)
    x, eps = jnp.asarray([[0.7]]), jnp.asarray([[0.2]])
    x0 = of_eps(Fixed(tables.alpha[1], tables.sigma[1]), x, jnp.ones(1), eps).x0
    assert float(x0[0, 0]) == pytest.approx(0.789949, abs=5e-7)
    assert float(tables.mean(x, x0, i)[0, 0]) == pytest.approx(0.7080505476726247, rel=1e-12)
    assert tables.posterior_variance[1] == pytest.approx(0.088889, abs=5e-7)
    for variance, deviation in (("small", 0.298142), ("large", 0.316228)):
        found = jnp.exp(0.5 * tables.log_variance(variance, x, i))
        assert float(found[0, 0]) == pytest.approx(deviation, abs=5e-7)


def test_worked_posterior_and_reverse_mean(x64) -> None:
    found = {example["kind"]: example for example in EXAMPLES}
    known = found["q_posterior"]
    tables = _two_levels(known["alpha_bar_prev"], known["alpha"] * known["alpha_bar_prev"])
    x, x0, i = jnp.asarray([[known["x_t"]]]), jnp.asarray([[known["x0"]]]), jnp.ones(1, int)
    assert float(tables.mean(x, x0, i)[0, 0]) == pytest.approx(known["mean"], rel=1e-12)
    assert tables.posterior_variance[1] == pytest.approx(known["variance"], rel=1e-12)
    known = found["ancestral_mean"]
    tables = _two_levels(known["alpha_bar"] / known["alpha"], known["alpha_bar"])
    x, eps = jnp.asarray([[known["x_t"]]]), jnp.asarray([[known["eps"]]])
    x0 = of_eps(Fixed(tables.alpha[1], tables.sigma[1]), x, jnp.ones(1), eps).x0
    assert float(tables.mean(x, x0, i)[0, 0]) == pytest.approx(known["mean"], rel=1e-12)


def test_a_strided_chain_that_stops_at_level_19_leaves_noise() -> None:
    _, sigma = sde_lib.create("discrete").levels(1000)
    assert sigma[19] == pytest.approx(0.07595, abs=5e-6)
