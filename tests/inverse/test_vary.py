"""Starting part of the way: grids from any time, SDEdit's noise, and interpolation by latents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import inverse
import samplers
from samplers import Settings, grids
from samplers.create import grid, stepper_of
from sde_lib import EDM, VE, VP, Discrete, LinearBeta, SubVP, TableBeta
from tests.inverse.gaussian import slow_but
from tests.oracles import compiled, gaussian

KEY = jax.random.key(0)
SDES = {"vp": VP(), "subvp": SubVP(), "ve": VE()}
CHAIN = Discrete(schedule=TableBeta(tuple(LinearBeta().discrete_betas(200))), t_min=1 / 200)
DATA = gaussian(np.array([0.5, -1.0]), 0.5)


@pytest.mark.parametrize("name", ["uniform", "quadratic", "log_snr", "karras", "published"])
@pytest.mark.parametrize("sde", slow_but("ve", SDES | {"edm": EDM(sigma_max=80.0, t_min=2.5e-5)}))
def test_grids_begin_at_the_start(sde, name: str) -> None:
    """As many steps as from 1, even in the same function of the noise."""
    times = grids.create(sde, name, 8, 1e-3, start=0.4)
    assert times.shape == (9,) and times[0] == 0.4 and np.all(np.diff(times) < 0)
    assert times[-1] == pytest.approx(0.0 if name == "published" else 1e-3)
    if name == "log_snr":
        steps = np.diff(np.asarray(sde.log_snr(jnp.asarray(times))))
        np.testing.assert_allclose(steps, steps.mean(), rtol=1e-2)
    np.testing.assert_array_equal(grids.create(sde, name, 8, 1e-3, start=1.0), grids.create(sde, name, 8, 1e-3))


def test_of_a_chain_the_levels_up_to_the_start() -> None:
    levels = grids.create(VP(), "levels", 5, 0.1, start=0.5)
    np.testing.assert_allclose(levels, [0.5, 0.25, 0.0, 0.0])
    every = grids.create(CHAIN, "trailing", 9, CHAIN.t_min, chain=200)
    some = grids.create(CHAIN, "trailing", 9, CHAIN.t_min, chain=200, start=0.55)
    np.testing.assert_array_equal(some, every[every <= 0.55])
    with pytest.raises(ValueError, match=r"none of the 10 levels lies at or below 0\.01; its cleanest 0\.1"):
        grids.create(CHAIN, "trailing", 9, CHAIN.t_min, chain=200, start=0.01)


@pytest.mark.parametrize("method", ["ancestral", "heun", "ode"])
def test_starts_out_of_bounds_are_refused(method: str) -> None:
    for start in (1e-3, 1.1):
        with pytest.raises(ValueError, match=r"starts at .*t_min < start <= 1"):
            samplers.create(VP(), lambda x, t: x, Settings(method=method), start=start)
    with pytest.raises(ValueError, match=r"'ode' takes no steps that could be wrapped"):
        samplers.create(VP(), lambda x, t: x, Settings(method="ode"), wrap=lambda stepper: stepper)


def test_a_few_step_solver_spends_its_evaluations_below_the_start() -> None:
    settings = Settings(method="dpmpp_2m", evaluations=6)
    times = grid(VP(), stepper_of(VP(), lambda x, t: x, settings), settings, 0.5)
    assert len(times) == 7 and times[0] == 0.5 and times[-1] == 0.0
    settings = Settings(method="heun", evaluations=1)
    assert grid(VP(), stepper_of(VP(), lambda x, t: x, settings), settings, 0.5).tolist() == [0.5, 0.0]


@pytest.mark.parametrize(
    ("sde", "settings"),
    [
        pytest.param(SDES["ve"], {"method": "dpmpp_2m", "evaluations": 30, "grid": "log_snr"}, id="ve"),
        pytest.param(SDES["subvp"], {"method": "ode", "rtol": 1e-4, "atol": 1e-4}, id="ode", marks=pytest.mark.slow),
        pytest.param(
            CHAIN,
            {"method": "ddim", "evaluations": 100, "grid": "trailing", "t_min": 5e-3},
            id="chain",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_varied_data_are_data(sde, settings: dict) -> None:
    """Noising and sampling leave N(mean, 0.25) as it is, and as related to the old as Gaussians are; 4096 samples.

    Along the flow of Gaussian data the standardised sample stays, so that it correlates with the old one by
    alpha s / sqrt(alpha^2 s^2 + sigma^2) at the start.
    """
    n, strength = 4096, 0.5
    x0 = DATA.sample(jax.random.key(1), n)
    out = compiled(inverse.vary(sde, DATA.score(sde), Settings(**settings), strength))(KEY, x0)
    u, v = ((np.asarray(x, np.float64) - DATA.means[0]) / 0.5 for x in (out.x, x0))
    assert np.abs(u.mean(0)).max() < 5 / np.sqrt(n) and np.abs(u.var(0) - 1).max() < 0.02 + 5 * np.sqrt(2 / n)
    t = jnp.asarray(strength)
    alpha, sigma = float(sde.alpha(t)), float(sde.sigma(t))
    wanted = 0.5 * alpha / np.hypot(0.5 * alpha, sigma)
    assert np.mean(u * v) == pytest.approx(wanted, abs=0.01 + 5 / np.sqrt(2 * n))


@pytest.mark.slow
def test_the_noise_is_that_of_the_level_where_it_begins() -> None:
    """A chain begins at its next level below; the trajectory's first point shows it. 8192 numbers, 5 errors."""
    settings = Settings(method="ddim", evaluations=10, grid="trailing")
    times = grid(CHAIN, stepper_of(CHAIN, DATA.score(CHAIN), settings), settings, 0.55)
    run = compiled(inverse.vary(CHAIN, lambda x, t: -x, settings, 0.55, trajectory=True))
    x0 = jnp.ones((4096, 2))
    first = run(KEY, x0).trajectory[0]
    t = jnp.asarray(times[0])
    noise = (np.asarray(first) - float(CHAIN.alpha(t))) / float(CHAIN.sigma(t))
    assert abs(noise.mean()) < 5 / np.sqrt(8192) and abs(noise.var() - 1) < 5 * np.sqrt(2 / 8192)


@pytest.mark.parametrize("sde", slow_but("vp", SDES))
def test_interpolation_of_centred_gaussians_is_that_of_the_images(sde) -> None:
    """For N(0, s^2 I) the flow scales, so latents turn as images do; at 0 and 1 the images themselves."""
    score = gaussian(np.zeros(3), 0.5).score(sde)
    a, b = (0.5 * jax.random.normal(key, (4, 3)) for key in jax.random.split(KEY))
    fractions = [0.0, 0.3, 1.0]
    out = compiled(lambda a, b: inverse.interpolate(sde, score, a, b, fractions, rtol=1e-6, atol=1e-6))(a, b)
    np.testing.assert_allclose(out.x[0], a, atol=3e-4)
    np.testing.assert_allclose(out.x[2], b, atol=3e-4)
    angle = np.arccos(np.sum(a * b, 1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))[:, None]
    between = (np.sin(0.7 * angle) * a + np.sin(0.3 * angle) * b) / np.sin(angle)
    np.testing.assert_allclose(out.x[1], between, atol=3e-4)
    assert np.all(out.converged) and out.x.shape == (3, 4, 3) and np.all(out.evaluations > 0)


def test_slerp_at_the_extremes(x64) -> None:
    """Length is kept between points of equal length; nearly parallel, parallel and zero points go straight."""
    a = jax.random.normal(KEY, (5, 4))
    a = a / jnp.linalg.norm(a, axis=1, keepdims=True)
    b = jnp.roll(a, 1, axis=0)
    middle = inverse.slerp(a, b, 0.5)
    np.testing.assert_allclose(jnp.linalg.norm(middle, axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(jnp.sum(middle * a, axis=1), jnp.sum(middle * b, axis=1), rtol=1e-9)
    np.testing.assert_allclose(inverse.slerp(a, a + 1e-9 * b, 0.5), a, atol=1e-8)
    np.testing.assert_allclose(inverse.slerp(a, 3.0 * a, 0.5), 2.0 * a, rtol=1e-12)
    np.testing.assert_array_equal(inverse.slerp(0.0 * a, 0.0 * a, 0.5), 0.0)


@pytest.mark.parametrize(
    ("a", "fractions", "message"),
    [
        (jnp.zeros((2, 3)), [0.5], r"shape \(2, 3\) and \(1, 3\)"),
        (jnp.zeros((1, 3)), [], r"needed are one or more"),
        (jnp.zeros((1, 3)), [0.5, 1.5], r"from 0 \(a\) to 1 \(b\)"),
    ],
)
def test_interpolation_refuses(a, fractions: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inverse.interpolate.__wrapped__(VP(), lambda x, t: x, a, jnp.zeros((1, 3)), fractions)


def test_the_kernels_of_a_published_chain_are_not_used_below_its_start() -> None:
    """SDEdit at strength 0.5 of Gaussian data under settings as configs/cifar10.py has them: data again, 5 errors."""
    settings = Settings(method="ancestral", grid="published", steps=200, denoise="mean", discretization=1000)
    assert samplers.settled(VP(), settings, 0.5).discretization == 0
    n = 4000
    x0 = DATA.sample(jax.random.key(1), n)
    found = compiled(inverse.vary(VP(), DATA.score(VP()), settings, 0.5))(KEY, x0).x
    assert np.all(np.abs(np.mean(found, axis=0) - np.array([0.5, -1.0])) < 5 * 0.5 / np.sqrt(n) + 0.01)
    assert np.all(np.abs(np.std(found, axis=0) / 0.5 - 1) < 5 / np.sqrt(2 * n) + 0.01)
