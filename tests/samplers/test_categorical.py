"""Samplers over categories with the exact denoiser of two positions of three categories reach the data's distribution.

Within a step positions move apart from each other, so that a sampler's error falls as its steps shrink; what is sampled
is compared within 4.5 standard errors of 20 000 samples and the error that so many steps leave.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplers.base import Stepper, predictor_corrector, sample
from samplers.categorical import categorical_ancestral, discrete_flow, jump_corrector, tau_leaping
from samplers.create import create_categorical
from samplers.infilling import infilled, keeping, logits_guided
from samplers.settings import Settings
from samplers.unmasking import maskgit, unmasking
from sde_lib.categorical import CategoricalProcess, Replacing
from sde_lib.categorical_chain import Neighbours
from sde_lib.categorical_prediction import BeliefFn, as_belief
from sde_lib.categorical_schedules import Linear, LinearNoise
from tests.chains import Pair, sampled_distribution

N = 20_000
PAIR = Pair.random()
MASKED, UNIFORM = Replacing(3, Linear(), absorbing=3), Replacing(3, LinearNoise(0.0, 8.0))
GAUSSIAN = Neighbours(3, tuple(np.linspace(0.02, 3.0, 40)))


def denoiser(process: CategoricalProcess) -> BeliefFn:
    return as_belief(process, PAIR.denoiser(process))


def shares(process: CategoricalProcess, stepper: Stepper, times: np.ndarray, seed: int = 0) -> np.ndarray:
    """The share of each value among N samples, [3, 3]; the sampler must have left no mask."""

    @jax.jit
    def run(key: jax.Array) -> jax.Array:
        key_prior, key_path = jax.random.split(key)
        return sample(stepper, key_path, process.prior_sample(key_prior, (N, 2)), times).x

    x = np.asarray(run(jax.random.key(seed)))
    assert x.dtype == np.int32 and x.min() >= 0 and x.max() <= 2
    return np.histogram2d(x[:, 0], x[:, 1], bins=3, range=[(-0.5, 2.5)] * 2)[0] / N


def check(found: np.ndarray, exact: np.ndarray, bias: float = 0.0) -> None:
    error = np.sqrt(exact * (1.0 - exact) / N)
    assert (np.abs(found - exact) < 4.5 * error + bias).all(), (found, exact)


def timeless(x: jax.Array, t: jax.Array) -> jax.Array:
    """The exact denoiser, which with masks is the same at all times."""
    return PAIR.denoiser(MASKED)(x, jnp.full_like(t, 0.5))


CASES: dict[str, tuple[CategoricalProcess, Stepper, int, float]] = {
    "ancestral, masked": (MASKED, categorical_ancestral(MASKED, denoiser(MASKED)), 128, 0.004),
    "ancestral, uniform": (UNIFORM, categorical_ancestral(UNIFORM, denoiser(UNIFORM)), 256, 0.006),
    "ancestral, gaussian": (GAUSSIAN, categorical_ancestral(GAUSSIAN, denoiser(GAUSSIAN)), 40, 0.012),
    "tau-leaping, masked": (MASKED, tau_leaping(MASKED, denoiser(MASKED)), 128, 0.006),
    "tau-leaping, uniform": (UNIFORM, tau_leaping(UNIFORM, denoiser(UNIFORM)), 256, 0.008),
    "unmasking": (MASKED, unmasking(MASKED, denoiser(MASKED)), 128, 0.004),
    "unmasking, cached": (MASKED, unmasking(MASKED, timeless, cached_answers=True), 128, 0.004),
    "maskgit, any order": (MASKED, maskgit(MASKED, denoiser(MASKED), choice_temperature=math.inf), 2, 0.0),
    "discrete flow, masked": (MASKED, discrete_flow(MASKED, denoiser(MASKED)), 128, 0.006),
    "discrete flow, uniform": (UNIFORM, discrete_flow(UNIFORM, denoiser(UNIFORM)), 256, 0.008),
    "discrete flow, churned": (MASKED, discrete_flow(MASKED, denoiser(MASKED), flow_churn=1.0), 256, 0.008),
    "corrected": (
        UNIFORM,
        predictor_corrector(tau_leaping(UNIFORM, denoiser(UNIFORM)), jump_corrector(UNIFORM, denoiser(UNIFORM))),
        128,
        0.008,
    ),
    "corrected, masked": (
        MASKED,
        predictor_corrector(tau_leaping(MASKED, denoiser(MASKED)), jump_corrector(MASKED, denoiser(MASKED))),
        128,
        0.006,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_samples_have_the_distribution(case: str) -> None:
    process, stepper, steps, bias = CASES[case]
    check(shares(process, stepper, np.linspace(1.0, 0.0, steps + 1)), PAIR.p, bias)


@pytest.mark.slow
@pytest.mark.parametrize("process", [MASKED, UNIFORM], ids=["masked", "uniform"])
def test_the_ancestral_error_falls_with_the_step(process: CategoricalProcess, x64: None) -> None:
    """By all transitions, without samples: total variation falls as 1 / steps, and sampling follows it."""
    errors = []
    for steps in (16, 32, 64):
        found = sampled_distribution(process, denoiser(process), np.linspace(1.0, 0.0, steps + 1), 2)
        errors.append(0.5 * np.abs(found - PAIR.p).sum())
    slopes = -np.diff(np.log(errors)) / np.log(2.0)
    assert (np.abs(slopes - 1.0) < 0.3).all(), (errors, slopes)


@pytest.mark.slow
def test_few_steps_sample_what_their_transitions_say() -> None:
    """The sampler against all transitions of its two steps: here the error is that of the samples alone."""
    times = np.array([1.0, 0.4, 0.0])
    exact = sampled_distribution(MASKED, denoiser(MASKED), times, 2)
    assert 0.5 * np.abs(exact - PAIR.p).sum() > 0.02
    check(shares(MASKED, unmasking(MASKED, denoiser(MASKED)), times), exact)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ancestral", "unmasking", "maskgit", "flow", "leaping"])
def test_infilling_keeps_what_is_known_and_draws_the_rest_conditionally(name: str) -> None:
    known, where = jnp.tile(jnp.asarray([[2, 0]]), (N, 1)), jnp.tile(jnp.asarray([[True, False]]), (N, 1))
    model = infilled(MASKED, timeless, known, where)  # at t = 1 no process leaves anything unmasked
    stepper = {
        "ancestral": categorical_ancestral(MASKED, model),
        "unmasking": unmasking(MASKED, model),
        "maskgit": maskgit(MASKED, model),
        "flow": discrete_flow(MASKED, model),
        "leaping": tau_leaping(MASKED, model),
    }[name]
    found = shares(MASKED, keeping(MASKED, stepper, known, where), np.linspace(1.0, 0.0, 9))
    assert np.isclose(found[2].sum(), 1.0)
    check(found[2], PAIR.p[2] / PAIR.p[2].sum())  # one position is drawn, so that few steps leave no error


@pytest.mark.slow
def test_infilling_ends_with_what_is_known_without_a_mask() -> None:
    known, where = jnp.tile(jnp.asarray([[2, 0]]), (N, 1)), jnp.tile(jnp.asarray([[True, False]]), (N, 1))
    for process in (UNIFORM, GAUSSIAN):
        model = infilled(process, denoiser(process), known, where)
        stepper = keeping(process, categorical_ancestral(process, model), known, where)
        assert shares(process, stepper, np.linspace(1.0, 0.0, 41))[2].sum() > 1.0 - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("method", ["unmasking", "maskgit", "categorical_ancestral", "tau_leaping", "discrete_flow"])
def test_a_start_at_half_draws_anew_what_is_masked_there(method: str) -> None:
    """Each position of the pair (2, 0) is masked with probability 1/2, and drawn given what is not."""
    settings = Settings(method=method, steps=64, choice_temperature=math.inf)
    x0 = jnp.tile(jnp.asarray([[2, 0]]), (N, 1))
    sampler = create_categorical(MASKED, denoiser(MASKED), settings, start=0.5)
    x = np.asarray(jax.jit(sampler)(jax.random.key(1), MASKED.noise(jax.random.key(0), x0, jnp.asarray(0.5))).x)
    exact = PAIR.p.copy()
    exact[:, 0] += PAIR.p[:, 0] / PAIR.p[:, 0].sum()
    exact[2] += PAIR.p[2] / PAIR.p[2].sum()
    exact[2, 0] += 1.0
    found = np.histogram2d(x[:, 0], x[:, 1], bins=3, range=[(-0.5, 2.5)] * 2)[0] / N
    check(found, exact / 4, 0.0 if method == "maskgit" else 0.004)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [40, 10])
def test_a_chain_from_its_middle_leaves_the_data_as_they_are(steps: int) -> None:
    """Data noised to the middle level and drawn from there are the data again, by all 20 levels and by ten of them."""
    sampler = create_categorical(
        GAUSSIAN, denoiser(GAUSSIAN), Settings(method="categorical_ancestral", steps=steps), start=0.5
    )
    flat = jax.random.choice(jax.random.key(0), 9, (N,), p=jnp.asarray(PAIR.p.ravel()))
    x0 = jnp.stack([flat // 3, flat % 3], axis=1).astype(jnp.int32)
    x = np.asarray(jax.jit(sampler)(jax.random.key(1), GAUSSIAN.noise(jax.random.key(2), x0, jnp.asarray(0.5))).x)
    assert (x != np.asarray(x0)).any(axis=1).mean() > 0.2
    check(np.histogram2d(x[:, 0], x[:, 1], bins=3, range=[(-0.5, 2.5)] * 2)[0] / N, PAIR.p, 0.03)


def test_a_start_below_1_is_a_level_of_a_chain_and_any_time_of_a_rate() -> None:
    np.testing.assert_allclose(MASKED.grid(3, 0.6), [0.6, 0.4, 0.2, 0.0])
    np.testing.assert_allclose(GAUSSIAN.grid(40, 0.24), np.arange(10, -1, -1) / 40)  # no more steps than levels
    np.testing.assert_allclose(GAUSSIAN.grid(4, 0.001), [1 / 40, 0.0])
    cut = GAUSSIAN.respaced(2, 0.5)
    np.testing.assert_allclose(cut.times, [10 / 40, 20 / 40, 1.0])
    products = GAUSSIAN.products
    np.testing.assert_allclose(cut.steps()[1], np.linalg.solve(products[10], products[20]), atol=1e-9)
    for start in (0.0, 1.5):
        with pytest.raises(ValueError, match="needed is 0 < start <= 1"):
            create_categorical(MASKED, denoiser(MASKED), Settings(method="unmasking"), start=start)


def test_guidance_multiplies_probabilities() -> None:
    """Of one masked position p_other (p_wanted / p_other)^scale, normalised."""
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
    models = [lambda x, t, p=p: jnp.broadcast_to(jnp.log(p), (*x.shape, 3)) for p in (p, q)]
    x, t = jnp.full((1, 1), 3), jnp.full(1, 0.5)
    for scale in (1.0, 3.0):
        wanted = q * (p / q) ** scale
        found = np.exp(np.asarray(logits_guided(MASKED, *models, scale)(x, t).x0))[0, 0]
        np.testing.assert_allclose(found, wanted / wanted.sum(), rtol=1e-5)


@pytest.mark.slow
def test_a_cached_model_is_asked_only_when_something_changed() -> None:
    stepper = unmasking(MASKED, denoiser(MASKED), cached_answers=True)
    times, state = np.linspace(1.0, 0.0, 65), stepper.init(jnp.full((1, 2), 3, jnp.int32))
    changes = 1  # the first answer
    step = jax.jit(stepper.step)
    for i in range(64):
        before = state.x
        state = step(
            jax.random.key(i), state, jnp.asarray(times[i], jnp.float32), jnp.asarray(times[i + 1], jnp.float32)
        )
        changes += int(not (before == state.x).all()) if i < 63 else 0
    assert int(state.memory.evaluations) == changes and changes <= 3


def test_maskgit_leaves_as_many_masks_as_the_schedule() -> None:
    process = Replacing(3, Linear(), absorbing=3)
    stepper = maskgit(process, lambda x, t: jnp.zeros((*x.shape, 3)))
    state, left, step = stepper.init(jnp.full((4, 5, 4), 3, jnp.int32)), [], jax.jit(stepper.step)
    for t, s in ((1.0, 0.7), (0.7, 0.5), (0.5, 0.12), (0.12, 0.0)):
        state = step(jax.random.key(1), state, jnp.asarray(t), jnp.asarray(s))
        left.append(np.sum(np.asarray(state.x) == 3, axis=(1, 2)).tolist())
    assert left == [[14] * 4, [10] * 4, [2] * 4, [0] * 4]


@pytest.mark.parametrize("sampler", [unmasking, maskgit])
def test_a_process_without_a_mask_is_refused(sampler) -> None:
    with pytest.raises(ValueError, match="category of its own"):
        sampler(UNIFORM, denoiser(UNIFORM))
    with pytest.raises(ValueError, match="without rates"):
        GAUSSIAN.entering(jnp.zeros((1, 1), int), jnp.ones(1))
