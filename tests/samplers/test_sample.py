"""The loop, composition and settings: keys, trajectories, counts, compilation, grids and errors."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from samplers import MAPS, METHODS, SOLVERS, Settings, State, Stepper, grids, predictor_corrector, sample
from sde_lib import VE, VP
from tests.oracles import compiled, planar

KEY = jax.random.key(0)
SDE, DATA = VP(), planar()
Z = jax.random.normal(jax.random.key(9), (4, 2))


@functools.cache
def sampler_of(settings: Settings, trajectory: bool) -> Callable[[jax.Array, jax.Array], samplers.Samples]:
    """One program for all draws with these settings."""
    return compiled(samplers.create(SDE, DATA.score(SDE), settings, trajectory=trajectory))


def run(z: jax.Array = Z, *, key: jax.Array = KEY, trajectory: bool = False, **settings) -> samplers.Samples:
    return sampler_of(Settings(**({"steps": 8, "flow_steps": 8} | settings)), trajectory)(key, z)


def test_step_i_gets_the_key_folded_with_i() -> None:
    """A stepper that adds its key's draw shows which key it got."""
    stepper = Stepper(lambda key, state, t, s: State(state.x + jax.random.uniform(key), state.mean), evaluations=0)
    out = sample(stepper, KEY, jnp.zeros((1, 1)), jnp.linspace(1.0, 0.1, 4), trajectory=True)
    draws = [jax.random.uniform(jax.random.fold_in(KEY, i)) for i in range(3)]
    np.testing.assert_allclose(out.trajectory[:, 0, 0], np.cumsum([0.0, *draws]), rtol=1e-6)


def test_the_steps_are_those_of_the_grid() -> None:
    grid = jnp.asarray([1.0, 0.5, 0.4, 0.1])
    seen = Stepper(lambda key, state, t, s: State(jnp.stack([t, s]).reshape(1, 2), state.mean), evaluations=0)
    out = sample(seen, KEY, jnp.zeros((1, 2)), grid, trajectory=True)
    np.testing.assert_array_equal(out.trajectory[1:, 0], np.stack([grid[:-1], grid[1:]], axis=1))


def test_correct_at_t_then_predict_to_s_with_different_keys() -> None:
    def mark(tag: float):
        def step(key, state, t, s):
            return State(state.x * 10 + tag * t, state.mean, (*state.memory, jax.random.key_data(key)))

        return Stepper(step, evaluations=int(tag))

    both = predictor_corrector(predictor=mark(3.0), corrector=mark(2.0))
    x = jnp.zeros((1, 1))
    state = both.step(KEY, both.init(x), (jnp.asarray(1.0), jnp.asarray(0.5)), (jnp.asarray(1.0), jnp.asarray(0.5)))
    assert float(state.x[0, 0]) == 23.0  # the corrector's 2, then the predictor's 3, both at t
    assert both.evaluations == 5
    keys = [np.asarray(k).tolist() for k in state.memory]
    assert keys[0] != keys[1] and np.asarray(jax.random.key_data(KEY)).tolist() not in keys


@pytest.mark.parametrize("method", ["pc", "flow_heun", "euler_maruyama"])
def test_trajectory_is_opt_in_and_ends_in_the_sample(method: str) -> None:
    plain, kept = run(method=method, denoise="none"), run(method=method, denoise="none", trajectory=True)
    assert plain.trajectory is None
    assert kept.trajectory.shape == (9, 4, 2)
    np.testing.assert_array_equal(kept.trajectory[0], Z)
    np.testing.assert_array_equal(kept.trajectory[-1], plain.x)


def test_the_same_key_gives_the_same_sample_and_another_another() -> None:
    np.testing.assert_array_equal(run().x, run().x)
    assert not np.any(run().x == run(key=jax.random.key(1)).x)
    np.testing.assert_array_equal(run(method="flow_heun").x, run(method="flow_heun", key=jax.random.key(1)).x)


@pytest.mark.slow
def test_denoise_choices() -> None:
    """'none' keeps the last noise; 'mean' leaves it out; 'tweedie' is E[x_0 | x] of the noisy end."""
    noisy, mean, clean = (run(method="euler_maruyama", denoise=d) for d in ("none", "mean", "tweedie"))
    t = jnp.full(4, 1e-3)
    score = DATA.score(SDE)(noisy.x, t)
    exact = (noisy.x + (SDE.sigma(t) ** 2)[:, None] * score) / SDE.alpha(t)[:, None]
    np.testing.assert_allclose(clean.x, exact, rtol=1e-5)
    last = SDE.diffusion(jnp.asarray(grids.create(SDE, "uniform", 8, 1e-3)[-2])) * np.sqrt((1 - 1e-3) / 8)
    key = jax.random.fold_in(KEY, 7)
    np.testing.assert_allclose(noisy.x - mean.x, last * jax.random.normal(key, (4, 2)), rtol=1e-4, atol=1e-5)
    assert [int(s.evaluations[0]) for s in (noisy, mean, clean)] == [8, 8, 9]


@pytest.mark.parametrize(
    ("method", "denoise"),
    [
        *((method, "tweedie") for method in METHODS if method not in SOLVERS),
        *(pytest.param(method, "none", marks=pytest.mark.slow) for method in METHODS if method not in SOLVERS),
        *((method, "tweedie") for method in ("ddim", "dpmpp_3s", "dpmpp_sde", "heun")),
        pytest.param("unipc_3", "tweedie", marks=pytest.mark.slow),
        pytest.param("dpmpp_2m", "none", marks=pytest.mark.slow),
        ("heun", "none"),
    ],
)
def test_evaluations_are_those_made_and_a_sampler_traces_once(method: str, denoise: str) -> None:
    """One example at a time, counted on the device; a second call, with other values, traces nothing."""
    made, traces, exact = [], [], DATA.score(SDE)

    def score(x, t):
        traces.append(1)
        jax.debug.callback(lambda t: made.append(t), t[0])
        return exact(x, t)

    settings = Settings(method=method, steps=5, flow_steps=6, evaluations=9, n_steps_each=2, denoise=denoise)
    sampler = compiled(samplers.create(SDE, score, settings))
    out = jax.block_until_ready(sampler(KEY, Z[:1]))
    jax.effects_barrier()
    assert len(made) == int(out.evaluations[0])
    known = {"pc": 5 * 3, "flow_euler": 6, "flow_heun": 12, "interpolant_heun": 10}.get(method, 5)
    known += denoise == "tweedie"
    known = 8 if (method, denoise) == ("heun", "none") else 9 if method in (*SOLVERS, *MAPS) else known
    assert method == "ode" or len(made) == known
    first = len(traces)
    jax.block_until_ready(sampler(jax.random.key(1), Z[1:2]))
    assert len(traces) == first


@pytest.mark.parametrize("settings", [{}, {"corrector": "ald"}, {"method": "ode"}, {"method": "ancestral"}])
def test_a_sample_does_not_depend_on_its_neighbours(settings: dict) -> None:
    other = Z.at[1:].multiply(3.0)
    np.testing.assert_array_equal(run(**settings).x[0], run(other, **settings).x[0])


def test_with_batch_norms_it_does() -> None:
    batch = {"corrector_norm": "batch"}
    assert np.all(run(**batch).x[0] != run(Z.at[1:].multiply(3.0), **batch).x[0])


def test_langevin_step_sizes(x64) -> None:
    """Against the definitions: a drift of h score with h = 2 (snr |z| / |score|)^2, and noise sqrt(2 h) z."""
    sde, t, s = VE(), jnp.asarray(0.6), jnp.asarray(0.5)
    score = DATA.score(sde)
    z = jax.random.normal(jax.random.fold_in(KEY, 0), Z.shape)
    g = compiled(score)(jnp.asarray(Z, float), jnp.full(4, t))
    lengths = np.linalg.norm(z, axis=1).mean(), np.linalg.norm(g, axis=1)
    sizes = {
        "batch": 2 * (0.16 * lengths[0] / lengths[1].mean()) ** 2,
        "sample": (2 * (0.16 * np.sqrt(2) / lengths[1]) ** 2)[:, None],
        "ald": 2 * (0.16 * sde.sigma(t)) ** 2,
    }
    x = jnp.asarray(Z, float)
    for name, h in sizes.items():
        make = samplers.annealed_langevin if name == "ald" else samplers.langevin
        options = {} if name == "ald" else {"corrector_norm": name}
        stepper = make(sde, score, snr=0.16, **options)
        state = compiled(lambda x, stepper=stepper: stepper.step(KEY, State(x, x), t, s))(x)
        np.testing.assert_allclose(state.mean, x + h * g, rtol=1e-10)
        np.testing.assert_allclose(state.x - state.mean, np.sqrt(2 * h) * z, rtol=1e-9)


def test_two_and_two_corrector_steps_are_independent() -> None:
    """Each of a corrector's steps draws its own noise."""
    stepper = samplers.annealed_langevin(SDE, lambda x, t: jnp.zeros_like(x), n_steps_each=2)
    t = jnp.asarray(0.5)
    moved = stepper.step(KEY, State(Z, Z), t, 0.9 * t).x - Z
    h = 2 * (float(SDE.transition(0.9 * t, t).scale) * 0.16 * float(SDE.sigma(t))) ** 2
    draws = sum(jax.random.normal(jax.random.fold_in(KEY, i), Z.shape) for i in range(2))
    np.testing.assert_allclose(moved, np.sqrt(2 * h) * draws, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", grids.GRIDS)
def test_grids(name: str) -> None:
    between = {"noise": tuple(np.geomspace(5.0, 0.05, 9))} if name == "given" else {}
    grid = grids.create(SDE, name, 10, 1e-3, **between)
    falling = grid[:-1] if name == "levels" else grid  # whose last level is t = 0, and data lies below it
    assert grid.shape == (11,) and grid[0] == 1.0 and np.all(np.diff(falling) < 0)
    assert grid[-1] == pytest.approx(0.0 if name in ("published", "levels") else 1e-3, abs=1e-15)


def test_grids_by_their_definitions() -> None:
    np.testing.assert_allclose(grids.create(SDE, "uniform", 4, 0.2), [1.0, 0.8, 0.6, 0.4, 0.2])
    np.testing.assert_allclose(grids.create(SDE, "quadratic", 2, 0.25), [1.0, 0.5625, 0.25])
    np.testing.assert_allclose(grids.create(SDE, "published", 4, 0.1), [1.0, 0.7, 0.4, 0.1, 0.0])
    np.testing.assert_allclose(grids.create(SDE, "levels", 5, 0.1), [1.0, 0.75, 0.5, 0.25, 0.0, 0.0])
    np.testing.assert_allclose(grids.create(SDE, "published", 1000, 1e-3), np.linspace(1, 0, 1001), atol=1e-15)


@pytest.mark.parametrize("method", ["pc", "euler_maruyama", "ancestral", "reverse_diffusion"])
def test_the_published_grid_ends_at_zero_and_stays_finite(method: str) -> None:
    """The last step's score is that at t_min, never at 0."""
    times = []
    score = DATA.score(SDE)

    def watched(x, t):
        jax.debug.callback(lambda t: times.append(float(t)), t[0])
        return score(x, t)

    settings = Settings(method=method, steps=8, grid="published", denoise="mean")
    out = jax.block_until_ready(samplers.create(SDE, watched, settings)(KEY, Z))
    jax.effects_barrier()
    assert np.all(np.isfinite(out.x)) and min(times) == pytest.approx(1e-3)


def test_no_predictor_is_the_corrector_alone() -> None:
    settings = Settings(predictor="none", corrector="ald", steps=5, n_steps_each=2)
    out = samplers.create(SDE, DATA.score(SDE), settings)(KEY, Z)
    corrector = samplers.annealed_langevin(SDE, DATA.score(SDE), n_steps_each=2)
    alone = samplers.sample(corrector, KEY, Z, jnp.asarray(grids.create(SDE, "uniform", 5, 1e-3), Z.dtype))
    tail = samplers.tweedie(SDE, DATA.score(SDE))(alone.x, jnp.asarray(1e-3))
    np.testing.assert_allclose(out.x, tail, rtol=1e-5, atol=1e-6)
    assert int(out.evaluations[0]) == 5 * 2 + 1


def test_draw_starts_from_the_prior() -> None:
    sde = VE()
    out = samplers.draw(lambda key, z: samplers.Samples(z, jnp.zeros(len(z))), sde, KEY, (4096, 2))
    assert float(jnp.std(out.x)) == pytest.approx(50.0, rel=4 / np.sqrt(2 * 8192))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "ddmi"}, r"sampling\.method is 'ddmi'.*pc, ode, euler_maruyama.*ddim, dpm_solver_2m"),
        ({"predictor": "nothing"}, r"sampling\.predictor is 'nothing'.*euler_maruyama, reverse_diffusion"),
        ({"predictor": "none", "corrector": "none"}, r"both 'none'; one of them must move"),
        ({"grid": "levels"}, r"'levels'.*discretization"),
        ({"grid": "levels", "discretization": 9, "method": "flow_euler"}, r"'levels'.*stochastic method"),
        ({"grid": "levels", "discretization": 9, "predictor": "flow_heun"}, r"'levels'.*stochastic method"),
        ({"corrector": "langevins"}, r"sampling\.corrector is 'langevins'.*langevin, ald, none"),
        ({"denoise": "yes"}, r"sampling\.denoise is 'yes'.*tweedie, mean, none"),
        ({"grid": "karas"}, r"sampling\.grid is 'karas'.*uniform, shifted, quadratic, log_snr.*trailing.*ddimN"),
        ({"grid": "trailing"}, r"'trailing' picks levels of a chain"),
        (
            {"grid": "published", "method": "heun", "denoise": "mean", "evaluations": 3},
            r"1 steps; needed are at least 2",
        ),
        ({"method": "heun", "evaluations": 0}, r"evaluations is 0; .*at least 1"),
        ({"method": "heun", "evaluations": 1, "denoise": "none"}, r"evaluations is 1; 'heun' needs at least 2"),
        (
            {"grid": "levels", "discretization": 9, "steps": 8},
            r"visits each of sampling\.discretization 9 levels once.*8",
        ),
        ({"grid": "karras", "karras_power": 0.0}, r"karras_power is 0\.0"),
        ({"threshold": "dynamic", "threshold_quantile": 2.0}, r"threshold_quantile is 2\.0"),
        ({"method": "ddim", "eta": -1.0}, r"eta is -1"),
        ({"method": "heun", "s_churn": -1.0}, r"s_churn is -1.*at least 0"),
        ({"threshold": "hard"}, r"sampling\.threshold is 'hard'.*none, clip, dynamic"),
        ({"discretization": -1}, r"sampling\.discretization is -1"),
        ({"method": "ancestral", "variance": "medium"}, r"'medium'.*small, large"),
        ({"corrector_norm": "image"}, r"'image'.*sample, batch"),
        ({"snr": 0.0}, r"snr is 0\.0.*above 0"),
        ({"n_steps_each": 0}, r"n_steps_each is 0.*at least 1"),
        ({"steps": 0}, r"sampling\.steps is 0.*at least 1"),
        ({"t_min": 0.0}, r"t_min is 0\.0.*above 0 and below 1"),
        ({"t_min": 1.0, "method": "ode"}, r"t_min is 1\.0.*above 0 and below 1"),
        ({"method": "ode", "rtol": 0.0}, r"rtol is 0\.0.*above 0"),
        ({"method": "flow_heun", "grid": "published", "denoise": "none"}, r"flow_heun"),
        ({"predictor": "flow_heun", "grid": "published", "denoise": "none"}, r"flow_heun"),
        ({"grid": "published", "denoise": "tweedie"}, r"'tweedie'.*'mean' or 'none'"),
    ],
)
def test_errors_come_before_tracing_and_name_what_is_known(settings: dict, message: str) -> None:
    def score(x, t):
        raise AssertionError("traced")

    with pytest.raises(ValueError, match=message) as error:
        samplers.create(SDE, score, Settings(**settings))
    assert "\n" not in str(error.value)


def test_the_adaptive_ode_keeps_no_trajectory() -> None:
    with pytest.raises(ValueError, match="no trajectory"):
        samplers.create(SDE, DATA.score(SDE), Settings(method="ode"), trajectory=True)


def test_images_of_any_rank_are_sampled(x64) -> None:
    """[b, 2, 1, 1] and [b, 2] are the same draws in another shape."""
    score = DATA.score(SDE)
    flat = run(jnp.asarray(Z, float)).x
    square = lambda x, t: score(x.reshape(-1, 2), t).reshape(x.shape)  # noqa: E731
    out = samplers.create(SDE, square, Settings(steps=8))(KEY, jnp.asarray(Z, float).reshape(4, 2, 1, 1))
    assert out.x.shape == (4, 2, 1, 1) and out.x.dtype == jnp.float64
    np.testing.assert_allclose(out.x.reshape(4, 2), flat, rtol=1e-9)
