"""Steps and samplers over categories against recorded ones, with the recorded uniform numbers, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplers.categorical import flow_rates
from sde_lib.categorical import Replacing
from sde_lib.categorical_prediction import BeliefFn
from sde_lib.categorical_schedules import FlowPolynomial
from tests.sde_lib.test_categorical_published import (
    CASES,
    D3PM,
    EPS,
    FLOW,
    LINEAR,
    MASKED,
    categories,
    gumbel,
    masked_model,
    model_logits,
    of_case,
)

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.slow]


def published_draw(probabilities: jax.Array, uniform: np.ndarray) -> np.ndarray:
    """MDLM's and SEDD's: argmax p / (1e-10 - log(u + 1e-10))."""
    return np.argmax(np.asarray(probabilities) / (1e-10 - np.log(uniform + 1e-10)), axis=-1)


def inverse_draw(probabilities: jax.Array, uniform: np.ndarray) -> np.ndarray:
    """The recorded draws of discrete flow: the number of cumulative probabilities that u times their sum has passed."""
    cumulative = np.cumsum(np.asarray(probabilities), axis=-1)
    return np.sum(cumulative <= uniform[..., None] * cumulative[..., -1:], axis=-1)


@pytest.mark.parametrize("case", CASES)
def test_d3pm_chain(case: str) -> None:
    belief, states = BeliefFn(of_case(case), model_logits, "published"), D3PM[f"{case}/chain/states"]
    for i, uniform in enumerate(D3PM[f"{case}/chain/uniform"]):
        level = 7 - i
        t = jnp.full(2, (level + 1) / 8)
        log_p = np.log(np.asarray(belief.stepped(categories(states[i]), jnp.asarray(level / 8), t, EPS)))
        drawn = np.argmax(log_p + (gumbel(uniform) if level else 0.0), axis=-1)
        np.testing.assert_array_equal(drawn, states[i + 1])


def subs(t: jax.Array | None = None) -> BeliefFn:
    """MDLM's model, told no time."""
    return BeliefFn(Replacing(6, LINEAR, absorbing=6), lambda x, t: masked_model(x, jnp.zeros(len(x)))[..., :6])


def subs_ratios() -> BeliefFn:
    """The ratios that MDLM makes of its model; where x is not masked it leaves the mask's own one as well."""
    model, process = subs(), subs().process

    def ratios(x: jax.Array, t: jax.Array) -> jax.Array:
        factor = (process.kept(t) / process.lost(t))[:, None, None]
        masked = jnp.concatenate([factor * jnp.exp(model(x, t).x0), jnp.ones((*x.shape, 1))], axis=-1)
        seen = jax.nn.one_hot(x, 7) + jax.nn.one_hot(6, 7) / factor
        return jnp.log(jnp.where((x == 6)[..., None], masked, seen))

    return BeliefFn(process, ratios, "ratios")


def test_masked_updates() -> None:
    x, uniform, t = categories(MASKED["update/x"]), MASKED["update/uniform"], jnp.full(6, 0.7)
    np.testing.assert_allclose(jnp.exp(subs()(x, t).x0), MASKED["update/p_x0"][..., :6], atol=1e-12)
    for name in ("ddpm", "ddpm_cache"):
        drawn = published_draw(subs().stepped(x, jnp.asarray(0.5), t), uniform)
        np.testing.assert_array_equal(np.where(x == 6, drawn, x), MASKED[f"update/{name}"])

    ratios = subs_ratios()
    np.testing.assert_allclose(jnp.exp(ratios.function(x, t)), MASKED["update/score"], atol=1e-12)
    np.testing.assert_array_equal(
        published_draw(ratios.stepped(x, jnp.asarray(0.5), t), uniform), MASKED["update/analytic"]
    )
    np.testing.assert_array_equal(
        published_draw(ratios.stepped(x, jnp.asarray(0.0), t), uniform), MASKED["update/denoiser"]
    )


@pytest.mark.parametrize("name", ["ddpm", "analytic"])
def test_masked_samplers(name: str) -> None:
    """Six steps from masks at 1 to 1e-5; the last one, to data, takes the likeliest or, of ratios, draws."""
    times, states = np.linspace(1.0, 1e-5, 7), np.concatenate([np.full((1, 6, 5), 6), MASKED[f"sampler/{name}/states"]])
    model = subs() if name == "ddpm" else subs_ratios()
    for i in range(6):
        x = categories(states[i])
        probabilities = model.stepped(x, jnp.asarray(times[i + 1]), jnp.full(6, times[i]))
        drawn = published_draw(probabilities, MASKED["sampler/uniform"][i])
        np.testing.assert_array_equal(np.where(x == 6, drawn, x), states[i + 1])
    end = model.stepped(categories(states[6]), jnp.asarray(0.0), jnp.full(6, times[6]))
    last = np.argmax(end, axis=-1) if name == "ddpm" else published_draw(end, MASKED["sampler/uniform"][6])
    np.testing.assert_array_equal(last, MASKED[f"sampler/{name}/final"])
    if name == "ddpm":
        np.testing.assert_array_equal(last, MASKED["sampler/ddpm_cache/final"])


@pytest.mark.parametrize(
    ("name", "churn", "power"), [("plain", 0.0, 1.0), ("plain_poly2", 0.0, 2.0), ("div_free", 0.5, 1.0)]
)
def test_discrete_flow_solver(name: str, churn: float, power: float) -> None:
    """Their time runs from noise to data, and their solver draws at most one jump a step."""
    process = Replacing(5, FlowPolynomial(power))

    def model(x: jax.Array, t: jax.Array) -> jax.Array:
        seen = jnp.einsum("bjl,ikjl->bik", jax.nn.one_hot(x, 5), FLOW["solver/model_weight"])
        return seen + FLOW["solver/model_bias"] + (1.0 - t)[:, None, None] * FLOW["solver/model_time"]

    belief, draws = BeliefFn(process, model), iter(FLOW[f"solver/{name}/uniforms"])
    start = 0.05 if churn else 0.0
    steps = len(FLOW[f"solver/{name}/states"]) - 1
    edges = np.append(start + np.arange(steps) / 8, 1.0)
    x = categories(FLOW["solver/x_init"])
    for i in range(steps):
        t = jnp.full(6, 1.0 - edges[i])
        x0 = categories(inverse_draw(jnp.exp(belief(x, t).x0), next(draws)))
        if i == steps - 1:
            x = x0
        else:
            rates = flow_rates(process, x, x0, t, churn)
            intensity = np.asarray(jnp.sum(rates, axis=-1))
            jumps = next(draws) < 1.0 - np.exp(-(edges[i + 1] - edges[i]) * intensity)
            x = categories(np.where(jumps, inverse_draw(rates, next(draws)), x))
        np.testing.assert_array_equal(x, FLOW[f"solver/{name}/states"][i + 1])


@pytest.mark.parametrize("name", ["euler", "analytic"])
def test_score_entropy_samplers(name: str) -> None:
    """SEDD's samplers with masks: six steps from 1 to 1e-5 and the denoiser."""
    process, times = Replacing(6, LINEAR, absorbing=6), np.linspace(1.0, 1e-5, 7)

    def ratios(x: jax.Array, t: jax.Array) -> jax.Array:
        return jnp.where(x[..., None] == jnp.arange(7), 0.0, masked_model(x, -jnp.log(process.kept(t))))

    model, x = BeliefFn(process, ratios, "ratios"), jnp.full((6, 5), 6, jnp.int32)
    for i in range(6):
        t, s = jnp.full(6, times[i]), jnp.asarray(times[i + 1])
        if name == "analytic":
            probabilities = model.stepped(x, s, t)
        else:
            leaving = model.rates(x, t) * (times[i] - times[i + 1])
            stays = 1.0 - jnp.sum(leaving, axis=-1, keepdims=True)
            probabilities = leaving + stays * jax.nn.one_hot(x, 7)
        x = categories(published_draw(probabilities, MASKED["sampler/uniform"][i]))
    end = model.stepped(x, jnp.asarray(0.0), jnp.full(6, times[6]))
    np.testing.assert_array_equal(published_draw(end, MASKED["sampler/uniform"][6]), MASKED[f"sedd/sampler/{name}"])
