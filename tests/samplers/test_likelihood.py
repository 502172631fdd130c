"""The flow's log-density is the exact one; latents go back to their images; probes are unbiased; counts are true."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from samplers import Settings, draw_probes, solve_flow
from sde_lib import VE, VP, SubVP
from tests.oracles import compiled, gaussian, planar

SDES = {"vp": VP(), "subvp": SubVP(), "ve_50": VE(sigma_max=50.0), "ve_380": VE(sigma_max=380.0)}
NATS = 2 * np.log(2)  # one bit a dimension, in two dimensions


QUICK = ("vp", "ve_380")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in SDES])
def test_bits_per_dim_are_exact(name: str) -> None:
    """float32 at 1e-5, exact divergence, 256 points of p_t_min.

    With the true p_1 in place of the prior every point is exact to 1e-3. With the prior the points err by
    log prior - log p_1 at their latents, up to 1e-2, whose mean -KL(p_1, prior) is below 1e-4: the average is exact.
    """
    sde, data, t_min = SDES[name], planar(), 1e-5
    x = data.sample_marginal(sde, jax.random.key(1), 256, t_min)
    solve = compiled(lambda x: solve_flow(sde, data.score(sde), x, t_min, 1.0, probes=draw_probes(None, x, "exact")))
    flow = solve(x)
    assert bool(flow.converged.all())
    exact = data.log_marginal(sde, x, t_min)
    along = flow.delta_log_density + data.log_marginal(sde, flow.x, 1.0)
    np.testing.assert_allclose(along / NATS, exact / NATS, atol=1e-3)
    bits = (flow.delta_log_density + sde.prior_log_prob(flow.x) - exact) / NATS
    assert abs(float(bits.mean())) < 1e-3
    assert float(jnp.abs(bits).max()) < 1.5e-2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rademacher", pytest.param("gaussian", marks=pytest.mark.slow)])
def test_hutchinson_bits_per_dim_are_exact_on_average(kind: str) -> None:
    """A probe a point is noisy but unbiased: the mean over 512 points lies within 4 of its standard errors."""
    sde, data, t_min = VP(), planar(), 1e-5
    x = data.sample_marginal(sde, jax.random.key(2), 512, t_min)
    probes = draw_probes(jax.random.split(jax.random.key(3), len(x)), x, kind, n=4)
    flow = compiled(lambda x, e: solve_flow(sde, data.score(sde), x, t_min, 1.0, probes=e))(x, probes)
    error = flow.delta_log_density + data.log_marginal(sde, flow.x, 1.0) - data.log_marginal(sde, x, t_min)
    assert float(jnp.std(error)) > 1e-3
    assert abs(float(jnp.mean(error))) < 4 * float(jnp.std(error)) / np.sqrt(len(x))


def test_probes_estimate_a_trace_without_bias(x64) -> None:
    """E[e . A e] = tr A, over 2^14 probes of a 6-dimensional example, within 4 standard errors; exact: to rounding."""
    matrix = jax.random.normal(jax.random.key(4), (6, 6))
    x = jnp.zeros((1, 2, 3))
    for kind in ("rademacher", "gaussian"):
        e = draw_probes(jax.random.split(jax.random.key(5), 1), x, kind, n=2**14)[0].reshape(-1, 6)
        found = np.asarray(jnp.sum(e * (e @ matrix.T), axis=1))
        assert abs(found.mean() - float(jnp.trace(matrix))) < 4 * found.std() / 2**7
    e = draw_probes(None, x, "exact")[0].reshape(-1, 6)
    np.testing.assert_allclose(jnp.mean(jnp.sum(e * (e @ matrix.T), axis=1)), jnp.trace(matrix), rtol=1e-12)


def test_probes_belong_to_their_example() -> None:
    """An example's probe depends on its key alone, not on the batch around it."""
    keys = jax.random.split(jax.random.key(6), 4)
    whole = draw_probes(keys, jnp.zeros((4, 3)), "gaussian", n=2)
    assert whole.shape == (4, 2, 3)
    np.testing.assert_array_equal(whole[2:3], draw_probes(keys[2:3], jnp.zeros((1, 3)), "gaussian", n=2))
    assert len(np.unique(whole)) == whole.size


@pytest.mark.parametrize("name", ["vp", *(pytest.param(n, marks=pytest.mark.slow) for n in ("subvp", "ve_50"))])
def test_encoding_then_decoding_returns_the_image(name: str) -> None:
    sde, data, t_min = SDES[name], planar(), 1e-3
    x = data.sample_marginal(sde, jax.random.key(7), 16, t_min)

    encode = compiled(lambda x: solve_flow(sde, data.score(sde), x, t_min, 1.0, rtol=1e-6, atol=1e-6).x)
    decode = compiled(lambda z: solve_flow(sde, data.score(sde), z, 1.0, t_min, rtol=1e-6, atol=1e-6).x)
    latent = encode(x)
    back = decode(latent)
    again = encode(back)
    np.testing.assert_allclose(back, x, atol=2e-3)
    np.testing.assert_allclose(again, latent, atol=2e-3 * sde.prior_std)


def test_an_example_does_not_depend_on_its_neighbours() -> None:
    sde, data = VP(), planar()
    x = data.sample(jax.random.key(8), 4)
    solve = compiled(lambda x: solve_flow(sde, data.score(sde), x, 1e-3, 1.0, probes=draw_probes(None, x, "exact")))
    first, other = solve(x), solve(x.at[1:].multiply(7.0))
    for a, b in zip(first, other, strict=True):
        assert a[0] == pytest.approx(b[0], rel=0, abs=0)
    assert int(first.evaluations[1]) != int(other.evaluations[1])


@pytest.mark.parametrize(
    ("start", "end", "probes"),
    [
        (1.0, 1e-3, None),  # a draw
        (1e-3, 1.0, "exact"),  # a likelihood
        pytest.param(1.0, 1e-3, "exact", marks=pytest.mark.slow),
        pytest.param(1e-3, 1.0, None, marks=pytest.mark.slow),
    ],
)
def test_reported_evaluations_are_those_made(start: float, end: float, probes: str | None) -> None:
    made = []
    sde, exact = VP(), planar().score(VP())

    def score(x, t):
        jax.debug.callback(lambda t: made.append(t), t[0])
        return exact(x, t)

    e = None if probes is None else draw_probes(None, jnp.zeros((1, 2)), probes)
    flow = compiled(lambda x: solve_flow(sde, score, x, start, end, probes=e))(jnp.asarray([[0.3, -0.2]]))
    jax.block_until_ready(flow)
    jax.effects_barrier()
    assert len(made) == int(flow.evaluations[0]) > 20


def test_a_solve_that_gives_up_says_so() -> None:
    sde, data = VP(), gaussian(np.zeros(2), 0.1)
    x, score = jnp.ones((2, 2)), data.score(sde)
    few = compiled(lambda x: solve_flow(sde, score, x, 1.0, 1e-3, max_steps=3).converged)
    assert not bool(few(x).any())
    sampler = compiled(samplers.create(sde, score, Settings(method="ode", denoise="none")))
    end = sampler(jax.random.key(0), x.at[0].set(jnp.nan)).x
    assert bool(jnp.isnan(end[0]).all()) and bool(jnp.isfinite(end[1]).all())


def test_errors_name_what_is_allowed() -> None:
    x, sde = jnp.zeros((1, 2)), VP()
    with pytest.raises(ValueError, match=r"'radmacher'.*rademacher, gaussian, exact"):
        draw_probes(None, x, "radmacher")
    with pytest.raises(ValueError, match="key per example"):
        draw_probes(None, x, "gaussian")
    with pytest.raises(ValueError, match=r"rtol is 0\.0.*above 0"):
        solve_flow(sde, lambda x, t: x, x, 1.0, 1e-3, rtol=0.0)
