"""The processes of flow matching against recorded closed forms and SiT's code, whose time runs the other way."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from metrics.likelihood import log_likelihood
from samplers import sample, solve_flow, tweedie
from samplers.interpolant import DIFFUSIONS, interpolant_euler, interpolant_heun
from sde_lib import GVP, Flow, Plain
from tests.oracles import Mixture, compiled
from tests.samplers.recorded import noise
from tests.samplers.test_orders import slope, terminal_laws

FOLDER = Path(__file__).parents[1] / "reference" / "flow"
ANALYTIC, SIT = np.load(FOLDER / "analytic.npz"), np.load(FOLDER / "sit.npz")
PROBLEMS = json.loads((FOLDER / "analytic.json").read_text())["problems"]
RUNS = json.loads((FOLDER / "sit.json").read_text())["runs"]
PATHS = {"linear": Flow(), "gvp": GVP()}
KEY = jax.random.key(0)
every_path = pytest.mark.parametrize("path", PATHS)
every_problem = pytest.mark.parametrize("problem", PROBLEMS)


def mixture(problem: str) -> Mixture:
    """The data of a problem."""
    return Mixture(*(np.asarray(PROBLEMS[problem][name]) for name in ("weights", "means", "stds")))


@every_path
def test_coefficients(path: str, x64) -> None:
    sde, t = PATHS[path], 1.0 - jnp.asarray(ANALYTIC["t"])
    rates = sde.rates(t)
    for name, found in (
        ("alpha", sde.alpha(t)),
        ("sigma", sde.sigma(t)),
        ("d_alpha", -rates[0]),
        ("d_sigma", -rates[1]),
    ):
        np.testing.assert_allclose(found, ANALYTIC[f"{path}/{name}"], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@every_path
@every_problem
def test_predictions_of_mixtures(problem: str, path: str, x64) -> None:
    """Whatever a network predicts: the pair, the velocity, the score and the density."""
    sde, t, of = PATHS[path], 1.0 - jnp.asarray(ANALYTIC["t"]), f"{path}/{problem}"
    x = jnp.asarray(ANALYTIC[f"{of}/x_t"])
    velocity = -jnp.asarray(ANALYTIC[f"{of}/velocity"])
    data = mixture(problem)
    for predict in (data.predict(sde), Plain("velocity", "t").predict_fn(sde, lambda x, t: velocity)):
        found = predict(x, t)
        np.testing.assert_allclose(found.x0, ANALYTIC[f"{of}/data"], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.eps, ANALYTIC[f"{of}/noise"], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(sde.velocity(found.x0, found.eps, t), velocity, rtol=1e-9, atol=1e-9)
        inner = np.asarray(t) > 0.0
        np.testing.assert_allclose(
            predict.score_of(found, t)[inner], ANALYTIC[f"{of}/score"][inner], rtol=1e-9, atol=1e-9
        )
    np.testing.assert_allclose(
        data.log_density(x, sde.alpha(t), sde.sigma(t)), ANALYTIC[f"{of}/logp"], rtol=1e-9, atol=1e-9
    )


@every_path
@every_problem
def test_the_flow_and_eulers_method_end_where_they_do(problem: str, path: str, x64) -> None:
    sde, x0 = PATHS[path], jnp.asarray(ANALYTIC[f"ode/{problem}/x0"])
    predict = mixture(problem).predict(sde)
    half = compiled(lambda x: solve_flow(sde, predict, x, 1.0, 0.5, rtol=1e-10, atol=1e-10).x)(x0)
    np.testing.assert_allclose(half, ANALYTIC[f"ode/{problem}/{path}/t0.5"], atol=1e-7)
    euler = compiled(lambda x: sample(samplers.flow_euler(sde, predict), KEY, x, np.linspace(1.0, 0.0, 11)).x)(x0)
    np.testing.assert_allclose(euler, ANALYTIC[f"ode/{problem}/{path}/euler10"], rtol=1e-9, atol=1e-9)


@every_path
def test_the_likelihood_is_the_recorded_density(path: str, x64) -> None:
    """From t_min on, where the density is that of the data with the noise of t_min: 1e-3 nats of 6 numbers and less."""
    x1 = jnp.asarray(ANALYTIC["likelihood/gm6/x1"])
    predict = mixture("gm6").predict(PATHS[path])
    found = compiled(lambda x: log_likelihood(PATHS[path], predict, x, probe="exact", rtol=1e-8, atol=1e-8))(x1)
    np.testing.assert_allclose(found.nats, ANALYTIC["likelihood/gm6/logp"], atol=1e-3)


@pytest.mark.parametrize("scale", [1.0, 0.7])
@pytest.mark.parametrize("form", DIFFUSIONS)
def test_diffusions_are_sits(form: str, scale: float, x64) -> None:
    """Its bump is misspelt, and its SBDM is infinite where nothing of the data is left."""
    theirs = {"sbdm": "SBDM", "increasing-decreasing": "inccreasing-decreasing"}.get(form, form)
    for path, sde in (("Linear", Flow()), ("GVP", GVP())):
        t = 1.0 - jnp.asarray(SIT["t"])
        np.testing.assert_allclose(
            DIFFUSIONS[form](sde, t, scale), SIT[f"{path}/diffusion/{theirs}/norm{scale}"][:, 0], rtol=1e-9, atol=1e-12
        )


ENDS = {"Mean": {"noiseless_end": True}, "Tweedie": {}, None: {}}
SDE_RUNS = [  # Heun's method evaluates at a step's end, which must not be t = 0; the last step Euler is the flow's
    r
    for r in RUNS
    if "sde_" in r["key"]
    and (r["last_step"] == "Tweedie" or (r["sampling_method"] == "Euler" and r["last_step"] != "Euler"))
]


@pytest.mark.parametrize("run", SDE_RUNS, ids=[r["key"].removeprefix("sample/") for r in SDE_RUNS])
def test_stochastic_samplers_are_sits(run: dict, x64) -> None:
    """Its n points are n - 1 steps, to t = 0.04 before a last one and to 0 without, and its noise is recorded."""
    sde = {"Linear": Flow(), "GVP": GVP()}[run["key"].split("/")[1]]
    predict = mixture("gm2").predict(sde)
    make = {"Euler": interpolant_euler, "Heun": interpolant_heun}[run["sampling_method"]]
    stepper = make(sde, predict, diffusion=run["diffusion_form"].lower(), diffusion_scale=run["diffusion_norm"])
    times = np.linspace(1.0, run["last_step_size"] if run["last_step"] else 0.0, run["num_steps"])
    denoiser = tweedie(sde, predict) if run["last_step"] == "Tweedie" else None
    if run["last_step"] == "Mean":
        times = np.append(times, 0.0)
    z, steps = SIT["sample/z"], len(times) - 1
    with noise(SIT["sample/noise"][:steps]):
        found = sample(stepper, KEY, jnp.asarray(z), times, denoiser=denoiser, **ENDS[run["last_step"]]).x
    np.testing.assert_allclose(found, SIT[run["key"]], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", [interpolant_euler, interpolant_heun])
@pytest.mark.parametrize("form", ["sigma", pytest.param("sbdm", marks=pytest.mark.slow), "increasing-decreasing"])
def test_every_diffusion_has_the_marginals(make, form: str, x64) -> None:
    """Both moments of the end's law go to the exact ones with weak order 1, from t = 1 on."""
    steps, mean, std, sde, end = [50, 100, 200], 0.6, 0.4, Flow(), 0.2
    grids = [np.linspace(1.0, end, n + 1) for n in steps]
    found = terminal_laws(sde, make, {"diffusion": form}, mean, std, grids)
    errors = np.abs(np.array(found) - ((1 - end) * mean, ((1 - end) * std) ** 2 + end**2))
    for error in errors.T:
        assert error[-1] < 1e-10 or slope(steps, error) > 0.8, errors
    assert errors[-1].max() < 0.02
