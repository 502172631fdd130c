"""k-diffusion, EDM, guided-diffusion and diffusers, run for run (arrays of tests/reference/samplers)."""

import dataclasses
import importlib
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from samplers import Stepper, sample, spacings
from samplers.classifier import classifier_guide
from samplers.dpm_solver_singlestep import orders_of
from samplers.threshold import thresholded
from sde_lib import EDM, VP, CosineBeta, Discrete, LinearBeta, TableBeta
from sde_lib.base import AffineSDE
from tests.oracles import Fixed, Mixture, compiled
from tests.samplers.reference_solvers import (
    PROBLEMS,
    At,
    Run,
    arrays,
    cases,
    final,
    guided,
    mixture,
    solve,
    some_or_all,
)

NOISE = arrays("noise")
KEY = jax.random.key(0)  # the noise is recorded


def models() -> dict:
    """One model a problem, so that runs of equal kind share a compiled scan."""
    return {name: mixture(name).gradient for name in PROBLEMS}


def check(name: str, chosen: list[dict], runs: list[Run], tolerance: float, scales: list[float] | None = None) -> None:
    """Final samples, evaluations, and trajectories where recorded; `scales` bring our samples to the reference's."""
    recorded = arrays(name)
    for case, run, path, scale in zip(chosen, runs, solve(runs), scales or [1.0] * len(runs), strict=True):
        error = np.abs(scale * path[-1] - final(name, case)).max()
        assert error < tolerance, (case["id"], error)
        assert len(path) == case.get("nfe", len(path)), case["id"]
        if "traj" in case and name == "k_diffusion":
            ends = path[run.stepper.plan(run.times).ends]
            np.testing.assert_allclose(ends, recorded[case["traj"]][1:], atol=tolerance, err_msg=case["id"])


def churn_of(options: dict | None) -> samplers.Churn:
    """EDM's four numbers."""
    numbers = [float(options[f"S_{name}"]) for name in ("churn", "min", "max", "noise")] if options else []
    return samplers.Churn(*numbers)


# --- k-diffusion: VE, sigma from 80 to 0.002 and 0 ---


def k_stepper(name: str, sde: AffineSDE, score: At, case: dict) -> tuple[Stepper, str]:
    """Our counterpart of a sampler of k-diffusion, and its prediction."""
    eta = case.get("eta", 0.0)
    churn = churn_of(case.get("churn"))
    multistep = {"order": 2, "eta": eta, "lower_order_final": 0}
    table = {
        r"euler(_churn)?": lambda: (samplers.euler(sde, score, churn=churn), "eps"),
        r"heun(_churn)?": lambda: (samplers.heun(sde, score, churn=churn), "eps"),
        r"dpm_2(_churn)?": lambda: (samplers.dpm_2(sde, score, churn=churn), "eps"),
        r"lms": lambda: (samplers.lms(sde, score), "eps"),
        r"dpm_fast": lambda: (samplers.dpm_solver_singlestep(sde, score, order=3, prediction="eps"), "eps"),
        r"euler_ancestral.*": lambda: (samplers.ddim(sde, score, eta=eta), "x0"),
        r"dpm_2_ancestral.*": lambda: (samplers.dpm_2(sde, score, eta=eta), "eps"),
        r"dpmpp_2s_ancestral.*": lambda: (samplers.dpm_solver_2s(sde, score, eta=eta), "x0"),
        r"dpmpp_2m|dpmpp_2m_sde(_midpoint)?_eta.*": lambda: (samplers.dpm_solver(sde, score, **multistep), "x0"),
        r"dpmpp_2m_sde_heun_eta.*": lambda: (samplers.dpm_solver(sde, score, taylor=True, **multistep), "x0"),
        r"dpmpp_3m_sde_eta.*": lambda: (
            samplers.dpm_solver(sde, score, **(multistep | {"order": 3}), taylor=True, published=True),
            "x0",
        ),
        r"dpmpp_sde_eta.*": lambda: (samplers.dpm_solver_sde(sde, score, eta=eta), "x0"),
    }
    return next(make for pattern, make in table.items() if re.fullmatch(pattern, name))()


def k_run(case: dict, score: At) -> Run:
    """A case of k-diffusion."""
    recorded, problem = arrays("k_diffusion"), case["problem"]
    sigmas = fast_grid(case["n"]) if case["sampler"] == "dpm_fast" else recorded[case["sigmas"]]
    sde = EDM(sigma_max=float(sigmas[0]), t_min=1e-6)
    stepper, prediction = k_stepper(case["id"].split("/")[0], sde, score, case)
    draws = None if case["deterministic"] else NOISE[f"step_noise/{problem}"]
    x = NOISE[f"xT/{problem}"] * sigmas[0]
    return Run(sde, stepper, score, prediction, sigmas / sigmas[0], x, draws, churned="churn" in case)


def fast_grid(n: int) -> np.ndarray:
    """dpm_fast's: n // 3 + 1 steps even in log sigma, of orders 3, ..., and each even in log sigma inside."""
    outer = np.linspace(np.log(80.0), np.log(0.002), n // 3 + 2)
    orders = orders_of(n, 3)
    inner = [
        np.linspace(*ends, order + 1)[:-1] for ends, order in zip(np.c_[outer[:-1], outer[1:]], orders, strict=True)
    ]
    return np.exp(np.append(np.concatenate(inner), outer[-1]))


@pytest.mark.slow
@some_or_all
def test_k_diffusion(every: int, x64) -> None:
    """298 runs of euler, heun, dpm_2, lms, dpm_fast and the dpmpp family, deterministic, ancestral, SDE and churned."""
    plain, chosen = models(), cases("k_diffusion")[::every]
    check("k_diffusion", chosen, [k_run(case, At(plain[case["problem"]])) for case in chosen], 1e-8)


# --- EDM ---


@dataclasses.dataclass(frozen=True)
class SqrtVE(AffineSDE):
    """EDM's form of VE: sigma = sigma_max sqrt(t)."""

    sigma_max: float = 100.0
    prior_std = 100.0

    def alpha(self, t):
        return jnp.ones_like(t)

    def sigma(self, t):
        return self.sigma_max * jnp.sqrt(t)

    def drift_coefficient(self, t):
        return jnp.zeros_like(t)

    def diffusion(self, t):
        return self.sigma_max * jnp.ones_like(t)

    def transition(self, s, t):
        raise NotImplementedError


class Unchecked(LinearBeta):
    """EDM's range from 80 to 0.002 at t = 1e-3 needs a beta_min of -0.005, which ours refuses."""

    def __post_init__(self) -> None:
        pass


def test_edm_heun(x64) -> None:
    """EDM's own sampler, with and without churn."""
    plain, runs = models(), []
    chosen = [case for case in cases("edm") if case["sampler"] == "edm_sampler"]
    for case in chosen:
        grid = arrays("edm")[f"t_steps/edm/N{case['num_steps']}"]
        sde, score = EDM(sigma_max=80.0, t_min=2.5e-5), At(plain[case["problem"]])
        churn = churn_of(case.get("churn"))
        draws = NOISE[f"step_noise/{case['problem']}"] if "churn" in case else None
        x = NOISE[f"xT/{case['problem']}"] * 80.0
        stepper = samplers.heun(sde, score, churn=churn)
        runs.append(Run(sde, stepper, score, "eps", grid / 80.0, x, draws, churned=True))
    check("edm", chosen, runs, 1e-8)


def ablation_process(case: dict, sigmas: np.ndarray) -> tuple[AffineSDE, np.ndarray, bool]:
    """The process of a setting, its grid without the step to data, and whether it steps in t rather than in rho."""
    if case["scaling"] == "none" and case["schedule"] == "linear":
        return EDM(sigma_max=float(sigmas[0]), t_min=1e-6), sigmas / sigmas[0], False
    if case["schedule"] == "ve":
        return SqrtVE(sigma_max=float(sigmas[0])), (sigmas / sigmas[0]) ** 2, True
    # VP with sigma(1) and sigma(1e-3) the two ends of the setting's range (Karras et al. 2022, App. C).
    low, high = (0.002, 80.0) if case["discretization"] == "edm" else (sigmas[-1], sigmas[0])
    beta_d = 2 * (np.log(low**2 + 1) / 1e-3 - np.log(high**2 + 1)) / (1e-3 - 1)
    beta_min = np.log(high**2 + 1) - 0.5 * beta_d
    exponent = np.log1p(sigmas**2)
    t = 2 * exponent / (np.sqrt(beta_min**2 + 2 * beta_d * exponent) + beta_min)
    return VP(Unchecked(beta_min, beta_min + beta_d)), t, True


@pytest.mark.slow
def test_edm_ablation(x64) -> None:
    """Five processes and discretisations by Euler and second-order steps (alpha 1 and 1/2), in the paper's own time."""
    for case in cases("edm"):
        if case["sampler"] != "ablation_sampler":
            continue
        calls = arrays("edm")[re.sub("heun_a.*?/", "euler_a1/", case["sigma_calls"])]
        sde, grid, in_t = ablation_process(case, calls)
        score = mixture(case["problem"]).score(sde)
        x = jnp.asarray(
            NOISE[f"xT/{case['problem']}"] * calls[0] * (grid[0] and float(sde.alpha(jnp.asarray(grid[0]))))
        )
        heun = case["solver"] == "heun"
        if in_t:
            last = samplers.flow_euler(sde, score)
            first = samplers.flow_heun(sde, score, place=float(case["alpha"])) if heun else last
            run = lambda x, times: sample(first, KEY, x, times).x  # noqa: E731, B023
            x = compiled(run)(x, grid)
            out = compiled(lambda x: last.step(KEY, last.init(x), jnp.asarray(grid[-1]), jnp.zeros(())).x)(x)  # noqa: B023
        else:
            stepper = samplers.heun(sde, score, place=float(case["alpha"])) if heun else samplers.euler(sde, score)
            out = compiled(lambda x: sample(stepper, KEY, x, np.append(grid, 0.0)).x)(x)  # noqa: B023
        error = np.abs(out - final("edm", case)).max()
        # The reference adds noise of variance sigma(sigma_inv(sigma))^2 - sigma^2: 0 but for rounding, 1e-8 sigma.
        tolerance = 3e-7 if case["schedule"] == "vp" else 1e-8
        assert error < tolerance, (case["id"], error)


# --- guided-diffusion: VP chains, respaced ---

CHAINS = {
    name: Discrete(schedule=TableBeta(tuple(schedule().discrete_betas(1000))), t_min=1e-3)
    for name, schedule in (("linear", LinearBeta), ("cosine", CosineBeta))
}


def kept(case: dict) -> np.ndarray:
    """The levels that a respaced chain keeps, rising."""
    return spacings.create(case["respacing"], spacings.count_of(case["respacing"]), case["T"])


@pytest.mark.slow
def test_guided_diffusion_ddim(x64) -> None:
    """DDIM for eta 0, 1/2 and 1 on six spacings of two chains, clipped, guided, of an x0 network, and reversed."""
    plain, clipped, runs = models(), {}, []
    for name in PROBLEMS:
        model = lambda *c, name=name: thresholded(Fixed(*c), lambda x, t: plain[name](x, *c), "clip")  # noqa: E731
        clipped[name] = lambda x, *c, model=model: model(*c).score(x, jnp.zeros(len(x)))
    chosen = [c for c in cases("guided_diffusion") if c["mode"] != "ancestral"]
    for case in chosen:
        problem, sde, eta = case["problem"], CHAINS[case["schedule"]], case["eta"]
        score = At((clipped if case.get("clip_denoised") else plain)[problem])
        if "classifier_guidance" in case:
            score = At(guided(problem, **case["classifier_guidance"]))
        levels, x = (kept(case) + 1) / 1000, NOISE[f"xT/{problem}"]
        if case["mode"] == "ddim_reverse":
            times, x = levels, arrays("ground_truth")[f"ve/sigma80/{problem}"]
        else:
            times = np.append(levels[::-1], 0.0)
        draws = NOISE[f"step_noise/{problem}"] if eta else None
        runs.append(Run(sde, samplers.ddim(sde, score, eta=eta), score, "x0", times, x, draws))
    for case, path in zip(chosen, solve(runs), strict=True):
        exact = final("guided_diffusion", case)
        end = path[-1]
        if case["mode"] == "ddim_reverse":  # the reference goes on, from the noisiest level to alpha = 0, which is eps
            last = jnp.asarray((kept(case)[-1] + 1) / 1000)
            sigma = CHAINS[case["schedule"]].sigma(last)
            end = -sigma * plain[case["problem"]](jnp.asarray(end), CHAINS[case["schedule"]].alpha(last), sigma)
            if "traj" in case:
                states = arrays("guided_diffusion")[case["traj"]]
                np.testing.assert_allclose(path, states[:-1], rtol=0, atol=1e-9, err_msg=case["id"])
        assert np.abs(end - exact).max() < 1e-9, case["id"]
        assert len(path) == case["nfe"] - (case["mode"] == "ddim_reverse")


def guide_of(case: dict, sde: AffineSDE) -> Callable | None:
    """The gradient of log p(component | x_t) by our guide; None without one."""
    if "classifier_guidance" not in case:
        return None
    data, k = mixture(case["problem"]), case["classifier_guidance"]["component"]
    alone = Mixture(np.ones(1), data.means[k : k + 1], data.stds[k : k + 1])

    def log_prob(x, t):
        level = sde.alpha(t), sde.sigma(t)
        return alone.log_density(x, *level) - data.log_density(x, *level)  # but for log w_k

    return classifier_guide(sde, log_prob, case["classifier_guidance"]["scale"])


def ancestral_end(stepper: Stepper, x: np.ndarray, times: np.ndarray, problem: str) -> np.ndarray:
    """Down the grid with the recorded noise, the last step's left out."""
    z = NOISE[f"step_noise/{problem}"][: len(times) - 1]

    def path(x, z, rows):
        def body(state, call):
            z, row = call
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(importlib.import_module("samplers.ancestral"), "normal_like", lambda key, x: z)
                return stepper.step(KEY, state, *row), None

        return jax.lax.scan(body, stepper.init(x), (z, rows))[0].mean

    return np.asarray(compiled(path)(x, z, stepper.plan(times).rows))


@pytest.mark.slow
@pytest.mark.parametrize("schedule", CHAINS)
def test_guided_diffusion_ancestral(schedule: str, x64) -> None:
    """Small, large and learned variances, clipped and not, guided by a classifier, on 10 and 50 of 1000 levels."""
    sde = CHAINS[schedule]
    for case in cases("guided_diffusion"):
        if case["mode"] != "ancestral" or case["schedule"] != schedule:
            continue
        rule = "clip" if case.get("clip_denoised") else "none"
        model = thresholded(sde, mixture(case["problem"]).score(sde), rule)
        variance = {"FIXED_SMALL": "small", "FIXED_LARGE": "large", "LEARNED_RANGE": "learned_range"}
        variance = variance[case["model_var_type"]]
        both = lambda x, t, model=model: model(x, t)._replace(variance=0.5 * jnp.cos(2 * x))  # noqa: E731
        stepper = samplers.ancestral(sde, both, variance=variance, guide=guide_of(case, sde))
        times = np.append((kept(case)[::-1] + 1) / 1000, 0.0)
        found = ancestral_end(stepper, NOISE[f"xT/{case['problem']}"], times, case["problem"])
        assert np.abs(found - final("guided_diffusion", case)).max() < 1e-9, case["id"]


# --- diffusers: VP-scaled and VE-scaled schedulers on its own sigmas ---


def diffusers_stepper(case: dict, sde: AffineSDE, score: At) -> tuple[Stepper, str]:
    """Our counterpart of a scheduler, and its prediction."""
    config = case["config"]
    order = config.get("solver_order", 2)
    noise = config.get("algorithm_type", "dpmsolver++") == "dpmsolver" or config.get("predict_x0") is False
    prediction = "eps" if noise else "x0"
    if case["scheduler"] == "DPMSolverMultistepScheduler":
        eta = 1.0 if config.get("algorithm_type", "").startswith("sde") else 0.0
        options = {
            "prediction": prediction,
            "eta": eta,
            "taylor": config.get("solver_type") == "heun",
            "published": True,
        }
        return samplers.dpm_solver(sde, score, order=order, lower_order_final=15, **options), prediction
    if case["scheduler"] == "DPMSolverSinglestepScheduler":
        return samplers.dpm_solver_singlestep(sde, score, order=order, phi_inside=False), "x0"
    if case["scheduler"] == "UniPCMultistepScheduler":
        uncorrected = len(config.get("disable_corrector", ()))
        options = {"variant": config["solver_type"], "prediction": prediction, "uncorrected": uncorrected}
        return samplers.unipc(sde, score, order=order, **options), prediction
    return {
        "DEISMultistepScheduler": lambda: (samplers.deis(sde, score), "eps"),
        "EulerDiscreteScheduler": lambda: (samplers.euler(sde, score), "eps"),
        "HeunDiscreteScheduler": lambda: (samplers.heun(sde, score), "eps"),
        "LMSDiscreteScheduler": lambda: (samplers.lms(sde, score), "eps"),
        "EulerAncestralDiscreteScheduler": lambda: (samplers.ddim(sde, score, eta=1.0), "x0"),
    }[case["scheduler"]]()


@pytest.mark.slow
@some_or_all
def test_diffusers_sigma_schedulers(every: int, x64) -> None:
    """DPM-Solver multistep and singlestep, UniPC, DEIS, Euler, Heun, LMS: in y = x / alpha all are VE runs."""
    plain, runs, scales = models(), [], []
    chosen = [case for case in cases("diffusers") if "sigmas" in case][::every]
    for case in chosen:
        sigmas, problem = arrays("diffusers")[case["sigmas"]], case["problem"]
        sigmas = np.array([a for i, a in enumerate(sigmas) if i == 0 or a != sigmas[i - 1]])  # Heun's come twice
        variance_preserving = "space" not in case
        sde, score = EDM(sigma_max=float(sigmas[0]), t_min=1e-6), At(plain[problem])
        stepper, prediction = diffusers_stepper(case, sde, score)
        x = NOISE[f"xT/{problem}"] * (np.hypot(1.0, sigmas[0]) if variance_preserving else sigmas[0])
        draws = None if case["deterministic"] else NOISE[f"step_noise/{problem}"]
        runs.append(Run(sde, stepper, score, prediction, sigmas / sigmas[0], x, draws))
        scales.append(1.0 / np.hypot(1.0, sigmas[-1]) if variance_preserving else 1.0)
    check("diffusers", chosen, runs, 1e-9, scales)


@pytest.mark.slow
@some_or_all
def test_diffusers_ddim_and_ddpm(every: int, x64) -> None:
    """DDIM on leading, trailing and linspace levels, ending at data or at level 0; DDPM with the small variance.

    On linspace levels diffusers steps to t - T / N, which is not where it evaluates next: step by step ours agrees.
    """
    sde, plain, runs = CHAINS["linear"], models(), []
    chosen = [c for c in cases("diffusers") if c["scheduler"] == "DDIMScheduler" or "fixed_small" in c["id"]][::every]
    for case in chosen:
        levels = arrays("diffusers")[case["timesteps"]]
        end = 0.0 if case["config"].get("set_alpha_to_one", True) else 1e-3
        eta = case.get("step_kwargs", {}).get("eta", float(case["scheduler"] == "DDPMScheduler"))
        score, draws = At(plain[case["problem"]]), NOISE[f"step_noise/{case['problem']}"] if eta else None
        ends = levels - 1000 // len(levels)
        times = np.append((levels + 1) / 1000, end)
        if "linspace" in case["id"]:
            times = [np.array([t, (s + 1) / 1000 if s >= 0 else end]) for t, s in zip(times, ends, strict=False)]
        stepper = samplers.ddim(sde, score, eta=eta)
        runs.append(Run(sde, stepper, score, "x0", times, NOISE[f"xT/{case['problem']}"], draws))
    check("diffusers", chosen, runs, 1e-9)


@pytest.mark.slow
def test_diffusers_ddpm_with_the_large_variance(x64) -> None:
    """Noise of beta on respaced levels."""
    sde = CHAINS["linear"]
    chosen = [case for case in cases("diffusers") if "fixed_large" in case["id"]]
    assert len(chosen) == 6
    for case in chosen:
        times = np.append((arrays("diffusers")[case["timesteps"]] + 1) / 1000, 0.0)
        stepper = samplers.ancestral(sde, mixture(case["problem"]).score(sde), variance="large")
        found = ancestral_end(stepper, NOISE[f"xT/{case['problem']}"], times, case["problem"])
        assert np.abs(found - final("diffusers", case)).max() < 1e-9, case["id"]
