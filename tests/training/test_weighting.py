"""What an error counts at each noise level, and how often each level is drawn."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sde_lib import SDES, VE, VP, LinearBeta, NoiseLevels, SubVP, expand, parameterization
from sde_lib.preconditioning import PRECONDITIONINGS
from sde_lib.prediction import NEARLY_NOISE, begins_in_noise
from tests.training.given import draws, losses_at
from training import losses
from training.weighting import WEIGHTINGS, Weighting

simple = partial(losses.create, "simple")
PROCESSES = {name: build() for name, build in SDES.items()} | {
    "ddpm levels": NoiseLevels(VP(), 1000),
    "smld levels": NoiseLevels(VE(), 232),
}


def _times(process) -> jax.Array:
    if isinstance(process, NoiseLevels):
        return process.sde.level_time(jnp.arange(process.n, dtype=float), process.n)
    return jnp.geomspace(process.t_min, NEARLY_NOISE if begins_in_noise(process) else 1.0, 50)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
def test_they_are_the_published_ones_on_the_error_of_x0(name: str, x64: None) -> None:
    """Times SNR, which turns a weight on eps into one on x0; each as its paper writes it, from alpha and sigma."""
    process = PROCESSES[name]
    t = _times(process)
    alpha, sigma = np.asarray(process.alpha(t)), np.asarray(process.sigma(t))
    snr, noise = (alpha / sigma) ** 2, sigma / alpha
    papers = {
        "uniform": snr,
        "snr": snr,
        "snr_plus_1": snr + 1.0,
        "truncated_snr": np.maximum(snr, 1.0),
        "min_snr": np.minimum(snr, 5.0),
        "p2": snr / (1.0 + snr),
        "edm": (noise**2 + 0.25) / (noise * 0.5) ** 2,
    }
    assert {*papers, "likelihood"} == set(WEIGHTINGS)
    for weight, expected in papers.items():
        found = Weighting(weight)(process, t)
        assert found.eps.shape == t.shape
        np.testing.assert_allclose(found.on_x0(snr), expected, rtol=1e-10, err_msg=weight)
        np.testing.assert_allclose(found.on_x0(snr) / snr, expected / snr, rtol=1e-10, err_msg=weight)
    if not isinstance(process, NoiseLevels):  # -d log SNR / dt
        falls = -jax.vmap(jax.grad(process.log_snr))(t)
        np.testing.assert_allclose(Weighting("likelihood")(process, t).eps, falls, rtol=1e-8)


def test_numbers_worked_by_hand(x64: None) -> None:
    """EDM's process with sigma_max 8 at t = 1/4 has sigma 2 and SNR 1/4."""
    sde, t = SDES["edm"](sigma_max=8.0), jnp.array([0.25])
    on_eps = {
        "uniform": 1.0,
        "snr": 1.0,
        "snr_plus_1": 5.0,
        "truncated_snr": 4.0,
        "min_snr": 1.0,
        "p2": 0.8,
        "edm": 17.0,
    }
    snr = jnp.array([0.25])
    for name, value in on_eps.items():
        assert float((Weighting(name)(sde, t).on_x0(snr) / snr)[0]) == pytest.approx(value, rel=1e-12), name
    assert float(Weighting("likelihood")(sde, t).eps[0]) == pytest.approx(8.0, rel=1e-12)  # 2 t sigma_max^2 / sigma^2
    assert float(Weighting("min_snr", min_snr_gamma=0.125)(sde, t).eps[0]) == pytest.approx(0.5, rel=1e-12)
    assert float(Weighting("p2", p2_k=0.75, p2_gamma=3.0)(sde, t).eps[0]) == pytest.approx(1.0, rel=1e-12)
    assert float((Weighting("edm", sigma_data=2.0)(sde, t).on_x0(snr) / snr)[0]) == pytest.approx(2.0, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
def test_limits_and_the_preconditioning(name: str) -> None:
    """min_snr grows into snr; the weight of edm is 1 / c_out^2 on x0: the network's own output counts 1 everywhere."""
    process = PROCESSES[name]
    t = _times(process)
    large, snr = Weighting("min_snr", min_snr_gamma=1e18), Weighting("snr")
    np.testing.assert_allclose(large(process, t).eps, snr(process, t).eps)
    noise = process.sigma(t) / process.alpha(t)
    c_out = PRECONDITIONINGS["edm"]().c_out(noise)
    np.testing.assert_allclose(Weighting("edm")(process, t).on_x0(noise**-2) * c_out**2, 1.0, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("sde", [SDES["edm"](), VP()], ids=lambda sde: type(sde).__name__)
def test_the_loss_of_edm_is_the_mean_square_of_its_network(sde, x64: None) -> None:
    """|F - (x0 - c_skip y) / c_out|^2 at y = x0 + sigma~ eps, for an arbitrary F (Karras et al. 2022, eq. 8)."""
    keys = jax.random.split(jax.random.key(0), 3)
    t = jnp.geomspace(sde.t_min, 1.0, 12)
    x0, eps = (jax.random.normal(key, (12, 3, 3, 2)) * scale for key, scale in zip(keys, (0.5, 1.0), strict=False))

    def network(x: jax.Array, c_noise: jax.Array) -> jax.Array:
        return jnp.sin(3.0 * x) + expand(c_noise, x)

    edm = PRECONDITIONINGS["edm"]()
    noise = expand(sde.sigma(t) / sde.alpha(t), x0)
    y = x0 + noise * eps
    output = network(edm.c_in(noise) * y, edm.c_noise(noise[:, 0, 0, 0]))
    target = (x0 - edm.c_skip(noise) * y) / edm.c_out(noise)
    expected = jnp.mean((output - target) ** 2, axis=(1, 2, 3))
    loss = simple(sde, weight="edm", time_sampling="lognormal")
    found = losses_at(loss, edm.predict_fn(sde, network), x0, t, eps)
    np.testing.assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.parametrize("prediction", ["v", "x0"])
@pytest.mark.parametrize("weight", ["snr_plus_1", "truncated_snr", "edm"])
def test_they_are_finite_where_there_is_no_signal(weight: str, prediction: str) -> None:
    """At the last level of a chain of zero terminal SNR only the error of x0 counts, and v is -x0 there."""
    process = NoiseLevels(SDES["discrete"](n=10, beta_max=5.0, zero_snr=True), 10)
    x0, eps = jax.random.normal(jax.random.key(4), (2, 3, 5))
    output = -0.25 if prediction == "v" else 0.25
    predict = parameterization(prediction).predict_fn(process, lambda x, c: jnp.full_like(x, output))
    found = losses_at(simple(process, weight=weight), predict, x0, jnp.ones(3), eps)
    scale = {"edm": 4.0}.get(weight, 1.0)
    expected = scale * jnp.mean((0.25 - x0) ** 2, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_plain_error_of_v_is_a_weight() -> None:
    """|v_hat - v|^2 with v = alpha eps - sigma x0, at every time of VP, whose alpha^2 + sigma^2 is 1."""
    sde, t = VP(), jnp.linspace(0.05, 1.0, 6)
    x0, eps, v_hat = jax.random.normal(jax.random.key(5), (3, 6, 4))
    predict = parameterization("v").predict_fn(sde, lambda x, c: v_hat)
    found = losses_at(simple(sde, weight="snr_plus_1"), predict, x0, t, eps)
    v = expand(sde.alpha(t), x0) * eps - expand(sde.sigma(t), x0) * x0
    np.testing.assert_allclose(found, jnp.mean((v_hat - v) ** 2, axis=1), rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "stratified"),
    [("edm", False), pytest.param("vp", False, marks=pytest.mark.slow), ("subvp", True), ("ve", True)],
)
def test_lognormal_times(name: str, stratified: bool) -> None:
    """ln(sigma / alpha) of 40 000 draws is N(-1.2, 1.2^2) within the process's range (Kolmogorov at 1e-3)."""
    sde, n, key = PROCESSES[name], 40_000, jax.random.key(1)
    loss = simple(sde, time_sampling="lognormal", stratified=stratified)
    t = loss.draw_times(draws(key, n))
    assert float(t.min()) >= sde.t_min * (1 - 1e-5) and float(t.max()) <= 1.0
    found = np.sort(-0.5 * np.asarray(sde.log_snr(t), np.float64))
    ends = -0.5 * np.asarray(sde.log_snr(jnp.array([sde.t_min, 1.0])))
    inside = (found > ends[0] + 1e-3) & (found < ends[1] - 1e-3)
    expected = stats.norm.cdf(found, -1.2, 1.2)
    allowed = 1e-4 if stratified else 1.95 / np.sqrt(n)
    assert np.abs(expected - (np.arange(n) + 0.5) / n)[inside].max() < allowed
    outside = 1.0 - np.diff(stats.norm.cdf(ends, -1.2, 1.2))[0]
    assert abs((~inside).mean() - outside) < 1e-3 + 5 * np.sqrt(outside / n)


def test_log_snr_times_are_uniform_in_it() -> None:
    sde, n, key = SubVP(), 20_000, jax.random.key(2)
    loss = simple(sde, time_sampling="log_snr")
    t = loss.draw_times(draws(key, n))
    ends = sde.log_snr(jnp.array([1.0, sde.t_min]))
    u = np.sort((sde.log_snr(t) - ends[0]) / (ends[1] - ends[0]))
    assert np.abs(u - (np.arange(n) + 0.5) / n).max() < 1.95 / np.sqrt(n)


def test_the_chain_of_ddpm_is_trained_at_its_levels() -> None:
    loss = simple(NoiseLevels(SDES["discrete"](n=10, beta_max=5.0), 10), weight="min_snr", stratified=True)
    t = loss.draw_times(draws(jax.random.key(3), 20))
    index = np.sort(np.asarray(t) * 10 - 1)
    np.testing.assert_allclose(index, np.repeat(np.arange(10), 2), atol=1e-5)
    assert loss.weights(t).eps.shape == (20,)


def test_the_published_names_are_names_of_weights() -> None:
    sde, t = VP(), jnp.linspace(0.1, 1.0, 5)
    named = simple(sde, weight="likelihood").weights(t).eps
    np.testing.assert_array_equal(simple(sde, likelihood_weighting=True).weights(t).eps, named)
    assert simple(sde, weight="likelihood", importance_sampling=True).weights(t).eps.std() == 0.0


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (
            {"weight": "snrr"},
            r"training\.weight is 'snrr' \(did you mean 'snr'\?\); known are uniform, snr, snr_plus_1, trunc",
        ),
        (
            {"time_sampling": "normal"},
            r"time_sampling is 'normal' \(did you mean 'lognormal'\?\); known are uniform, log_snr, lognormal",
        ),
        ({"likelihood_weighting": True, "weight": "p2"}, r"likelihood_weighting is .* training\.weight is 'p2'"),
        ({"weight": "likelihood", "num_scales": 10}, r"with training\.continuous=False leave it off"),
        ({"time_sampling": "lognormal", "num_scales": 10}, r"'lognormal'.*training\.continuous=False"),
        ({"weight": "edm", "importance_sampling": True}, r"importance_sampling is for"),
        ({"weight": "likelihood", "time_sampling": "log_snr"}, r"'log_snr', and the weight 'likelihood'"),
        ({"P_std": 0.0}, r"P_std is 0\.0; it must be a number above 0"),
        ({"p2_k": -1.0}, r"p2_k is -1\.0; it must be a number of at least 0"),
    ],
)
def test_contradictions_are_refused(settings: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        sde, n = VP(LinearBeta(0.1, 5.0)), settings.get("num_scales", 0)
        options = {name: value for name, value in settings.items() if name != "num_scales"}
        simple(NoiseLevels(sde, n) if n else sde, **options)
