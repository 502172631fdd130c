"""Classifier guidance on a mixture of labelled Gaussians, where the classifier and every guided score are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from samplers.classifier import classifier_guide, classifier_guided
from sde_lib import VE, VP, SubVP, log_prob_fn, of_score
from tests.oracles import Mixture, compiled, planar

SDES = {"vp": VP(), "subvp": SubVP(), "ve": VE(sigma_min=0.01, sigma_max=50.0)}
N = 12


def points(sde, t):
    """Noised data at times t [b], the b of them of all components."""
    rng, data = np.random.default_rng(0), planar()
    k = rng.integers(len(data.weights), size=len(t))
    x0 = data.means[k] + data.stds[k, None] * rng.normal(size=(len(t), 2))
    return sde.alpha(t)[:, None] * x0 + sde.sigma(t)[:, None] * rng.normal(size=(len(t), 2))


def log_prob_of(sde, label):
    """The exact log p(label | x_t)."""
    return log_prob_fn(lambda x, t: planar()._parts(x, sde.alpha(t), sde.sigma(t))[0], label)


def component_score(sde, label):
    """The closed-form score of each example's component; of the whole mixture where the label is that of none."""
    data = planar()
    alone = [Mixture(np.ones(1), data.means[k : k + 1], data.stds[k : k + 1]).score(sde) for k in range(3)]
    return lambda x, t: sum(
        jnp.where((label == k)[:, None], s(x, t), 0.0) for k, s in enumerate([*alone, data.score(sde)])
    )


@pytest.mark.parametrize("name", SDES)
def test_guided_scores_are_those_of_the_components(name, x64):
    """s_mix + s (s_y - s_mix) for s = 0, 1/2, 1, 4, one an example: 1 is the component, 0 and no label none."""
    sde, t = SDES[name], jnp.linspace(0.02, 1.0, N)
    label, scale = jnp.arange(N) % 4, jnp.array([0.0, 0.5, 1.0, 4.0])[jnp.arange(N) // 3]
    x, whole = points(sde, t), planar().score(sde)

    @compiled
    def both(x):
        named = jnp.where(label == 3, -1, label)
        guided = classifier_guided(sde, whole, log_prob_of(sde, named), scale).score(x, t)
        return guided, component_score(sde, label)(x, t), whole(x, t)

    guided, alone, mixed = map(np.asarray, both(x))
    size = np.abs(alone).max()
    np.testing.assert_allclose(guided, mixed + scale[:, None] * (alone - mixed), rtol=1e-9, atol=1e-12 * size)
    np.testing.assert_allclose(guided[6:9], alone[6:9], rtol=1e-9, atol=1e-12 * size)
    np.testing.assert_allclose(guided[[3, 7, 11]], mixed[[3, 7, 11]], rtol=1e-12)


def test_outside_the_interval_there_is_no_guidance_and_no_classifier():
    sde, t = SDES["ve"], jnp.array([0.2, 0.5, 0.8])
    noise = np.asarray(sde.sigma(t))
    x, label, calls = points(sde, t).astype(np.float32), jnp.array([0, 1, 2]), []

    def counted(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return log_prob_of(sde, label)(x, t)

    everywhere = compiled(lambda x: classifier_guide(sde, log_prob_of(sde, label), 2.0)(x, t))(x)
    assert (np.abs(everywhere) > 0).all()
    for low, high, acts in (
        (0.5 * noise[0], 2 * noise[2], [0, 1, 2]),
        (0.9 * noise[1], noise[1], [1]),  # the upper bound belongs to it, the lower does not
        (noise[1], 2 * noise[2], [2]),
        (2 * noise[2], 3 * noise[2], []),
    ):
        guide, before = classifier_guide(sde, counted, 2.0, low=float(low), high=float(high)), len(calls)
        found = np.asarray(compiled(lambda x, guide=guide: guide(x, t))(x))
        jax.effects_barrier()
        np.testing.assert_allclose(found[acts], everywhere[jnp.array(acts, int)], rtol=1e-5)
        assert (np.delete(found, acts, axis=0) == 0).all()
        assert (len(calls) > before) == bool(acts)


def test_a_learned_variance_is_left_as_it_is():
    sde, t = SDES["vp"], jnp.array([0.3, 0.6])
    x, log_prob = jnp.ones((2, 2)), log_prob_of(SDES["vp"], jnp.array([0, 1]))
    plain = of_score(sde, planar().score(sde))
    both = classifier_guided(sde, lambda x, t: plain(x, t)._replace(variance=7.0 * x), log_prob, 1.5)
    alone = classifier_guided(sde, planar().score(sde), log_prob, 1.5)

    found, wanted = jax.jit(lambda x: (both(x, t), alone(x, t)))(x)
    np.testing.assert_array_equal(found.eps, wanted.eps)
    np.testing.assert_array_equal(found.variance, 7.0 * x)


@pytest.mark.parametrize("variance", ["small", "large", "learned_range", "learned"])
def test_the_ancestral_form_moves_the_mean_by_variance_times_gradient(variance, x64):
    """In the step to data by the decoder's variance, which the chain has from the step before."""
    sde, grid = SDES["vp"], np.array([0.5, 0.3, 0.0])
    x = np.random.default_rng(0).normal(size=(4, 2))
    exact, guide, v = of_score(sde, planar().score(sde)), lambda x, t: jnp.cos(x), 0.3
    model = lambda x, t: exact(x, t)._replace(variance=v * jnp.ones_like(x))  # noqa: E731
    plain, guided = (samplers.ancestral(sde, model, variance=variance, guide=g) for g in (None, guide))

    @compiled
    def shifts(x):
        rows, key, state = plain.plan(grid).rows, jax.random.key(0), guided.init(x)
        found = []
        for i in range(2):
            row = jax.tree.map(lambda a, i=i: jnp.asarray(a[i], x.dtype), rows)
            state = guided.step(key, state._replace(x=x), *row)
            found.append(state.mean - plain.step(key, plain.init(x), *row).mean)
        return found

    def moments(t, s):
        """Variances of p(x_s | x_t, x_0) and of p(x_t | x_s)."""
        scale = np.exp(-0.5 * np.diff([0.1 * u + 9.95 * u**2 for u in (s, t)])[0])
        sigma2 = {u: -np.expm1(-(0.1 * u + 9.95 * u**2)) for u in (s, t)}
        q2 = sigma2[t] - scale**2 * sigma2[s]
        return q2 * sigma2[s] / sigma2[t], q2

    (small, large), (_, q2) = moments(0.5, 0.3), moments(0.3, 0.0)
    shift = {
        "small": (small, 0.0),
        "large": (large, small),
        "learned_range": (small**0.35 * large**0.65, small**0.35 * q2**0.65),
        "learned": (np.exp(v), np.exp(v)),
    }[variance]
    for found, expected in zip(shifts(x), shift, strict=True):
        np.testing.assert_allclose(found, expected * np.cos(x), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": float("nan")}, "guidance is nan"),
        ({"scale": 1.0, "low": 2.0, "high": 1.0}, r"guidance_low is 2\.0, guidance_high 1\.0"),
    ],
)
def test_wrong_numbers_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        classifier_guided(SDES["vp"], lambda x, t: x, lambda x, t: t, **options)
