"""RePaint's order of steps, its way up, and what it is without either."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import inverse
import samplers
from inverse.repaint import step_order
from samplers import grids, sample
from sde_lib import VE, VP, SubVP
from tests.inverse.gaussian import slow_but
from tests.oracles import compiled

SDES = {"vp": VP(), "subvp": SubVP(), "ve": VE()}
MASK = inverse.mask(np.array([True, False]))
Y = jnp.array([[0.5, 0.0]])


def algorithm_1(steps: int, resamplings: int) -> list[int]:
    """The paper's Algorithm 1: for each t from T to 1, U times x_t to x_(t-1), back up in between unless t is 1."""
    return [steps - t for t in range(steps, 0, -1) for _ in range(resamplings if t > 1 else 1)]


@pytest.mark.parametrize(("steps", "resamplings"), [(2, 1), (5, 3), (12, 4)])
def test_jumps_of_one_step_are_the_papers_algorithm(steps: int, resamplings: int) -> None:
    assert step_order(steps, resamplings, 1) == algorithm_1(steps, resamplings)


def walk(steps: int, resamplings: int, jump: int) -> list[int]:
    """App. B by recursion: whoever gets to a stop from above for the first time does the `jump` steps above it again.

    States are counted by the steps left; stops are those with 1, 1 + jump, 1 + 2 jump, ... left and `jump` above them.
    """
    order = []
    for left in range(steps, 0, -1):
        order.append(left)
        after = left - 1
        if after % jump == 1 % jump and after >= 1 and after + jump <= steps:
            order += [*range(after + jump, after, -1)] * (resamplings - 1)
    return [steps - left for left in order]


@pytest.mark.parametrize(("steps", "resamplings", "jump"), [(250, 10, 10), (100, 5, 10), (9, 3, 4), (7, 2, 6)])
def test_longer_jumps(steps: int, resamplings: int, jump: int) -> None:
    order = step_order(steps, resamplings, jump)
    assert order == walk(steps, resamplings, jump)
    stops = len(range(1, steps - jump + 1, jump))
    assert len(order) == steps + (resamplings - 1) * jump * stops
    ups = sum(b <= a for a, b in itertools.pairwise(order))
    assert ups == (resamplings - 1) * stops


def test_the_published_setting() -> None:
    """250 steps, 10 and 10: 24 stops (range(0, 240, 10) in the authors' code), 2410 evaluations and 2160 steps up."""
    assert len(step_order(250, 10, 10)) == 2410


@pytest.mark.parametrize("sde", slow_but("ve", SDES))
def test_the_way_up_is_the_forward_kernel(sde, x64) -> None:
    times = grids.create(sde, "uniform", 8, 1e-3)
    wrapped = inverse.repaint(
        samplers.ancestral(sde, lambda x, t: x), sde, lambda x, t: x, MASK, Y, resamplings=2, jump=3
    )
    up = wrapped.plan(times).rows[0]
    order, here = step_order(8, 2, 3), 0
    for i, step in enumerate(order):
        kernel = sde.transition(jnp.asarray(times[here]), jnp.asarray(times[step]))
        np.testing.assert_allclose([up.scale[i], up.std[i]], [kernel.scale, kernel.std], rtol=1e-9, atol=1e-12)
        here = step + 1
    assert np.sum(up.std > 0.0) == 2


@pytest.mark.parametrize("name", slow_but("heun", {name: name for name in ("heun", "ancestral")}))
def test_rows_are_repeated_in_whole_steps(name: str) -> None:
    """Heun's two rows stay together, and going up comes ahead of a step's first."""
    sde, times = SDES["vp"], np.array([1.0, 0.8, 0.6, 0.4, 0.2])
    stepper = {"heun": samplers.heun, "ancestral": samplers.ancestral}[name](sde, lambda x, t: 0.0 * x)
    once = stepper.plan(times)
    wrapped = inverse.repaint(stepper, sde, lambda x, t: x, MASK, Y, resamplings=3, jump=2)
    plan = wrapped.plan(times)
    rows = len(jax.tree.leaves(once.rows)[0]) // len(once.ends)
    order = step_order(4, 3, 2)
    place, inner = plan.rows[1]
    for taken, all_rows in zip(jax.tree.leaves(inner), jax.tree.leaves(once.rows), strict=True):
        index = [step * rows + k for step in order for k in range(rows)]
        np.testing.assert_array_equal(taken, np.asarray(all_rows)[index])
    np.testing.assert_array_equal(np.flatnonzero(place.ends), plan.ends)
    np.testing.assert_array_equal(np.flatnonzero(place.begins), np.append(0, plan.ends[:-1] + 1))
    raised = np.flatnonzero(plan.rows[0].std > 0.0)
    assert set(raised) <= set(np.flatnonzero(place.begins)) and len(raised) == 2


def test_the_noise_level_is_kept_on_the_way() -> None:
    """Data N(0, 1) under VP stays N(0, 1) at every visit, down and up, known and unknown; 4096 samples, 5 errors."""
    sde, n, times = SDES["vp"], 4096, np.array([1.0, 0.6, 0.4, 0.3, 0.1])
    y = jax.random.normal(jax.random.key(8), (n, 2))
    stepper = samplers.ancestral(sde, lambda x, t: -x, variance="large")
    wrapped = inverse.repaint(stepper, sde, lambda x, t: x, MASK, y, resamplings=3, jump=2)
    z = jax.random.normal(jax.random.key(9), (n, 2))
    path = compiled(lambda z: sample(wrapped, jax.random.key(0), z, times, trajectory=True).trajectory)(z)
    assert len(path) == 1 + len(step_order(4, 3, 2))
    variances = np.var(np.asarray(path, np.float64), axis=1)
    assert np.abs(variances - 1.0).max() < 5 * np.sqrt(2 / n)
