"""Consistency losses: arrays of the published codes, schedules, drawn pairs, and what holds at the exact map."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from ml_collections import ConfigDict

import main
import sde_lib
from autoencoders.grey_levels import GreyLevels
from configs.consistency import digits
from configs.edm import digits_trigflow
from configs.vp import toy_mixture8_mlp
from experiment import Refusal, build
from experiment.workdir import Workdir
from models.functional import Network
from sde_lib import VP, Flow, PredictFn, Prediction
from sde_lib.preconditioning import EDM, Consistency
from tests.oracles import Mixture, compiled
from tests.training.given import draws
from training import losses
from training.examples import Encoder, Examples
from training.losses.consistency import grid_noise, heun_step
from training.losses.paired import PairedLoss, noise_at
from training.model import TrainedModel, batch_scores
from training.state import TrainState
from training.step import make_train_step

FOLDER = Path(__file__).parents[1] / "reference" / "consistency"
OPENAI, CIFAR, ICT, ECT = (np.load(FOLDER / f"{name}.npz") for name in ("openai_cm", "openai_cm_cifar10", "ict", "ect"))
SCHEDULES = json.loads((FOLDER / "schedules.json").read_text())["schedules"]
WORKED = json.loads((FOLDER / "ict.json").read_text())["N_schedule"]
CASES = json.loads((FOLDER / "ect.json").read_text())["cases"]
SDE = sde_lib.create("edm", sigma_min=0.002, sigma_max=80.0)
NAMES = ("W1", "a", "b1", "W2", "b2")


def weights(arrays: Any, prefix: str) -> dict[str, jax.Array]:
    """The weights are those of a tiny network, by name."""
    return {name: jnp.asarray(arrays[f"{prefix}{name}"]) for name in NAMES}


def tiny(params: dict[str, jax.Array], x: jax.Array, label: jax.Array) -> jax.Array:
    """The README's network at its label, of images with their channels last or not."""
    hidden = jnp.tanh(x.reshape(len(x), -1) @ params["W1"].T + label[:, None] * params["a"] + params["b1"])
    return (hidden @ params["W2"].T + params["b2"]).reshape(x.shape)


def torch_tiny(params: dict[str, jax.Array], x: jax.Array, label: jax.Array) -> jax.Array:
    """The same network of the code in torch: channels first, and its label 250 log sigma is 1000 times ours."""
    return jnp.moveaxis(tiny(params, jnp.moveaxis(x, -1, 1), 1000.0 * label), 1, -1)


def agree(
    runs: dict[str, PairedLoss], model: TrainedModel, arrays: Any, x0: Any, t: Any, r: Any, eps: Any, end: str = "/loss"
) -> None:
    """The recorded losses of each run, at values of sigma (SDE's time is sigma / 80), and the gradients that it has."""
    x0, t, r, eps = (jnp.asarray(each) for each in (x0, t, r, eps))

    def of(params: dict[str, jax.Array], loss: PairedLoss) -> tuple[jax.Array, jax.Array]:
        here = TrainedModel(**{**vars(model), "params": params})
        found = loss.at(here, Examples(x0, {}, None), t / 80.0, r / 80.0, eps)["loss"]
        return jnp.mean(found), found

    slope = jax.grad(of, has_aux=True)
    for run, (gradient, found) in compiled(lambda p: {n: slope(p, each) for n, each in runs.items()})(
        model.params
    ).items():
        expected = arrays[f"{run}{end}"]
        np.testing.assert_allclose(found if expected.ndim else jnp.mean(found), expected, rtol=1e-9, err_msg=run)
        for name in NAMES if f"{run}/grad_W1" in arrays else ():
            expected = arrays[f"{run}/grad_{name}"]
            atol = 1e-9 * np.abs(expected).max()
            np.testing.assert_allclose(gradient[name], expected, rtol=1e-8, atol=atol, err_msg=run)


OURS = {"snr+1": "snr_plus_1", "snrp1": "snr_plus_1", "truncated-snr": "truncated_snr", "l2-32": "l2_32"}


def runs_of(arrays: Any, prefix: str) -> dict[str, PairedLoss]:
    """The loss of each recorded run, whose key is prefix/norm/weight/loss."""
    names = [name.removesuffix("/loss").split("/") for name in arrays.files if name.endswith("/loss")]
    return {
        "/".join(name): losses.create(
            "consistency",
            SDE,
            total_steps=10,
            loss_norm=OURS.get(name[-2], name[-2]),
            consistency_weight=OURS.get(name[-1], name[-1]),
        )
        for name in names
        if "/".join(name[:-2]) == prefix
    }


@pytest.mark.parametrize("kind", ["ct", "cd"])
def test_the_losses_are_those_of_the_published_code(kind: str, x64) -> None:
    """Losses and gradients of training and of distillation, the grid, and where the teacher's step leads."""
    net = functools.partial(torch_tiny, weights(OPENAI, "net/teacher/"))
    teacher = EDM().predict_fn(SDE, net) if kind == "cd" else None
    target = weights(OPENAI, "net/target/")
    model = TrainedModel(torch_tiny, weights(OPENAI, "net/student/"), Consistency(), target=target, teacher=teacher)
    t, r = (OPENAI[f"loss/{kind}/{name}"] for name in ("t", "t2"))
    x0, eps = (jnp.moveaxis(jnp.asarray(OPENAI[f"loss/{name}"]), 1, -1) for name in ("x_start", "noise"))
    runs = runs_of(OPENAI, f"loss/{kind}")
    assert len(runs) == 7
    agree(runs, model, OPENAI, x0, t, r, eps)
    noises = [grid_noise(SDE, jnp.asarray(OPENAI["loss/indices"] + one) / 8, 7.0) for one in (0, 1)]
    np.testing.assert_allclose(noises, [t, r], rtol=1e-9)
    if teacher:
        t, r = jnp.asarray(t / 80.0), jnp.asarray(r / 80.0)
        x_r = heun_step(SDE, teacher, losses.create("consistency", SDE, total_steps=1).noised(x0, t, eps), t, r)
        np.testing.assert_allclose(jnp.moveaxis(x_r, -1, 1), OPENAI["loss/cd/x_t2"], rtol=1e-9)


@pytest.mark.parametrize("kind", ["ct", "cd"])
def test_the_losses_are_those_of_the_published_code_for_cifar10(kind: str, x64) -> None:
    """It averages over the examples that its mask leaves, among them by the largest difference of an image."""
    teacher = EDM().predict_fn(SDE, functools.partial(tiny, weights(CIFAR, "net/teacher/"))) if kind == "cd" else None
    target = weights(CIFAR, "net/target/")
    model = TrainedModel(tiny, weights(CIFAR, "net/student/"), Consistency(), target=target, teacher=teacher)
    kept = CIFAR["mask"] > 0
    t, r = (np.asarray(grid_noise(SDE, jnp.asarray(CIFAR["indices"] + one) / 17, 7.0)) for one in (0, 1))
    runs = runs_of(CIFAR, f"discrete/{kind}")
    assert len(runs) == 6
    agree(runs, model, CIFAR, CIFAR["x_start"][kept], t[kept], r[kept], CIFAR["noise"][kept])


def test_the_improved_loss_is_the_papers(x64) -> None:
    loss = losses.create("improved_consistency", SDE, total_steps=10)
    model = TrainedModel(tiny, weights(ICT, "net/"), Consistency())
    given = [ICT[f"loss/{name}"] for name in ("x_start", "sigma_hi", "sigma_lo", "noise")]
    agree({"loss": loss}, model, ICT, *given, end="/weighted")


@pytest.mark.parametrize("case", range(4))
def test_the_easy_loss_is_the_published_codes(case: int, x64) -> None:
    """With EDM's plain scalings, and the clean example where r is 0. Its c is ours times sqrt(48)."""
    options = CASES[case]
    loss = losses.create(
        "easy_consistency",
        SDE,
        total_steps=10,
        doubling_steps=1,
        huber_c=options["c"] / 48**0.5,
        ect_q=options["q"],
        ect_k=options["k"] if options["adj"] == "sigmoid" else 0.0,
        ect_b=options["b"],
    )
    model = TrainedModel(tiny, weights(ECT, "net/"), EDM())
    for stage in (0, 3) if case < 3 else (0,):  # in case 3 t and r are one number to 2e-10 then: the rest is rounding
        of = f"loss/case{case}/stage{stage}"
        agree({of: loss}, model, ECT, ECT["x_start"], ECT[f"{of}/t"], ECT[f"{of}/r"], ECT["noise"])
    for stage in (0, 1, 3, 7):
        found = loss.cleaner(jnp.asarray(ECT["t_to_r/t"]), stage)
        np.testing.assert_allclose(found, ECT[f"t_to_r/case{case}/stage{stage}"], rtol=1e-9)


def test_the_scalings_are_those_of_training_and_of_evaluation(x64) -> None:
    t, x = jnp.asarray(ECT["precond/sigma"]) / 80.0, jnp.asarray(ECT["precond/x"])
    net = functools.partial(tiny, weights(ECT, "net/"))
    plain = EDM().predict_fn(SDE, net)(x, t).x0
    np.testing.assert_allclose(plain, ECT["precond/train"], rtol=1e-9)
    pair = Consistency(sigma_min=0.003).predict_fn(SDE, net)(x, t)
    np.testing.assert_allclose(pair.x0 + 0.003 * pair.eps, ECT["precond/eval"], rtol=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: f"{s['scale_mode']}-{s['end_scales']}")
def test_schedules_are_the_published_codes(schedule: dict[str, Any]) -> None:
    """The grid has one point more than the n by which the target's rate goes; in float32, as it is trained."""
    loss = losses.create(
        "consistency",
        SDE,
        **{name: schedule[name] for name in ("total_steps", "start_scales", "end_scales", "scale_mode", "start_ema")},
        target_ema_mode=schedule["target_ema_mode"],
    )
    steps = jnp.asarray(schedule["step"])
    np.testing.assert_array_equal(jax.vmap(loss.scales)(steps), schedule["num_scales"])
    np.testing.assert_allclose(jax.vmap(loss.target_decay)(steps), schedule["target_ema"], rtol=1e-6)


@pytest.mark.parametrize("schedule", WORKED, ids=lambda s: str(s["K"]))
def test_points_double(schedule: dict[str, Any]) -> None:
    loss = losses.create(
        "improved_consistency", SDE, total_steps=schedule["K"], start_scales=schedule["s0"], end_scales=schedule["s1"]
    )
    np.testing.assert_array_equal(jax.vmap(loss.scales)(jnp.asarray(schedule["k"])), schedule["N"])


def test_the_target_follows_behind_each_step_with_the_rate_of_that_step(x64) -> None:
    """The recorded weights behind each step are reached by gradient descent, and the target is the recorded one."""
    online, expected = (jnp.asarray(OPENAI[f"target_ema/{name}"]) for name in ("online_after_step", "target"))
    loss = losses.create("consistency", SDE, total_steps=12, start_scales=2, end_scales=10, start_ema=0.9)

    def scores(variables: dict, batch: jax.Array, key: jax.Array, train: bool, state: None) -> dict[str, jax.Array]:
        w = variables["params"]["w"]
        return {"loss": batch[:, 0] * jnp.sum(w * jax.lax.stop_gradient(w - online[variables["step"]]))}

    variables = {"params": {"w": jnp.asarray(OPENAI["target_ema/init"])}, "fixed": {}}
    sgd = optax.sgd(1.0)
    step = jax.jit(make_train_step(scores, sgd, ema=lambda n: 0.5, target_decay=loss.target_decay))
    state = TrainState.create(variables, sgd, target=True)
    for n in range(12):
        assert int(loss.scales(state.step)) == OPENAI["target_ema/num_scales"][n]
        state, _ = step(state, jnp.ones((1, 1)), jax.random.key(0))
        np.testing.assert_allclose(state.params["w"], online[n], rtol=1e-12)
        np.testing.assert_allclose(state.target["w"], expected[n], rtol=1e-9)


def drawn(loss: PairedLoss, key: int, n: int, step: int) -> tuple[jax.Array, jax.Array]:
    """The pairs of n examples at a step."""
    return compiled(lambda step: loss.pair(draws(jax.random.key(key), n), step))(jnp.asarray(step))


def chances(pairs: tuple[jax.Array, jax.Array], noises: np.ndarray) -> np.ndarray:
    """The share of each interval of a falling grid among pairs of times, all of which must be neighbours on it."""
    t, r = (np.asarray(noise_at(SDE, time), np.float64) for time in pairs)
    i = np.abs(np.log(t[:, None] / noises[:-1])).argmin(1)
    np.testing.assert_allclose(t, noises[i], rtol=1e-4)
    np.testing.assert_allclose(r, noises[i + 1], rtol=1e-4)
    return np.bincount(i, minlength=len(noises) - 1)


@pytest.mark.slow
def test_every_interval_is_drawn_as_often() -> None:
    """All N - 1 intervals between N points are drawn, the noisiest and the last among them (chi-square, 4000 draws)."""
    loss = losses.create("consistency", SDE, total_steps=12, start_scales=2, end_scales=10)
    step = 5  # 8 points: sqrt(5 / 12 (121 - 4) + 4) - 1 is 6.26
    noises = np.asarray(grid_noise(SDE, jnp.arange(8) / 7, 7.0), np.float64)
    np.testing.assert_allclose(noises[[0, -1]], [80.0, 0.002], rtol=1e-5)
    counts = chances(drawn(loss, 1, 4000, step), noises)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    even = losses.create("consistency", SDE, total_steps=12, scale_mode="fixed", start_scales=8, stratified=True)
    np.testing.assert_allclose(chances(drawn(even, 2, 70, step), noises), 10, atol=1)


def test_intervals_are_drawn_as_the_paper_says() -> None:
    """By the normal law of log sigma that is cut at the ends of the grid (chi-square, 40000 draws)."""
    options = {"total_steps": 8, "start_scales": 10, "end_scales": 1280, "P_mean": -1.1, "P_std": 2.0}
    loss = losses.create("improved_consistency", SDE, **options)
    noises, expected = ICT["grid/11/sigmas"][::-1], ICT["grid/11/p"][::-1]
    counts = chances(drawn(loss, 3, 40_000, 0), noises)
    assert scipy.stats.chisquare(counts, 40_000 * expected).pvalue > 1e-3


@pytest.mark.slow
def test_r_comes_nearer_to_t_with_every_stage() -> None:
    """r is data below a sigma that falls with the stage (1000 draws); a test is as the last step, in stage 2."""
    options = {"time_sampling": "lognormal", "P_mean": -1.1, "P_std": 2.0, "doubling_steps": 4, "total_steps": 12}
    loss = losses.create("easy_consistency", SDE, **options)
    made = [drawn(loss, 4, 1000, step) for step in (0, 3, 4, 11)]
    shares = [float(jnp.mean(r == 0.0)) for _, r in made]
    law = scipy.stats.norm(-1.1, 2.0)  # 1 + 8 sigmoid(-t) is 2 at t = log 7, and 4 at log(5 / 3)
    np.testing.assert_allclose(shares[:3], law.cdf(np.log(np.log([7.0, 7.0, 5 / 3]))), atol=4 * 0.5 / 1000**0.5)
    assert shares[3] < 0.04  # below the least noise alone
    for t, r in made:
        assert np.all(r < t) and np.all((r == 0.0) | (r >= SDE.t_min * (1 - 1e-5)))
        np.testing.assert_array_equal(t, made[0][0])

    class Shown(type(loss)):
        def at(self, model: Any, examples: Any, t: jax.Array, r: jax.Array, eps: jax.Array) -> dict:
            return {"loss": r}

    model, examples = TrainedModel(tiny, {}, EDM()), Examples(jnp.zeros((1000, 1)), {}, draws(jax.random.key(4), 1000))
    np.testing.assert_allclose(Shown(**vars(loss))(model, examples)["loss"], made[-1][1], rtol=1e-5)


def test_pairs_begin_below_pure_noise() -> None:
    """The linear flow's largest sigma / alpha is that just below t = 1, since it is infinite where alpha is 0."""
    loss = losses.create("consistency", Flow(t_min=1e-3), total_steps=2, scale_mode="fixed", start_scales=5)
    t, r = drawn(loss, 5, 50, 0)
    assert np.isfinite(t).all() and float(t.max()) == pytest.approx(0.999, rel=1e-5)
    assert float(r.min()) == pytest.approx(1e-3, rel=1e-4)


def test_both_networks_have_the_same_dropout() -> None:
    """At one point the two differ by nothing, although dropout changes what each of them says."""

    class Same(type(losses.create("consistency", SDE, total_steps=2))):
        def at(self, model: TrainedModel, examples: Examples, t: jax.Array, r: jax.Array, eps: jax.Array) -> dict:
            x = self.noised(examples.x0, t, eps)
            apart = self.difference(model, x, x, t, t, model.target)
            return {"loss": jnp.max(jnp.abs(apart), 1), "size": jnp.mean(self.map(model)(x, t), 1)}

    network = Network.create("mlp", shape=(2,), width=16, depth=1, dropout=0.5)
    variables = network.init(jax.random.key(0))
    params = {name: leaf + 0.1 for name, leaf in variables["params"].items()}  # whose last layer is not 0
    encoder = Encoder(GreyLevels(None, False, "none", (2,)))
    scores = batch_scores(Same(SDE, total_steps=2), network, Consistency(), encoder)
    of = {"params": params, "fixed": variables["fixed"], "target": params}
    batch, key = {"image": np.ones((4, 2), np.float32)}, jax.random.key(1)
    trained, tested = compiled(lambda of: [scores(of, batch, key, train) for train in (True, False)])(of)
    np.testing.assert_array_equal(trained["loss"], 0.0)
    assert not np.allclose(trained["size"], tested["size"], rtol=1e-2)


WEIGHTS, MEANS, STDS = np.array([0.4, 0.6]), np.array([-1.0, 0.8]), np.array([0.3, 0.2])
DATA = Mixture(WEIGHTS, MEANS[:, None], STDS)


def log_odds(x: jax.Array, noise: jax.Array) -> jax.Array:
    """log P(X < x) - log P(X > x) of the mixture with noise, of x [b]."""
    z = (x[:, None] - MEANS) / jnp.hypot(STDS, noise[:, None])
    below, above = (jax.nn.logsumexp(jax.scipy.stats.norm.logcdf(sign * z), 1, b=WEIGHTS) for sign in (1.0, -1.0))
    return below - above


def exact_end(x: jax.Array, t: jax.Array, s: jax.Array) -> jax.Array:
    """The end at s of the flow's path through x [b, 1] at t: in one dimension the flow keeps quantiles."""
    noise, end = SDE.sigma(t), SDE.sigma(s)
    wanted = log_odds(x[:, 0], noise)

    def halved(_: int, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bracket
        middle = 0.5 * (low + high)
        under = log_odds(middle, end) < wanted
        return jnp.where(under, middle, low), jnp.where(under, high, middle)

    far = jnp.full_like(x[:, 0], 300.0)
    return jnp.mean(jnp.stack(jax.lax.fori_loop(0, 60, halved, (-far, far))), 0)[:, None]


class Ends:
    """A parameterization whose network says where a jump leads; of a process with alpha 1."""

    told_end = True

    def predict_fn(self, process: Any, network: Callable) -> PredictFn:
        def function(x: jax.Array, t: jax.Array, s: jax.Array) -> Prediction:
            return Prediction(network(x, t, s), jnp.zeros_like(x))

        return PredictFn(process, function, told_end=True)


def near_exact(params: dict[str, jax.Array], x: jax.Array, t: jax.Array, s: jax.Array) -> jax.Array:
    """The exact map, and theta times another one that is 0 at the end."""
    return exact_end(x, t, s) + params["theta"] * (SDE.sigma(t) - SDE.sigma(s))[:, None] * x


def of_theta(loss: PairedLoss, teacher: PredictFn | None, n: int) -> Callable:
    """(theta, t, r) -> the losses and their derivatives in theta of n examples, at two values of sigma."""
    x0, eps = DATA.sample(jax.random.key(6), n), jax.random.normal(jax.random.key(7), (n, 1))

    def at(theta: jax.Array, t: jax.Array, r: jax.Array) -> tuple[jax.Array, jax.Array]:
        times = [jnp.full(n, noise / 80.0) for noise in (t, r)]

        def of(theta: jax.Array) -> jax.Array:
            model = TrainedModel(near_exact, {"theta": theta}, Ends(), teacher=teacher)
            return loss.at(model, Examples(x0, {}, None), *times, eps)["loss"]

        return jax.jvp(of, (theta,), (jnp.ones(()),))

    run = compiled(at)
    return lambda *numbers: run(*(jnp.asarray(number) for number in numbers))


@pytest.mark.slow
def test_the_residual_of_distillation_falls_with_the_order_of_the_teachers_step(x64) -> None:
    """At the exact map it is the local error of a step of Heun's method, of order 3; beside it, the step's length."""
    loss = losses.create("consistency", SDE, total_steps=10, loss_norm="l1")
    at, steps = of_theta(loss, DATA.predict(SDE), 32), np.array([0.1, 0.05, 0.025])
    for theta, order in ((0.0, 3.0), (0.2, 1.0)):
        errors = [float(jnp.mean(at(theta, 1.0, 1.0 - h)[0])) for h in steps]
        assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(order, abs=0.15), errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("consistency", {}),
        ("improved_consistency", {"huber_c": 0.1}),
        ("easy_consistency", {"huber_c": 0.1}),
        ("easy_consistency", {"huber_c": 0.0}),
    ],
)
def test_the_expected_gradient_vanishes_at_the_exact_map_alone(name: str, options: dict[str, Any], x64) -> None:
    """Single examples stand for the flow, whose step is right in expectation: 4000 draws, in standard errors.

    It is so in the limit of small steps: a long one is off by more than chance. And it is so of squares, which
    pseudo-Huber's distance of a small step is: the norm itself has the map that is right in the median.
    """
    at = of_theta(losses.create(name, SDE, total_steps=10, **options), None, 4000)

    def z(theta: float, h: float) -> float:
        slopes = np.asarray(at(theta, 1.0, 1.0 - h)[1])
        return abs(slopes.mean()) / (slopes.std() / len(slopes) ** 0.5)

    assert (z(0.0, 1e-3) < 4.0) == (options.get("huber_c") != 0.0)
    assert min(z(0.0, 0.6), z(0.5, 1e-3)) > 4.5


def test_a_teachers_step_is_the_same_along_another_process(x64) -> None:
    """x / alpha at the same sigma / alpha makes the same step, on VP by a teacher of EDM's process."""
    vp, teacher, eps = VP(), DATA.predict(SDE), jax.random.normal(jax.random.key(8), (5, 1))
    here = [jnp.full(5, noise / 80.0) for noise in (2.0, 1.5)]
    there = [vp.time_of_log_snr(SDE.log_snr(time)) for time in here]
    alphas = [vp.alpha(time)[:, None] for time in there]
    x = 0.5 + 2.0 * eps
    found = heun_step(vp, teacher, alphas[0] * x, *there) / alphas[1]
    np.testing.assert_allclose(found, heun_step(SDE, teacher, x, *here), rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, r"total_steps is 0; the schedule of this loss goes over a whole training"),
        ({"total_steps": 9, "loss_norm": "lpips"}, r"'lpips', the distance between the features of a network"),
        ({"total_steps": 9, "start_scales": 9, "end_scales": 8}, r"start_scales is 9 and training\.end_scales 8"),
    ],
)
def test_what_it_does_not_take(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named) as error:
        losses.create("consistency", SDE, **options)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"one of continuous time .*training\.continuous False; set it to True"):
        losses.create("improved_consistency", sde_lib.NoiseLevels(VP(), 100), total_steps=9)


def test_a_schedule_goes_over_the_training_of_the_config() -> None:
    config = toy_mixture8_mlp.get_config()
    config.training.update(loss="improved_consistency", n_iters=70)
    assert losses.of_config(config.training, SDE).total_steps == 70
    config.training.total_steps = 30
    assert losses.of_config(config.training, SDE).total_steps == 30


def config_of(n_iters: int, loss: str = "simple", **training: Any) -> ConfigDict:
    """A run of a tiny network on points in the plane: a loss of this file on EDM's process, any other on VP."""
    config = toy_mixture8_mlp.get_config()
    config.model.update(width=8, depth=1)
    config.training.update(batch_size=8, n_iters=n_iters, loss=loss, **training)
    config.training.update(log_freq=1, eval_freq=2, snapshot_sampling=False)
    config.training.update(snapshot_freq=2, snapshot_freq_for_preemption=2)
    config.optim.update(decay_steps=0, warmup=0)
    if loss != "simple":
        config.training.total_steps = 4
        config.model.preconditioning = "consistency"
        with config.unlocked():
            config.sde = ConfigDict({"name": "edm", "sigma_min": 0.002, "sigma_max": 80.0})
    return config


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("consistency", "teacher"),
        ("consistency", ""),
        ("improved_consistency", ""),
        ("easy_consistency", "begin_with"),
    ],
)
def test_a_continued_run_is_that_of_one_piece(name: str, field: str, tmp_path: Path) -> None:
    """Every number of the last checkpoint, the target's among them, and both tests; the teacher is of another process.

    The schedule is one of four steps, of which the first part takes two.
    """
    options = {"loss": name, **({field: str(tmp_path / "other")} if field else {})}
    if field:
        other = config_of(2)
        if field == "begin_with":  # with weights that mean the same
            other.model.preconditioning = "edm"
        main.run("train", other, str(tmp_path / "other"))
    main.run("train", config_of(4, **options), str(tmp_path / "whole"))
    main.run("train", config_of(2, **options), str(tmp_path / "parts"))
    main.run("train", config_of(4, **options), str(tmp_path / "parts"))
    found = []
    for folder in (tmp_path / "whole", tmp_path / "parts"):
        with Workdir(folder).store(read_only=True) as store:
            found.append(store.restore(None, 4)[1])
    assert ("target" in found[0]) == (name == "consistency")
    jax.tree.map(np.testing.assert_array_equal, *found)
    told = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    tested = [each["test_loss"] for each in told if "test_loss" in each]
    assert len(tested) == 2 and np.isfinite(tested).all()


def test_the_recipe_tunes_what_the_other_trains() -> None:
    """The same process, network and parameterization; the loss is the one that the config names, with its options."""
    tuned, first = build(digits.get_config()), build(digits_trigflow.get_config())
    for what in ("sde", "network", "parameterization"):
        assert getattr(tuned, what) == getattr(first, what), what
    loss = losses.of_config(tuned.config.training, tuned.sde)
    training = tuned.config.training
    assert loss.tunes and loss.total_steps == training.n_iters and loss.doubling_steps * 3 <= training.n_iters


def test_what_tunes_a_network_is_given_one(tmp_path: Path) -> None:
    with pytest.raises(
        Refusal, match=r"'easy_consistency', which tunes .* network; give training\.begin_with the folder"
    ):
        main.prepare("train", config_of(2, "easy_consistency"), str(tmp_path / "run"))
