"""Schedulers of diffusers as samplers, against that program's levels, noise and runs."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
import sde_lib
from samplers.methods import SOLVERS
from samplers.schedulers import SCHEDULERS, course
from sde_lib import Discrete, LinearBeta, TableBeta
from tests.oracles import compiled, gaussian
from tests.samplers.reference_solvers import At, Run, arrays, cases, mixture, some_or_all
from tests.samplers.test_reference_solvers import NOISE, check

PIPELINES = json.loads((Path(__file__).parents[1] / "reference" / "schedulers" / "pipelines.json").read_text())
RECORDED = [(folder, name) for folder, each in PIPELINES.items() for name in each["runs"]]
LINEAR = Discrete(schedule=TableBeta(tuple(LinearBeta().discrete_betas(1000))), t_min=1e-3)


def latent(beta_min: float = 0.85, beta_max: float = 12.0) -> sde_lib.AffineSDE:
    return sde_lib.create("discrete", schedule="sqrt_linear", n=1000, beta_min=beta_min, beta_max=beta_max)


@pytest.mark.parametrize(("folder", "name"), RECORDED)
def test_a_folder_s_json_gives_the_levels_and_the_noise_that_diffusers_takes(folder: str, name: str) -> None:
    run = PIPELINES[folder]["runs"][name]
    text = json.dumps(PIPELINES[folder]["scheduler_config"] | run["changed"])
    _, _, found = course(latent(), run["scheduler"], text, run["steps"])
    np.testing.assert_allclose(found.told, run["timesteps"], atol=1e-4)  # theirs are float32
    start = run["init_noise_sigma"]
    if run["sigmas"] is not None:
        np.testing.assert_allclose(found.noise, run["sigmas"], atol=1e-6 * max(run["sigmas"]))
        start = start if start == 1.0 else start / np.hypot(1.0, run["sigmas"][0])  # from VE's scale to that of x here
    np.testing.assert_allclose(found.start, start, rtol=1e-6)


ANALYTIC = [case for case in cases("diffusers") if case["scheduler"] in SCHEDULERS]


def built(case: dict) -> tuple:
    """The course of a recorded run, whose json says what its constructor was given."""
    return course(LINEAR, case["scheduler"], json.dumps(case["config"]), case["num_inference_steps"], **eta_of(case))


def eta_of(case: dict) -> dict[str, float]:
    """What the run passed on to each step."""
    return {name: value for name, value in case.get("step_kwargs", {}).items() if name == "eta"}


def test_levels_and_noise_are_those_of_the_analytic_runs() -> None:
    recorded = arrays("diffusers")
    assert len(ANALYTIC) > 100
    for case in ANALYTIC:
        _, _, found = built(case)
        told = recorded[case["timesteps"]]
        twice = case["scheduler"] == "HeunDiscreteScheduler"  # all but the first
        told = told[[0, *range(1, len(told), 2)]] if twice else told
        np.testing.assert_allclose(found.told, told, atol=1e-4, err_msg=case["id"])
        if "sigmas" in case:
            sigmas = recorded[case["sigmas"]]
            sigmas = np.append(sigmas[[0, *range(1, len(sigmas) - 1, 2)]], sigmas[-1]) if twice else sigmas
            np.testing.assert_allclose(found.noise, sigmas, rtol=2e-7, err_msg=case["id"])


@pytest.mark.slow
@some_or_all
def test_the_analytic_runs_are_met(every: int, x64) -> None:
    """Final samples of every class but PNDM, which was not recorded there, to 1e-9 of the samples in float64."""
    models, runs, chosen = {name: mixture(name).gradient for name in ("gm2", "gm16")}, [], ANALYTIC[::every]
    for case in chosen:
        process, times, found = built(case)
        score = At(models[case["problem"]])
        scale = float(process.sigma(jnp.ones(()))) if "space" in case else 1.0
        draws = None if case["deterministic"] else NOISE[f"step_noise/{case['problem']}"]
        stepper = found.solver(process, score)
        kind = "+".join((case["scheduler"], *map(str, case["config"].values())))
        runs.append(Run(process, stepper, score, kind, times, scale * NOISE[f"xT/{case['problem']}"], draws))
    check("diffusers", chosen, runs, 1e-9)


def test_a_network_is_told_the_scheduler_s_levels_and_read_at_its_noise() -> None:
    """On Karras' noise DPM-Solver tells the nearest level, whose own noise is another."""
    text = '{"use_karras_sigmas": true, "beta_schedule": "scaled_linear"}'
    process, times, found = course(latent(), "DPMSolverMultistepScheduler", text, 6)
    alpha, sigma = latent().levels(1000)
    own = (sigma / alpha)[found.told.astype(int)]
    assert np.abs(own / found.noise[:-1] - 1.0).max() > 0.001
    levels = sde_lib.NoiseLevels(process, 1000, exact=False)
    says_level = sde_lib.parameterization("eps", "index").predict_fn(levels, lambda x, c: x + c[:, None])
    said = says_level(jnp.zeros((6, 1)), jnp.asarray(times[:-1], jnp.float32))
    np.testing.assert_allclose(said.eps[:, 0], found.told, atol=1e-3)
    np.testing.assert_allclose(said.x0[:, 0], -found.noise[:-1] * found.told, rtol=1e-5)


def follow(name: str, steps: int, model, x: np.ndarray, **fields: object) -> list[np.ndarray]:
    """The states after each evaluation of a scheduler on the linear chain, of a model (x, level) -> eps, in float64."""
    process, times, found = course(LINEAR, name, json.dumps(fields), steps)

    def predict(x, t):
        level = process.level_position(t, 1000)
        return sde_lib.prediction.of_eps(process, x, t, model(x, level[:, None]))

    stepper = found.solver(process, sde_lib.PredictFn(process, predict))

    def path(x, rows):
        def body(state, row):
            state = stepper.step(jax.random.key(0), state, *row)
            return state, state.x

        return jax.lax.scan(body, stepper.init(x), rows)[1]

    return list(np.asarray(compiled(path)(jnp.asarray(x), stepper.plan(times).rows)))


def by_hand(told: list[int], eps, x: np.ndarray, steps: list[tuple[int, int, list[float]]]) -> list[np.ndarray]:
    """DDIM's steps with the mean of answers: for each evaluation where its step begins and ends, and all weights.

    A step begins at the state at which its own evaluation, or that of the first weight above 0, was made.
    """
    alpha_bar, states, answers, begun = np.cumprod(1.0 - LinearBeta().discrete_betas(1000)), [], [], {}
    for level, (source, target, weights) in zip(told, steps, strict=True):
        answers.append(eps(x, level))
        begun.setdefault(source, x)
        mean = sum(w * e for w, e in zip(weights, answers, strict=True))
        a, b = np.sqrt(alpha_bar[source]), np.sqrt(alpha_bar[target])
        x0 = (begun[source] - np.sqrt(1 - a**2) * mean) / a
        x = b * x0 + np.sqrt(1 - b**2) * mean
        states.append(x)
    return states


def test_pndm_takes_the_steps_of_the_paper(x64) -> None:
    """Runge-Kutta's weights 1, 2, 2, 1 over half a stride, then Adams-Bashforth's; or the first step twice (PLMS)."""
    x = np.random.default_rng(0).standard_normal((3, 2))

    def eps(x, level):
        return 0.3 * x + np.float64(level) / 2000

    third = [1 / 6, 1 / 3, 1 / 3, 1 / 6]
    told, steps = [], []
    for k, (first, last) in enumerate([(800, 600), (600, 400), (400, 200)]):
        middle, before = (first + last) // 2, [0.0] * 4 * k
        told += [first, middle, middle, last]
        steps += [(first, middle, [*before, 1.0]), (first, middle, [*before, 0.0, 1.0])]
        steps += [(first, last, [*before, 0.0, 0.0, 1.0]), (first, last, [*before, *third])]
    told, adams = [*told, 200, 0], [55 / 24, -59 / 24, 37 / 24, -9 / 24]
    each = np.zeros(13)
    each[[12, 8, 4, 0]] = adams
    steps += [(200, 0, list(each))]
    found = follow("PNDMScheduler", 5, lambda x, level: 0.3 * x + level / 2000, x)
    assert len(found) == 14
    for ours, theirs in zip(found, by_hand(told[:13], eps, x, steps), strict=False):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)  # the level is told in float32
    told = [801, 601, 601, 401, 201]
    steps = [(801, 601, [1.0]), (801, 601, [0.5, 0.5]), (601, 401, [-0.5, 0.0, 1.5])]
    steps += [(401, 201, [5 / 12, 0.0, -16 / 12, 23 / 12]), (201, 1, [-9 / 24, 0.0, 37 / 24, -59 / 24, 55 / 24])]
    found = follow("PNDMScheduler", 5, lambda x, level: 0.3 * x + level / 2000, x, skip_prk_steps=True, steps_offset=1)
    assert len(found) == 6
    begun = by_hand(told, eps, x, steps)
    for ours, theirs in zip(found, begun, strict=False):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_pndm_combines_what_the_network_predicts(x64) -> None:
    """A network that predicts v has its v combined: of one that says 0 at each point PLMS' step is x0 = alpha x."""
    process, times, found = course(LINEAR, "PNDMScheduler", '{"prediction_type": "v_prediction"}', 5)

    def predict(x, t):
        alpha, sigma = (c(t)[:, None] for c in (process.alpha, process.sigma))
        return sde_lib.Prediction(alpha * x, sigma * x)

    x = samplers.sample(
        found.solver(process, sde_lib.PredictFn(process, predict)), jax.random.key(0), jnp.ones((1, 1)), times
    ).x
    alpha_bar = np.cumprod(1.0 - LinearBeta().discrete_betas(1000))
    a, s = np.sqrt(alpha_bar), np.sqrt(1.0 - alpha_bar)
    expected = 1.0
    for t, u in ((800, 600), (600, 400), (400, 200), (200, 0), (0, 0)):
        expected *= a[u] * a[t] + s[u] * s[t]
    np.testing.assert_allclose(x[0, 0], expected, rtol=1e-6)


def test_ddim_cuts_x0_and_not_eps(x64) -> None:
    """With clip_sample the denoised point stays within 1, and the direction back is the network's own."""
    x = np.array([[2.0, -3.0]])
    (first, *_) = follow("DDIMScheduler", 2, lambda x, level: 0.1 * x, x)
    alpha_bar = np.cumprod(1.0 - LinearBeta().discrete_betas(1000))
    np.testing.assert_allclose(
        first, np.sqrt(alpha_bar[0]) * np.sign(x) + np.sqrt(1 - alpha_bar[0]) * 0.1 * x, atol=1e-9
    )


QUICK = ("DDIMScheduler", "HeunDiscreteScheduler")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SCHEDULERS]
)
def test_each_is_drawn_from_by_its_name(name: str) -> None:
    """A Gaussian's samples have its deviation; all that the samples depend on is among the settings used."""
    text = '{"beta_schedule": "scaled_linear", "clip_sample": false}'
    settings = samplers.Settings(method=name, steps=40, scheduler_config=text, threshold="clip")
    sde = latent()
    process = samplers.process_of(sde, settings)
    sampler = samplers.create(sde, gaussian(np.array([0.5]), 1.0).predict(process), settings)
    out = compiled(sampler)(jax.random.key(1), process.prior_sample(jax.random.key(0), (4000, 1)))
    # A standard error is 0.016. The chain ends with alpha 0.07, of which the prior knows nothing.
    assert abs(float(out.x.mean()) - 0.5) < 0.1
    assert abs(float(out.x.std()) - 1.0) < 0.12, "with ancestral noise of the small variance 40 steps lose a tenth"
    extra = {"HeunDiscreteScheduler": 39, "PNDMScheduler": 9}.get(name, 0)
    assert set(np.asarray(out.evaluations)) == {40 + extra}
    used = settings.used()
    assert used["scheduler_config"] == text and used["steps"] == 40 and ("eta" in used) == (name == "DDIMScheduler")
    assert not {"grid", "t_min", "denoise", "threshold", "discretization", "evaluations"} & used.keys()
    assert "scheduler_config" not in dataclasses.replace(settings, method="heun").used()


@pytest.mark.parametrize(
    ("name", "steps", "fields", "message"),
    [
        ("DDIMScheduler", 1001, {}, "1001 steps of a chain of 1000 levels; allowed are 1 to 1000"),
        ("DDIMScheduler", 1000, {"steps_offset": 1}, "steps_offset 1 and 1000 steps lead to level 1000 of a chain"),
        ("DDIMScheduler", 5, {"thresholding": True, "sample_max_value": 2.0}, "thresholding with sample_max_value 2.0"),
        ("DDIMScheduler", 5, {"timestep_spacing": "middle"}, "timestep_spacing is 'middle'; known are linspace"),
        ("DDIMScheduler", 5, {"num_train_timesteps": 400}, "num_train_timesteps is 400, and the chain has 1000"),
        ("PNDMScheduler", 3, {}, "3 steps with skip_prk_steps False"),
        ("PNDMScheduler", 5, {"prediction_type": "sample"}, "prediction_type is 'sample'; known are epsilon"),
        ("EulerDiscreteScheduler", 5, {"interpolation_type": "log_linear"}, "interpolation_type is 'log_linear'"),
        ("EulerDiscreteScheduler", 5, {"use_beta_sigmas": True}, "use_beta_sigmas True has no counterpart"),
        (
            "HeunDiscreteScheduler",
            5,
            {"use_karras_sigmas": True, "use_exponential_sigmas": True},
            "use_karras_sigmas and use_exponential_sigmas are True",
        ),
        ("DPMSolverMultistepScheduler", 5, {"algorithm_type": "dpmsolver"}, "'zero' is not for algorithm_type"),
        ("DPMSolverMultistepScheduler", 5, {"algorithm_type": "sde-dpmsolver"}, "algorithm_type is 'sde-dpmsolver'"),
        ("DPMSolverMultistepScheduler", 5, {"solver_order": 4}, "solver_order is 4; it must be"),
        ("UniPCMultistepScheduler", 5, {"solver_type": "bh1"}, "NaN in diffusers; write 'sigma_min'"),
        ("UniPCMultistepScheduler", 5, {"disable_corrector": [1]}, r"disable_corrector is \[1\]; the steps without"),
        ("UniPCMultistepScheduler", 5, {"use_flow_sigmas": True}, "use_flow_sigmas True"),
        ("UniPCMultistepScheduler", 5, {"solver_p": {"a": 1}}, "solver_p is"),
    ],
)
def test_what_has_no_counterpart_is_named(name: str, steps: int, fields: dict, message: str) -> None:
    settings = samplers.Settings(method=name, steps=steps, scheduler_config=json.dumps(fields))
    with pytest.raises(ValueError, match=message) as error:
        samplers.create(latent(), lambda x, t: x, settings)
    assert str(error.value).startswith(name) and "\n" not in str(error.value)


def test_ddim_steps_out_of_noise_as_it_does_just_below(x64) -> None:
    """From a last level with alpha 1e-7 in place of 0 the states are the same, also where 7 does not divide 1000."""
    shifted = sde_lib.create("discrete", schedule="sqrt_linear", beta_min=0.85, beta_max=12.0, zero_snr=True)
    betas = np.array(shifted.schedule.betas)
    assert betas[-1] == 1.0
    betas[-1] = 1.0 - (1e-7 / shifted.levels(1000)[0][-2]) ** 2
    fields = '{"timestep_spacing": "trailing", "prediction_type": "v_prediction", "clip_sample": false}'
    x, found = jax.random.normal(jax.random.key(0), (3, 2)), []
    for sde in (shifted, sde_lib.create("discrete", schedule="table", betas=tuple(betas))):
        process, times, made = course(sde, "DDIMScheduler", fields, 7, eta=0.3)
        levels = sde_lib.NoiseLevels(process, 1000, exact=False)
        said = lambda x, c: jnp.sin(x) + c[:, None] / 1000  # noqa: E731
        predict = sde_lib.parameterization("v", "index").predict_fn(levels, said)
        run = compiled(
            lambda x, made=made, times=times, predict=predict, process=process: (
                samplers.sample(made.solver(process, predict), jax.random.key(1), x, times, trajectory=True).trajectory
            )
        )
        found.append(np.asarray(run(x)))
    assert found[0].shape == (8, 3, 2)
    np.testing.assert_allclose(*found, atol=1e-6)


def test_a_text_that_is_no_json_of_fields_is_named() -> None:
    for text, message in (("", "has not kept"), ("{", "is no JSON"), ("[1]", r"is '\[1\]'; needed are fields by name")):
        settings = samplers.Settings(method="DDIMScheduler", steps=5, scheduler_config=text)
        with pytest.raises(ValueError, match=message):
            samplers.create(latent(), lambda x, t: x, settings)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_begun_halfway_it_takes_the_last_of_its_steps(name: str) -> None:
    """Of 8 the last int(8 * 0.7) = 5, told the same levels at the same noise."""
    _, times, whole = course(latent(), name, "{}", 8)
    _, some, found = course(latent(), name, "{}", 8, start=0.7)
    if name != "PNDMScheduler":  # which begins anew wherever it begins
        assert len(times) - len(some) == 3
        np.testing.assert_array_equal(found.told, whole.told[3:])
        np.testing.assert_array_equal(found.noise, whole.noise[3:])
    with pytest.raises(ValueError, match=f"{name}: of its 8 steps a share of 0.1 is less than one; raise"):
        course(latent(), name, "{}", 8, start=0.1)


def test_a_chain_without_signal_is_for_those_that_step_from_there() -> None:
    sde = sde_lib.create("discrete", schedule="sqrt_linear", beta_min=0.85, beta_max=12.0, zero_snr=True)
    fields = '{"timestep_spacing": "trailing", "prediction_type": "v_prediction"}'
    for name in ("PNDMScheduler", "HeunDiscreteScheduler"):
        with pytest.raises(ValueError, match=f"{name}: the chain's last level has no signal.*take DDIMScheduler"):
            course(sde, name, fields, 5)
    process, _, found = course(sde, "DDIMScheduler", fields, 5)
    assert found.noise[0] == np.inf and float(process.alpha(jnp.ones(()))) == 0.0
    assert float(process.sigma(jnp.ones(()))) == 1.0
    assert not SCHEDULERS.keys() & SOLVERS.keys()
