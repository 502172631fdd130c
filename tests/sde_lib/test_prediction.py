"""Predictions through the (x0, eps) pivot, and the score of a network."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from sde_lib import NOISE_LABELS, PREDICTIONS, VE, VP, SubVP, eps_fn, score_and_variance_fn, score_fn
from sde_lib.prediction import from_x0_eps, to_x0_eps

SCALES = [(0.8, 0.6), (1.0, 50.0), (0.9, 0.19), (0.01, 0.99995)]  # VP, VE, sub-VP, VP at the end


def _pair() -> tuple[jnp.ndarray, jnp.ndarray]:
    rng = np.random.default_rng(3)
    return jnp.asarray(rng.normal(size=(4, 3))), jnp.asarray(rng.normal(size=(4, 3)))


@pytest.mark.parametrize(("alpha", "sigma"), SCALES)
def test_each_prediction_by_its_definition(alpha: float, sigma: float, x64) -> None:
    """eps; x0; v = alpha eps - sigma x0; score = -eps / sigma, of x = alpha x0 + sigma eps."""
    x0, eps = _pair()
    a, s = jnp.asarray(alpha), jnp.asarray(sigma)
    x = a * x0 + s * eps
    outputs = {"eps": eps, "x0": x0, "v": a * eps - s * x0, "score": (a * x0 - x) / s**2}
    assert set(outputs) == set(PREDICTIONS)
    for name, output in outputs.items():
        found = to_x0_eps(name, output, x, a, s)
        np.testing.assert_allclose(found[0], x0, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(found[1], eps, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(from_x0_eps(name, x0, eps, a, s), output, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("alpha", "sigma"), SCALES)
def test_round_trips_between_all_pairs(alpha: float, sigma: float, x64) -> None:
    """Whatever the output, x0 and eps always recombine to x, and a chain of conversions returns the output."""
    x, output = _pair()
    a, s = jnp.asarray(alpha), jnp.asarray(sigma)
    for first, second in itertools.product(PREDICTIONS, PREDICTIONS):
        pair = to_x0_eps(first, output, x, a, s)
        np.testing.assert_allclose(a * pair[0] + s * pair[1], x, rtol=1e-9, atol=1e-9)
        other = from_x0_eps(second, *pair, a, s)
        back = from_x0_eps(first, *to_x0_eps(second, other, x, a, s), a, s)
        np.testing.assert_allclose(back, output, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("sde", [VP(), SubVP(), VE()], ids=["vp", "subvp", "ve"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_score_of_a_perfect_network_is_that_of_a_point_mass(sde, prediction: str, x64) -> None:
    """Data at x0 have score (alpha x0 - x) / sigma^2, whatever the network predicts."""
    x0, eps = _pair()
    t = jnp.asarray([0.05, 0.3, 0.8, 1.0])
    alpha, sigma = sde.alpha(t)[:, None], sde.sigma(t)[:, None]
    x = alpha * x0 + sigma * eps
    labels = []

    def network(x, label):
        labels.append(label)
        return {"eps": eps, "x0": x0, "v": alpha * eps - sigma * x0, "score": -eps / sigma}[prediction]

    score = score_fn(sde, network, prediction, "sigma")
    np.testing.assert_allclose(score(x, t), (alpha * x0 - x) / sigma**2, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(eps_fn(sde, network, prediction, "sigma")(x, t), eps, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(labels[0], sde.sigma(t))


def test_noise_labels() -> None:
    sde, t = VP(), jnp.asarray([0.1, 1.0])
    exact = {
        "t999": 999 * t,
        "sigma": sde.sigma(t),
        "t": t,
        "log_snr": jnp.log(sde.alpha(t) ** 2 / sde.sigma(t) ** 2),
        "gamma": 1e3 * (13.3 + jnp.log(sde.sigma(t) ** 2 / sde.alpha(t) ** 2)) / (13.3 + 5.0),
    }
    assert set(exact) == set(NOISE_LABELS)
    for name, label in exact.items():
        np.testing.assert_allclose(NOISE_LABELS[name](sde, t), label, rtol=1e-5)


def test_score_is_finite_at_time_zero() -> None:
    score = score_fn(VP(), lambda x, c: jnp.zeros_like(x), "eps", "t999")
    assert np.all(np.isfinite(score(jnp.ones((2, 3)), jnp.zeros(2))))


def test_unknown_names_are_named() -> None:
    network = lambda x, c: x  # noqa: E731
    with pytest.raises(ValueError, match=r"'noise'.*eps, x0, v, score"):
        score_fn(VP(), network, "noise", "t")
    with pytest.raises(ValueError, match=r"'sigmas'.*t999, sigma, t, log_snr"):
        score_fn(VP(), network, "eps", "sigmas")
    one = jnp.ones((1, 1))
    for convert in (to_x0_eps, from_x0_eps):
        with pytest.raises(ValueError, match=r"'noise'.*eps, x0, v, score"):
            convert("noise", one, one, jnp.ones(()), jnp.ones(()))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_network_of_twice_the_channels_predicts_a_variance_beside(prediction: str) -> None:
    """The first half is the prediction, the second v; channels are the last axis, also of an image of two channels."""
    x, t = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 2, 2)), jnp.float32), jnp.asarray([0.1, 0.5, 0.9])
    half, v = 0.3 * x + 1.0, jnp.sin(x)
    single, double = lambda x, c: half, lambda x, c: jnp.concatenate([half, v], axis=-1)
    wanted = score_fn(VP(), single, prediction, "t")(x, t)
    np.testing.assert_array_equal(score_fn(VP(), double, prediction, "t")(x, t), wanted)
    score, variance = score_and_variance_fn(VP(), double, prediction, "t")(x, t)
    np.testing.assert_array_equal(score, wanted)
    np.testing.assert_array_equal(variance, v)


def test_outputs_of_other_widths_are_refused() -> None:
    x, t = jnp.ones((2, 4, 4, 3)), jnp.ones(2)
    with pytest.raises(ValueError, match=r"output is \(2, 4, 4, 5\) for an input of \(2, 4, 4, 3\)"):
        score_fn(VP(), lambda x, c: jnp.ones((2, 4, 4, 5)), "eps", "t")(x, t)
    with pytest.raises(ValueError, match="predicts no variance"):
        score_and_variance_fn(VP(), lambda x, c: x, "eps", "t")(x, t)
