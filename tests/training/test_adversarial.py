"""Losses of a generator and its discriminator, their penalties and their step: worked numbers and known dynamics."""

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import main
from autoencoders.grey_levels import GreyLevels
from configs.baselines import digits_gan
from experiment import Refusal
from experiment.experiment import ADVERSARIAL
from experiment.fields import override
from experiment.processes import to_host
from models.functional import Network
from sde_lib import VP
from tests.training import resumed
from tests.training.given import draws
from training import devices as kinds
from training import losses, optimizer
from training.adversarial import Rival, beginning, discriminator_of, make_adversarial_step
from training.examples import Encoder, Examples
from training.losses.adversarial import GAN_LOSSES, Adversarial, squared_slopes, steepness
from training.losses.autoencoder import DISCRIMINATOR_LOSSES
from training.state import TrainState

FOLDER = Path(__file__).parents[1] / "reference" / "baselines"
WORKED = json.loads((FOLDER / "vae_gan.json").read_text())
KNOWN = WORKED["gan_losses"]
with np.load(FOLDER / "vae_gan.npz") as archive:
    ARRAYS = dict(archive)
EXACT = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture
def in_float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def loss_of(**options: Any) -> Adversarial:
    return losses.create(ADVERSARIAL, VP(), **options)


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_the_losses_and_their_gradients(name: str, in_float64: None) -> None:
    known = KNOWN.get({"relativistic": "relativistic_paired"}.get(name, name))
    real, fake = (jnp.asarray(KNOWN[f"{which}_logits"]) for which in ("real", "fake"))
    d, g = GAN_LOSSES[name]
    found = {"d": d(real, fake).mean(), "g": g(real, fake).mean()}
    slopes = jax.grad(lambda real, fake: d(real, fake).mean(), (0, 1))(real, fake)
    found |= dict(zip(("d_grad_real", "d_grad_fake"), slopes, strict=True))
    found["g_grad_fake"] = jax.grad(lambda fake: g(real, fake).mean())(fake)
    compared = [each for each in known if each != "note"]
    assert "g" in compared
    for each in compared:
        np.testing.assert_allclose(found[each], known[each], **EXACT, err_msg=each)
    if name == "hinge":
        halved = DISCRIMINATOR_LOSSES["hinge"](real, fake)
        np.testing.assert_allclose(halved, KNOWN["hinge_halved"]["d"], **EXACT)


def test_of_samples_that_are_the_data_a_discriminator_that_says_nothing_is_best(in_float64: None) -> None:
    """D is 0 everywhere at the optimum, and there the losses have the values that are recorded."""
    at = re.fullmatch(r"D = 0 everywhere: non-saturating d = 2 log 2 = ([0-9.]+), g = log 2", KNOWN["optimum"])
    d, g = GAN_LOSSES["non_saturating"]
    best = jnp.zeros(4)
    np.testing.assert_allclose(d(best, best), float(at[1]), rtol=1e-10)
    np.testing.assert_allclose(2.0 * g(best, best), float(at[1]), rtol=1e-10)

    def of_data(logits: jax.Array) -> jax.Array:
        """Return the discriminator's loss where data and samples are the same."""
        return d(logits, logits).mean()

    np.testing.assert_allclose(jax.grad(of_data)(best), 0.0, atol=1e-15)
    away = jnp.linspace(-2.0, 2.0, 4)
    assert of_data(away) > of_data(best)


def recorded(params: dict[str, jax.Array]) -> Any:
    """The discriminator of the arrays."""
    return lambda x: jnp.tanh(x @ params["W1"].T + params["b1"]) @ params["w2"] + params["b2"]


@pytest.mark.parametrize("name", ["r1", "r2", "wgan_gp"])
def test_the_penalties_and_the_gradients_of_all_parameters(name: str, in_float64: None) -> None:
    params = {each: jnp.asarray(ARRAYS[f"disc/{each}"]) for each in ("W1", "b1", "w2", "b2")}
    real, fake, share = (jnp.asarray(ARRAYS[f"disc/{each}"]) for each in ("x_real", "x_fake", "interpolation"))
    np.testing.assert_allclose(recorded(params)(real), ARRAYS["disc/d_real"], **EXACT)
    gamma = WORKED["penalties"]["gamma"]

    def penalty(params: dict[str, jax.Array]) -> jax.Array:
        judge = recorded(params)
        if name == "wgan_gp":
            return 10.0 * steepness(judge, real, fake, share).mean()
        return 0.5 * gamma * squared_slopes(judge, real if name == "r1" else fake).mean()

    value, slopes = jax.value_and_grad(penalty)(params)
    np.testing.assert_allclose(value, ARRAYS[f"penalty/{name}"], **EXACT)
    for each, slope in slopes.items():
        np.testing.assert_allclose(slope, ARRAYS[f"penalty/{name}_grad_{each}"], **EXACT, err_msg=each)
    if name != "wgan_gp":
        scores = loss_of(**{f"{name}_gamma": gamma}).of_discriminator(recorded(params), real, fake, None)
        np.testing.assert_allclose(scores[name].mean(), value, **EXACT)
        bare = loss_of().of_discriminator(recorded(params), real, fake, None)
        np.testing.assert_allclose((scores["disc_loss"] - bare["disc_loss"]).mean(), value, **EXACT)
    else:
        scores = loss_of(gradient_penalty=10.0).of_discriminator(
            recorded(params), real, fake, draws(jax.random.key(0), 5)
        )
        assert scores.keys() >= {"penalty", "logits_real", "logits_fake"} and scores["penalty"].shape == (5,)


def test_lazy_r1_has_in_its_interval_the_penalty_and_gradients_of_one_at_every_step(in_float64: None) -> None:
    assert WORKED["penalties"]["lazy"].startswith("StyleGAN2 evaluates R1 every 16 steps and multiplies it by 16;")
    params = {each: jnp.asarray(ARRAYS[f"disc/{each}"]) for each in ("W1", "b1", "w2", "b2")}
    real, fake = (jnp.asarray(ARRAYS[f"disc/{each}"]) for each in ("x_real", "x_fake"))
    bare, always, lazy = (
        loss_of(r1_gamma=gamma, r1_interval=interval)
        for gamma, interval in ((0.0, 1), (WORKED["penalties"]["gamma"], 1), (WORKED["penalties"]["gamma"], 16))
    )

    def total(loss: Adversarial, params: dict[str, jax.Array], step: Any) -> Any:
        scores = loss.of_discriminator(recorded(params), real, fake, None, step)
        return scores["disc_loss"].mean(), scores.get("r1", jnp.zeros(()))

    at = jax.jit(jax.value_and_grad(functools.partial(total, lazy), has_aux=True))
    found = [at(params, jnp.asarray(step)) for step in range(32)]
    (plain, _), slopes = jax.value_and_grad(functools.partial(total, bare), has_aux=True)(params, 0)
    penalties = np.array([r1.mean() for (_, r1), _ in found])
    assert np.flatnonzero(penalties).tolist() == [0, 16]
    np.testing.assert_allclose(penalties[[0, 16]], 16.0 * ARRAYS["penalty/r1"], **EXACT)
    np.testing.assert_allclose(np.mean([value for (value, _), _ in found]) - plain, ARRAYS["penalty/r1"], **EXACT)
    for name in params:
        mean = np.mean([grads[name] for _, grads in found], axis=0) - slopes[name]
        np.testing.assert_allclose(mean, ARRAYS[f"penalty/r1_grad_{name}"], **EXACT, err_msg=name)

    def outside_of_branches(loss: Adversarial) -> int:
        """How many tanh each step computes, whichever it is."""
        return _count(jax.make_jaxpr(jax.grad(functools.partial(total, loss), has_aux=True))(params, 1).jaxpr, "tanh")

    assert outside_of_branches(lazy) == outside_of_branches(bare) < outside_of_branches(always)
    with pytest.raises(ValueError, match=r"training\.r1_interval is 16 and training\.r1_gamma 0, which is without"):
        loss_of(r1_interval=16)


def _count(jaxpr: Any, primitive: str) -> int:
    """How often a program has this primitive, but for the branches of conditions."""
    found = 0
    for equation in jaxpr.eqns:
        found += equation.primitive.name == primitive
        if equation.primitive.name != "cond":
            found += sum(_count(each, primitive) for each in jax.core.jaxprs_in_params(equation.params))
    return found


class Point:
    """A generator of one point theta, whatever the noise is, and as a discriminator psi x."""

    def __init__(self, name: str):
        self.name = name

    def apply(self, variables: dict, x: jax.Array, c_noise: Any = None, keys: Any = None) -> jax.Array:
        value = variables["params"][self.name]
        return value + 0.0 * x if self.name == "theta" else value * x


def nothing(batch: dict, draws: Any, train: bool) -> tuple[Examples, dict]:
    """The data are at 0."""
    return Examples(batch["x"], batch, draws), {}


@pytest.mark.parametrize(
    ("gamma", "interval", "ratio"),
    [(0.0, 1, 1.0), (2.0, 1, 1.0), (2.0, 1, 0.5), pytest.param(1.0, 2, 1.0, marks=pytest.mark.slow)],
)
def test_two_points_move_as_the_dirac_gan(gamma: float, interval: int, ratio: float) -> None:
    """Near the equilibrium (Mescheder et al. 2018, sec. 2) a step of rate h is, as the discriminator moves first,

        psi' = psi - ratio h (theta / 2 + gamma psi),    theta' = theta + h psi' / 2,

    which turns round the equilibrium for ever without R1, and is drawn to it with R1; a lazy one has its gamma times
    the interval at every step of it, and 0 at the others.
    """
    rate, steps, start = 0.5, 40, np.array([3e-4, 1e-3])
    loss, sgd = loss_of(r1_gamma=gamma, r1_interval=interval, disc_lr_ratio=ratio), optax.sgd(rate)
    step = make_adversarial_step(loss, Point("theta"), Point("psi"), nothing, sgd, ema=lambda n: jnp.asarray(0.5))
    state = TrainState.create({"params": {"theta": jnp.asarray(start[1])}, "fixed": {}}, sgd)
    psi = {"psi": jnp.asarray(start[0])}
    state = state._replace(loss=Rival(psi, sgd.init(psi)))
    run = jax.jit(lambda state: step(state, {"x": jnp.zeros((4, 1))}, jax.random.key(0)))
    expected = start
    for i in range(steps):
        state, metrics = run(state)
        of_step = 0.0 if i % interval else interval * gamma
        expected = np.array([[1.0 - ratio * rate * of_step, -ratio * rate / 2.0], [0.0, 1.0]]) @ expected
        expected = np.array([[1.0, 0.0], [rate / 2.0, 1.0]]) @ expected
    found = np.array([state.loss.params["psi"], state.params["theta"]])
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(start).max())
    assert (np.abs(found).max() < 0.5 * start.max()) == bool(gamma)
    assert int(state.step) == steps and {"loss", "disc_loss", "grad_norm", "disc_grad_norm"} <= metrics.keys()


class Steep:
    """A discriminator w x, w = sqrt(psi_0) + 0 sqrt(psi_1) + 3 psi_2: two slopes at 0 are infinite and NaN."""

    def apply(self, variables: dict, x: jax.Array, c_noise: Any = None, keys: Any = None) -> jax.Array:
        psi = variables["params"]["psi"]
        return x * (jnp.sqrt(psi[0]) + 0.0 * jnp.sqrt(psi[1]) + 3.0 * psi[2])


def test_gradients_of_both_that_are_not_finite_are_replaced_and_counted() -> None:
    """They are those of softplus(w), for data at -1 and for theta at 1, at w = 0; then w and theta's slope are NaN."""
    sgd, theta, psi = optax.sgd(1.0), {"theta": jnp.ones(())}, {"psi": jnp.zeros(3)}
    for mend in (False, True):
        step = make_adversarial_step(
            loss_of(), Point("theta"), Steep(), nothing, sgd, ema=lambda n: jnp.asarray(0.5), nan_to_num=mend
        )
        state = TrainState.create({"params": theta, "fixed": {}}, sgd, Rival(psi, sgd.init(psi)))
        state, metrics = step(state, {"x": -jnp.ones((4, 1))}, jax.random.key(0))
        if not mend:
            assert not {"replaced", "disc_replaced"} & metrics.keys() and not np.isfinite(metrics["disc_grad_norm"])
            continue
        assert (float(metrics["disc_replaced"]), float(metrics["replaced"])) == (2.0, 1.0)
        np.testing.assert_allclose(state.loss.params["psi"], [-1e5, 0.0, -3.0])
        assert float(state.params["theta"]) == 1.0


class Tiny(NamedTuple):
    """A generator of one convolution of the noise."""

    def apply(self, variables: dict, x: jax.Array, c_noise: Any = None, keys: Any = None) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x, variables["params"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )


SHAPE, BATCH, STEPS = (8, 8, 1), 8, 3
IMAGES = np.random.default_rng(0).integers(0, 17, (STEPS, BATCH, *SHAPE)).astype(np.uint8)
ADAM = optimizer.create(lr=1e-2, beta1=0.0, beta2=0.99, warmup=0, grad_clip=0.0)


@functools.cache
def trained(kind: str, devices: int, micro_batches: int = 1) -> tuple[Any, dict[str, np.ndarray]]:
    """The state behind three steps with every penalty, of which one is lazy, and the metrics of each."""
    over = kinds.create(kind, jax.devices()[:devices])
    penalties = {"r1_gamma": 0.3, "r1_interval": 2, "r2_gamma": 0.2, "gradient_penalty": 0.1}
    loss = loss_of(gan_loss="relativistic", **penalties, disc_layers=1, disc_channels=4)
    rival, encoder = discriminator_of(loss, SHAPE), Encoder(GreyLevels(17, True, "none", SHAPE), random_flips=True)
    shares = {"axis_size": over.axis_size, "micro_batches": micro_batches, "spread": over.spread}
    step = make_adversarial_step(loss, Tiny(), rival, encoder, ADAM, ema=lambda n: jnp.asarray(0.5), **shares)
    variables = {"params": {"kernel": jax.random.normal(jax.random.key(1), (3, 3, 1, 1))}, "fixed": {}}
    state = TrainState.create(variables, ADAM, beginning(rival, ADAM, jax.random.key(2)))
    call, placed, told = over.compile_steps(step, 1, state), over.place(state), []
    for i in range(STEPS):
        placed, metrics = call(placed, over.split({"image": IMAGES[i : i + 1]}, micro_batches), jax.random.key(7))
        told += [to_host(over.whole(each)) for each in metrics]
    return to_host(over.whole(placed)), {name: np.ravel([each[name] for each in told]) for name in told[0]}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "devices", "micro_batches"), [("pmap", 4, 1), ("fsdp", 4, 1), ("pmap", 1, 2)])
def test_any_split_of_a_batch_gives_the_same(kind: str, devices: int, micro_batches: int) -> None:
    one, told = trained("pmap", 1)
    other, as_told = trained(kind, devices, micro_batches)
    for part in ("params", "ema", "loss"):
        pairs = zip(jax.tree.leaves(getattr(one, part)), jax.tree.leaves(getattr(other, part)), strict=True)
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)
    assert told.keys() == as_told.keys() >= {"r1", "r2", "penalty"} and (told["r1"] > 0.0).tolist() == [
        True,
        False,
        True,
    ]
    for name, values in told.items():
        np.testing.assert_allclose(as_told[name], values, rtol=1e-3, atol=1e-5, err_msg=name)


def test_the_discriminator_gives_one_logit_an_image_that_depends_on_no_other() -> None:
    network = discriminator_of(loss_of(disc_layers=1, disc_channels=4), SHAPE)
    variables, x = network.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (4, *SHAPE))
    assert network == Network.create("patch_discriminator", num_channels=1, num_layers=1, nf=4, norm="none")
    both, alone = network.apply(variables, x), network.apply(variables, x[:1])
    np.testing.assert_allclose(both[:1], alone, rtol=1e-5, atol=1e-7)
    assert variables["fixed"] == {} and np.ptp(both) > 0.0


TINY: dict[str, Any] = {
    "model.nf": 4,
    "model.ch_mult": (1,),
    "model.attn_resolutions": (),
    "training.disc_channels": 4,
    "training.batch_size": 8,
    "training.n_iters": 6,
    "optim.decay_steps": 0,
    "training.snapshot_freq": 6,
    "training.snapshot_freq_for_preemption": 2,
    "training.log_freq": 1,
    "eval.num_samples": 16,
    "eval.batch_size": 16,
}


def config_of(**changes: Any) -> Any:
    return override(digits_gan.get_config(), [(field, str(value)) for field, value in (TINY | changes).items()])


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit_and_is_evaluated_alike(tmp_path: Path) -> None:
    """Generator, average, discriminator and both optimisers."""
    whole = resumed.check_killed("configs/baselines/digits_gan.py", TINY, 6, tmp_path)
    assert {"params", "opt_state"} <= whole["history"].keys()
    report = resumed.check_evaluated(tmp_path)
    assert "variational_bound" not in report and report["samplers"]["generator"]["evaluations"]["mean"] == 1.0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"training.eval_freq": 2}, "training.eval_freq is 2, and training.loss 'adversarial' has no loss on the test"),
        ({"model.label_dim": 10}, "whose discriminator is told nothing, and model.name 'ncsnpp' is told label"),
        ({"training.disc_layers": 3}, r"training.disc_layers is 3: .*width, 1\] of at least 24 pixels.*fewer layers"),
        (
            {"training.gan_loss": "wasserstin"},
            r"gan_loss is 'wasserstin' \(did you mean 'wasserstein'\?\); known are non_sat",
        ),
        ({"training.loss": "vae"}, "with training.loss 'vae' is no generator; .* or training.loss 'adversarial', or"),
        ({"model.name": "vae"}, "^training.loss is 'adversarial' and model.name 'vae'; autoencoders .* 'vae' trains"),
        ({"training.weight": "edm"}, "training.weight is 'edm'"),
        ({"sampling.method": "heun"}, "sampling.method is 'heun' .*is a generator, .* set both to 'generator'"),
        ({"eval.enable_bpd": True}, "a generator, whose likelihood is not known, and has no bound either; set eval.en"),
        ({"eval.enable_vlb": True}, "set eval.enable_bpd and eval.enable_vlb to False"),
    ],
)
def test_contradictions_are_refused_in_one_line(changes: dict, named: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=named) as refusal:
        main.prepare("train", config_of(**changes), str(tmp_path / "run"))
    assert "\n" not in str(refusal.value) and not (tmp_path / "run").exists()
