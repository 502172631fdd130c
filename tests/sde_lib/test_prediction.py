"""Predictions as the pair (x0, eps), from networks and from scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplers import State, ancestral
from sde_lib import GVP, NOISE_LABELS, PREDICTIONS, VE, VP, Plain, SubVP, as_prediction, of_score, parameterization
from tests.oracles import Fixed


def _pair() -> tuple[jnp.ndarray, jnp.ndarray]:
    rng = np.random.default_rng(3)
    return jnp.asarray(rng.normal(size=(4, 3))), jnp.asarray(rng.normal(size=(4, 3)))


@pytest.mark.parametrize(("alpha", "sigma"), [(0.8, 0.6), (1.0, 50.0), (0.9, 0.19), (0.01, 0.99995)])
def test_each_prediction_by_its_definition(alpha: float, sigma: float, x64) -> None:
    """eps; x0; v = alpha eps - sigma x0; velocity = alpha' x0 + sigma' eps; score = -eps / sigma."""
    x0, eps = _pair()
    x, process = alpha * x0 + sigma * eps, Fixed(alpha, sigma, (-0.3, 1.7))
    outputs = {"eps": eps, "x0": x0, "v": alpha * eps - sigma * x0, "score": (alpha * x0 - x) / sigma**2}
    outputs["velocity"] = -0.3 * x0 + 1.7 * eps
    assert set(outputs) == set(PREDICTIONS)
    for name, output in outputs.items():
        found = PREDICTIONS[name](process, x, jnp.ones(4), output, None)
        np.testing.assert_allclose(found.x0, x0, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(found.eps, eps, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["v", "velocity", "x0"])
def test_where_alpha_or_sigma_is_0_nothing_is_divided_by_it(name: str, x64) -> None:
    x0, eps = _pair()
    for alpha, sigma in ((0.0, 1.0), (1.0, 0.0)):
        x, process = alpha * x0 + sigma * eps, Fixed(alpha, sigma)
        output = {"v": alpha * eps - sigma * x0, "velocity": eps - x0, "x0": x0}[name]
        found = PREDICTIONS[name](process, x, jnp.ones(4), output, None)
        np.testing.assert_allclose(found.x0, x0, rtol=1e-12)
        assert np.all(np.isfinite(found.eps))
        if sigma:
            np.testing.assert_allclose(found.eps, eps, rtol=1e-12)


@pytest.mark.parametrize("sde", [VP(), SubVP(), VE(), GVP()], ids=["vp", "subvp", "ve", "gvp"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_score_of_a_perfect_network_is_that_of_a_point_mass(sde, prediction: str, x64) -> None:
    """Data at x0 have score (alpha x0 - x) / sigma^2, whatever the network predicts."""
    x0, eps = _pair()
    t = jnp.asarray([0.05, 0.3, 0.8, 0.99])
    alpha, sigma = sde.alpha(t)[:, None], sde.sigma(t)[:, None]
    x = alpha * x0 + sigma * eps
    labels = []

    def network(x, label):
        labels.append(label)
        outputs = {"eps": eps, "x0": x0, "v": alpha * eps - sigma * x0, "score": -eps / sigma}
        return (outputs | {"velocity": sde.velocity(x0, eps, t)})[prediction]

    predict = Plain(prediction, "sigma").predict_fn(sde, network)
    np.testing.assert_allclose(predict.score(x, t), (alpha * x0 - x) / sigma**2, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(predict(x, t).eps, eps, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(predict(x, t).x0, x0, rtol=1e-7, atol=1e-9)
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


def test_predictions_are_finite_at_time_zero() -> None:
    found = Plain("eps", "t999").predict_fn(VP(), lambda x, c: jnp.zeros_like(x))(jnp.ones((2, 3)), jnp.zeros(2))
    np.testing.assert_array_equal(found.x0, 1.0)
    np.testing.assert_array_equal(found.eps, 0.0)


def test_a_score_becomes_the_pair_and_the_pair_the_score(x64) -> None:
    sde, (x, _), t = VP(), _pair(), jnp.asarray([0.05, 0.3, 0.8, 1.0])
    predict = of_score(sde, lambda x, t: jnp.sin(x) + t[:, None])
    found = predict(x, t)
    np.testing.assert_allclose(sde.alpha(t)[:, None] * found.x0 + sde.sigma(t)[:, None] * found.eps, x, rtol=1e-12)
    np.testing.assert_allclose(predict.score(x, t), jnp.sin(x) + t[:, None], rtol=1e-12)


def test_a_model_may_be_predictions_a_function_of_them_or_a_score(x64) -> None:
    sde, (x, _), t = VP(), _pair(), jnp.full(4, 0.4)
    whole = of_score(sde, lambda x, t: -jnp.tanh(x))
    assert as_prediction(sde, whole) is whole
    for model in (lambda x, t: whole(x, t), lambda x, t: -jnp.tanh(x)):
        for wanted, found in zip(whole(x, t)[:2], as_prediction(sde, model)(x, t)[:2], strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_unknown_names_are_named() -> None:
    with pytest.raises(ValueError, match=r"'noise'.*eps, x0, v, velocity, score"):
        Plain("noise", "t")
    with pytest.raises(ValueError, match=r"'sigmas'.*t999, sigma, t, log_snr"):
        Plain("eps", "sigmas").predict_fn(VP(), lambda x, c: x)
    with pytest.raises(ValueError, match="preconditioning is 'EDM'; allowed are none, edm, vp, ve, iddpm"):
        parameterization("eps", "t", "EDM")


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_network_of_twice_the_channels_predicts_a_variance_beside(prediction: str) -> None:
    """The first half is the prediction, the second v; channels are the last axis, also of an image of two channels."""
    x, t = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 2, 2)), jnp.float32), jnp.asarray([0.1, 0.5, 0.9])
    half, v = 0.3 * x + 1.0, jnp.sin(x)
    single, double = lambda x, c: half, lambda x, c: jnp.concatenate([half, v], axis=-1)
    wanted, found = (Plain(prediction, "t").predict_fn(VP(), network)(x, t) for network in (single, double))
    np.testing.assert_array_equal(found.x0, wanted.x0)
    np.testing.assert_array_equal(found.eps, wanted.eps)
    np.testing.assert_array_equal(found.variance, v)
    assert wanted.variance is None


def test_outputs_of_other_widths_are_refused() -> None:
    x, t = jnp.ones((2, 4, 4, 3)), jnp.ones(2)
    with pytest.raises(ValueError, match=r"output is \(2, 4, 4, 5\) for an input of \(2, 4, 4, 3\)"):
        Plain("eps", "t").predict_fn(VP(), lambda x, c: jnp.ones((2, 4, 4, 5)))(x, t)
    with pytest.raises(ValueError, match="predicts no variance"):
        step = ancestral(VP(), lambda x, t: x, variance="learned").step
        step(jax.random.key(0), State(x, x), jnp.asarray(0.5), jnp.asarray(0.4))
