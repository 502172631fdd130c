"""Identities that every affine Gaussian process obeys, and their accuracy in float32."""

import dataclasses
from decimal import Decimal, getcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from sde_lib import GVP, VE, VP, CosineBeta, Flow, LinearBeta, SubVP, of_score
from sde_lib.base import expand
from tests.oracles import compiled, gaussian, planar

SDES = {
    "vp": VP(),
    "vp_cosine": VP(CosineBeta()),
    "subvp": SubVP(),
    "subvp_cosine": SubVP(CosineBeta()),
    "ve": VE(sigma_max=50.0),
    "ve_380": VE(sigma_max=380.0),
    "flow": Flow(),
    "gvp": GVP(),
}
every_sde = pytest.mark.parametrize("sde", list(SDES.values()), ids=list(SDES))
TIMES = [1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.3, 0.5, 0.9, 0.999, 1.0]


def times(sde) -> list[float]:
    """Those at which log SNR is finite: all, unless nothing of the data is left at t = 1."""
    return TIMES if float(sde.alpha(jnp.ones(()))) > 0 else TIMES[:-1]


# --- exact values with 60 digits, from the definition of alpha and sigma alone ---
getcontext().prec = 60
SIGMA_MIN, BETA_MIN, COSINE_S, COSINE_END = (
    Decimal(v) for v in (0.01, 0.1, 0.008, 0.9946)
)  # as floats, not as decimals
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494")


def _cos(x: Decimal) -> Decimal:
    total = term = Decimal(1)
    k = 0
    while abs(term) > Decimal("1e-58"):
        k += 2
        term *= -x * x / (k * (k - 1))
        total += term
    return total


def exact_marginal(name: str, t: float) -> tuple[Decimal, Decimal]:
    """(alpha^2, sigma^2) at the float t."""
    t = Decimal(float(t))
    if name.startswith("ve"):
        sigma = SIGMA_MIN * (t * (Decimal(380 if name == "ve_380" else 50) / SIGMA_MIN).ln()).exp()
        return Decimal(1), sigma**2
    if name == "flow":
        return (1 - t) ** 2, t**2
    if name == "gvp":
        return (_cos(PI / 2 * t) ** 2 if t < 1 else Decimal(0)), _cos(PI / 2 * (1 - t)) ** 2
    if name.endswith("cosine"):
        s, t_max = COSINE_S, COSINE_END
        cos = [_cos(PI / 2 * (u * t_max + s) / (1 + s)) for u in (t, Decimal(0))]
        abar = (cos[0] / cos[1]) ** 2
    else:
        abar = (-(BETA_MIN * t + (Decimal(20) - BETA_MIN) * t**2 / 2)).exp()
    return abar, (1 - abar) ** (2 if name.startswith("subvp") else 1)


def exact_transition(name: str, s: float, t: float) -> tuple[float, float, float]:
    (a_s, v_s), (a_t, v_t) = exact_marginal(name, s), exact_marginal(name, t)
    return float((a_t / a_s).sqrt()), float((v_t - a_t / a_s * v_s).sqrt()), float((v_s / v_t).sqrt())


@pytest.mark.parametrize("name", SDES)
def test_marginals_are_accurate_from_t_1e5_to_1(name: str, precision: str) -> None:
    t = jnp.asarray(times(SDES[name]), precision)
    exact = [exact_marginal(name, u) for u in np.asarray(t)]
    rtol = 3e-6 if precision == "float32" else 1e-12
    np.testing.assert_allclose(SDES[name].alpha(t), [float(a.sqrt()) for a, _ in exact], rtol=rtol)
    np.testing.assert_allclose(SDES[name].sigma(t), [float(v.sqrt()) for _, v in exact], rtol=rtol)
    log_snr = [float((a / v).ln()) for a, v in exact]
    np.testing.assert_allclose(SDES[name].log_snr(t), log_snr, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("gap", [0.5, 1e-2, 1e-3, 1e-5])
@pytest.mark.parametrize("name", SDES)
def test_transition_is_accurate_for_close_times(name: str, gap: float, precision: str) -> None:
    """The naive sigma_t^2 - scale^2 sigma_s^2 has no digit left in float32 at a gap of 1e-5."""
    t = jnp.asarray(TIMES, precision)
    s = t * jnp.asarray(1 - gap, precision)
    exact = np.array([exact_transition(name, *pair) for pair in zip(np.asarray(s), np.asarray(t), strict=True)]).T
    kernel = SDES[name].transition(s, t)
    rtol = 5e-6 if precision == "float32" else 1e-11
    np.testing.assert_allclose(kernel.scale, exact[0], rtol=rtol)
    np.testing.assert_allclose(kernel.std, exact[1], rtol=rtol)
    np.testing.assert_allclose(kernel.std_ratio, exact[2], rtol=rtol)


@every_sde
def test_transition_from_zero_is_the_marginal(sde, x64) -> None:
    t = jnp.asarray(TIMES)
    kernel = sde.transition(jnp.zeros_like(t), t)
    np.testing.assert_allclose(kernel.scale, sde.alpha(t), rtol=1e-12)
    np.testing.assert_allclose(kernel.std**2, sde.sigma(t) ** 2 - sde.sigma(jnp.zeros(())) ** 2, rtol=1e-9)


@every_sde
def test_transitions_compose(sde, x64) -> None:
    s, u, t = (jnp.asarray(v) for v in ([1e-5, 0.1, 0.5, 0.0], [2e-5, 0.4, 0.5001, 0.3], [3e-5, 1.0, 0.5002, 1.0]))
    first, second, whole = sde.transition(s, u), sde.transition(u, t), sde.transition(s, t)
    np.testing.assert_allclose(first.scale * second.scale, whole.scale, rtol=1e-12)
    variance = (second.scale * first.std) ** 2 + second.std**2
    np.testing.assert_allclose(variance, whole.std**2, rtol=1e-11)
    np.testing.assert_allclose(first.std_ratio * second.std_ratio, whole.std_ratio, rtol=1e-12)


@every_sde
def test_drift_and_diffusion_follow_from_the_marginal(sde, x64) -> None:
    """f = d/dt log alpha, g^2 = d/dt sigma^2 - 2 f sigma^2, by automatic differentiation."""
    t = jnp.asarray(times(sde))
    f = jax.vmap(jax.grad(lambda t: jnp.log(sde.alpha(t))))(t)
    rise = jax.vmap(jax.grad(lambda t: sde.sigma(t) ** 2))(t)
    np.testing.assert_allclose(sde.drift_coefficient(t), f, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(sde.diffusion(t) ** 2, rise - 2 * f * sde.sigma(t) ** 2, rtol=1e-9)


@every_sde
def test_log_snr_falls_at_the_rate_of_the_likelihood_weight(sde, x64) -> None:
    t = jnp.asarray(times(sde))
    rate = -jax.vmap(jax.grad(sde.log_snr))(t)
    np.testing.assert_allclose(rate, (sde.diffusion(t) / sde.sigma(t)) ** 2, rtol=1e-9)
    assert np.all(np.diff(sde.log_snr(jnp.linspace(1e-5, 1.0, 1000))) < 0)


@pytest.mark.parametrize("sde", [Flow(), GVP()])
def test_at_t_1_nothing_of_the_data_is_left(sde, precision: str) -> None:
    one = jnp.ones((), precision)
    kernel = sde.transition(0.5 * one, one)
    assert (float(sde.alpha(one)), float(sde.sigma(one)), float(kernel.scale)) == (0.0, 1.0, 0.0)
    assert float(kernel.std) == pytest.approx(1.0, rel=1e-6)
    x0, eps = jnp.asarray([[0.3]], precision), jnp.asarray([[1.2]], precision)
    assert np.isfinite(sde.velocity(x0, eps, one)).all()


@every_sde
def test_float32_drift_and_diffusion(sde) -> None:
    t = jnp.asarray(times(sde), "float32")
    low = sde.drift_coefficient(t), sde.diffusion(t)
    with jax.enable_x64(True):
        wide = jnp.asarray(np.asarray(t, np.float64))
        high = sde.drift_coefficient(wide), sde.diffusion(wide)
    np.testing.assert_allclose(low[0], high[0], rtol=1e-5)
    np.testing.assert_allclose(low[1], high[1], rtol=1e-5)


@every_sde
def test_time_of_log_snr_inverts_log_snr(sde, precision: str) -> None:
    last = 0.999 if len(times(sde)) == len(TIMES) else 0.99  # beyond it a rounding of t moves log SNR by more
    t = jnp.asarray([2e-5, 1e-3, 0.1, 0.5, 0.9, last], precision)
    log_snr = sde.log_snr(t)
    found = sde.time_of_log_snr(log_snr)
    rtol = 1e-5 if precision == "float32" else 1e-9
    np.testing.assert_allclose(found, t, rtol=rtol, atol=1e-7 if precision == "float32" else 0.0)
    np.testing.assert_allclose(sde.log_snr(found), log_snr, rtol=rtol / 3, atol=rtol / 3)
    beyond = sde.time_of_log_snr(jnp.asarray([1e9, -1e9], precision))
    np.testing.assert_allclose(beyond, [sde.t_min, 1.0], rtol=1e-5)


@every_sde
def test_posterior_is_bayes_rule(sde, x64) -> None:
    """p(x_s | x_t, x_0) ~ p(x_t | x_s) p(x_s | x_0), its mean and deviation by quadrature over x_s."""
    x0, x, s, t = 0.7, 0.2, 0.3, 0.45
    k = sde.transition(jnp.asarray(s), jnp.asarray(t))
    alpha, sigma = float(sde.alpha(jnp.asarray(s))), float(sde.sigma(jnp.asarray(s)))
    grid = np.linspace(alpha * x0 - 12 * sigma, alpha * x0 + 12 * sigma, 20001)
    log_p = scipy.stats.norm.logpdf(grid, alpha * x0, sigma) + scipy.stats.norm.logpdf(x, k.scale * grid, k.std)
    p = np.exp(log_p - log_p.max())
    mean = np.sum(p * grid) / p.sum()
    std = np.sqrt(np.sum(p * (grid - mean) ** 2) / p.sum())
    found = sde.posterior(jnp.full((1, 1), x), jnp.full((1, 1), x0), jnp.asarray(t), jnp.asarray(s))
    np.testing.assert_allclose(found[0], mean, rtol=1e-9)
    np.testing.assert_allclose(found[1], std, rtol=1e-9)


@every_sde
def test_prior_log_prob_against_scipy(sde, x64) -> None:
    z = np.random.default_rng(0).normal(size=(3, 4, 2)) * sde.prior_std
    exact = scipy.stats.norm.logpdf(z, scale=sde.prior_std).sum((1, 2))
    np.testing.assert_allclose(sde.prior_log_prob(jnp.asarray(z)), exact, rtol=1e-12)


@every_sde
def test_prior_is_the_marginal_at_one(sde) -> None:
    """Whitened data end within 1 % of the prior; samples have its deviation (4 standard errors of 2^14 draws)."""
    one = jnp.ones(())
    assert float(jnp.hypot(sde.alpha(one), sde.sigma(one))) == pytest.approx(sde.prior_std, rel=0.01)
    z = sde.prior_sample(jax.random.key(0), (2**14,))
    assert float(jnp.std(z)) == pytest.approx(sde.prior_std, rel=4 / np.sqrt(2 * 2**14))


@every_sde
def test_tweedie_is_the_posterior_mean(sde, x64) -> None:
    mean, std, t = 0.6, 0.4, jnp.asarray([1e-4, 0.2, 0.9])
    x = jnp.asarray([[0.7], [-0.2], [1.5]])
    alpha, sigma = sde.alpha(t)[:, None], sde.sigma(t)[:, None]
    precision_of_data, precision_of_x = 1 / std**2, alpha**2 / sigma**2
    exact = (precision_of_data * mean + precision_of_x * x / alpha) / (precision_of_data + precision_of_x)
    score = gaussian(np.array([mean]), std).score(sde)
    np.testing.assert_allclose(of_score(sde, score)(x, t).x0, exact, rtol=1e-9)


@pytest.mark.slow
@every_sde
def test_flow_and_reverse_drift_carry_gaussian_data(sde, x64) -> None:
    """With N(m, v0) data the flow is x = alpha m + sqrt(v) xi, v = alpha^2 v0 + sigma^2; the reverse drift A x + c
    satisfies dv/dt = 2 A v - g^2 and d(alpha m)/dt = A alpha m + c."""
    mean, std, xi = 0.6, 0.4, 1.3
    score = gaussian(np.array([mean]), std).score(sde)

    def centre(t):
        return sde.alpha(t) * mean

    def variance(t):
        return (sde.alpha(t) * std) ** 2 + sde.sigma(t) ** 2

    for time in (1e-3, 0.2, 0.7, times(sde)[-1]):
        t = jnp.asarray(time)
        path = lambda t: centre(t) + jnp.sqrt(variance(t)) * xi  # noqa: E731
        x = jnp.reshape(path(t), (1, 1))
        x0, eps, _ = of_score(sde, score)(x, t[None])
        np.testing.assert_allclose(sde.velocity(x0, eps, t), jax.grad(path)(t), rtol=1e-9)
        points = jnp.asarray([[0.0], [1.0]])
        c, slope = sde.reverse_drift(points, t, score(points, t))[:, 0]
        slope = slope - c
        np.testing.assert_allclose(2 * slope * variance(t) - sde.diffusion(t) ** 2, jax.grad(variance)(t), rtol=1e-8)
        np.testing.assert_allclose(slope * centre(t) + c, jax.grad(centre)(t), rtol=1e-7, atol=1e-7)


@pytest.mark.slow
def test_oracle_score_is_the_gradient_of_its_density(x64) -> None:
    """The mixture that all other tests rely on, differentiated; and its samples have its moments."""
    data, sde = planar(), VP()
    x = jax.random.normal(jax.random.key(0), (5, 2))
    t = jnp.asarray([0.01, 0.1, 0.3, 0.6, 1.0])
    density = lambda x, t: data.log_density(x[None], sde.alpha(t), sde.sigma(t))[0]  # noqa: E731
    np.testing.assert_allclose(data.score(sde)(x, t), compiled(jax.vmap(jax.grad(density)))(x, t), rtol=1e-10)
    mean = data.weights @ data.means
    draws = data.sample(jax.random.key(1), 2**16)
    np.testing.assert_allclose(draws.mean(0), mean, atol=4 * float(draws.std()) / 2**8)


@every_sde
def test_noise_exponent_is_the_slope_of_sigma_near_data(sde, x64) -> None:
    """sigma ~ t^p where sigma vanishes at 0; 1 where it does not."""
    t = jnp.asarray(1e-7)
    if float(sde.sigma(jnp.zeros(()))) > 0.0:
        assert sde.noise_exponent == 1.0
    else:
        assert float(jnp.log2(sde.sigma(2 * t) / sde.sigma(t))) == pytest.approx(sde.noise_exponent, abs=1e-3)


def test_discretization_default_is_eulers(x64) -> None:
    sde, t, n = SubVP(), jnp.asarray([0.01, 0.4, 1.0]), 1000
    kernel, exact = sde.discretization(n, t), sde.transition(t - 1 / n, t)
    np.testing.assert_allclose(kernel.scale, exact.scale, atol=3e-4)
    np.testing.assert_allclose(kernel.std, exact.std, rtol=0.06)
    np.testing.assert_allclose(kernel.std_ratio, exact.std_ratio, rtol=1e-9)


@pytest.mark.slow
def test_coefficients_work_under_jit_and_vmap() -> None:
    t = jnp.linspace(0.1, 1.0, 5)
    for sde in SDES.values():
        assert hash(sde) == hash(dataclasses.replace(sde))
        by_argument = jax.jit(lambda sde, t: sde.sigma(t), static_argnums=0)(sde, t)
        by_closure = compiled(lambda t, sde=sde: jax.vmap(sde.sigma)(t))(t)
        np.testing.assert_allclose(by_argument, sde.sigma(t), rtol=1e-6)
        np.testing.assert_allclose(by_closure, sde.sigma(t), rtol=1e-6)
        assert jax.vmap(sde.transition)(0.5 * t, t).std.shape == (5,)
    assert hash(VP()) != hash(VP(LinearBeta(0.1, 10.0)))


def test_expand_multiplies_example_by_example() -> None:
    x = jnp.ones((2, 3, 4, 1))
    assert (expand(jnp.asarray([2.0, 3.0]), x) * x)[1].mean() == 3.0
    assert (expand(jnp.asarray(5.0), x) * x).mean() == 5.0
