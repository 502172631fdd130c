"""The bound in continuous time against what is known of Gaussian, of discrete and of any data, by quadrature."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_lib import VE, VP, AffineSDE, ChainTables, of_score
from sde_lib.bound import (
    Bound,
    bound_times,
    dequantized,
    diffusion_bits,
    diffusion_weighting,
    prior_bits,
    reconstruction_bits,
)
from sde_lib.learned import learned_vp
from sde_lib.variational import step_bits
from tests.oracles import Mixture, compiled, gaussian
from tests.sde_lib.test_learned import random_schedule

T_MIN = 1e-9  # the ends are then those of gamma
STD = 0.3
DATA = gaussian(np.zeros(1), STD)
SCHEDULES = {"linear": learned_vp(features=0, t_min=T_MIN), "trained": random_schedule(1, t_min=T_MIN)}


def normal_nodes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Hermite nodes and weights of the standard normal; exact for polynomials below degree 2 n."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    return nodes, weights / weights.sum()


def bound(data: Mixture, x0: np.ndarray, p0: np.ndarray, levels: np.ndarray | None, n: int) -> Callable:
    """process -> the expectation of each term for x0 of the given probabilities: n noises, times by Gauss-Legendre."""
    eps, p_eps = normal_nodes(n)
    u, p_u = np.polynomial.legendre.leggauss(300)
    u, p_u = jnp.asarray(0.5 * (u + 1.0)), jnp.asarray(0.5 * p_u)
    p = jnp.asarray((p0[:, None] * p_eps).ravel())
    x0, eps = jnp.asarray(x0.repeat(n)[:, None]), jnp.asarray(np.tile(eps, len(x0))[:, None])

    def terms(sde: AffineSDE) -> Bound:
        def at(u: jax.Array) -> jax.Array:
            t = jnp.full(len(x0), bound_times(sde, u))
            return p @ diffusion_bits(sde, of_score(sde, data.score(sde)), x0, t, eps)

        return Bound(p_u @ jax.vmap(at)(u), p @ prior_bits(sde, x0), p @ reconstruction_bits(sde, x0, eps, levels))

    return terms


@pytest.mark.parametrize("name", [*SCHEDULES, "vp", "ve"])
def test_on_gaussian_data_the_terms_are_their_integrals_and_bound_the_entropy(name: str, x64: None) -> None:
    """1/2 times the integral of std^2 / (std^2 + e^gamma) d gamma, whatever gamma does on its way."""
    sde = (SCHEDULES | {"vp": VP(t_min=1e-3), "ve": VE(sigma_max=30.0)})[name]
    terms = bound(DATA, STD * np.array([-1.0, 1.0]), np.array([0.5, 0.5]), None, 2)
    found = compiled(lambda: terms(sde))()
    first, last = (-float(sde.log_snr(jnp.asarray(t))) for t in (sde.t_min, 1.0))
    antiderivative = [gamma - math.log(STD**2 + math.exp(gamma)) for gamma in (first, last)]
    diffusion = 0.5 * (antiderivative[1] - antiderivative[0]) / math.log(2)
    assert float(found.diffusion) == pytest.approx(diffusion, rel=1e-6)
    one, p = jnp.ones(()), sde.prior_std
    variance, noise = (float(a) ** 2 / p**2 for a in (sde.alpha(one) * STD, sde.sigma(one)))
    assert float(found.prior) == pytest.approx(0.5 * (variance + noise - 1 - math.log(noise)) / math.log(2), rel=1e-9)
    decoder = 0.5 * (first + math.log(2 * math.pi) + 1) / math.log(2)
    assert float(found.reconstruction) == pytest.approx(decoder, rel=1e-9)
    entropy = 0.5 * (math.log(2 * math.pi * STD**2) + 1) / math.log(2)
    assert 0.0 < float(found.total) - entropy < {"vp": 2e-3, "ve": 1e-3}.get(name, 1e-4)


def test_on_discrete_data_it_meets_the_entropy_as_the_ends_part(x64: None) -> None:
    levels, p = np.linspace(-1.0, 1.0, 4), np.array([0.1, 0.2, 0.3, 0.4])
    data = Mixture(p, levels[:, None], np.zeros(4))
    terms = compiled(bound(data, levels, p, levels, 32))
    entropy, gaps = -np.sum(p * np.log2(p)), []
    for ends in ((-2.0, 1.0), (-4.0, 5.0), (-6.0, 12.0)):
        sde = random_schedule(2, t_min=T_MIN, ends=ends)
        gaps.append(float(terms(sde).total) - entropy)
    assert gaps[0] > gaps[1] > gaps[2] > 0.0 and gaps[0] > 0.05 and gaps[2] < 1e-4


@pytest.mark.slow
def test_the_limit_does_not_depend_on_the_schedule_between_its_ends(x64: None) -> None:
    """A mixture of three, by two schedules of equal ends: the diffusion term agrees, its integrands do not."""
    data = Mixture(np.array([0.2, 0.5, 0.3]), np.array([[-1.0], [0.1], [0.8]]), np.array([0.05, 0.1, 0.02]))
    nodes, weights = normal_nodes(12)
    x0 = (data.means + data.stds[:, None] * nodes).ravel()
    p0 = (data.weights[:, None] * weights).ravel()
    terms = compiled(bound(data, x0, p0, None, 12))
    linear = random_schedule(3, t_min=T_MIN)
    linear = linear.with_parameters(linear.numbers | {"l3": np.full(32, -30.0, np.float32)})
    found = [float(terms(sde).diffusion) for sde in (linear, SCHEDULES["trained"])]
    assert found[1] == pytest.approx(found[0], rel=1e-5) and found[0] > 1.0
    weights = compiled(lambda sde: diffusion_weighting(sde, jnp.asarray([0.1, 0.5, 0.9])))
    assert np.abs(weights(SCHEDULES["trained"]) / weights(linear) - 1.0).max() > 0.2


def test_t_steps_fall_to_the_limit(x64: None) -> None:
    """On the Gaussian the error is the posterior variance of x_0 over the noise's, and the sum falls like 1 / T."""
    sde = SCHEDULES["trained"]

    def terms(steps: int) -> tuple[jax.Array, jax.Array]:
        t = bound_times(sde, (jnp.arange(2048) + 0.5) / 2048, steps)
        return diffusion_weighting(sde, t, steps), sde.log_snr(t)

    sums = {}
    for steps in (8, 64, 512, 2048):
        weight, log_snr = compiled(lambda steps=steps: terms(steps))()
        sums[steps] = float(np.mean(weight * STD**2 / (STD**2 + np.exp(-log_snr))))
    limit = 0.5 * np.diff([g - math.log(STD**2 + math.exp(g)) for g in (-13.3, 5.0)])[0]
    gaps = np.array(list(sums.values())) - limit
    assert np.all(gaps > 0) and np.all(np.diff(gaps) < 0)
    assert gaps[-2] / gaps[-1] == pytest.approx(4.0, rel=0.05)


def test_t_steps_are_the_kls_of_the_chain(x64: None) -> None:
    """Step for step the KL of two posteriors, as `sde_lib.variational` has it of tables."""
    sde, steps, eps = SCHEDULES["trained"], 5, jnp.asarray([[0.3], [-1.2]])
    t = np.linspace(T_MIN, 1.0, steps + 1)
    tables = ChainTables(np.asarray(sde.alpha(jnp.asarray(t))), np.asarray(sde.sigma(jnp.asarray(t))))
    x0, model = jnp.asarray([[0.2], [-0.4]]), of_score(sde, DATA.score(sde))

    @compiled
    def both(index: jax.Array, time: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = tables.noised(x0, index, eps)
        x0_hat = model(x, time).x0
        log_variance = tables.log_variance("small", x, index, None)
        kl = step_bits(tables, x0, x, index, x0_hat, log_variance, half_bin=None)
        return diffusion_bits(sde, model, x0, time, eps, steps) / steps, kl

    for i in range(1, steps + 1):
        np.testing.assert_allclose(*both(jnp.full(2, i), jnp.full(2, t[i])), rtol=1e-7)


def test_the_decoder_is_a_distribution_over_the_levels() -> None:
    """Of one noised point, the probabilities of all levels that it may come from sum to 1; a clean one is certain."""
    levels = np.linspace(-1.0, 1.0, 17)
    for gamma_min, most in ((-2.0, None), (-13.3, 1.0)):
        sde = learned_vp(gamma_min=gamma_min, features=0)
        noise = math.exp(0.5 * gamma_min)
        x0 = jnp.asarray(levels, jnp.float32)[:, None]
        eps = (levels[7] + 0.4 * noise - x0) / noise  # the same x_0' for all
        p = 2.0 ** -np.asarray(reconstruction_bits(sde, x0, eps, levels), np.float64)
        assert p.sum() == pytest.approx(1.0, abs=1e-4 if most is None else 2e-2)
        assert most is None or p[7] == pytest.approx(most, abs=1e-3)


@pytest.mark.slow
def test_dequantized_by_the_process_a_density_has_the_entropy_of_the_levels(x64: None) -> None:
    """With the exact density of the noised levels, by quadrature; the coarser the noise, the more it costs."""
    levels, p = np.linspace(-1.0, 1.0, 4), np.array([0.1, 0.2, 0.3, 0.4])
    data, entropy, gaps = Mixture(p, levels[:, None], np.zeros(4)), -np.sum(p * np.log2(p)), []
    nodes, weights = normal_nodes(40)
    x0, eps = jnp.asarray(levels.repeat(40)[:, None]), jnp.asarray(np.tile(nodes, 4)[:, None])
    for gamma_min in (-2.0, -4.0, -7.0):
        sde = learned_vp(gamma_min=gamma_min, features=0, t_min=T_MIN)
        z, lacking = dequantized(sde, x0, eps, levels)
        nats = data.log_marginal(sde, z, T_MIN)
        each = lacking - np.asarray(nats) / math.log(2)
        gaps.append(float((p[:, None] * weights).ravel() @ each) - entropy)
    assert gaps[0] > gaps[1] > gaps[2] > -1e-9 and gaps[0] > 0.01 and gaps[2] < 1e-6


def test_times_cover_the_process() -> None:
    sde = VP(t_min=1e-3)
    u = jnp.asarray([0.0, 0.26, 0.9999])
    np.testing.assert_allclose(bound_times(sde, u), [1e-3, 0.26074, 0.9999], rtol=1e-5)
    np.testing.assert_allclose(bound_times(sde, u, 4), [0.25075, 0.5005, 1.0], rtol=1e-5)
    assert math.isfinite(float(diffusion_weighting(sde, bound_times(sde, u, 4), 4)[0]))
