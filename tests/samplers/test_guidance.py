"""Guidance on a mixture whose components are the classes: every conditional and every guided score is known."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
import sde_lib
from samplers import Settings, autoguidance, classifier_free, thresholded
from samplers.guidance import CONVENTIONS, scale_of
from sde_lib import of_score
from tests.oracles import Mixture, compiled

DATA = Mixture(np.array([0.2, 0.5, 0.3]), np.array([[-1.0, 0.5], [0.8, 0.9], [0.3, -1.1]]), np.array([0.2, 0.4, 0.3]))
CLASSES, NONE = len(DATA.weights), -1
SDES = {"vp": {}, "subvp": {}, "ve": {"sigma_max": 20.0}}


def conditional(sde: sde_lib.AffineSDE) -> Any:
    """What an ideal network gives: the score of the labelled component, or of the mixture where there is no label."""

    def score(x: jax.Array, t: jax.Array, labels: jax.Array) -> jax.Array:
        _, offsets, variances = DATA._parts(x, sde.alpha(t), sde.sigma(t))
        each = jnp.concatenate([offsets / variances[..., None], DATA.score(sde)(x, t)[:, None]], axis=1)
        return each[jnp.arange(len(x)), labels]  # the last is that of label -1

    return score


def points(n: int = 60) -> tuple[jax.Array, jax.Array, jax.Array]:
    """x, t and labels of every class; t from nearly data to noise."""
    x = jax.random.normal(jax.random.key(0), (n, 2), float) * 1.5
    return x, jnp.linspace(1e-3, 1.0, n, dtype=float), jnp.arange(n) % CLASSES


def tilted(sde: sde_lib.AffineSDE) -> Any:
    """(x, t, label, scale) -> grad of log p(x) + scale log p(label | x), differentiated: guidance by its definition."""

    def log_density(x: jax.Array, t: jax.Array, label: jax.Array, scale: jax.Array) -> jax.Array:
        level = sde.alpha(t), sde.sigma(t)
        return DATA.log_density(x[None], *level)[0] + scale * jnp.log(DATA.responsibilities(x[None], *level)[0, label])

    return compiled(jax.vmap(jax.grad(log_density), (0, 0, 0, None)))


@pytest.mark.parametrize("name", ["ve", *(pytest.param(name, marks=pytest.mark.slow) for name in ("vp", "subvp"))])
def test_guided_scores_are_the_closed_form(x64: None, name: str) -> None:
    sde = sde_lib.create(name, **SDES[name])
    score, (x, t, labels) = conditional(sde), points()
    x = x * jnp.hypot(sde.alpha(t), sde.sigma(t))[:, None]  # where p_t is

    def guided(scale: jax.Array) -> jax.Array:
        return classifier_free(sde, score, labels, jnp.full_like(labels, NONE), scale).score(x, t)

    found = compiled(lambda scales: jax.lax.map(guided, scales))(jnp.array([0.0, 0.5, 1.0, 2.0, 3.5]))
    closed_form = tilted(sde)
    for scale, values in zip((0.0, 0.5, 1.0, 2.0, 3.5), found, strict=True):
        expected = closed_form(x, t, labels, jnp.asarray(scale))
        usable = np.isfinite(expected).all(axis=1)  # log of a responsibility that is 0 in float64 has no gradient
        assert usable.mean() > 0.6
        np.testing.assert_allclose(values[usable], expected[usable], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found[0], DATA.gradient(x, sde.alpha(t), sde.sigma(t)), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found[2], compiled(score)(x, t, labels), rtol=1e-12)


@pytest.mark.slow
def test_both_conventions_and_their_limits() -> None:
    """systems.md: (1 + w) c - w u = u + s (c - u), and c 1, u .2, w .5 give 1.4."""
    sde, (x, t, labels) = sde_lib.create("vp"), points(4)
    none = jnp.full_like(labels, NONE)

    def constant(x: jax.Array, t: jax.Array, labels: jax.Array) -> jax.Array:
        return jnp.where(labels == NONE, 0.2, 1.0)[:, None] * jnp.ones_like(x)

    assert [scale_of(0.5, convention) for convention in CONVENTIONS] == [0.5, 1.5]
    for number, convention, expected in (
        (0.5, "weight", 1.4), (1.5, "scale", 1.4), (0.0, "weight", 1.0), (1.0, "scale", 1.0), (0.0, "scale", 0.2),
    ):  # fmt: skip
        settings = Settings(guidance=number, guidance_convention=convention)
        guided = classifier_free(sde, constant, labels, none, settings.guidance_scale).score(x, t)
        np.testing.assert_allclose(guided, expected, rtol=1e-6)


class Counted:
    """A conditional score, or its predictions with a variance, and the sizes of the batches that it was traced for."""

    def __init__(self, score: Any, *, variance: bool = False):
        self.score, self.variance, self.sizes = score, variance, []

    def __call__(self, x: jax.Array, t: jax.Array, labels: jax.Array) -> Any:
        self.sizes.append(len(x))
        if not self.variance:
            return self.score(x, t, labels)
        exact = of_score(sde_lib.create("vp"), lambda x, t: self.score(x, t, labels))(x, t)
        return exact._replace(variance=labels[:, None] * jnp.ones_like(x))


@pytest.mark.slow
def test_one_pass_of_twice_the_batch_and_the_variance_of_the_condition() -> None:
    sde, (x, t, labels) = sde_lib.create("vp"), points(6)
    none = jnp.full_like(labels, NONE)
    score = Counted(conditional(sde), variance=True)
    variance = compiled(classifier_free(sde, score, labels, none, 2.0))(x, t).variance
    assert score.sizes == [12]
    np.testing.assert_array_equal(variance, labels[:, None] * jnp.ones_like(x))
    for scale, expected in ((1.0, labels), (0.0, none)):
        score = Counted(conditional(sde))
        found = compiled(classifier_free(sde, score, labels, none, scale).score)(x, t)
        assert score.sizes == [6]
        np.testing.assert_allclose(found, conditional(sde)(x, t, expected), rtol=1e-5)


@pytest.mark.slow
def test_outside_the_interval_the_score_is_the_conditional_one_and_costs_one_pass() -> None:
    sde, (x, t, labels) = sde_lib.create("vp"), points()
    none = jnp.full_like(labels, NONE)
    passes = []

    def score(x: jax.Array, t: jax.Array, labels: jax.Array) -> jax.Array:
        jax.debug.callback(passes.append, len(x))
        return conditional(sde)(x, t, labels)

    guided = compiled(classifier_free(sde, score, labels, none, 3.0, low=0.2, high=2.0).score)
    found, plain = guided(x, t), compiled(conditional(sde))(x, t, labels)
    noise = np.asarray(sde.sigma(t) / sde.alpha(t))
    inside = (noise > 0.2) & (noise <= 2.0)
    assert 10 < inside.sum() < 50
    np.testing.assert_allclose(found[~inside], plain[~inside], rtol=1e-5)
    everywhere = compiled(classifier_free(sde, conditional(sde), labels, none, 3.0).score)(x, t)
    np.testing.assert_allclose(found[inside], everywhere[inside], rtol=1e-5)
    guided(x, jnp.full_like(t, 0.99)).block_until_ready()
    jax.effects_barrier()
    assert passes == [120, 60]


def test_rescaling_gives_the_conditional_deviation_back() -> None:
    sde, labels = sde_lib.create("vp"), jnp.arange(3)
    x, t = jax.random.normal(jax.random.key(1), (3, 8, 8)), jnp.array([0.2, 0.5, 0.9])

    def score(x: jax.Array, t: jax.Array, labels: jax.Array) -> jax.Array:
        return jnp.where(labels == NONE, 1.0, -0.5)[:, None, None] * x + jnp.sin(3 * x)

    none = jnp.full_like(labels, NONE)
    plain, full, half, without = (
        np.asarray(compiled(classifier_free(sde, score, labels, none, s, rescale=phi).score)(x, t))
        for s, phi in ((1.0, 0.0), (4.0, 1.0), (4.0, 0.5), (4.0, 0.0))
    )
    deviation = lambda a: a.reshape(3, -1).std(axis=1)  # noqa: E731
    assert np.all(deviation(without) > 2 * deviation(plain))
    np.testing.assert_allclose(deviation(full), deviation(plain), rtol=1e-5)
    np.testing.assert_allclose(half, 0.5 * (full + without), rtol=1e-4, atol=1e-5)


def test_a_threshold_comes_after_and_keeps_the_image_in_range() -> None:
    sde, (x, t, labels) = sde_lib.create("vp"), points()
    guided = classifier_free(sde, conditional(sde), labels, jnp.full_like(labels, NONE), 8.0)
    rules = ("none", "clip", "dynamic")
    scores = [thresholded(sde, guided, rule, quantile=0.9) for rule in rules]
    free, clipped, scaled = compiled(lambda x, t: [model(x, t).x0 for model in scores])(x, t)
    assert np.abs(free).max() > 1.5
    assert max(np.abs(clipped).max(), np.abs(scaled).max()) < 1.001


def test_autoguidance_moves_away_from_the_weaker_model(x64: None) -> None:
    """Of two Gaussians it is a Gaussian: precisions and means combine with weights s and 1 - s."""
    sde, (x, t, _) = sde_lib.create("vp"), points()
    models, scale = (((0.5, 0.0), 0.5), ((0.3, 0.2), 0.8)), 2.0
    good, weak = (Mixture(np.ones(1), np.array([mean]), np.array([std])) for mean, std in models)
    found = compiled(autoguidance(sde, good.score(sde), weak.score(sde), scale).score)(x, t)
    a, s = np.asarray(sde.alpha(t))[:, None], np.asarray(sde.sigma(t))[:, None]
    precision, pull = 0.0, 0.0
    for weight, (mean, std) in zip((scale, 1.0 - scale), models, strict=True):
        variance = (a * std) ** 2 + s**2
        precision, pull = precision + weight / variance, pull + weight * a * np.array(mean) / variance
    np.testing.assert_allclose(found, pull - precision * np.asarray(x), rtol=1e-9, atol=1e-9)
    alone = autoguidance(sde, good.score(sde), weak.score(sde), 1.0)
    np.testing.assert_allclose(alone.score(x, t), good.score(sde)(x, t), rtol=1e-12)


N = 3000
CONDITIONAL = [
    ("vp", Settings(method="dpmpp_2m", grid="log_snr", evaluations=40)),
    pytest.param("subvp", Settings(method="ancestral", steps=200, grid="log_snr"), marks=pytest.mark.slow),
    ("ve", Settings(method="heun", grid="karras", evaluations=39)),
    pytest.param("vp", Settings(method="ode", rtol=1e-4, atol=1e-4), marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "settings"), CONDITIONAL, ids=lambda v: v if isinstance(v, str) else v.method)
def test_conditional_samples_have_the_component_s_distribution(name: str, settings: Settings) -> None:
    """3000 samples of mixed classes at once; mean and variance of each component's 1000, 4.5 standard errors.

    The allowance beside it: the prior differs from the marginal at t = 1, and the steps are finite.
    """
    sde = sde_lib.create(name, **SDES[name])
    labels = jnp.arange(N) % CLASSES
    one = jnp.asarray(1.0)  # an array: the doubled pass
    score = classifier_free(sde, conditional(sde), labels, jnp.full_like(labels, NONE), one)
    draw = compiled(lambda key: samplers.draw(samplers.create(sde, score, settings), sde, key, (N, 2)).x)
    x = np.asarray(draw(jax.random.key(3)))
    for k in range(CLASSES):
        own, std = x[k::CLASSES], DATA.stds[k]
        error = std / np.sqrt(len(own))
        assert np.all(np.abs(own.mean(axis=0) - DATA.means[k]) < 4.5 * error + 0.02 * std)
        assert np.all(np.abs(own.var(axis=0) / std**2 - 1) < 4.5 * np.sqrt(2 / len(own)) + 0.03)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(method="euler_maruyama", steps=5),
        pytest.param(Settings(method="pc", steps=5), marks=pytest.mark.slow),
        pytest.param(Settings(method="ancestral", steps=5), marks=pytest.mark.slow),
        pytest.param(Settings(method="flow_heun", flow_steps=5), marks=pytest.mark.slow),
        pytest.param(Settings(method="ddim", evaluations=6), marks=pytest.mark.slow),
        pytest.param(Settings(method="unipc_3", grid="log_snr", evaluations=6), marks=pytest.mark.slow),
        Settings(method="heun", grid="karras", evaluations=7),
        Settings(method="dpmpp_2m_sde", evaluations=6),
        pytest.param(Settings(method="ode", rtol=1e-2, atol=1e-2), marks=pytest.mark.slow),
    ],
    ids=lambda settings: settings.method,
)
def test_every_sampler_takes_a_guided_score_and_compiles_once(settings: Settings) -> None:
    """New classes, scales and keys are the same program; scale 1 is the conditional model."""
    sde, traces = sde_lib.create("vp"), []

    def draw(key: jax.Array, labels: jax.Array, scale: jax.Array) -> jax.Array:
        traces.append(1)
        score = classifier_free(sde, conditional(sde), labels, jnp.full_like(labels, NONE), scale)
        return samplers.draw(samplers.create(sde, score, settings), sde, key, (6, 2)).x

    run = compiled(draw)
    labels = jnp.arange(6) % CLASSES
    found = {scale: run(jax.random.key(0), labels, jnp.asarray(scale)) for scale in (0.0, 1.0, 3.0)}
    run(jax.random.key(1), labels[::-1], jnp.asarray(2.0))
    assert len(traces) == 1
    plain = lambda x, t: conditional(sde)(x, t, labels)  # noqa: E731
    alone = compiled(lambda key: samplers.draw(samplers.create(sde, plain, settings), sde, key, (6, 2)).x)(
        jax.random.key(0)
    )
    rough = settings.rtol if settings.method == "ode" else 2e-4  # rounding moves an adaptive solver's steps
    np.testing.assert_allclose(found[1.0], alone, rtol=rough, atol=rough)
    assert np.abs(found[3.0] - found[1.0]).max() > 1e-2 and np.isfinite(found[3.0]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"guidance": float("nan")}, "sampling.guidance is nan"),
        ({"guidance_low": 2.0, "guidance_high": 1.0}, "guidance_low < guidance_high"),
        ({"guidance_rescale": 1.5}, r"at least 0 and at most 1"),
        ({"guidance_convention": "cfg"}, "known are scale, weight"),
        ({"label": -2}, "sampling.label is -2"),
    ],
)
def test_what_is_no_guidance_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Settings(), **change)


def test_settings_say_what_matters() -> None:
    assert not {name for name in Settings().used() if name.startswith("guid") or name == "label"}
    used = Settings(label=3, guidance=2.0, guidance_low=0.1, guide="runs/weak").used()
    assert {"label": 3, "guidance": 2.0, "guidance_low": 0.1, "guide": "runs/weak"}.items() <= used.items()
    assert "guidance_rescale" not in used
