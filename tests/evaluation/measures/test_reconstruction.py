"""What is measured of an autoencoder: of networks whose reconstructions are known, and of a tiny one of each kind."""

import dataclasses
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evaluation import measures, report, run
from evaluation.measures.reconstruction import Reconstruction
from evaluation.measures.reconstruction_fid import ReconstructionFID
from experiment import Experiment, build, inputs
from experiment.perceptual import Perceptual
from experiment.workdir import Workdir
from metrics.fid import frechet_distance, moments
from metrics.inception import Features
from tests.metrics.test_reconstruction_metrics import direct
from tests.training.test_autoencoder_step import config_of

N = 8


class Darker:
    """A KL autoencoder whose reconstructions are too dark by so many of 255 levels, and whose posteriors are known."""

    dtype = None

    def __init__(self, by: float):
        self.by = by

    def apply(self, variables: dict, x: jax.Array, c_noise: jax.Array) -> jax.Array:
        return x - self.by / 127.5

    def abstract(self) -> dict:
        return {"params": {}, "fixed": {}}

    def module(self, variables: dict) -> Any:
        """Two latent channels of mean 1 and variance e^-1 on a grid of 4 x 4."""

        def encode(x: jax.Array) -> jax.Array:
            one = jnp.ones((len(x), 4, 4, 2))
            return jnp.concatenate([one, -one], axis=-1)

        return types.SimpleNamespace(encode=encode)


def experiment_of(network: Any = None, **changes: Any) -> Experiment:
    experiment = build(config_of(**changes))
    return dataclasses.replace(experiment, network=network) if network else experiment


def test_known_reconstructions_have_known_numbers(tmp_path: Path) -> None:
    """All that is too dark by 5 levels, cut off at black; 32 latents of (1 + e^-1 - 1 + 1) / 2 nats."""
    experiment = experiment_of(Darker(5.0))
    found = Reconstruction(experiment).report({"params": {}, "fixed": {}}, jax.random.key(0), tmp_path, {})
    x = experiment.source.test.take(np.arange(N))["image"].astype(np.float64)
    y = np.maximum(x - 5.0, 0.0)
    squares = ((x - y) ** 2).mean(axis=(1, 2, 3))
    assert found["psnr"]["mean"] == pytest.approx(np.mean(10 * np.log10(255.0**2 / squares)), rel=1e-6)
    assert found["rmse"] == pytest.approx(np.sqrt(squares.mean()), rel=1e-6)
    assert found["ssim"]["mean"] == pytest.approx(direct(x, y, 255.0).mean(), abs=2e-5)
    assert found["kl"]["mean"] == pytest.approx(16 * (1 + np.exp(-1.0)), rel=1e-5)
    assert found["bits_an_image"] == pytest.approx(found["kl"]["mean"] / np.log(2.0))
    assert found["latent"] == [4, 4, 2] and found["image"] == [16, 16, 3] and found["perceptual"] == "none"
    assert "lpips" not in found and found["without"] == ["lpips"]
    rows = "\n".join(Reconstruction.rows(found))
    assert "PSNR" in rows and "LPIPS was not measured (perceptual none)" in rows and "16 x 16 x 3 to 4 x 4 x 2" in rows


@pytest.mark.slow
def test_a_codebook_has_its_use_told(tmp_path: Path) -> None:
    """A codebook of two vectors far apart and of one that nothing is near."""
    config = config_of(**{"model.name": "autoencoder_vq"})
    with config.unlocked():
        config.model.num_codes = 3
    experiment = build(config)
    variables = experiment.network.init(jax.random.key(0))
    book = np.full((3, 4), 1e3, np.float32)
    book[:2] = [[-1.0] * 4, [1.0] * 4]
    variables["params"]["codebook.embedding"] = jnp.asarray(book)
    found = Reconstruction(experiment).report(variables, jax.random.key(0), tmp_path, {})
    assert found["codebook"]["size"] == 3 and 1 <= found["codebook"]["used"] <= 2
    assert 1.0 <= found["codebook"]["perplexity"] <= 2.0 + 1e-5
    assert found["bits_an_image"] == pytest.approx(64 * np.log2(3.0)) and found["latent"] == [8, 8, 4]
    assert "of 3 codes are used" in "\n".join(Reconstruction.rows(found))


def test_rfid_is_the_distance_of_the_test_set_and_its_reconstructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of features that are the mean colours; once computed, neither images nor features are computed again."""

    class Colours:
        sha256, resize, calls = "0" * 64, "pytorch", 0

        def __call__(self, images: np.ndarray) -> Features:
            self.calls += 1
            means = np.asarray(images, np.float64).mean(axis=(1, 2))
            return Features(means, means, means[:, :2])

    colours = Colours()
    monkeypatch.setattr("evaluation.quality.load_inception", lambda experiment, needed: colours)
    experiment = experiment_of(Darker(5.0))
    variables: dict[str, dict] = {"params": {}, "fixed": {}}
    found = ReconstructionFID(experiment).report(variables, jax.random.key(0), tmp_path, {})
    x = experiment.source.test.take(np.arange(N))["image"].astype(np.float64)
    means = [moments(image.mean(axis=(1, 2))) for image in (x, np.maximum(x - 5.0, 0.0))]
    assert found["rfid"] == pytest.approx(frechet_distance(*means), rel=1e-4) and found["examples"] == N
    calls = colours.calls
    again = ReconstructionFID(experiment).report(variables, jax.random.key(0), tmp_path, {})
    assert again == found and colours.calls == calls
    assert "Frechet distance" in "\n".join(ReconstructionFID.rows(found))


def test_other_weights_of_lpips_are_another_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """What rounds are used again by names the files by their content."""
    experiment, about = experiment_of(Darker(5.0)), []
    for digest in ("0" * 64, "1" * 64):
        found = Perceptual({}, {"eval.vgg16": digest, "eval.lpips_heads": "2" * 64})
        monkeypatch.setattr("experiment.perceptual.load", lambda config, found=found: found)
        about.append(Reconstruction(experiment).about({}, jax.random.key(0)))
    assert about[0] != about[1] and about[0]["lpips"]["eval.vgg16"] == "0" * 64


def test_a_training_goes_on_with_the_weights_of_lpips_that_it_began_with(tmp_path: Path) -> None:
    experiment, workdir = experiment_of(), Workdir(tmp_path)
    inputs.write(workdir, inputs.checked(experiment, workdir, {"eval.vgg16": "0" * 64}))
    inputs.checked(experiment, workdir, {"eval.vgg16": "0" * 64})
    with pytest.raises(ValueError, match=r"eval.vgg16: .* .* was 000000000000, and is 111.*; restore the file"):
        inputs.checked(experiment, workdir, {"eval.vgg16": "1" * 64})


def test_what_is_chosen_and_what_is_refused() -> None:
    experiment = experiment_of()
    run.check(experiment, likelihood=True)
    assert list(measures.chosen(experiment)) == ["reconstruction"]
    with pytest.raises(ValueError, match=r"is of a network of kind continuous or chain, and .* is of kind autoencoder"):
        run.check(experiment_of(**{"eval.measures": ("bits",)}), likelihood=True)
    with pytest.raises(ValueError, match=r"eval.lpips_heads is empty"):
        run.check(experiment_of(**{"eval.vgg16": "vgg16.pth"}), likelihood=True)


def test_a_report_of_an_autoencoder_names_no_process(tmp_path: Path) -> None:
    about = {"checkpoint": {"step": 1, "ema": False}, "seed": 0, "seeds": 1, "dataset": "photo_patches"}
    text = report.markdown({**about, "environment": report.environment()})
    assert "SDE" not in text and "step 1" in text
