"""A classifier at a noise level: what it is shown and told on every SDE, and the probability of a class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_lib import EDM, VE, VP, NoiseLevels, SubVP
from sde_lib.classifier import log_prob_fn, logits_fn
from tests.oracles import compiled

SDES = {"vp": VP(), "subvp": SubVP(), "ve": VE(sigma_min=0.01, sigma_max=50.0), "edm": EDM()}


def network(x, c_noise):
    """Three classes that ask for the size of x, for x and for what they were told."""
    flat = x.reshape(len(x), -1)
    return jnp.stack([jnp.mean(flat**2, axis=1), jnp.sin(3.0 * flat).sum(axis=1), 0.1 * c_noise], axis=1)


def test_it_sees_data_of_one_size_at_every_level_of_every_sde(x64):
    """2000 examples of 12 numbers of variance 1: their mean square deviates by sqrt(2 / 24000) < 1 %."""
    x0, eps = 0.5 * np.random.default_rng(0).normal(size=(2, 2000, 12)) * [[[1.0]], [[2.0]]]
    times = np.array([1e-3, 0.3, 1.0])

    @compiled
    def sizes(t):
        return [
            logits_fn(sde, network, "log_snr")(sde.alpha(t) * x0 + sde.sigma(t) * eps, jnp.full(2000, t))[:, 0].mean()
            for sde in SDES.values()
        ]

    for t in times:
        np.testing.assert_allclose(sizes(t), 1.0, atol=0.05)


def test_told_the_log_snr_it_is_one_function_of_the_data_on_every_sde(x64):
    """At equal SNR the points x and alpha' / alpha x of two processes are the same data with the same noise."""
    x = np.random.default_rng(1).normal(size=(3, 5))

    @compiled
    def answers(t):
        found = []
        for sde in SDES.values():
            s = sde.time_of_log_snr(SDES["vp"].log_snr(t))
            same = x * (sde.alpha(s) / SDES["vp"].alpha(t))[:, None]
            found.append(logits_fn(sde, network, "log_snr")(same, s))
        return found

    vp, *others = answers(jnp.array([0.1, 0.4, 0.7]))
    for other in others:
        np.testing.assert_allclose(other, vp, rtol=1e-9)


def test_labels_are_those_of_the_config(precision):
    ve, levels = SDES["ve"], NoiseLevels(SDES["vp"], 1000)
    t = jnp.array([0.25, 1.0])
    x = jnp.ones((2, 3), t.dtype)
    told = {name: logits_fn(p, network, name)(x, t)[:, 2] * 10 for p, name in ((ve, "sigma"), (levels, "index"))}
    np.testing.assert_allclose(told["sigma"], ve.sigma(t), rtol=1e-5)
    np.testing.assert_allclose(told["index"], 999 * t, rtol=1e-5)
    assert told["sigma"].dtype == precision
    with pytest.raises(ValueError, match=r"noise label is 'index', .* allowed are .*log_snr"):
        logits_fn(ve, network, "index")
    with pytest.raises(ValueError, match=r"noise label is 'snr'; allowed are .*log_snr"):
        logits_fn(ve, network, "snr")


def test_the_probabilities_of_all_classes_and_of_none():
    logits = logits_fn(SDES["vp"], network, "t999")
    x = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    t = jnp.array([0.1, 0.3, 0.6, 0.9])

    @compiled
    def of(x, label):
        values, pull = jax.vjp(lambda x: log_prob_fn(logits, label)(x, t), x)
        return values, pull(jnp.ones(4))[0]

    each = [of(x, jnp.full(4, k))[0] for k in range(3)]
    np.testing.assert_allclose(np.exp(each).sum(axis=0), 1.0, rtol=1e-5)
    mixed, gradient = of(x, jnp.array([2, 0, -1, 1]))
    np.testing.assert_allclose(mixed, [each[2][0], each[0][1], 0.0, each[1][3]], rtol=1e-6)
    assert (gradient[2] == 0).all() and (np.abs(gradient[jnp.array([0, 1, 3])]).max(axis=1) > 0).all()
