"""Convergence orders as measured slopes: flows against a tight solve, stochastic methods by their exact moments."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from samplers import State, sample, solve_flow
from sde_lib import VE, VP, AffineSDE, SubVP
from tests.oracles import compiled, gaussian, planar
from tests.samplers.recorded import STOCHASTIC

SDES = {"vp": VP(), "subvp": SubVP(), "ve": VE(sigma_max=50.0)}
KEY = jax.random.key(0)


def slope(steps: list[int], errors: list[float]) -> float:
    """Least-squares order of convergence."""
    return -float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


@functools.cache
def _flow_end(name: str, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Prior draws and where the flow takes them, to 1e-10."""
    sde = SDES[name]
    x = sde.prior_std * jax.random.normal(jax.random.key(5), (16, 2))
    solve = compiled(lambda x: solve_flow(sde, planar().score(sde), x, 1.0, end, rtol=1e-11, atol=1e-11))
    return np.asarray(x), np.asarray(solve(x).x)


@pytest.mark.parametrize(("method", "order"), [("flow_euler", 1), ("flow_heun", 2), ("reverse_diffusion_pf", 1)])
@pytest.mark.parametrize("name", SDES)
def test_flow_methods(name: str, method: str, order: int, x64) -> None:
    sde, end = SDES[name], 0.05
    score = planar().score(sde)
    x, exact = _flow_end(name, end)
    make = {
        "flow_euler": samplers.flow_euler,
        "flow_heun": samplers.flow_heun,
        "reverse_diffusion_pf": lambda *a: samplers.reverse_diffusion(*a, probability_flow=True),
    }[method]
    steps, errors = [64, 256], []
    for n in steps:
        times = jnp.linspace(1.0, end, n + 1)
        out = compiled(lambda x, times: sample(make(sde, score), KEY, x, times).x)(jnp.asarray(x), times)
        errors.append(float(jnp.sqrt(jnp.mean((out - exact) ** 2))))
    assert slope(steps, errors) == pytest.approx(order, abs=0.2), errors
    assert errors[-1] < 0.1


STOCHASTIC_METHODS = {
    "euler_maruyama": (samplers.euler_maruyama, {}),
    "reverse_diffusion": (samplers.reverse_diffusion, {}),
    "ancestral_small": (samplers.ancestral, {"variance": "small"}),
    "ancestral_large": (samplers.ancestral, {"variance": "large"}),
}


def terminal_laws(
    sde: AffineSDE, make, options: dict, mean: float, std: float, grids: list[np.ndarray]
) -> list[tuple[float, float]]:
    """Mean and variance at each grid's end, exactly: on Gaussian data a step is A x + b + C z, read off at 3 points.

    The steps of all grids are read off by one program.
    """
    model = gaussian(np.array([mean]), std).predict(sde)
    with pytest.MonkeyPatch.context() as patch:
        for name in STOCHASTIC:
            probe = lambda key, x: jnp.asarray([[0.0], [0.0], [1.0]], x.dtype)  # noqa: E731
            patch.setattr(importlib.import_module(f"samplers.{name}"), "normal_like", probe)
        stepper = make(sde, model, **options)
        x = jnp.asarray([[0.0], [1.0], [0.0]])
        step = lambda t, s: stepper.step(KEY, State(x, x), t, s).x[:, 0]  # noqa: E731
        t, s = (jnp.asarray(np.concatenate([grid[part] for grid in grids])) for part in (slice(-1), slice(1, None)))
        b, a, c = np.asarray(compiled(jax.vmap(step))(t, s)).T
    one, laws = jnp.ones(()), []
    ends = np.cumsum([len(grid) - 1 for grid in grids])[:-1]
    for slopes, offsets, noises in zip(*(np.split(each, ends) for each in (a - b, b, c - b)), strict=True):
        m, v = float(sde.alpha(one)) * mean, float((sde.alpha(one) * std) ** 2 + sde.sigma(one) ** 2)
        for slope_x, offset, noise in zip(slopes, offsets, noises, strict=True):
            m, v = slope_x * m + offset, slope_x**2 * v + noise**2
        laws.append((m, v))
    return laws


@pytest.mark.parametrize("method", STOCHASTIC_METHODS)
@pytest.mark.parametrize("name", SDES)
def test_stochastic_methods_have_weak_order_one(name: str, method: str, x64) -> None:
    """Both moments of the end's law go to the exact ones with slope 1; no Monte Carlo noise."""
    sde, mean, std = SDES[name], 0.6, 0.4
    end = 0.45 if name == "ve" else 0.05  # where noise and data are of a size: elsewhere the leading error vanishes
    t = jnp.asarray(end)
    exact = float(sde.alpha(t)) * mean, float((sde.alpha(t) * std) ** 2 + sde.sigma(t) ** 2)
    steps = [200, 400, 800, 1600]
    found = terminal_laws(sde, *STOCHASTIC_METHODS[method], mean, std, [np.linspace(1, end, n + 1) for n in steps])
    errors = np.abs(np.array(found) - exact)
    for moment, error in zip(("mean", "variance"), errors.T, strict=True):
        if error[-1] > 1e-10:
            assert slope(steps, error) == pytest.approx(1.0, abs=0.15), (moment, error)
    assert errors[-1, 1] < 0.02 * exact[1] and errors[-1, 0] < 0.01


@pytest.mark.parametrize("name", SDES)
def test_ancestral_small_is_exact_for_a_point(name: str, x64) -> None:
    """For a single data point the reverse kernel is Gaussian: any grid, however coarse, gives the exact law."""
    sde, mean = SDES[name], 0.6
    grid = np.array([1.0, 0.7, 0.2, 0.05])
    ((m, v),) = terminal_laws(sde, samplers.ancestral, {"variance": "small"}, mean, 0.0, [grid])
    t = jnp.asarray(0.05)
    np.testing.assert_allclose([m, v], [float(sde.alpha(t)) * mean, float(sde.sigma(t)) ** 2], rtol=1e-9)


def test_ancestral_large_is_exact_for_unit_gaussian_data(x64) -> None:
    """Under VP, N(0, 1) data stay N(0, 1), and the reverse of the kernel a x + q z is itself."""
    grid = np.array([1.0, 0.7, 0.2, 0.05])
    ((m, v),) = terminal_laws(VP(), samplers.ancestral, {"variance": "large"}, 0.0, 1.0, [grid])
    np.testing.assert_allclose([m, v], [0.0, 1.0], atol=1e-12)


def test_ddpm_reverse_step_by_hand(x64) -> None:
    """alpha .9, abar .5, x .7, eps .2: mean .70805055, deviation .298142 (small) or .316228 (large)."""
    sde = VP()
    t, s = (sde.time_of_log_snr(jnp.log(abar / (1 - jnp.asarray(abar)))) for abar in (0.5, 0.5 / 0.9))
    score = lambda x, t: jnp.full_like(x, -0.2 / np.sqrt(0.5))  # noqa: E731
    for variance, deviation in (("small", 0.298142), ("large", 0.316228)):
        with pytest.MonkeyPatch.context() as patch:
            module = importlib.import_module("samplers.ancestral")
            patch.setattr(module, "normal_like", lambda key, x: jnp.ones_like(x))
            x = jnp.full((1, 1), 0.7)
            state = samplers.ancestral(sde, score, variance=variance).step(KEY, State(x, x), t, s)
        assert float(state.mean[0, 0]) == pytest.approx(0.70805055, abs=1e-8)
        assert float((state.x - state.mean)[0, 0]) == pytest.approx(deviation, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["flow_euler", "flow_heun", "reverse_diffusion_pf"])
@pytest.mark.parametrize("name", SDES)
def test_float32_over_1000_steps(name: str, method: str) -> None:
    """A thousand float32 steps from 1 to t_min stay within 1e-4 of the same in float64."""
    sde = SDES[name]
    score = planar().score(sde)
    make = {
        "flow_euler": samplers.flow_euler,
        "flow_heun": samplers.flow_heun,
        "reverse_diffusion_pf": lambda *a: samplers.reverse_diffusion(*a, probability_flow=True),
    }[method]
    z = np.asarray(sde.prior_std * jax.random.normal(jax.random.key(6), (64, 2)))
    grid = samplers.grids.create(VP(), "uniform", 1000, 1e-3)
    ends = {}
    for wide in (False, True):
        with jax.enable_x64(wide):
            run = compiled(lambda z, times: sample(make(sde, score), KEY, z, times).x)
            ends[wide] = np.asarray(run(jnp.asarray(z, float), jnp.asarray(grid, float)), np.float64)
    np.testing.assert_allclose(ends[False], ends[True], rtol=0, atol=1e-4 * np.abs(ends[True]).max())
