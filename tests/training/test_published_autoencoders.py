"""The terms, gradients and steps of latent diffusion's training of autoencoders, by the product's own training step."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkpoints import compvis, safetensors_file
from models import lpips, vgg16
from models.functional import Network
from sde_lib import VP
from tests.models.test_lpips import HEADS, filled
from training import losses, optimizer
from training.autoencoders import beginning, discriminator_of, make_autoencoder_step
from training.examples import Examples
from training.losses.autoencoder import LAST_LAYER, AutoencoderLoss
from training.state import TrainState
from training.step import TrainStep

REFERENCE = Path(__file__).parents[1] / "reference" / "latent"
KL, VQ = REFERENCE / "vae_losses", REFERENCE / "vq"
CASES = json.loads((KL / "loss_cases.json").read_text())
ADAM = optimizer.create(lr=1e-3, beta1=0.5, beta2=0.9, warmup=0, grad_clip=0.0)
SIZE = {"image_size": 32, "num_channels": 3, "nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "num_groups": 4}
WITHOUT_EFFECT = ("encoder.middle.1.key.bias", "decoder.middle.1.key.bias")


class Given(NamedTuple):
    """Draws whose noise was recorded, of both passes."""

    first: Any
    second: Any
    dropout: None = None

    def eps(self, like: jax.Array) -> jax.Array:
        return self.first

    def again(self) -> "Given":
        return Given(self.second, None)


def encoder(batch: dict, draws: Any, train: bool) -> tuple[Examples, dict]:
    """The images as they were recorded."""
    return Examples(batch["x"], batch, Given(batch.get("first"), batch.get("second"))), {}


def nhwc(array: np.ndarray) -> jax.Array:
    return jnp.asarray(np.moveaxis(array, -3, -1))


@pytest.fixture(scope="module")
def perceptual() -> dict[str, jax.Array]:
    found = vgg16.from_torch(filled()) | lpips.heads_from_torch(safetensors_file.load(HEADS))
    return jax.tree.map(jnp.asarray, found)


def begin(loss: AutoencoderLoss, network: Any, variables: dict, file: Path, weights: dict | None) -> tuple:
    """The training step, the first state, and the discriminator's network."""
    discriminator = discriminator_of(loss, (32, 32, 3))
    beside = beginning(loss, discriminator, ADAM, jax.random.key(0))
    named = compvis.discriminator(discriminator, safetensors_file.load(file), str(file))
    like = next(iter(variables["params"].values())).dtype
    named = jax.tree.map(lambda leaf: jnp.asarray(leaf, like), named)
    beside = beside._replace(**named, opt_state=ADAM.init(named["params"]))
    state = TrainState.create(jax.tree.map(jnp.asarray, variables), ADAM, beside)._replace(perceptual=weights)
    step = make_autoencoder_step(loss, network, discriminator, encoder, ADAM, ema=lambda n: jnp.asarray(0.5))
    return step, state, discriminator


def loss_of(args: dict, **options: Any) -> AutoencoderLoss:
    return losses.create("autoencoder", VP(), **({"disc_layers": 2, "disc_channels": 8} | options | args))


class LastLayer(NamedTuple):
    """An autoencoder of which the last layer of the decoder is there, and the rest was recorded."""

    moments: jax.Array
    h: jax.Array

    def module(self, variables: dict) -> "LastLayer.Module":
        return LastLayer.Module(self, variables["params"][LAST_LAYER])

    class Module(NamedTuple):
        recorded: Any
        kernel: jax.Array

        def encode(self, x: jax.Array, keys: None) -> jax.Array:
            return self.recorded.moments

        def decode(self, z: jax.Array, keys: None) -> jax.Array:
            numbers = ("NHWC", "HWIO", "NHWC")
            return jax.lax.conv_general_dilated(self.recorded.h, self.kernel, (1, 1), "SAME", dimension_numbers=numbers)


CASE = [
    pytest.param(name, marks=[] if name == "no_perceptual" else pytest.mark.slow)
    for name in CASES
    if name != "disc_factor_0"
]


@pytest.mark.parametrize("name", CASE)
def test_terms_and_gradients_of_images_that_were_recorded(name: str, request: pytest.FixtureRequest) -> None:
    """All but the total where the published code was told weights of the examples, which no caller of it gives."""
    case, io = CASES[name], np.load(KL / "io.npz")
    args = dict(case["args"])
    weight = args.pop("perceptual_weight", 1.0)
    loss = loss_of(args, perceptual_weight=weight, perceptual="lpips" if weight else "none")
    weights = request.getfixturevalue("perceptual") if weight else None
    kernel = jnp.asarray(io["loss/last_layer"].transpose(2, 3, 1, 0))
    network = LastLayer(nhwc(io["loss/moments"]), nhwc(io["loss/h"]))
    variables = {"params": {LAST_LAYER: kernel}, "fixed": {}}
    step, state, _ = begin(loss, network, variables, KL / "loss_discriminator.safetensors", weights)
    state = state._replace(step=jnp.asarray(case["global_step"]))
    batch = {"x": nhwc(io["loss/x"]), "first": jnp.zeros((2, 4, 4, 4)), "second": jnp.zeros((2, 4, 4, 4))}
    own, other = jax.jit(lambda *given: [phase.gradient(*given) for phase in step.phases])(
        state, batch, jax.random.key(0)
    )
    found = {**own.seen["terms"], **other.seen["terms"], "total_loss": own.loss, "disc_loss": other.loss}
    gradient = own.params[LAST_LAYER]
    found |= {"grad_norm_last_layer": np.linalg.norm(gradient)}
    norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in other.params.values()))
    found |= {"grad_norm_discriminator": norm}
    compared = [name for name in found if name in case and not (case["weights"] and name in OF_TOTAL)]
    assert len(compared) >= 9
    for term in compared:
        np.testing.assert_allclose(found[term], case[term], rtol=1e-4, atol=1e-7, err_msg=term)
    if not case["weights"]:
        expected = io[f"loss/{name}/grad_last_layer"].transpose(2, 3, 1, 0)
        assert np.linalg.norm(gradient - expected) < 1e-4 * np.linalg.norm(expected)


OF_TOTAL = ("total_loss", "grad_norm_last_layer")


def test_without_a_factor_there_is_no_discriminator() -> None:
    """Latent diffusion computes it all the same; what it trains is this."""
    loss = loss_of({"disc_factor": 0.0})
    assert discriminator_of(loss, (32, 32, 3)) is None and beginning(loss, None, ADAM, jax.random.key(0)) is None
    step = make_autoencoder_step(loss, None, None, encoder, ADAM, ema=lambda n: n)
    assert len(step.phases) == 1


class Trained(NamedTuple):
    """A recorded training: its log, the step, the state at its beginning and at its end, and what each step told."""

    log: list[dict]
    step: TrainStep
    first: TrainState
    last: TrainState
    told: list[dict]
    named: Callable[[Path], dict]
    batch: dict


def _trained(folder: Path, name: str, log: list[dict], options: dict, network: Network, weights: dict) -> Trained:
    io = np.load(folder / "io.npz")
    variables = compvis.read(folder / f"{name}.safetensors", network).variables(ema=False)
    variables, weights = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (variables, weights))
    loss = loss_of({"disc_channels": 6, "perceptual": "lpips", **options})
    step, first, discriminator = begin(loss, network, variables, folder / "discriminator.safetensors", weights)
    run, state, told, batches = jax.jit(step), first, [], []
    for i, x in enumerate(io["train/x"]):
        given = {"x": x}
        if "train/noise" in io:
            given |= dict(zip(("first", "second"), io["train/noise"][i], strict=True))
        batches.append({name: nhwc(array.astype(np.float64)) for name, array in given.items()})
        state, metrics = run(state, batches[-1], jax.random.key(0))
        told.append(metrics)

    def named(file: Path) -> dict:
        if "discriminator" in file.name:
            return compvis.discriminator(discriminator, safetensors_file.load(file), str(file))
        return compvis.read(file, network).variables(ema=False)

    return Trained(log, step, first, state, told, named, batches[0])


@pytest.fixture(scope="module")
def in_float64() -> Iterator[None]:
    """float64, as what was recorded was computed.

    In float32 the gradient of LPIPS is 2 % off for the first of these images, at a few pixels, where rounding may turn
    a ReLU or a maximum of VGG; the autoencoder's own part is within 6e-6.
    """
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def kl(in_float64: None, perceptual: dict) -> Trained:
    record = json.loads((KL / "train.json").read_text())
    options = {name: record["config"]["loss"][name] for name in ("disc_start", "kl_weight", "disc_weight")}
    network = Network.create("autoencoder_kl", z_channels=4, embed_dim=4, **SIZE)
    return _trained(KL, "autoencoder", record["log"], options, network, perceptual)


@pytest.fixture(scope="module")
def vq(in_float64: None, perceptual: dict) -> Trained:
    record = json.loads((VQ / "config.json").read_text())
    options = {name: record["compvis"]["loss"][name] for name in ("disc_start", "disc_weight")}
    network = Network.create("autoencoder_vq", z_channels=3, embed_dim=3, num_codes=24, **SIZE)
    return _trained(VQ, "vqmodel", record["train"]["log"], options, network, perceptual)


NAMES = {"total_loss": "loss", "cluster_usage": "codes_used"}


def _compare_terms(trained: Trained) -> None:
    """Every recorded number that has a name here, of both phases."""
    compared = set()
    for entry in trained.log:
        told = trained.told[entry["global_step"]]
        of_discriminator = entry["optimizer"] == "discriminator"
        for term, expected in entry.items():
            name = "disc_grad_norm" if of_discriminator and term == "grad_norm" else NAMES.get(term, term)
            if term != "loss" and name in told:
                np.testing.assert_allclose(told[name], expected, rtol=1e-5, atol=1e-9, err_msg=f"{entry} {name}")
                compared.add(name)
    assert {"loss", "nll_loss", "rec_loss", "d_weight", "g_loss", "disc_loss", "logits_real", "grad_norm"} <= compared


def _compare_updates(trained: Trained, autoencoder: Path, discriminator: Path) -> None:
    """What each tensor has moved by, but for those without an influence, whose steps Adam makes of rounding."""
    ours = (trained.first.params, trained.last.params), (trained.first.loss.params, trained.last.loss.params)
    for (before, after), file in zip(ours, (autoencoder, discriminator), strict=True):
        expected = trained.named(file)["params"]
        assert expected.keys() == after.keys()
        for name in expected.keys() - set(WITHOUT_EFFECT):
            moved = expected[name] - before[name]
            error = np.linalg.norm(after[name] - expected[name]) / np.linalg.norm(moved)
            assert error < 2e-3, (name, error)
    for name, expected in trained.named(discriminator)["fixed"].items():  # three updates a batch
        np.testing.assert_allclose(trained.last.loss.fixed[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_three_steps_of_the_kl_autoencoder(kl: Trained) -> None:
    _compare_terms(kl)
    _compare_updates(kl, KL / "autoencoder_after.safetensors", KL / "discriminator_after.safetensors")
    assert int(kl.last.step) == 3


@pytest.mark.slow
def test_two_steps_of_the_vq_autoencoder(vq: Trained) -> None:
    _compare_terms(vq)
    _compare_updates(vq, VQ / "vqmodel_after.safetensors", VQ / "discriminator_after.safetensors")
    assert {"perplexity", "codes_used", "quant_loss"} <= vq.told[0].keys()


@pytest.mark.slow
def test_gradients_of_every_tensor_at_the_beginning(kl: Trained) -> None:
    """At step 10, where the discriminator counts; the log-variance's too, which latent diffusion trains by nothing."""
    state = kl.first._replace(step=jnp.asarray(10))
    key = jax.random.key(0)
    own, other = jax.jit(lambda state, batch: [phase.gradient(state, batch, key) for phase in kl.step.phases])(
        state, kl.batch
    )
    file = KL / "gradients.safetensors"
    saved = safetensors_file.load(file)
    of_discriminator = {
        name.removeprefix("loss.").removeprefix("discriminator."): array
        for name, array in saved.items()
        if "discriminator" in name
    }
    running = safetensors_file.load(KL / "discriminator.safetensors")
    filled_up = {name: array for name, array in running.items() if "running" in name} | of_discriminator
    network = discriminator_of(loss_of({"disc_channels": 6}), (32, 32, 3))
    expected = kl.named(file)["params"] | compvis.discriminator(network, filled_up, str(file))["params"]
    found = own.params | other.params
    assert expected.keys() == found.keys()
    for name in expected.keys() - set(WITHOUT_EFFECT):
        error = np.linalg.norm(found[name] - expected[name]) / np.linalg.norm(expected[name])
        assert error < 1e-5, (name, error)


def test_the_codebook_loss_and_its_gradients() -> None:
    """Both places of beta, to the encoder's latents and to the codebook."""
    io = np.load(VQ / "io.npz")
    h, codes = nhwc(io["prequant"]), io["codes"]
    book = jnp.asarray(safetensors_file.load(VQ / "vqmodel.safetensors")["quantize.embedding.weight"], jnp.float32)
    for legacy, name in ((True, "codebook_loss_legacy"), (False, "codebook_loss")):
        loss = loss_of({"codebook_legacy": legacy})

        def term(h: jax.Array, book: jax.Array, loss: AutoencoderLoss = loss) -> jax.Array:
            return jnp.mean(loss.codebook_term(h, book[codes]))

        value, (of_h, of_book) = jax.value_and_grad(term, (0, 1))(h, book)
        np.testing.assert_allclose(value, io[name], rtol=2e-5)
        np.testing.assert_allclose(of_h, nhwc(io[f"grad_prequant_{name}"]), rtol=0, atol=2e-5)
        np.testing.assert_allclose(of_book, io[f"grad_codebook_{name}"], rtol=0, atol=2e-5)
