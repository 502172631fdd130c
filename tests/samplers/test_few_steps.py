"""Few-step solvers: measured orders, identities between them, inversion, and float32 against float64."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from samplers import grids, sample, solve_flow
from sde_lib import EDM, VE, VP, Discrete, SubVP, TableBeta
from sde_lib.schedules import CosineBeta
from tests.oracles import compiled, planar
from tests.samplers.reference_solvers import At, Run, solve

KEY = jax.random.key(0)
SDES = {"vp": VP(), "ve": VE(sigma_max=50.0), "edm": EDM(sigma_max=80.0, t_min=2.5e-5)}
GRID = {"vp": "log_snr", "ve": "log_snr", "edm": "karras"}
END = {"vp": 0.1, "ve": 0.4, "edm": 0.002}  # sigma / alpha of about 0.3, 0.3 and 0.16
START = jax.random.normal(jax.random.key(5), (8, 2))
DETERMINISTIC = {
    "ddim": (samplers.ddim, "x0", {}, 1),
    "euler": (samplers.euler, "eps", {}, 1),
    "heun": (samplers.heun, "eps", {}, 2),
    "midpoint": (samplers.heun, "eps", {"place": 0.5}, 2),
    "dpm_2": (samplers.dpm_2, "eps", {}, 2),
    "dpmpp_1": (samplers.dpm_solver, "x0", {"order": 1}, 1),
    "dpmpp_2m": (samplers.dpm_solver, "x0", {"order": 2, "lower_order_final": 0}, 2),
    "dpmpp_3m": (samplers.dpm_solver, "x0", {"order": 3, "lower_order_final": 0}, 3),
    "dpm_solver_2m": (samplers.dpm_solver, "eps", {"order": 2, "prediction": "eps", "lower_order_final": 0}, 2),
    "dpm_solver_3m": (samplers.dpm_solver, "eps", {"order": 3, "prediction": "eps", "lower_order_final": 0}, 3),
    "dpmpp_2s": (samplers.dpm_solver_singlestep, "x0", {"order": 2}, 2),
    "dpmpp_3s": (samplers.dpm_solver_singlestep, "x0", {"order": 3}, 3),
    "dpm_solver_2s": (samplers.dpm_solver_singlestep, "eps", {"order": 2, "prediction": "eps"}, 2),
    "dpm_solver_3s": (samplers.dpm_solver_singlestep, "eps", {"order": 3, "prediction": "eps"}, 3),
    "dpmpp_2s_halfway": (samplers.dpm_solver_2s, "x0", {}, 2),
    "unipc_1": (samplers.unipc, "x0", {"order": 1, "lower_order_final": False}, 2),
    "unipc_2": (samplers.unipc, "x0", {"order": 2, "lower_order_final": False}, 3),
    "unipc_2_bh1": (samplers.unipc, "x0", {"order": 2, "variant": "bh1", "lower_order_final": False}, 3),
    "unipc_2_eps": (samplers.unipc, "eps", {"order": 2, "prediction": "eps", "lower_order_final": False}, 3),
    "deis_2": (samplers.deis, "eps", {"order": 2, "lower_order_final": 0}, 2),
    "deis_3": (samplers.deis, "eps", {"order": 3, "lower_order_final": 0}, 3),
    "lms_2": (samplers.lms, "eps", {"order": 2}, 2),
    "lms_3": (samplers.lms, "eps", {"order": 3}, 3),
    "ipndm": (samplers.ipndm, "eps", {}, 2),
}


def flow_end(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Prior draws and where the flow takes them."""
    sde = SDES[name]
    x = sde.prior_std * jnp.asarray(START, float)
    score = planar().score(sde)
    solve_to = compiled(lambda x: solve_flow(sde, score, x, 1.0, END[name], rtol=1e-12, atol=1e-12).x)
    return np.asarray(x), np.asarray(solve_to(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "ve", "edm"])
def test_measured_orders(name: str, x64) -> None:
    """The slope of the error against the flow in the number of evaluations, every deterministic solver."""
    sde, model, (x, exact) = SDES[name], planar().gradient, flow_end(name)
    counts = [47, 95, 191]  # singlestep methods of order 3 end with a step of order 2, not 1
    runs = []
    for make, prediction, options, _ in DETERMINISTIC.values():
        for n in counts:
            score = At(model)
            times = grids.create(sde, GRID[name], n, END[name])
            runs.append(Run(sde, make(sde, score, **options), score, prediction, times, x))
    ends = iter(solve(runs))
    found, wanted = {}, {}
    for solver, (*_, order) in DETERMINISTIC.items():
        errors = [float(np.sqrt(np.mean((next(ends)[-1] - exact) ** 2))) for _ in counts]
        found[solver] = (round(-float(np.polyfit(np.log(counts), np.log(errors), 1)[0]), 2), errors[-1])
        wanted[solver] = order
    off = {solver: slope for solver, slope in found.items() if abs(slope[0] - wanted[solver]) > 0.3}
    assert not off, (off, found)


@pytest.mark.slow
def test_stochastic_families_meet_at_their_ends(x64) -> None:
    """eta = 1 of DDIM is the ancestral sampler; eta = 0 of every family is its deterministic member."""
    sde, score = VP(), planar().score(VP())
    x, times = jnp.asarray(START, float), grids.create(VP(), "log_snr", 12, 1e-3)

    def end(stepper) -> np.ndarray:
        return np.asarray(compiled(lambda x: sample(stepper, KEY, x, times).x)(x))

    def ancestral(x):
        return sample(samplers.ancestral(sde, score, variance="small"), KEY, x, times).x

    np.testing.assert_allclose(end(samplers.ddim(sde, score, eta=1.0)), compiled(ancestral)(x), rtol=1e-9, atol=1e-9)
    still = end(samplers.ddim(sde, score, eta=0.0))
    np.testing.assert_allclose(end(samplers.euler(sde, score)), still, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(end(samplers.dpm_solver(sde, score, order=1)), still, rtol=1e-9, atol=1e-9)
    halfway = end(samplers.dpm_solver_2s(sde, score))
    np.testing.assert_allclose(end(samplers.dpm_solver_sde(sde, score, eta=0.0)), halfway, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ve", "vp", "subvp"])
def test_ddim_at_many_steps_is_the_flow_and_its_inversion_returns_the_image(name: str, x64) -> None:
    """Data up the grid to latents, and down again; the errors fall with the step, order 1."""
    sde = PROCESSES[name]
    score, x = planar().score(sde), jnp.asarray(0.3 * START, float)
    up = compiled(lambda x: solve_flow(sde, score, x, 1e-2, 1.0, rtol=1e-10, atol=1e-10).x)(x)
    to_latent, back = [], []
    for n in (100, 400):
        times = grids.create(sde, "log_snr", n, 1e-2)
        stepper = samplers.ddim(sde, score)
        z = compiled(lambda x, times=times, stepper=stepper: sample(stepper, KEY, x, times[::-1]).x)(x)
        y = compiled(lambda z, times=times, stepper=stepper: sample(stepper, KEY, z, times).x)(z)
        to_latent.append(float(jnp.abs(z - up).max()) / sde.prior_std)
        back.append(float(jnp.abs(y - x).max()))
    assert to_latent[1] < 0.35 * to_latent[0] < 0.1
    assert back[1] < 0.35 * back[0] < 0.05


def test_a_rising_grid_takes_no_noise() -> None:
    with pytest.raises(ValueError, match=r"rising grid inverts.*eta 0; received eta 1"):
        samplers.ddim(VP(), planar().score(VP()), eta=1.0).plan(np.array([0.1, 0.5]))


def test_a_traced_grid_is_refused() -> None:
    stepper = samplers.ddim(VP(), planar().score(VP()))
    with pytest.raises(ValueError, match="traced array; give it as numbers"):
        jax.jit(lambda times: sample(stepper, KEY, jnp.asarray(START), times).x)(jnp.linspace(1.0, 0.1, 4))


COSINE = Discrete(schedule=TableBeta(tuple(CosineBeta().discrete_betas(1000))), t_min=1e-3)
PROCESSES = {"vp": VP(), "subvp": SubVP(), "ve": VE(sigma_max=50.0), "edm": SDES["edm"], "cosine": COSINE}
EXACT = {
    "ddim": samplers.ddim,
    "ddim_1": lambda *a: samplers.ddim(*a, eta=1.0),
    "dpmpp_3m": lambda *a: samplers.dpm_solver(*a, order=3),
    "unipc_3": lambda *a: samplers.unipc(*a, order=3),
    "deis": samplers.deis,
    "heun": samplers.heun,
    "ancestral": samplers.ancestral,
    "flow_heun": samplers.flow_heun,
    "euler_maruyama": samplers.euler_maruyama,
}
QUICK = [("cosine", "dpmpp_3m")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method"),
    [pytest.param(n, m, marks=[] if (n, m) in QUICK else [pytest.mark.slow]) for n in PROCESSES for m in EXACT],
)
def test_float32_stays_with_float64_for_1000_steps(name: str, method: str) -> None:
    """Within 1e-4 of the state's size after the first and the last 20 steps of every grid, the noise being the same."""
    sde = PROCESSES[name]
    chosen = ["uniform", "quadratic", "log_snr", "karras", *(["trailing"] if sde.num_levels else [])]
    if name == "cosine":
        # Its beta of 0.999 changes alpha by 2e-4 within one rounding of a float32 t: the network could not know better,
        # and Euler-Maruyama, which takes its coefficients at that t, is 1e-3 off on grids in noise.
        chosen.remove("quadratic")
        if method == "euler_maruyama":
            chosen = ["uniform", "trailing"]
    times = {grid: grids.create(sde, grid, 999, max(sde.t_min, 1e-3), chain=1000) for grid in chosen}
    noise = np.asarray(jax.random.normal(jax.random.key(3), (2000, *START.shape)), np.float64)

    def path(dtype) -> dict[str, np.ndarray]:
        stepper = EXACT[method](sde, planar().score(sde))
        plans = {grid: stepper.plan(t) for grid, t in times.items()}
        stacked = jax.tree.map(lambda *a: jnp.asarray(np.stack(a), dtype), *[plan.rows for plan in plans.values()])
        x = jnp.asarray(sde.prior_std * START, dtype)
        z = jnp.asarray(noise[: len(jax.tree.leaves(stacked)[0][0])], dtype)

        def run(rows):
            def body(state, call):
                row, z = call
                with pytest.MonkeyPatch.context() as patch:
                    for module in ("linear", "ancestral", "euler_maruyama"):
                        module = importlib.import_module(f"samplers.{module}")
                        patch.setattr(module, "normal_like", lambda key, x: z)
                    state = stepper.step(KEY, state, *row)
                return state, state.x

            return jax.lax.scan(body, stepper.init(x), (rows, z))[1]

        states = np.asarray(compiled(jax.vmap(run))(stacked), np.float64)
        return {grid: states[i][plans[grid].ends] for i, grid in enumerate(plans)}

    single = path(jnp.float32)
    with jax.enable_x64(True):
        double = path(jnp.float64)
    for grid in chosen:
        size = np.sqrt(np.mean(double[grid] ** 2, axis=(1, 2)))
        error = np.abs(single[grid] - double[grid]).max(axis=(1, 2)) / size
        assert max(error[:20].max(), error[-20:].max()) < 1e-4, (grid, error[:20].max(), error[-20:].max())
