"""Examples in a queue take the steps of SciPy's RK45, each alone; none is computed on once it is done."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from metrics.likelihood import log_likelihood
from samplers import solve_flow
from samplers.adaptive import EVALUATIONS_TO_START, STAGES, solve_each
from sde_lib import VP
from tests.oracles import compiled

N, RTOL, ATOL = 11, 1e-6, 1e-7
RATES = np.geomspace(1.0, 60.0, N)
OPTIONS = {"rtol": RTOL, "atol": ATOL, "max_steps": 4096}


def _field(t, y, rate):
    """A turning, damped pair, and the integral of its square; faster rates take more steps."""
    x, _ = y
    turned = jnp.stack([-x[..., 1], x[..., 0]], axis=-1)
    rate = rate[..., None]
    return rate * turned - t[..., None] * x, jnp.sum(x**2, axis=-1)


def _alone(start: float, end: float) -> list[tuple[np.ndarray, int]]:
    """Every example's end [3] and evaluations, by SciPy, one solve each."""
    field = compiled(lambda t, y, rate: jnp.append(*_field(t, (y[:2], y[2]), rate)))
    found = []
    for rate in RATES:
        solution = scipy.integrate.solve_ivp(
            lambda t, y, rate=rate: np.asarray(field(t, y, rate)), (start, end), [1.0, 0.5, 0.0], rtol=RTOL, atol=ATOL
        )
        found.append((solution.y[:, -1], solution.nfev))
    return found


@pytest.mark.parametrize(("start", "end"), [(0.1, 1.0), pytest.param(1.0, 0.1, marks=pytest.mark.slow)])
def test_steps_are_those_of_each_example_alone(start: float, end: float, x64: None) -> None:
    y = (jnp.tile(jnp.asarray([1.0, 0.5]), (N, 1)), jnp.zeros(N))
    wanted = _alone(start, end)
    assert len({evaluations for _, evaluations in wanted}) > N // 2
    for slots in (N, 3):
        solve = compiled(lambda y, r, slots=slots: solve_each(_field, y, r, start, end, slots=slots, **OPTIONS))
        found = solve(y, jnp.asarray(RATES))
        assert bool(found.reached.all())
        np.testing.assert_array_equal(found.steps * STAGES + EVALUATIONS_TO_START, [spent for _, spent in wanted])
        ends = np.concatenate([found.y[0], found.y[1][:, None]], axis=1)
        np.testing.assert_allclose(ends, np.stack([state for state, _ in wanted]), rtol=1e-11, atol=1e-13)


def test_what_is_done_is_not_computed_again(x64: None) -> None:
    """Turns of the loop: no more than the evaluations asked for fill, and the last examples' own."""
    turns = []

    def field(t, y, rate):
        jax.debug.callback(lambda _: turns.append(1), t[0])
        return _field(t, y, rate)

    y = (jnp.tile(jnp.asarray([1.0, 0.5]), (N, 1)), jnp.zeros(N))
    found = compiled(lambda y, r: solve_each(field, y, r, 0.1, 1.0, slots=3, **OPTIONS))(y, jnp.asarray(RATES))
    jax.block_until_ready(found)
    jax.effects_barrier()
    evaluations = STAGES * np.asarray(found.steps) + EVALUATIONS_TO_START
    assert -(-evaluations.sum() // 3) <= len(turns) < evaluations.sum() / 3 + evaluations.max()
    assert len(turns) < sum(evaluations[i : i + 3].max() for i in range(0, N, 3))  # in batches of three


def test_a_broken_example_gives_its_slot_away() -> None:
    """One NaN among eight in two slots: seven are as without it, and it stops long before the 4096 steps."""
    sde, mean = VP(), jnp.linspace(-1.0, 1.0, 8)[:, None]
    score = lambda x, t, c: -(x - sde.alpha(t)[:, None] * c) / (sde.alpha(t) ** 2 * 0.04 + sde.sigma(t) ** 2)[:, None]  # noqa: E731
    solve = compiled(lambda x: solve_flow(sde, score, x, 1.0, 1e-3, condition=mean, slots=2, rtol=1e-4, atol=1e-4))
    x = jnp.full((8, 1), 0.3)
    whole, broken = solve(x), solve(x.at[1].set(jnp.nan))
    assert bool(whole.converged.all())
    np.testing.assert_array_equal(np.delete(broken.x, 1, axis=0), np.delete(whole.x, 1, axis=0))
    assert np.flatnonzero(~np.asarray(broken.converged)).tolist() == [1] and int(broken.evaluations[1]) < 600
    # Where a flow of Gaussians ends is known: the same place of the narrower one.
    alpha, sigma = sde.alpha(jnp.asarray([1.0, 1e-3])), sde.sigma(jnp.asarray([1.0, 1e-3]))
    width = jnp.sqrt(alpha**2 * 0.04 + sigma**2)
    known = alpha[1] * mean + width[1] / width[0] * (x - alpha[0] * mean)
    np.testing.assert_allclose(whole.x, known, atol=2e-3)


def test_a_step_out_of_bounds_is_repeated_shorter(x64: None) -> None:
    """It leads where the field is NaN; SciPy repeats it as often."""
    asked = []

    def field(t, y):
        asked.append(y[0])
        return np.where(y < 0.0, np.nan, -20.0 * y)

    wanted = scipy.integrate.solve_ivp(field, (0.0, 1.0), [1.0], rtol=0.1, atol=0.1)
    assert min(asked) < 0.0

    def ours(t, y, _):
        return jnp.where(y < 0.0, jnp.nan, -20.0 * y)

    options = {"rtol": 0.1, "atol": 0.1, "max_steps": 4096, "slots": 2}
    found = compiled(lambda y: solve_each(ours, y, None, 0.0, 1.0, **options))(jnp.ones((2, 1)))
    assert bool(found.reached.all())
    assert found.steps.tolist() == [(wanted.nfev - EVALUATIONS_TO_START) // STAGES] * 2
    np.testing.assert_allclose(found.y[:, 0], wanted.y[0, -1], rtol=1e-11)


def test_a_trial_out_of_bounds_says_nothing(x64: None) -> None:
    """The field is NaN around the trial's end, 0.01, and nowhere else: SciPy goes by the first evaluation alone."""
    wanted = scipy.integrate.solve_ivp(
        lambda t, y: np.where(abs(t - 0.01) < 1e-6, np.nan, -y), (0.0, 1.0), [1.0], rtol=RTOL, atol=ATOL
    )

    def ours(t, y, _):
        return jnp.where(abs(t - 0.01)[:, None] < 1e-6, jnp.nan, -y)

    found = compiled(lambda y: solve_each(ours, y, None, 0.0, 1.0, slots=1, **OPTIONS))(jnp.ones((1, 1)))
    assert int(found.steps[0]) * STAGES + EVALUATIONS_TO_START == wanted.nfev
    np.testing.assert_allclose(found.y[0, 0], wanted.y[0, -1], rtol=1e-11)


def test_the_first_step_is_as_short_as_the_field_asks(x64: None) -> None:
    """exp(-1000 t): steps of a hundredth would each be repeated; of nothing, 1e-6."""
    fast = compiled(lambda y: solve_each(lambda t, y, _: -1e3 * y, y, None, 0.0, 0.01, slots=1, **OPTIONS))
    wanted = scipy.integrate.solve_ivp(lambda t, y: -1e3 * y, (0.0, 0.01), [1.0], rtol=RTOL, atol=ATOL)
    found = fast(jnp.ones((1, 1)))
    assert int(found.steps[0]) * STAGES + EVALUATIONS_TO_START == wanted.nfev
    np.testing.assert_allclose(found.y[0, 0], wanted.y[0, -1], rtol=1e-9)
    still = compiled(lambda y: solve_each(lambda t, y, _: 0.0 * y, y, None, 0.0, 1.0, slots=1, **OPTIONS))
    assert int(still(jnp.zeros((1, 1))).steps[0]) == 7  # 1e-6, times ten each


@pytest.mark.parametrize("slots", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_each_example_is_told_its_own_condition(slots: int) -> None:
    """The exact density of eight Gaussians of different means, whatever slot an example is in."""
    sde, mean = VP(), jnp.linspace(-1.0, 1.0, 8)[:, None]
    variance = lambda t: sde.alpha(t) ** 2 * 0.04 + sde.sigma(t) ** 2  # noqa: E731
    score = lambda x, t, c: -(x - sde.alpha(t)[:, None] * c) / variance(t)[:, None]  # noqa: E731
    x = mean + 0.2 * jax.random.normal(jax.random.key(0), (8, 1))
    found = compiled(lambda x: log_likelihood(sde, score, x, probe="exact", condition=mean, slots=slots))(x)

    def density(x, t):
        t = jnp.asarray(t)
        s = variance(t)
        return -0.5 * (x - sde.alpha(t) * mean)[:, 0] ** 2 / s - 0.5 * jnp.log(2 * jnp.pi * s)

    at_noise = density(found.latents, 1.0) - sde.prior_log_prob(found.latents)  # the prior is not quite the marginal
    np.testing.assert_allclose(found.nats + at_noise, density(x, sde.t_min), atol=2e-3)


def test_what_cannot_be_told_apart_is_refused() -> None:
    sde, x, labels = VP(), jnp.zeros((4, 1)), jnp.arange(4.0)[:, None]
    with pytest.raises(ValueError, match=r"answer is \(4, 1\) for points of \(1, 1\).*condition"):
        solve_flow(sde, lambda x, t: labels - x, x, 1.0, 1e-3, slots=1)
    with pytest.raises(ValueError, match=r"slots is -1.*at least 0"):
        solve_flow(sde, lambda x, t: -x, x, 1.0, 1e-3, slots=-1)
