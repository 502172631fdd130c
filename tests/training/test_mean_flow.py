"""Mean flows: the loss against the published code's arrays, and against flows whose mean velocity is known."""

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
from autoencoders import GreyLevels
from conditions import NO_CLASS as NO_CLASS_LABEL
from conditions import Labels
from configs.vp import toy_mixture8_mlp
from experiment import Refusal
from samplers import jump, sample
from sde_lib import GVP, VP, Flow, NoiseLevels, Plain, PredictFn, Prediction
from sde_lib.parameterization import END_LABEL
from tests.oracles import compiled
from tests.training.given import draws
from training import losses
from training.examples import Encoder, Examples
from training.losses.base import NoisedLoss
from training.losses.mean_flow import MeanFlow
from training.model import TrainedModel, batch_scores

FOLDER = Path(__file__).parents[1] / "reference" / "flow"
ARRAYS, SETTINGS = np.load(FOLDER / "meanflow.npz"), json.loads((FOLDER / "meanflow.json").read_text())
EXACT = np.load(FOLDER / "analytic.npz")
NET = {name.removeprefix("net/"): ARRAYS[name] for name in ARRAYS.files if name.startswith("net/")}
NO_CLASS = SETTINGS["null_label"]
SDE = Flow(t_min=1e-3)


def network(labels: np.ndarray):
    """The published code's tiny network, which is told h = t - r and a class, of which one stands for none."""

    def apply(w: dict, x: jax.Array, t: jax.Array, end: jax.Array, *, none: bool = False) -> jax.Array:
        told = w["E"][jnp.full(len(x), NO_CLASS) if none else labels]
        h, tall = (c[:, None] for c in (t, end / END_LABEL))
        hidden = jnp.tanh(x.reshape(len(x), -1) @ w["W1"].T + h * w["a"] + tall * w["a_h"] + told + w["b1"])
        return (hidden @ w["W2"].T + w["b2"]).reshape(x.shape)

    return apply


def model_of(params: dict, labels: np.ndarray) -> TrainedModel:
    plain = Plain("velocity", "t", told_end=True)
    return TrainedModel(network(labels), params, plain, told=jnp.asarray(labels != NO_CLASS))


@pytest.mark.parametrize("case", SETTINGS["cases"])
def test_the_loss_is_the_published_one(case: str, x64) -> None:
    """Guided target, squared errors, loss and every gradient, at the jumps and dropped classes of that batch."""
    options = SETTINGS["cases"][case]
    given = {name: options[name] for name in ("norm_eps", "norm_p", "omega", "kappa", "t_start", "t_end")}
    names = ("norm_eps", "norm_power", "guidance_omega", "guidance_kappa", "guidance_start", "guidance_end")
    chosen = dict(zip(names, given.values(), strict=True))
    if not options["guidance_eq"]:
        chosen |= {"guidance_omega": 1.0, "guidance_kappa": 0.0}
    loss, labels = losses.create("mean_flow", SDE, **chosen), ARRAYS[f"{case}/labels_in"]
    x0, eps, t, s = (jnp.asarray(ARRAYS[name]) for name in ("x", "e", f"{case}/t", f"{case}/r"))

    def mean(params: dict) -> tuple[jax.Array, tuple]:
        model = model_of(params, labels)
        scores = loss.at(model, Examples(x0, {}, None), t, eps, s)
        return jnp.mean(scores["loss"]), (scores, loss.guided(model, loss.noised(x0, t, eps), t, eps - x0))

    (found, (scores, field)), gradients = compiled(jax.value_and_grad(mean, has_aux=True))(
        jax.tree.map(jnp.asarray, NET)
    )
    np.testing.assert_allclose(field, ARRAYS[f"{case}/v_g"], rtol=1e-9)
    np.testing.assert_allclose(scores["error"] * x0[0].size, ARRAYS[f"{case}/squared_error"], rtol=1e-9)
    np.testing.assert_allclose(found, ARRAYS[f"{case}/loss"], rtol=1e-9)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, ARRAYS[f"{case}/grad_{name}"], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("steps", SETTINGS["sample_times"])
def test_jumps_are_the_published_sampler(steps: str, x64) -> None:
    model = model_of(jax.tree.map(jnp.asarray, NET), ARRAYS["sample/labels"]).predict_fn(SDE)
    times = np.array(SETTINGS["sample_times"][steps])
    found = sample(jump(SDE, model), jax.random.key(0), jnp.asarray(ARRAYS["sample/z1"]), times)
    np.testing.assert_allclose(found.x, ARRAYS[f"sample/{steps}"], rtol=1e-9)


MEAN, STD = 0.7, 0.4


def exact(z: jax.Array, t: jax.Array, s: jax.Array) -> jax.Array:
    """The mean velocity of the flow of N(MEAN, STD^2) on [b, 1], without the division by t - s.

    Deviations from the mean of the marginal grow as its deviation d(t), and (d_t - d_s) / (t - s) is a quotient of
    d_t^2 - d_s^2 = (t - s) ((STD^2 + 1) (t + s) - 2 STD^2).
    """
    (t, s), var = (c[:, None] for c in (t, s)), STD**2
    wide, narrow = (jnp.sqrt(((1 - c) * STD) ** 2 + c**2) for c in (t, s))
    slope = ((var + 1.0) * (t + s) - 2.0 * var) / (wide + narrow)
    return -MEAN + slope * (z - (1 - t) * MEAN) / wide


@dataclasses.dataclass(frozen=True)
class Known:
    """A model of this mean velocity, to which multiples of `features` are added."""

    params: jax.Array
    told: None = None

    def predict_fn(self, process, params=None, *, none=False) -> PredictFn:
        def function(z: jax.Array, t: jax.Array, s: jax.Array) -> Prediction:
            u = exact(z, t, s) + features(z, t, s) @ self.params
            return Prediction(z - t[:, None] * u, z + (1.0 - t[:, None]) * u)

        return PredictFn(process, function, told_end=True)


def features(z: jax.Array, t: jax.Array, s: jax.Array) -> jax.Array:
    """[b, 1, 6] smooth functions of the point and the jump."""
    parts = [jnp.ones_like(z), z, jnp.sin(2.0 * z), t[:, None] - s[:, None], z * t[:, None], jnp.cos(z + s[:, None])]
    return jnp.stack(parts, -1)


BESIDE = jnp.array([0.0, 0.1, 0.0, 0.0, 0.05, 0.0])


def test_the_identity_holds_at_the_exact_mean_velocity(x64) -> None:
    """With the exact velocity, v = u(z, t, t), of which an example is made that has it; beside it neither."""
    key, n = jax.random.key(0), 64
    t, s, z = (jax.random.uniform(k, (n,)) for k in jax.random.split(key, 3))
    t, s, z = jnp.maximum(t, s), jnp.minimum(t, s), 2.0 * z[:, None] - 1.0
    v = exact(z, t, t)
    x0, eps = z - t[:, None] * v, z + (1.0 - t[:, None]) * v
    loss = losses.create("mean_flow", SDE, norm_power=0.0)
    error = compiled(lambda params: loss.at(Known(params), Examples(x0, {}, None), t, eps, s)["error"])
    assert float(error(jnp.zeros(6)).max()) < 1e-12 and float(error(BESIDE).min()) > 1e-6


def test_the_identity_holds_of_recorded_mean_velocities(x64) -> None:
    """Of a mixture's flow, integrated to 1e-12: u, v and du/dt at six jumps, as the line that has these."""
    z, u, v, rate = (jnp.asarray(EXACT[f"meanflow/{name}"]) for name in ("z_t", "u", "v", "du_dt"))
    s, t = jnp.asarray(EXACT["meanflow/rt"]).T

    @dataclasses.dataclass(frozen=True)
    class Line(Known):
        def predict_fn(self, process, params=None, *, none=False) -> PredictFn:
            def function(x: jax.Array, time: jax.Array, end: jax.Array) -> Prediction:
                now = self.params + (time - t)[:, None] * rate
                return Prediction(x - time[:, None] * now, x + (1.0 - time[:, None]) * now)

            return PredictFn(process, function, told_end=True)

    loss, (x0, eps) = losses.create("mean_flow", SDE, norm_power=0.0), (z - t[:, None] * v, z + (1.0 - t[:, None]) * v)
    error = compiled(lambda u: loss.at(Line(u), Examples(x0, {}, None), t, eps, s)["error"])
    assert float(error(u).max()) < 1e-12 and float(error(u + 1e-3).min()) > 1e-7


def test_from_data_the_expected_gradient_vanishes_there(x64) -> None:
    """2^14 examples: all numbers are within 4 standard errors of 0, and beside it some are beyond 20."""
    n = 2**14
    loss = losses.create("mean_flow", SDE, norm_power=0.0, same_time=0.25)

    @compiled
    def gradient(params: jax.Array) -> jax.Array:
        x0 = MEAN + STD * jax.random.normal(jax.random.key(2), (n, 1))
        of = draws(jax.random.key(1), n)
        return jax.jacfwd(lambda spread: loss(Known(spread), Examples(x0, {}, of))["loss"])(params)

    found, beside = (np.asarray(gradient(params)) for params in (jnp.zeros(6), BESIDE))
    scores = [g.mean(0) / (g.std(0) / np.sqrt(n)) for g in (found, beside)]
    assert np.abs(scores[0]).max() < 4.0 and np.abs(scores[1]).max() > 20.0, scores


def test_jumps_are_drawn_for_each_example() -> None:
    """4096 draws: the share of s = t, the laws of the larger and the smaller of two, whatever the strata are."""
    means = [losses.create("mean_flow", SDE, same_time=0.75, stratified=stratified) for stratified in (False, True)]

    @compiled
    def drawn(key: jax.Array) -> list:
        of = draws(key, 4096)
        return [loss.draw_jumps(of) for loss in means if isinstance(loss, MeanFlow)]

    for t, s in jax.tree.map(np.asarray, drawn(jax.random.key(3))):
        assert np.mean(t == s) == pytest.approx(0.75, abs=0.02) and np.all(s <= t)
        assert t.mean() == pytest.approx(2 / 3, abs=0.012) and s[s < t].mean() == pytest.approx(1 / 3, abs=0.025)


@pytest.mark.parametrize("sde", [VP(), GVP()])
def test_only_straight_processes_have_its_jump(sde) -> None:
    with pytest.raises(ValueError, match=rf"rates of {type(sde).__name__} change in time.*set sde.name to 'flow'"):
        losses.create("mean_flow", sde)
    with pytest.raises(ValueError, match=r"one of continuous time .MeanFlow.*; set it to True"):
        losses.create("mean_flow", NoiseLevels(VP(), 100))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model.told_end": False}, r"'mean_flow', whose network is told where a jump ends; set model\.told_end"),
        ({"model.prediction": "v"}, r"model\.prediction 'v'; that loss trains 'velocity'"),
        ({"training.guidance_omega": 2.0}, r"model\.label_dim 0 and training\.label_dropout 0\.1: what guides is"),
        (
            {"model.label_dim": 8, "training.guidance_kappa": 0.5, "training.label_dropout": 0.0},
            r"model\.label_dim 8 and training\.label_dropout 0\.0",
        ),
        ({"sde.name": "vp"}, r"rates of VP change in time"),
    ],
)
def test_a_config_without_what_it_needs_is_refused(fields: dict, message: str, tmp_path: Path) -> None:
    config = toy_mixture8_mlp.get_config()
    config.sde.name = "flow"
    with config.unlocked():
        config.model.update({"prediction": "velocity", "told_end": True})
        config.training.loss = "mean_flow"
        config.update_from_flattened_dict(fields)
    with pytest.raises(Refusal, match=message) as refused:
        main.prepare("train", config, str(tmp_path / "run"))
    assert "\n" not in str(refused.value)


@dataclasses.dataclass(frozen=True, eq=False)
class Asks(NoisedLoss):
    """What the network is told, and whether it is, as scores."""

    def at(self, model, examples, t, eps):
        some, none = (model.predict_fn(self.process, none=none)(eps, t).eps[:, 0] for none in (False, True))
        return {"loss": some, "none": none, "told": model.told}


class Tells(NamedTuple):
    """A network that says how much it is told of an example, and with what dropout."""

    def apply(self, variables: dict, x: jax.Array, c_noise: jax.Array, condition: dict, *, keys: jax.Array):
        return jnp.broadcast_to((condition["label"].sum(1) + jax.vmap(jax.random.uniform)(keys))[:, None], x.shape)


def test_a_loss_may_ask_what_the_network_says_when_told_nothing() -> None:
    """With the same dropout; an example whose condition was dropped, or has no class, is one that is not told."""
    encoder = Encoder(GreyLevels(None, True, "none", (2,)), conditioner=Labels(3), dropout=0.5)
    scores = batch_scores(Asks(Flow()), Tells(), Plain("eps", "t"), encoder)
    batch = {"image": jnp.zeros((64, 2)), "label": jnp.where(jnp.arange(64) < 8, NO_CLASS_LABEL, 2)}
    run = compiled(lambda key: scores({"params": {}}, batch, key, True))
    found = jax.tree.map(np.asarray, run(jax.random.key(0)))
    np.testing.assert_allclose(found["loss"] - found["none"], found["told"].astype(float), atol=1e-6)
    assert not found["told"][:8].any() and 10 < found["told"].sum() < 46
