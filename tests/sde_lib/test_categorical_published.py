"""Chains over categories against the recorded numbers of D3PM, MDLM, SEDD and discrete flow matching, in float64."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_lib.categorical import CategoricalProcess, Replacing
from sde_lib.categorical_bound import flow_nats, masked_nats, prior_nats, score_entropy_nats, step_nats
from sde_lib.categorical_chain import Neighbours
from sde_lib.categorical_prediction import BeliefFn
from sde_lib.categorical_schedules import (
    Cosine,
    FlowPolynomial,
    Geometric,
    KeepSchedule,
    Linear,
    LinearNoise,
    TableKeep,
    chain_betas,
)
from sde_lib.variational import bits
from tests.chains import slow_but

REFERENCE = Path(__file__).parents[1] / "reference" / "categorical"
D3PM = dict(np.load(REFERENCE / "d3pm.npz"))
LEVELS = dict(np.load(REFERENCE / "levels256.npz"))
MASKED = dict(np.load(REFERENCE / "masked.npz"))
FLOW = dict(np.load(REFERENCE / "discrete.npz"))
EPS = 1e-6
CASES = ("uniform", "uniform_linear", "banded", "absorbing", "gaussian", "gaussian_banded")
LINEAR = Linear(eps=1e-3)

pytestmark = pytest.mark.usefixtures("x64")


def chain(case: str, betas: np.ndarray, categories: int, bands: int | None = None) -> CategoricalProcess:
    """The published chain of a case, with the published absorbing state and spacing."""
    given = tuple(float(beta) for beta in betas)
    if case == "absorbing":
        return Replacing(categories, TableKeep(given), absorbing=categories // 2, levels=len(given))
    if case.startswith("uniform"):
        return Replacing(categories, TableKeep(given), levels=len(given))
    kernel = "banded" if case == "banded" else "gaussian"
    return Neighbours(categories, given, kernel, bands, published_spacing=case != "gaussian_paper")


def of_case(case: str) -> CategoricalProcess:
    bands = {"banded": 3, "gaussian_banded": 4}.get(case)
    return chain(case, D3PM[f"{case}/betas"], 16, bands)


def close(actual: Any, desired: Any, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    np.testing.assert_allclose(np.asarray(actual), np.asarray(desired), rtol=rtol, atol=atol)


def all_rows(process: CategoricalProcess, t: float) -> jax.Array:
    """Q(0, t)."""
    return process.marginal(jnp.arange(process.categories)[None], jnp.full(1, t))[0]


def all_columns(process: CategoricalProcess, s: float, t: float) -> jax.Array:
    """Q(s, t), made of its columns."""
    return process.onto(jnp.arange(process.states)[None], jnp.full(1, s), jnp.full(1, t))[0].T


@pytest.mark.parametrize("name", ["linear", "cosine", "jsd"])
def test_betas(name: str) -> None:
    for n in (8, 1000):
        close(chain_betas(name, n, *((1e-4, 0.02) if name == "linear" else ())), D3PM[f"betas/{name}/{n}"])


@pytest.mark.parametrize("case", slow_but(["gaussian"], [*CASES, "gaussian_paper"]))
def test_matrices(case: str) -> None:
    process = of_case(case)
    for i in range(8):
        close(all_columns(process, i / 8, (i + 1) / 8), D3PM[f"{case}/q_onestep"][i])
        close(all_rows(process, (i + 1) / 8), D3PM[f"{case}/q_mats"][i])
        # The same product by its two other doors.
        weights = process.from_data(jnp.eye(16)[None], jnp.full(1, (i + 1) / 8))[0]
        likelihood = process.likelihood(jnp.arange(16)[None], jnp.full(1, (i + 1) / 8))[0].T
        close(weights, D3PM[f"{case}/q_mats"][i])
        close(likelihood, D3PM[f"{case}/q_mats"][i])


@pytest.mark.slow
@pytest.mark.parametrize("case", ["gaussian", "uniform", "absorbing", "banded"])
def test_matrices_of_256_levels(case: str) -> None:
    process = chain(case, LEVELS[f"{case}/betas"], 256, 16 if case == "banded" else None)
    rows = LEVELS["rows"]
    for step, onestep, product in zip(
        LEVELS["steps"], LEVELS[f"{case}/q_onestep"], LEVELS[f"{case}/q_mats"], strict=True
    ):
        close(all_columns(process, step / 10, (step + 1) / 10)[rows], onestep)
        close(all_rows(process, (step + 1) / 10)[rows], product)


def model_logits(x: jax.Array, t: jax.Array, n: int = 8) -> jax.Array:
    """The recorded model, of the number of the level t n - 1."""
    level = jnp.round(t * n - 1.0) / n
    time = level.reshape(-1, 1, 1, 1, 1) * D3PM["model/time"]
    return jnp.asarray(D3PM["model/table"])[x] + D3PM["model/bias"] + time


def categories(array: np.ndarray) -> jax.Array:
    return jnp.asarray(array, jnp.int32)


def gumbel(uniform: np.ndarray) -> np.ndarray:
    return -np.log(-np.log(np.clip(uniform, np.finfo(np.float64).tiny, 1.0)))


@pytest.mark.parametrize("case", slow_but(["absorbing"], CASES))
def test_steps_and_bound(case: str) -> None:
    process, x0 = of_case(case), categories(D3PM["x_start"])
    t = (jnp.asarray(D3PM["t"]) + 1.0) / 8
    s = t - 1.0 / 8
    marginal = process.marginal(x0, t)
    close(marginal, D3PM[f"{case}/q_probs"])
    x = categories(np.argmax(np.log(np.asarray(marginal) + EPS) + gumbel(D3PM["uniform"]), axis=-1))
    np.testing.assert_array_equal(x, D3PM[f"{case}/x_t"])

    noisy = np.asarray(D3PM["t"]) > 0
    posterior = process.posterior_logits(x0, x, s, t, EPS)
    close(posterior[noisy], D3PM[f"{case}/q_posterior_logits"][noisy])
    exact = jax.nn.softmax(process.posterior_logits(x0, x, s, t), axis=-1)
    close(exact[noisy], D3PM[f"{case}/posterior_exact"][noisy])

    belief = BeliefFn(process, model_logits, "published")(x, t)
    close(process.reverse_logits(belief.evidence, x, s, t, EPS)[noisy], D3PM[f"{case}/p_logits"][noisy])
    vb = bits(step_nats(process, belief, x0, x, s, t, EPS))
    close(vb, D3PM[f"{case}/vb_bpd"])
    ce = bits(-jnp.take_along_axis(belief.said, x0[..., None], axis=-1)[..., 0])
    close(ce, D3PM[f"{case}/cross_entropy_bpd"])
    close(vb + 0.001 * ce, D3PM[f"{case}/hybrid"])
    close(bits(prior_nats(process, x0, EPS)), D3PM[f"{case}/prior_bpd"])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_gradient_of_the_hybrid_loss(case: str) -> None:
    process, x0, x = of_case(case), categories(D3PM["x_start"]), categories(D3PM[f"{case}/x_t"])
    t = (jnp.asarray(D3PM["t"]) + 1.0) / 8

    def loss(table: jax.Array) -> jax.Array:
        def model(x: jax.Array, t: jax.Array) -> jax.Array:
            return model_logits(x, t) + table[x] - jax.lax.stop_gradient(table)[x]

        belief = BeliefFn(process, model, "published")(x, t)
        ce = bits(-jnp.take_along_axis(belief.said, x0[..., None], axis=-1)[..., 0])
        return jnp.mean(bits(step_nats(process, belief, x0, x, t - 1.0 / 8, t, EPS)) + 0.001 * ce)

    close(jax.grad(loss)(jnp.asarray(D3PM["model/table"])), D3PM[f"{case}/grad_table"], 1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_all_terms(case: str) -> None:
    process, x0 = of_case(case), categories(D3PM["x_start"])
    uniforms = D3PM[f"{case}/chain/uniform"]
    predict = BeliefFn(process, model_logits, "published")
    for k in range(8):
        t = jnp.full(3, (k + 1) / 8)
        noise = uniforms[k][[0, 1, 0]]
        x = categories(np.argmax(np.log(np.asarray(process.marginal(x0, t)) + EPS) + gumbel(noise), axis=-1))
        close(bits(step_nats(process, predict(x, t), x0, x, t - 1.0 / 8, t, EPS)), D3PM[f"{case}/vb_all_bpd"][:, k])


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("loglinear", LINEAR),
        ("cosine", Cosine(eps=1e-3)),
        ("cosinesqr", Cosine(eps=1e-3, squared=True)),
        ("geometric", Geometric(1e-3, 1.0)),
        ("linear", LinearNoise(0.0, 10.0)),
    ],
)
def test_schedules(name: str, schedule: KeepSchedule) -> None:
    t = jnp.asarray(MASKED["t"])
    close(-jnp.log(schedule.alpha(t)), MASKED[f"noise/{name}/total"])
    close(schedule.rate(t) / schedule.alpha(t), MASKED[f"noise/{name}/rate"])
    close(1.0 - schedule.alpha(t), schedule.lost(t))
    close(schedule.time_of_lost(schedule.lost(t)), t)


def masked_model(x: jax.Array, sigma: jax.Array) -> jax.Array:
    """The recorded model of seven tokens, the last the mask."""
    return jnp.asarray(MASKED["model/table"])[x] + MASKED["model/bias"] + sigma.reshape(-1, 1, 1) * MASKED["model/time"]


def told(case: str) -> jax.Array:
    return jnp.asarray(MASKED[f"mdlm/{case}/conditioning_sigma"])


MDLM = {
    "subs_continuous": 0,
    "subs_continuous_time_conditioned": 0,
    "subs_no_antithetic": 0,
    "subs_T1000": 1000,
    "subs_T8": 8,
}
TIME_CONDITIONED = ("subs_continuous_time_conditioned",)


@pytest.mark.parametrize("case", slow_but(["subs_T8"], MDLM))
def test_masked_bound(case: str) -> None:
    process, x0 = Replacing(6, LINEAR, absorbing=6), categories(MASKED["x0"])
    x, t, steps = categories(MASKED[f"mdlm/{case}/x_t"]), jnp.asarray(MASKED[f"mdlm/{case}/t_used"]), MDLM[case]
    masked = MASKED["uniform_mask"] < np.asarray(process.lost(t))[:, None]
    np.testing.assert_array_equal(np.where(masked, 6, x0), x)
    sigma = told(case) if case in TIME_CONDITIONED else jnp.zeros(6)

    belief = BeliefFn(process, lambda x, t: masked_model(x, sigma)[..., :6])(x, t)
    if f"mdlm/{case}/log_model_output" in MASKED:
        recorded = MASKED[f"mdlm/{case}/log_model_output"]
        close(belief.x0[np.asarray(x) == 6], recorded[np.asarray(x) == 6][:, :6])
        seen = np.asarray(x) != 6
        np.testing.assert_array_equal(np.argmax(belief.x0[seen], axis=-1), np.asarray(x)[seen])
    if steps:
        # The published chain of T steps keeps 1 - t, and cuts t off at 0.9999.
        chain, late = Replacing(6, Linear(), absorbing=6), jnp.minimum(t, 0.9999)
        terms = steps * step_nats(chain, belief, x0, x, late - 1.0 / steps, late)
    else:
        terms = masked_nats(process, belief, x0, x, t)
    close(terms, MASKED[f"mdlm/{case}/loss"])


@pytest.mark.slow
def test_masked_bound_with_uniform_weights() -> None:
    """Times at which log(1 - alpha) is uniform; the published weight leaves out what is kept at t = 1."""
    process, x0 = Replacing(6, LINEAR, absorbing=6), categories(MASKED["x0"])
    t = jnp.asarray(MASKED["t"])
    ends = np.log(-np.expm1(-np.array([1e-3, -np.log(1e-3)])))  # log(1 - alpha) at the published sigma_min, sigma_max
    times = process.schedule.time_of_lost(jnp.exp(ends[0] + t * (ends[1] - ends[0])))
    close(times, MASKED["noise/loglinear/importance_t"])
    for case in ("subs_importance", "subs_change_of_variables"):
        # The latter is told u of alpha(t) and masks as at t; the model of both is told nothing.
        x, used = categories(MASKED[f"mdlm/{case}/x_t"]), times
        belief = BeliefFn(process, lambda x, t: masked_model(x, jnp.zeros(6))[..., :6])(x, used)
        uniform = masked_nats(process, belief, x0, x, used) / process.denoising_rate(used)[:, None]
        close(uniform * -ends[0], MASKED[f"mdlm/{case}/loss"])


@pytest.mark.slow
@pytest.mark.parametrize("case", ["d3pm_T8", "d3pm_T8_subs_masking"])
def test_masked_bound_of_a_model_that_may_say_the_mask(case: str) -> None:
    """MDLM's D3PM: the mask is one of seven categories of the data, the published absorbing state."""
    process, x0 = Replacing(7, Linear(), absorbing=6), categories(MASKED["x0"])
    times = MASKED[f"mdlm/{case}/t_used"]
    x = jnp.where(MASKED["uniform_mask"] < 0.999 * times[:, None], 6, x0)  # "x_t" is of the pass at t = 0
    t = jnp.minimum(jnp.asarray(times), 0.9999)

    def model(x: jax.Array, t: jax.Array) -> jax.Array:
        logits = masked_model(x, jnp.zeros(6))
        return logits.at[..., 6].add(-1e6) if case.endswith("subs_masking") else logits

    belief = BeliefFn(process, model, "evidence")(x, t)
    terms = jnp.where(x == 6, 8 * step_nats(process, belief, x0, x, t - 0.125, t), 0.0)
    decoder = -jnp.take_along_axis(jax.nn.log_softmax(model(x0, t), axis=-1), x0[..., None], axis=-1)[..., 0]
    close(terms + decoder, MASKED[f"mdlm/{case}/loss"], 1e-8)


@pytest.mark.slow
def test_score_entropy_of_mdlm() -> None:
    process, x0 = Replacing(6, LINEAR, absorbing=6), categories(MASKED["x0"])
    x, t = categories(MASKED["mdlm/sedd/x_t"]), jnp.asarray(MASKED["mdlm/sedd/t_used"])
    scores = jnp.asarray(MASKED["mdlm/sedd/log_model_output"])
    close(score_entropy_nats(process, scores, x0, x, t), MASKED["mdlm/sedd/loss"])


@pytest.mark.parametrize("noise", slow_but(["geometric"], ["loglinear", "geometric"]))
@pytest.mark.parametrize("graph", ["absorb", "uniform"])
def test_score_entropy(graph: str, noise: str) -> None:
    schedule = LINEAR if noise == "loglinear" else Geometric(1e-3, 1.0)
    process = Replacing(6, schedule, absorbing=6) if graph == "absorb" else Replacing(7, schedule)
    case, x0, t = f"sedd/{graph}/{noise}", categories(MASKED["x0"]), jnp.asarray(MASKED["t"])
    x, sigma = categories(MASKED[f"{case}/x_t"]), jnp.asarray(MASKED[f"{case}/sigma"])
    logits = masked_model(x, sigma)
    scores = jnp.where(x[..., None] == jnp.arange(7), 0.0, logits)
    close(-jnp.log(schedule.alpha(t)), sigma)
    rate = schedule.rate(t) / schedule.alpha(t)
    close(rate, MASKED[f"{case}/dsigma"])
    entropy = score_entropy_nats(process, scores, x0, x, t)
    close(entropy / rate[:, None], MASKED[f"{case}/score_entropy"], 1e-8)
    close(jnp.sum(entropy, axis=1), MASKED[f"{case}/loss"], 1e-8)

    exponential = dataclasses.replace(process, schedule=LinearNoise(0.0, 10.0))  # whose total noise is 10 t
    columns = exponential.onto(x, jnp.zeros_like(t), sigma / 10.0)
    close(columns, MASKED[f"{case}/transition_transposed"], atol=1e-10)
    earlier = exponential.earlier_ratios(jnp.exp(scores), jnp.zeros_like(t), jnp.full_like(t, 0.005))
    close(earlier, MASKED[f"{case}/staggered"])
    model = BeliefFn(process, lambda x, t: scores, "ratios")
    rates = model.rates(x, t) / rate[:, None, None]
    others = np.asarray(x)[..., None] != np.arange(7)
    close(rates[others], MASKED[f"{case}/reverse_rate"][others])


@pytest.mark.parametrize("power", slow_but([2.0], [1.0, 2.0, 3.0]))
def test_discrete_flow(power: float) -> None:
    """Their time runs from noise to data."""
    process, t = Replacing(5, FlowPolynomial(power)), 1.0 - jnp.asarray(FLOW["t"])
    data, x = categories(FLOW["x_1"]), categories(FLOW[f"poly{power}/x_t"])
    lost = np.asarray(process.lost(t))[:, None]
    np.testing.assert_array_equal(np.where(FLOW["u"] < lost, FLOW["x_0"], FLOW["x_1"]), x)
    belief = BeliefFn(process, lambda x, t: jnp.asarray(FLOW["logits"]))(x, t)
    velocity = process.denoising_rate(t)[:, None, None] * (jnp.exp(belief.x0) - jax.nn.one_hot(x, 5))
    close(velocity, FLOW[f"poly{power}/velocity"])
    terms = flow_nats(process, belief, data, x, t)
    close(terms, FLOW[f"poly{power}/generalized_kl"])
    close(jnp.mean(terms), FLOW[f"poly{power}/generalized_kl_mean"])
