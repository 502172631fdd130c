"""Continuous-time consistency against worked arrays and the exact map, whose tangent vanishes, of a mixture."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplers import maps
from sde_lib import EDM, GVP, VP, NoiseLevels, PredictFn, Prediction, Process, jump_fn
from sde_lib.preconditioning import PRECONDITIONINGS, TrigFlow
from tests.oracles import Mixture, planar
from tests.training.given import draws
from training import losses
from training.draws import Draws
from training.examples import Examples
from training.losses.continuous_consistency import ANGLES, Uncertainty, moved, normalized, tangent
from training.model import TrainedModel

FOLDER = Path(__file__).parents[1] / "reference" / "maps"
SCM, CONTINUOUS = np.load(FOLDER / "scm.npz"), np.load(FOLDER / "continuous.npz")
SD, NAMES = 0.5, ("W1", "a", "b1", "W2", "b2")
TIMES = {  # the times at which a process has the noise tan(angle) / 2
    "edm": (EDM(), lambda angle: SD * jnp.tan(angle) / 80.0),
    "gvp": (GVP(), lambda angle: 2.0 / np.pi * jnp.arctan(SD * jnp.tan(angle))),
}


def net(params: dict, x: jax.Array, c: jax.Array) -> jax.Array:
    """The reference arrays' network of one hidden layer."""
    hidden = jnp.tanh(x.reshape(len(x), -1) @ params["W1"].T + c[:, None] * params["a"] + params["b1"])
    return (hidden @ params["W2"].T + params["b2"]).reshape(x.shape)


def of_label(params: dict, x: jax.Array, label: jax.Array) -> jax.Array:
    """The same told the angle as `TrigFlow` tells it."""
    return net(params, x, label * np.pi / 2 / 999)


def params_of(arrays: np.lib.npyio.NpzFile, prefix: str) -> dict[str, jax.Array]:
    return {name: jnp.asarray(arrays[f"{prefix}/{name}"]) for name in NAMES}


@pytest.mark.parametrize("process", TIMES)
def test_the_parameterization_and_the_diffusion_loss_are_the_papers(process: str, x64) -> None:
    """F and f at the recorded points of EDM's process and of a path that ends in noise alone."""
    sde, time_of = TIMES[process]
    t = time_of(jnp.asarray(SCM["time/t"]))
    x = jnp.asarray(SCM["edm_relation/x_edm"]) * sde.alpha(t)[:, None, None, None]
    params, seen = params_of(SCM, "net"), []

    def network(x: jax.Array, label: jax.Array) -> jax.Array:
        seen.append(of_label(params, x, label))
        return seen[-1]

    prediction = TrigFlow().predict_fn(sde, network)(x, t)
    np.testing.assert_allclose(seen[0], SCM["F"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(prediction.x0, SCM["f"], rtol=1e-9, atol=1e-12)
    x0, noise = jnp.asarray(SCM["x0"]), jnp.asarray(SCM["noise"])
    loss = losses.create("simple", sde, weight="edm")
    model = TrainedModel(of_label, params, TrigFlow())
    found = loss.at(model, Examples(x0, {}, draws(jax.random.key(0), len(x0))), t, noise)["loss"]
    np.testing.assert_allclose(found * SD**2, SCM["trigflow_loss"], rtol=1e-9)


def test_noise_alone_has_an_angle() -> None:
    """At the beginning of GVP alpha is 0: x is F's input, and x0 and eps are -F / 2 and x."""
    x = jax.random.normal(jax.random.key(0), (3, 4))
    found = TrigFlow().predict_fn(GVP(), lambda x, label: jnp.cos(x) + label[:, None])(x, jnp.ones(3))
    np.testing.assert_allclose(found.x0, -0.5 * (jnp.cos(x) + 999.0), rtol=1e-6)
    np.testing.assert_allclose(found.eps, x, atol=1e-3)


@pytest.mark.parametrize(("kind", "process"), [("ct", "edm"), ("cd", "gvp")])
def test_tangents_losses_and_gradients_are_the_papers(
    kind: str, process: str, monkeypatch: pytest.MonkeyPatch, x64
) -> None:
    """From data and from a teacher on another process, with the recorded u, at r 0, 0.5 and 1 of a warm-up."""
    sde, time_of = TIMES[process]
    angle, x0, noise, x = (jnp.asarray(SCM[name]) for name in ("time/t", "x0", "noise", "x_t"))
    params, loss = params_of(SCM, "net"), losses.create("continuous_consistency", sde, tangent_warmup=2)
    features = np.cos(2.0 * SCM["time/t"][:, None] * np.arange(8))
    state = Uncertainty.create()._replace(weights=jnp.asarray(np.linalg.lstsq(features, SCM["logvar"])[0]))
    monkeypatch.setattr(Draws, "eps", lambda draws, x0: noise)
    monkeypatch.setattr(type(loss), "draw_times", lambda loss, draws, state=None: time_of(angle))
    examples = Examples(x0, {}, draws(jax.random.key(0), len(x0)))
    teacher = params_of(SCM, "teacher")
    taught = TrigFlow().predict_fn(VP(t_min=1e-7), lambda x, label: of_label(teacher, x, label))

    @jax.jit
    def of(params: dict, step: jax.Array) -> tuple[jax.Array, jax.Array]:
        model = TrainedModel(of_label, params, TrigFlow(), teacher=taught if kind == "cd" else None, step=step)
        found = loss(model, examples, state)["loss"]
        return jnp.mean(found), found

    velocity = jnp.asarray(SCM[f"{kind}/dxt_dt"])
    tangents = jax.jit(
        lambda r: tangent(TrainedModel(of_label, params, TrigFlow()).predict_fn(ANGLES), x, angle, velocity, r)
    )
    for step, r in enumerate(("0.0", "0.5", "1.0")):
        (_, found), gradient = jax.value_and_grad(of, has_aux=True)(params, jnp.asarray(step))
        np.testing.assert_allclose(found, SCM[f"{kind}/r{r}/paper_prior/loss"], rtol=1e-9)
        network, g = tangents(float(r))
        np.testing.assert_allclose(network, SCM["F"], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(g, SCM[f"{kind}/r{r}/g"], rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(normalized(g, 0.1), SCM[f"{kind}/r{r}/g_normalized"], rtol=1e-9, atol=1e-10)
    for name in NAMES:
        np.testing.assert_allclose(gradient[name], SCM[f"{kind}/r1.0/paper_prior/grad_{name}"], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(g, jnp.cos(angle)[:, None, None, None] * SCM[f"{kind}/df_dt"], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", ["ct", "cd"])
def test_the_tangent_of_another_parameterization_is_the_published_one(kind: str, x64) -> None:
    """The JAX code's f in the noise sigma. Its tangent is that towards data, -df / d sigma, and loss -tangent f."""
    sigma, x0, noise = (jnp.asarray(CONTINUOUS[name]) for name in ("t_continuous", "x_start", "noise"))
    angle, sde = jnp.arctan(sigma / SD), EDM()
    cos, sin = (part(angle)[:, None, None, None] for part in (jnp.cos, jnp.sin))
    x = cos * x0 + sin * SD * noise
    teacher = params_of(CONTINUOUS, "net/teacher")
    pair = PRECONDITIONINGS["edm"]().predict_fn(ANGLES, lambda x, c: net(teacher, x, c))(x, angle)
    velocity = ANGLES.velocity(*((x0, noise) if kind == "ct" else pair[:2]), angle)

    def end_fn(params: dict) -> PredictFn:
        jump = jump_fn(sde, PRECONDITIONINGS["consistency"]().predict_fn(sde, lambda x, c: net(params, x, c)))

        def predict(x: jax.Array, angle: jax.Array) -> Prediction:
            cos, sin = (part(angle)[:, None, None, None] for part in (jnp.cos, jnp.sin))
            t = SD * jnp.tan(angle) / 80.0
            end = jump(x / cos, t, jnp.full_like(t, 0.002 / 80.0))
            return Prediction(end, (x - cos * end) / (SD * sin))

        return PredictFn(ANGLES, predict)

    def mean(params: dict) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        predict = end_fn(params)
        end, g = predict(x, angle).x0, tangent(predict, x, angle, velocity)[1]
        towards_data = -g * cos / SD  # g is cos df / d angle, and d sigma / d angle is sigma_data / cos^2
        counted = jnp.asarray(CONTINUOUS["mask"])
        loss = 0.5 * x0[0].size * jnp.sum(counted * moved(end, towards_data)) / jnp.sum(counted)
        return loss, (end, towards_data)

    gradient, (end, found) = jax.jit(jax.grad(mean, has_aux=True))(params_of(CONTINUOUS, "net/student"))
    np.testing.assert_allclose(end, CONTINUOUS[f"continuous/{kind}/F"], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found, CONTINUOUS[f"continuous/{kind}/tangent"], rtol=1e-9, atol=1e-9)
    for name in NAMES:
        expected = CONTINUOUS[f"continuous/{kind}/l2_stopgrad/grad_{name}"]
        np.testing.assert_allclose(gradient[name], expected, rtol=1e-8, atol=1e-9)


def map_fn(data: Mixture, steps: int = 60, off: float = 0.0) -> PredictFn:
    """The exact map of the mixture's flow, by so many steps of Runge and Kutta; and one that leads `off` its ends.

    That one leaves data where they are too, as every consistency model does.
    """

    def velocity(x: jax.Array, angle: jax.Array) -> jax.Array:
        return ANGLES.velocity(*data.pair(x, ANGLES.alpha(angle), ANGLES.sigma(angle))[:2], angle)

    def predict(x: jax.Array, angle: jax.Array) -> Prediction:
        h = angle / steps

        def step(y: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
            t, along = angle - i * h, h[:, None]
            first = velocity(y, t)
            second = velocity(y - along / 2 * first, t - h / 2)
            third = velocity(y - along / 2 * second, t - h / 2)
            fourth = velocity(y - along * third, t - h)
            return y - along / 6 * (first + 2 * second + 2 * third + fourth), None

        end = jax.lax.scan(step, x, jnp.arange(float(steps)))[0] + off * jnp.sin(angle)[:, None] * x
        return Prediction(end, (x - ANGLES.alpha(angle)[:, None] * end) / ANGLES.sigma(angle)[:, None])

    return PredictFn(ANGLES, predict)


def test_the_tangent_vanishes_at_the_exact_map_of_a_mixture_and_not_beside_it(x64) -> None:
    """With the exact velocity."""
    angle = jnp.linspace(0.2, 1.5, 8)
    x = jax.random.normal(jax.random.key(0), (8, 2)) * 1.5

    @jax.jit
    def largest(off: float) -> jax.Array:
        pair = planar().pair(x, ANGLES.alpha(angle), ANGLES.sigma(angle))
        return jnp.max(jnp.abs(tangent(map_fn(planar(), off=off), x, angle, ANGLES.velocity(*pair[:2], angle))[1]))

    assert largest(0.0) < 1e-6
    assert largest(0.01) > 1e-3


def _z_scores(values: jax.Array) -> np.ndarray:
    return np.abs(np.asarray(jnp.mean(values, 0) / (jnp.std(values, 0) / jnp.sqrt(len(values)))))


@pytest.mark.slow
def test_the_expected_tangent_of_data_vanishes_at_the_exact_map_of_a_mixture(x64) -> None:
    """With 2^12 examples: its products with 1, x and cos x, within 4 standard errors of 0; beside the map they are not.

    It is the tangent ahead of its normalisation, which is not linear in the data's velocity.
    """
    n = 2**12
    x0, eps = planar().sample(jax.random.key(1), n).astype(float), jax.random.normal(jax.random.key(2), (n, 2))
    angle = jnp.linspace(0.4, 1.4, n)

    @jax.jit
    def products(off: float) -> jax.Array:
        x = jnp.cos(angle)[:, None] * x0 + SD * jnp.sin(angle)[:, None] * eps
        g = tangent(map_fn(planar(), 20, off), x, angle, ANGLES.velocity(x0, eps, angle))[1]
        return jnp.concatenate([g, g * x, g * x[:, ::-1], g * jnp.cos(x)], axis=1)

    assert _z_scores(products(0.0)).max() < 4.0
    assert _z_scores(products(0.6)).max() > 8.0


class Shifted(NamedTuple):
    """The exact map of Gaussian data or one beside it, whose F has the network's output added."""

    off: float
    told_end: bool = False

    def predict_fn(self, process: Process, network: Callable) -> PredictFn:
        mean, deviation = jnp.asarray([0.3, -0.2]), 0.4

        def predict(x: jax.Array, angle: jax.Array) -> Prediction:
            cos, sin = (part(angle)[:, None] for part in (jnp.cos, jnp.sin))
            end = mean + (x - cos * mean) * deviation / jnp.hypot(cos * deviation, SD * sin) + self.off * sin * x
            shift = network(x, angle)
            return Prediction(end - sin * SD * shift, (x - cos * end) / (SD * sin) + cos * shift)

        return PredictFn(process, predict)


def test_the_losss_expected_gradient_vanishes_at_the_exact_map_of_gaussian_data(x64) -> None:
    """The derivative of 2^13 examples' losses, normalisation included, in the direction of an F that adds x cos t.

    Given x the velocity of Gaussian data is symmetric about the flow's, which the normalisation keeps.
    """
    n = 2**13
    loss = losses.create("continuous_consistency", GVP(), time_sampling="lognormal", P_mean=-1.0, P_std=1.4)
    x0 = jnp.asarray([0.3, -0.2]) + 0.4 * jax.random.normal(jax.random.key(2), (n, 2))
    examples = Examples(x0, {}, draws(jax.random.key(3), n))

    @jax.jit
    def derivatives(off: float) -> jax.Array:
        def of(shift: jax.Array) -> jax.Array:
            def network(params: dict, x: jax.Array, t: jax.Array) -> jax.Array:
                return params["shift"] * x * jnp.cos(t)[:, None]

            return loss(TrainedModel(network, {"shift": shift}, Shifted(off)), examples)["loss"]

        return jax.jvp(of, (jnp.zeros(()),), (jnp.ones(()),))[1]

    assert _z_scores(derivatives(0.0)) < 4.0
    assert _z_scores(derivatives(0.4)) > 8.0


def test_the_uncertainty_becomes_the_mean_error() -> None:
    """e^u of errors whose mean depends on the angle, by 1000 steps of 256 draws each."""

    def step(state: Uncertainty, key: jax.Array) -> tuple[Uncertainty, None]:
        angle, noise = jax.random.uniform(key, (2, 256), maxval=np.pi / 2)
        return state.updated(angle, expected(angle) * noise * 4 / np.pi), None

    def expected(angle: jax.Array) -> jax.Array:
        return jnp.exp(-3.0 + 1.5 * jnp.sin(2.0 * angle))

    state = jax.lax.scan(step, Uncertainty.create(), jax.random.split(jax.random.key(4), 1000))[0]
    angle = jnp.linspace(0.1, 1.5, 20)
    np.testing.assert_allclose(state(angle), jnp.log(expected(angle)), atol=0.15)


@pytest.mark.parametrize("name", ["one", "two", "four"])
def test_samples_are_the_papers(name: str, monkeypatch: pytest.MonkeyPatch, x64) -> None:
    """By `renoise` on the grid of the recorded angles and data, with the recorded noise."""
    angles = {"one": [], "two": [1.1], "four": [1.3, 1.1, 0.6]}[name]
    noise = iter(SCM["sampler/noise"])
    sde, params = EDM(), params_of(SCM, "net")
    first = np.arctan(80.0 / SD)
    times = np.array([1.0, *(SD * np.tan(angle) / 80.0 for angle in angles), 0.0])
    stepper = maps.renoise(sde, TrigFlow().predict_fn(sde, lambda x, label: of_label(params, x, label)))
    x = jnp.asarray(SD * next(noise) / np.cos(first))
    monkeypatch.setattr(maps, "normal_like", lambda key, x: jnp.asarray(next(noise, np.zeros(x.shape))))
    state = stepper.init(x)
    for row in zip(*stepper.plan(times).rows, strict=True):
        state = stepper.step(jax.random.key(0), state, *(jnp.asarray(time) for time in row))
    np.testing.assert_allclose(state.x, SCM[f"sampler/{name}"], rtol=1e-9, atol=1e-11)


def test_noise_levels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one of continuous time .ContinuousConsistency.*; set it to True"):
        losses.create("continuous_consistency", NoiseLevels(VP(), 100))
