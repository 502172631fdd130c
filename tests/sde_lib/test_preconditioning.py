"""Preconditionings: published tables, the coefficients' defining properties, and the score they give on any SDE."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from sde_lib import GVP, VE, VP, Flow, Plain, parameterization
from sde_lib.preconditioning import EDM, IDDPM, PRECONDITIONINGS, Consistency

REFERENCE = Path(__file__).parents[1] / "reference" / "networks" / "edm_iddpm_sigmas.npz"
SDES = {"vp": VP(), "ve": VE(sigma_min=0.002, sigma_max=80.0)}


def test_iddpm_levels_are_the_published_ones() -> None:
    published = np.load(REFERENCE)
    iddpm = IDDPM()
    np.testing.assert_allclose(iddpm.table, published["u"], rtol=2e-5)
    assert iddpm.table[0] == pytest.approx(float(published["sigma_max"]), rel=1e-6)
    assert iddpm.table[999] == pytest.approx(float(published["sigma_min"]), rel=1e-6)
    index = iddpm.index(jnp.asarray(published["query"]))
    np.testing.assert_array_equal(index, published["index"])
    np.testing.assert_allclose(iddpm.table[index], published["rounded"], rtol=2e-5)
    np.testing.assert_array_equal(iddpm.c_noise(jnp.asarray(published["query"])), 999.0 - published["index"])


def test_edm_keeps_input_and_target_at_unit_variance(x64) -> None:
    """Karras et al. 2022, eq. 112-131: data of deviation 0.5 and noise sigma, input and target each of variance 1."""
    sigma = jnp.geomspace(1e-4, 1e3, 30)
    edm, data = EDM(sigma_data=0.5), 0.5**2
    np.testing.assert_allclose(edm.c_in(sigma) ** 2 * (data + sigma**2), 1.0, rtol=1e-12)
    target = ((1 - edm.c_skip(sigma)) ** 2 * data + edm.c_skip(sigma) ** 2 * sigma**2) / edm.c_out(sigma) ** 2
    np.testing.assert_allclose(target, 1.0, rtol=1e-6)
    weight = (sigma**2 + data) / (sigma * 0.5) ** 2  # of the published loss: one on F
    np.testing.assert_allclose(weight * edm.c_out(sigma) ** 2, 1.0, rtol=1e-12)


def test_vp_label_is_the_time_of_the_vp_process(x64) -> None:
    t = jnp.linspace(1e-4, 1.0, 50)
    sde = VP()
    np.testing.assert_allclose(PRECONDITIONINGS["vp"]().c_noise(sde.sigma(t) / sde.alpha(t)), 999.0 * t, rtol=1e-8)
    np.testing.assert_allclose(PRECONDITIONINGS["vp"]().c_in(sde.sigma(t) / sde.alpha(t)), sde.alpha(t), rtol=1e-10)


def test_vp_on_its_own_process_is_the_plain_eps_network(x64) -> None:
    """c_in x / alpha is x, the label 999 t and the output eps: the same score as without a preconditioning."""
    sde, rng = VP(), np.random.default_rng(0)
    x, t = jnp.asarray(rng.normal(size=(4, 3))), jnp.asarray([0.01, 0.2, 0.7, 1.0])

    def network(x, label):
        return jnp.sin(x + label[:, None])

    plain = Plain("eps", "t999").predict_fn(sde, network).score(x, t)
    wrapped = PRECONDITIONINGS["vp"]().predict_fn(sde, network).score(x, t)
    np.testing.assert_allclose(wrapped, plain, rtol=1e-6)


def test_ve_predicts_sigma_times_the_score(x64) -> None:
    sde, x, t = SDES["ve"], jnp.asarray([[0.3, -2.0]]), jnp.asarray([0.6])
    wrapped = PRECONDITIONINGS["ve"]().predict_fn(sde, lambda x, label: jnp.cos(x))
    np.testing.assert_allclose(wrapped.score(x, t), jnp.cos(x) / sde.sigma(t)[:, None], rtol=1e-12)


@pytest.mark.parametrize("name", PRECONDITIONINGS)
@pytest.mark.parametrize("process", [Flow(t_min=1e-3), GVP(t_min=1e-3)])
def test_where_there_is_noise_alone_it_is_finite(name: str, process: Flow | GVP) -> None:
    """alpha is 0 at t = 1, where sigma / alpha is infinite."""
    x = jnp.asarray([[0.3, -2.0]])
    x0, eps, _ = PRECONDITIONINGS[name]().predict_fn(process, lambda x, label: jnp.cos(x))(x, jnp.ones(1))
    assert jnp.isfinite(x0).all() and jnp.isfinite(eps).all()


DENOISERS = [name for name, kind in PRECONDITIONINGS.items() if not issubclass(kind, Consistency)]


@pytest.mark.parametrize(("name", "process"), [*((name, "vp") for name in DENOISERS), ("edm", "ve")])
def test_a_perfect_network_gives_the_score_of_gaussian_data(name: str, process: str, x64) -> None:
    """Data N(0, 1/4): D(x; sigma) = x / (1 + 4 sigma^2), F what c_skip and c_out leave of it; score -x / variance."""
    sde, wrapper = SDES[process], PRECONDITIONINGS[name]()
    rng = np.random.default_rng(1)
    t = jnp.asarray([1e-3, 0.1, 0.5, 0.9, 1.0])
    sigma = (sde.sigma(t) / sde.alpha(t))[:, None]
    x = jnp.asarray(rng.normal(size=(5, 2)))
    seen = []

    def network(scaled, c_noise):
        seen.append(c_noise)
        x = scaled / wrapper.c_in(sigma)
        exact = (x / (1 + 4 * sigma**2) - wrapper.c_skip(sigma) * x) / wrapper.c_out(sigma)
        return jnp.concatenate([exact, jnp.full_like(exact, 7.0)], axis=-1)  # a learned variance, which must not count

    found = wrapper.predict_fn(sde, network)
    score, prediction = found.score(x, t), found(x, t)
    variance = sde.alpha(t)[:, None] ** 2 / 4 + sde.sigma(t)[:, None] ** 2
    np.testing.assert_allclose(score, -x / variance, rtol=1e-6)
    alpha = sde.alpha(t)[:, None]
    np.testing.assert_allclose(alpha * prediction.x0 + alpha * sigma * prediction.eps, x, rtol=1e-6)
    np.testing.assert_array_equal(prediction.variance, 7.0)
    assert len(seen) == 2
    np.testing.assert_allclose(seen[0], wrapper.c_noise(sigma[:, 0]))


def test_eps_of_edm_keeps_its_digits_at_small_noise() -> None:
    """In float32, against float64: (x - x0) / sigma would be off by 1e-3 here."""
    rng = np.random.default_rng(2)
    x, output = rng.normal(size=(2, 64, 3))
    sigma = 1e-5
    exact = x * sigma / (sigma**2 + 0.25) - 0.5 / np.sqrt(sigma**2 + 0.25) * output
    x0, eps = EDM().x0_eps(jnp.float32(output), jnp.float32(x), jnp.float32(sigma))
    np.testing.assert_allclose(eps, exact, atol=1e-6)
    np.testing.assert_allclose(x0, x - sigma * exact, atol=1e-6)


def test_it_is_chosen_by_name(x64) -> None:
    sde, x, t = VP(), jnp.asarray([[0.3, -2.0]]), jnp.asarray([0.6])
    chosen = parameterization("v", "sigma", "edm")
    assert chosen == EDM()
    found, expected = (p.predict_fn(sde, lambda x, label: jnp.cos(x + label[:, None])) for p in (chosen, EDM()))
    np.testing.assert_array_equal(found.score(x, t), expected.score(x, t))
