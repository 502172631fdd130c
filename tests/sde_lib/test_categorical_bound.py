"""Bounds over categories against known likelihoods, by listing every state of two positions of three categories."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_lib.categorical import CategoricalProcess, Replacing
from sde_lib.categorical_bound import flow_nats, prior_nats, rate_nats, step_nats
from sde_lib.categorical_chain import Neighbours, Respaced
from sde_lib.categorical_prediction import BeliefFn, as_belief
from sde_lib.categorical_schedules import Cosine, Linear, LinearNoise, MaskGIT, Polynomial, TableKeep, chain_betas
from tests.chains import Pair, all_pairs, probability, sampled_distribution, slow_but

pytestmark = pytest.mark.usefixtures("x64")
PAIR, ONE = Pair.random(), Pair.random(positions=1)
JSD = tuple(chain_betas("jsd", 6))
CHAINS: dict[str, CategoricalProcess] = {
    "masked": Replacing(3, TableKeep(JSD), absorbing=3, levels=6),
    "absorbing": Replacing(3, TableKeep(JSD), absorbing=1, levels=6),
    "uniform": Replacing(3, TableKeep(JSD), levels=6),
    "gaussian": Neighbours(3, tuple(np.linspace(0.2, 2.0, 6))),
    "respaced": Respaced(Neighbours(3, tuple(np.linspace(0.2, 2.0, 6)), "banded", 1), (0, 2, 5)),
}


def times_of(process: CategoricalProcess) -> np.ndarray:
    """The levels of a chain, noise first, and data."""
    n = process.num_levels
    levels = process.times if isinstance(process, Neighbours | Respaced) else np.arange(1, n + 1) / n
    return np.append(levels[::-1], 0.0)


def expected(process: CategoricalProcess, x0: jax.Array, t: jax.Array, terms: Callable[..., Any]) -> jax.Array:
    """The expectation over x_t of the sum over positions of terms (x0, x, t [b]), for each x_0."""
    every_x0, x = all_pairs(process, x0)
    time = jnp.full(len(x), t)
    q = probability(process.marginal(every_x0, time), x)
    nats = jnp.sum(terms(every_x0, x, time), axis=1)
    return jnp.sum(jnp.where(q > 0.0, q * nats, 0.0).reshape(len(x0), -1), axis=1)


def chain_bound(process: CategoricalProcess, belief: BeliefFn, x0: jax.Array) -> np.ndarray:
    """The bound of a chain of levels for each x_0, nats."""

    def at(row: tuple[jax.Array, jax.Array]) -> jax.Array:
        t, s = row

        def term(x0: jax.Array, x: jax.Array, time: jax.Array) -> jax.Array:
            return step_nats(process, belief(x, time), x0, x, jnp.full_like(time, s), time)

        return expected(process, x0, t, term)

    @jax.jit
    def total(times: jax.Array) -> jax.Array:
        steps = jax.lax.map(at, (times[:-1], times[1:]))
        return jnp.sum(prior_nats(process, x0), axis=1) + jnp.sum(steps, axis=0)

    return np.asarray(total(jnp.asarray(times_of(process))))


@pytest.mark.parametrize("name", slow_but(["masked"], CHAINS))
def test_one_position_has_a_tight_bound(name: str) -> None:
    process = CHAINS[name]
    belief = as_belief(process, ONE.denoiser(process))
    bound = chain_bound(process, belief, ONE.points)
    last = sampled_distribution(process, belief, times_of(process), 1)
    gap, prior = bound + np.log(last), np.sum(prior_nats(process, ONE.points), axis=1)
    # The prior knows nothing of what the chain still has of the data at t = 1; jsd keeps nothing.
    assert (gap > -1e-9).all() and gap.max() < prior.max() + 1e-7, (gap, prior)
    if name in ("masked", "absorbing", "uniform"):
        np.testing.assert_allclose(bound, -np.log(ONE.p), atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("reading", ["posterior", "evidence", "published"])
@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_of_any_model_is_bounded(name: str, reading: str) -> None:
    """For every x_0 the bound lies at or above -log p(x_0) of the samples that the model's chain gives."""
    process, table = CHAINS[name], np.random.default_rng(1).standard_normal((process_states(name), 3))

    def model(x: jax.Array, t: jax.Array) -> jax.Array:
        return jnp.asarray(table)[x] + jnp.asarray(table)[x[:, ::-1]] * t[:, None, None]

    belief = BeliefFn(process, model, reading)
    nll = -np.log(sampled_distribution(process, belief, times_of(process), 2)).ravel()
    gap = chain_bound(process, belief, PAIR.points) - nll
    assert np.isfinite(gap).all() and (gap > -1e-9).all() and gap.max() > 1e-3


def process_states(name: str) -> int:
    return CHAINS[name].states


@pytest.mark.slow
@pytest.mark.parametrize("name", ["masked", "uniform"])
def test_two_positions_have_a_bound_that_is_tight_as_steps_shrink(name: str) -> None:
    """Positions that move apart from each other within a step cost in proportion to its length."""
    excess = []
    for n in (8, 16, 32):
        process = Replacing(3, Linear(), absorbing=3 if name == "masked" else None, levels=n)
        bound = chain_bound(process, as_belief(process, PAIR.denoiser(process)), PAIR.points)
        excess.append(float(np.sum(PAIR.p.ravel() * (bound + np.log(PAIR.p.ravel())))))
    assert 0.0 < excess[2] < excess[1] < excess[0]
    slopes = -np.diff(np.log(excess)) / np.log(2.0)
    assert (np.abs(slopes - 1.0) < 0.25).all(), slopes


@pytest.mark.slow
def test_evidence_and_posterior_are_one_model() -> None:
    for process in CHAINS.values():
        given = as_belief(process, PAIR.denoiser(process))
        other = BeliefFn(process, lambda x, t, given=given: given(x, t).evidence, "evidence")
        _, x = all_pairs(process, PAIR.points[:1])
        t = jnp.full(len(x), times_of(process)[1])
        possible = np.asarray(jnp.isfinite(given.function(x, t)).all(axis=(1, 2)))
        a, b = (np.exp(np.asarray(belief(x, t).x0))[possible] for belief in (given, other))
        np.testing.assert_allclose(a, b, atol=1e-9)


def integrated(process: CategoricalProcess, x0: jax.Array, terms: Callable[..., Any], power: int = 1) -> np.ndarray:
    """The integral over t in [0, 1] of the expectation of a rate, by Gauss and Legendre in t^(1 / power)."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    u, w = 0.5 * (nodes + 1.0), 0.5 * weights
    rates = jax.jit(lambda t: jax.lax.map(lambda t: expected(process, x0, t, terms), t))(jnp.asarray(u**power))
    return np.sum((power * u ** (power - 1) * w)[:, None] * np.asarray(rates), axis=0)


SCHEDULES = [Cosine(), Cosine(squared=True), MaskGIT(), Polynomial(3.0), LinearNoise(0.0, 40.0)]


@pytest.mark.parametrize("schedule", slow_but([Linear()], [Linear(), *SCHEDULES]))
def test_the_masked_bound_in_continuous_time_is_the_likelihood(schedule: Any) -> None:
    """With the exact denoiser, for every schedule and every x_0; a worse denoiser has a worse bound."""
    process = Replacing(3, schedule, absorbing=3)
    belief = as_belief(process, PAIR.denoiser(process))
    power = 4 if isinstance(schedule, LinearNoise) else 2
    found = integrated(process, PAIR.points, lambda x0, x, t: rate_nats(process, belief(x, t), x0, x, t), power)
    np.testing.assert_allclose(found, -np.log(PAIR.p.ravel()), atol=2e-4)
    np.testing.assert_allclose(prior_nats(process, PAIR.points), 0.0, atol=1e-9)

    flat = as_belief(process, lambda x, t: 0.5 * belief.function(x, t))
    worse = integrated(process, PAIR.points, lambda x0, x, t: flow_nats(process, flat(x, t), x0, x, t), power)
    assert np.sum(PAIR.p.ravel() * worse) > np.sum(PAIR.p.ravel() * found) + 1e-2


@pytest.mark.slow
def test_the_uniform_bound_in_continuous_time_is_the_likelihood() -> None:
    """The rates of the reverse process, which the score entropy has, are tight; those of discrete flow are not."""
    process = Replacing(3, LinearNoise(0.0, 12.0))
    belief = as_belief(process, PAIR.denoiser(process))
    exact = -np.log(PAIR.p.ravel())
    found = integrated(process, PAIR.points, lambda x0, x, t: rate_nats(process, belief(x, t), x0, x, t), 4)
    np.testing.assert_allclose(found + np.sum(prior_nats(process, PAIR.points), axis=1), exact, atol=2e-4)
    flow = integrated(process, PAIR.points, lambda x0, x, t: flow_nats(process, belief(x, t), x0, x, t), 4)
    assert np.sum(PAIR.p.ravel() * (flow - exact)) > 1e-2


def test_a_chain_that_masks_not_all_has_an_infinite_bound() -> None:
    assert np.isinf(prior_nats(Replacing(3, Linear(eps=1e-3), absorbing=3), PAIR.points)).all()
    assert np.isfinite(prior_nats(Replacing(3, Linear(eps=1e-3)), PAIR.points)).all()
