"""The main job in miniature: train on digits, draw, evaluate; and two steps of every other kind of experiment."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import main
from configs.subvp import digits as subvp
from configs.ve import digits as ve
from configs.ve import toy_moons_mlp
from configs.vp import digits as vp
from configs.vp import photo_patches_ddpmpp, toy_mixture8_mlp


def _small(config: ConfigDict) -> ConfigDict:
    """Two steps of the smallest network, a handful of samples."""
    if config.model.name == "mlp":
        config.model.update(width=8, depth=1)
    else:
        config.model.update(nf=4, ch_mult=(1,), num_res_blocks=1, attn_resolutions=())
    config.training.update(batch_size=8, n_iters=2, log_freq=1, eval_freq=2, snapshot_sampling=False)
    config.training.update(snapshot_freq=2, snapshot_freq_for_preemption=1)
    config.sampling.update(method="flow_euler", flow_steps=2, steps=3, rtol=1e-2, atol=1e-2)
    config.eval.update(num_samples=20, batch_size=16, bpd_max_examples=8, rtol=1e-2, atol=1e-2)
    config.eval.update(samplers=("flow_euler", "pc"), bpd_probe="rademacher")
    return config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained, drawn from twice, and evaluated twice."""
    jax.config.update("jax_disable_most_optimizations", True)
    folder, config = tmp_path_factory.mktemp("digits") / "run", _small(vp.get_config())
    for mode in ("train", "sample", "sample", "evaluate", "evaluate"):
        main.run(mode, config, str(folder))
    jax.config.update("jax_disable_most_optimizations", False)
    return folder


def test_curves_are_recorded(workdir: Path) -> None:
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    assert all({"loss", "grad_norm", "images_per_second"} <= line.keys() for line in lines if "loss" in line)
    assert [line["step"] for line in lines if "test_loss" in line] == [2]
    assert any((workdir / "tensorboard").iterdir())


def test_drawing_writes_a_new_picture_each_time(workdir: Path) -> None:
    """100 digits, enlarged four times, ten by ten."""
    pictures = sorted(p.name for p in (workdir / "samples").glob("flow_euler_step_2_*.png"))
    assert len(pictures) == 2
    for name in pictures:
        picture, array = (
            Image.open(workdir / "samples" / name),
            np.load((workdir / "samples" / name).with_suffix(".npz")),
        )
        assert picture.width == 10 * 34 + 2 and picture.height > 10 * 34 + 2  # the grid, and its caption below
        assert array["samples"].shape == (100, 8, 8, 1)
        assert array["samples"].dtype == np.uint8 and array["samples"].max() <= 16
        said = {"method": "flow_euler", "evaluations": 3, "seed": 0, "checkpoint": 2, "levels": 17, "flow_steps": 2}
        assert {field: array[field].item() for field in said} == said
        assert {field: picture.info[field] for field in said} == {
            **{k: str(v) for k, v in said.items()},
            "evaluations": "3.0",
        }
        assert array["evaluations_each"].tolist() == [3] * 100


def test_the_report_holds_what_explains_its_figures(workdir: Path) -> None:
    report = json.loads((workdir / "report.json").read_text())
    assert np.isfinite(report["bits_per_dim"]["mean"]) and report["bits_per_dim"]["examples"] == 8
    assert report["bits_per_dim"]["standard_error"] > 0 and report["bits_per_dim"]["levels"] == 17
    assert report["frechet_floor"] > 0 and report["num_samples"] == 20
    assert report["samplers"].keys() == {"flow_euler", "pc"}
    for row in report["samplers"].values():
        assert row["frechet_distance"] > 0 and row["evaluations"]["mean"] > 0
    assert report["samplers"]["flow_euler"]["evaluations"]["mean"] == 3  # two steps, one to denoise
    assert report["checkpoint"] == {"step": 2, "ema": True, "ema_rate": 0.998}
    assert report["seed"] == 0 and report["bits_per_dim"]["rtol"] == 1e-2 and report["bits_per_dim"]["atol"] == 1e-2
    assert report["environment"]["versions"]["jax"] == jax.__version__
    assert "cpu" in report["environment"]["device"].lower()
    text = (workdir / "report.md").read_text()
    for words in ("step 2", "EMA", "Seed 0", "rtol 0.01", "jax " + jax.__version__, "20 samples", "flow_euler"):
        assert words in text


def test_a_second_evaluation_finds_the_first(workdir: Path) -> None:
    """Nothing is drawn again, and the report stays the file it was."""
    folder = workdir / "evaluation" / "step_00000002"
    assert not (workdir / "report.1.json").exists() and not (folder / "report.1.json").exists()
    assert {path.name for path in folder.iterdir()} == {
        *("report.json", "report.md", "timing.json", "bits"),
        *("flow_euler_seed_0", "flow_euler_seed_0.png", "pc_seed_0", "pc_seed_0.png"),
    }
    with np.load(folder / "pc_seed_0" / "round_00001.npz") as last:
        assert last["samples"].shape == (4, 8, 8, 1) and last["samples"].dtype == np.uint8


@pytest.mark.slow
def test_points_in_the_plane(tmp_path: Path) -> None:
    config = _small(toy_mixture8_mlp.get_config())
    config.eval.bpd_probe = "exact"
    for mode in ("train", "evaluate"):
        main.run(mode, config, str(tmp_path / "run"))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["bits_per_dim"]["unit"] == "bits/dim (differential)" and report["bits_per_dim"]["levels"] is None
    folder = tmp_path / "run" / "evaluation" / "step_00000002"
    assert np.load(folder / "pc_seed_0" / "round_00000.npz")["samples"].shape == (16, 2)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [subvp, ve, toy_moons_mlp, photo_patches_ddpmpp], ids=lambda m: m.__name__)
def test_every_kind_of_experiment_trains_and_draws(experiment, tmp_path: Path) -> None:
    config = _small(experiment.get_config())
    for mode in ("train", "sample"):
        main.run(mode, config, str(tmp_path / "run"))
    assert len(list((tmp_path / "run" / "samples").glob("*.png"))) == 1
