"""The two phases of an autoencoder's step: over devices, in one program or in several, and with every option."""

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
from autoencoders.grey_levels import GreyLevels
from configs import default
from configs.autoencoders import photos
from experiment import Refusal
from experiment.perceptual import Perceptual
from experiment.processes import to_host
from sde_lib import VP
from tests.experiment.command import run
from tests.models.test_lpips import HEADS
from tests.training import resumed
from training import devices as kinds
from training import losses, optimizer, programs
from training.autoencoders import beginning, discriminator_of, make_autoencoder_step, reconstruction_scores
from training.examples import Encoder
from training.losses.autoencoder import LAST_LAYER, AutoencoderLoss
from training.state import TrainState

SHAPE, BATCH, STEPS = (8, 8, 3), 8, 3
IMAGES = np.random.default_rng(0).integers(0, 256, (STEPS, BATCH, *SHAPE)).astype(np.uint8)
ADAM = optimizer.create(lr=1e-2, beta1=0.5, beta2=0.9, warmup=0, grad_clip=0.0)
KEY = jax.random.key(7)


class Tiny:
    """An autoencoder of two convolutions: patches of 2 x 2 pixels to moments, and their enlargement to pixels."""

    def init(self) -> dict[str, dict[str, jax.Array]]:
        keys = jax.random.split(jax.random.key(1))
        shapes = {"encoder.kernel": (2, 2, 3, 8), LAST_LAYER: (3, 3, 4, 3)}
        draws = zip(shapes.items(), keys, strict=True)
        return {"params": {name: jax.random.normal(k, shape) / 4 for (name, shape), k in draws}, "fixed": {}}

    def module(self, variables: dict) -> Any:
        params, numbers = variables["params"], ("NHWC", "HWIO", "NHWC")
        conv = functools.partial(jax.lax.conv_general_dilated, dimension_numbers=numbers)

        class Module:
            def encode(self, x: jax.Array, keys: Any = None) -> jax.Array:
                return conv(x, params["encoder.kernel"], (2, 2), "VALID")

            def decode(self, z: jax.Array, keys: Any = None) -> jax.Array:
                return conv(z.repeat(2, axis=1).repeat(2, axis=2), params[LAST_LAYER], (1, 1), "SAME")

        return Module()


class Run(NamedTuple):
    state: TrainState
    told: dict[str, np.ndarray]


def loss_of(**options: Any) -> AutoencoderLoss:
    return losses.create("autoencoder", VP(), **({"disc_layers": 1, "disc_channels": 4, "disc_start": 1} | options))


def _train(kind: str, devices: int, per_call: int = 1, micro_batches: int = 1, **options: Any) -> Run:
    over, loss = kinds.create(kind, jax.devices()[:devices]), loss_of(**options)
    discriminator, network = discriminator_of(loss, SHAPE), Tiny()
    encoder = Encoder(GreyLevels(256, True, "none", SHAPE), random_flips=True)
    shares = {"axis_size": over.axis_size, "micro_batches": micro_batches, "spread": over.spread}
    step = make_autoencoder_step(loss, network, discriminator, encoder, ADAM, ema=lambda n: jnp.asarray(0.5), **shares)
    state = TrainState.create(network.init(), ADAM, beginning(loss, discriminator, ADAM, jax.random.key(2)))
    call, placed, told = over.compile_steps(step, per_call, state), over.place(state), []
    for i in range(0, STEPS, per_call):
        batch = over.split({"image": IMAGES[i : i + per_call]}, micro_batches)
        placed, metrics = call(placed, batch, KEY)
        told += [to_host(over.whole(each)) for each in metrics]
    together = {name: np.concatenate([np.ravel(each[name]) for each in told]) for name in told[0]}
    return Run(to_host(over.whole(placed)), together)


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled() -> Any:
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@functools.cache
def _one(norm: str) -> Run:
    return _train("pmap", 1, disc_norm=norm, learn_logvar=True)


def _compare(found: Run, expected: Run) -> None:
    for part in ("params", "ema", "loss"):
        pairs = zip(
            jax.tree.leaves(getattr(found.state, part)), jax.tree.leaves(getattr(expected.state, part)), strict=True
        )
        for one, other in pairs:
            np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-5)
    assert found.told.keys() == expected.told.keys()
    for name, values in expected.told.items():
        np.testing.assert_allclose(found.told[name], values, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("norm", "kind", "devices"),
    [
        pytest.param("batch", "pmap", 4, marks=pytest.mark.slow),
        pytest.param("act", "pmap", 4, marks=pytest.mark.slow),
        pytest.param("batch", "fsdp", 4, marks=pytest.mark.slow),
    ],
)
def test_any_number_of_devices_gives_the_same(norm: str, kind: str, devices: int) -> None:
    """Gradients, statistics, the first scales of actnorm and the adaptive weight are those of the whole batch."""
    one = _one(norm)
    _compare(_train(kind, devices, disc_norm=norm, learn_logvar=True), one)
    assert int(one.state.step) == STEPS and bool(one.state.loss.initialised)
    assert one.told["disc_factor"].tolist() == [0.0, 1.0, 1.0] and np.all(one.told["d_weight"] > 0.0)
    counts = [int(leaf) for leaf in jax.tree.leaves(one.state.loss.opt_state) if np.ndim(leaf) == 0]
    assert counts == [STEPS] * len(counts), "the step before the start counts as well"


@pytest.mark.slow
def test_the_scan_of_gpu_and_tpu_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_on_cpu", lambda: False)
    _compare(_train("pmap", 1, per_call=STEPS, learn_logvar=True), _one("batch"))


@pytest.mark.slow
def test_without_a_discriminator_a_batch_may_be_split() -> None:
    whole, parts = (_train("pmap", 1, micro_batches=n, disc_factor=0.0) for n in (1, 2))
    _compare(parts, whole)
    assert whole.state.loss is None and "g_loss" not in whole.told and int(whole.state.step) == STEPS


def test_the_log_variance_learns_where_it_is_asked_to() -> None:
    """It goes to the logarithm of the mean error, where nll is least, by Adam's steps of 0.01."""
    learnt = _one("batch")
    moved = np.diff([*learnt.told["logvar"], float(learnt.state.loss.logvar["logvar"])])
    np.testing.assert_array_equal(np.sign(moved), np.sign(np.log(learnt.told["rec_loss"]) - learnt.told["logvar"]))
    assert moved[0] == pytest.approx(0.01, rel=1e-3) or moved[0] == pytest.approx(-0.01, rel=1e-3)
    fixed = _train("pmap", 1, logvar_init=0.4, disc_factor=0.0)
    error = fixed.told["rec_loss"] / np.exp(0.4) + 0.4
    np.testing.assert_allclose(fixed.told["nll_loss"], error * np.prod(SHAPE), rtol=1e-5)


@pytest.mark.slow
def test_the_second_phase_has_the_same_images_and_new_noise() -> None:
    """Its fakes are of the autoencoder that has moved: with neither, the logits would be those of the first phase."""
    still = _train("pmap", 1, disc_start=100)
    assert still.told["disc_loss"].tolist() == [0.0] * STEPS
    assert np.all(np.abs(still.told["g_loss"] + still.told["logits_fake"]) > 1e-6)


@pytest.mark.slow
def test_gradients_of_the_discriminator_and_of_the_log_variance_that_are_not_finite_are_replaced() -> None:
    """Its fakes and the error are NaN, as the decoder's weights are; no weights nor any optimiser beside become so."""
    loss, network = loss_of(disc_start=0, learn_logvar=True, logvar_init=0.25), Tiny()
    discriminator, encoder = discriminator_of(loss, SHAPE), Encoder(GreyLevels(256, True, "none", SHAPE))
    step = make_autoencoder_step(
        loss, network, discriminator, encoder, ADAM, ema=lambda n: jnp.asarray(0.5), nan_to_num=True
    )
    variables = network.init()
    variables["params"][LAST_LAYER] = jnp.full((3, 3, 4, 3), jnp.nan)
    before = TrainState.create(variables, ADAM, beginning(loss, discriminator, ADAM, jax.random.key(2)))
    after, metrics = jax.jit(step)(before, {"image": IMAGES[0]}, KEY)
    assert float(metrics["disc_replaced"]) > 0.0 and float(metrics["replaced"]) > 0.0
    assert float(metrics["logvar_replaced"]) == 1.0 and float(after.loss.logvar["logvar"]) == 0.25
    beside = after.loss.params, after.loss.opt_state, after.loss.logvar_state
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(beside))


def test_scores_of_the_test_set_are_of_each_example_alone() -> None:
    scores = jax.jit(
        reconstruction_scores(loss_of(), Tiny(), Encoder(GreyLevels(256, True, "none", SHAPE))), static_argnums=3
    )
    variables = Tiny().init()
    both, first = (scores(variables, {"image": IMAGES[0][:n]}, KEY, False) for n in (4, 2))
    assert set(both) == {"loss", "nll_loss", "rec_loss", "kl_loss"}
    for name in both:
        np.testing.assert_allclose(both[name][:2], first[name], rtol=1e-5)
    np.testing.assert_allclose(both["loss"], both["nll_loss"] + 1e-6 * both["kl_loss"], rtol=1e-6)


TINY = {
    "data.size": 16,
    "data.image_size": 16,
    "data.train_length": 64,
    "data.test_length": 8,
    "model.nf": 4,
    "model.ch_mult": (1, 2),
    "model.num_groups": 2,
    "training.batch_size": 8,
    "training.disc_layers": 1,
    "training.disc_channels": 4,
    "training.disc_start": 2,
    "training.log_freq": 1,
    "training.eval_freq": 3,
    "training.snapshot_freq": 6,
    "training.snapshot_freq_for_preemption": 2,
    "training.n_iters": 6,
    "eval.batch_size": 8,
}


def config_of(**changes: Any) -> Any:
    config = photos.get_config()
    with config.unlocked():
        config.data.update(train_length=64, test_length=8)
    config.update_from_flattened_dict(TINY | changes)
    return config


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"training.disc_norm": "act", "training.learn_logvar": True},
        {"model.name": "autoencoder_vq", "training.perceptual": "lpips", "eval.vgg16": "vgg16.pth"},
    ],
)
def test_a_continued_run_is_that_of_one_piece(options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, average, both optimisers, running statistics and log-variance; and the grids are there.

    The perceptual distance is another one here, whose weights come by the same way.
    """
    weights = Perceptual({"scale": np.full(1, 2.0, np.float32)}, {"eval.vgg16": "0" * 64})
    monkeypatch.setattr("training.preparation.load_perceptual", lambda config: weights)
    monkeypatch.setattr(
        "models.lpips.distance", lambda weights, x, y: weights["scale"] * jnp.mean((x - y) ** 2, axis=(1, 2, 3))
    )
    for folder, steps in (("whole", 6), ("parts", 2), ("parts", 6)):
        main.run("train", config_of(**options, **{"training.n_iters": steps}), str(tmp_path / folder))
    whole, parts = (resumed.saved(tmp_path / name, 6) for name in ("whole", "parts"))
    jax.tree.map(np.testing.assert_array_equal, whole, parts)
    assert {"params", "fixed", "opt_state"} <= whole["history"].keys() and whole["history"]["initialised"]
    records = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert {"rec_loss", "d_weight", "g_loss", "disc_loss", "logits_real"} <= records[0].keys()
    assert ("p_loss" in records[0]) == ("training.perceptual" in options) and "perceptual" not in whole
    assert ("quant_loss" if "model.name" in options else "kl_loss") in records[0]
    assert [r["step"] for r in records if "test_loss" in r] == [3, 6]
    assert [p.name for p in (tmp_path / "whole" / "samples").iterdir()] == ["reconstructions_00000006.png"]


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Killed behind its first checkpoint, in a process of its own; and what is measured of both is the same."""
    resumed.check_killed("configs/autoencoders/photos.py", TINY, 6, tmp_path)
    reports = []
    for folder in (tmp_path / "whole", tmp_path / "killed"):
        code, out, err = run("--mode=evaluate", f"--workdir={folder}", cache=tmp_path / "cache")
        assert code == 0 and "## Reconstructions" in out and "SDE" not in out, err
        reports.append(json.loads((folder / "report.json").read_text()))
    assert reports[0] == reports[1] and np.isfinite(reports[0]["reconstruction"]["psnr"]["mean"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"training.accumulate": 2, "training.batch_size": 16},
            "training.accumulate is 2 and training.disc_factor 1.0.*whole batch",
        ),
        ({"model.name": "autoencoder_vq", "training.learn_logvar": True}, "'autoencoder_vq' has a codebook"),
        ({"training.disc_layers": 4}, "training.disc_layers is 4: .*at least 48 pixels"),
        ({"training.disc_loss": "wasserstein"}, "training.disc_loss is 'wasserstein'; known are hinge, vanilla"),
        ({"training.perceptual": "lpips"}, "training.perceptual is 'lpips', and eval.vgg16 is empty"),
        ({"training.perceptual": "lpips", "eval.vgg16": str(HEADS)}, "eval.lpips_heads is empty"),
        ({"data.centered": False}, "data.centered"),
        ({"data.codec": "runs/another"}, "data.codec is 'runs/another', and autoencoder_kl is an autoencoder"),
        ({"data.uniform_dequantization": True}, "uniform_dequantization True, and autoencoder_kl is an autoencoder"),
        ({"eval.enable_bpd": True}, "an autoencoder, without likelihood or samples"),
        ({"training.weight": "edm"}, "training.weight is 'edm'"),
        ({"training.snapshot_fid_samples": 10}, "snapshot_fid_samples is 10.*draws no samples"),
    ],
)
def test_contradictions_are_refused_in_one_line(changes: dict, named: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=named) as refusal:
        main.prepare("train", config_of(**changes), str(tmp_path / "run"))
    assert "\n" not in str(refusal.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("mode", ["sample", "edit", "compare", "reproduce"])
def test_modes_that_draw_samples_are_refused(mode: str, tmp_path: Path) -> None:
    config = config_of()
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict(), default=list))
    with pytest.raises(Refusal, match=f"--mode={mode} draws samples.*an autoencoder.*data.codec=FOLDER"):
        main.prepare(mode, config, str(tmp_path))


def test_the_loss_of_autoencoders_is_theirs_alone(tmp_path: Path) -> None:
    config = default.get_config()
    config.training.loss = "autoencoder"
    with config.unlocked():
        config.data.update(image_size=8, num_channels=1)
        config.model.update(nf=4, ch_mult=(1,), attn_resolutions=(), num_res_blocks=1)
    with pytest.raises(Refusal, match=r"'autoencoder' and model.name 'ncsnpp'; autoencoders \(autoencoder_kl"):
        main.prepare("train", config, str(tmp_path / "run"))
    usual = {name: value for name, value in default.get_config().training.items() if name.startswith("disc_")}
    config = config_of(**{"training.loss": "simple", **{f"training.{name}": value for name, value in usual.items()}})
    with pytest.raises(Refusal, match=r"'simple' and model.name 'autoencoder_kl'.*a loss of their own"):
        main.prepare("train", config, str(tmp_path / "run"))
