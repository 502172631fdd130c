"""Every mode, and a killed run, on data of each other shape than images."""

import importlib
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from checkpoints.store import Store
from configs import default
from configs.shapes import moving_digits, tones
from configs.vp import digits
from editing.pictures import mask
from evaluation import quality
from experiment import build, load
from experiment.sizes import sized
from experiment.workdir import Workdir
from tests.experiment.command import call, run, start
from tests.training.test_resume import _signal_at

UNET = ("--config.model.nf=8", "--config.model.ch_mult=(1,)", "--config.model.attn_resolutions=()")
TINY: dict[str, tuple[str, ...]] = {
    "tones": (*UNET, "--config.model.head_channels=8"),
    "moving_digits": (*UNET, "--config.model.head_channels=8", "--config.data.frames=3", "--config.data.size=8"),
    "digit_volumes": (*UNET, "--config.model.head_channels=8", "--config.data.depth=3", "--config.data.size=8"),
    "digit_points": ("--config.model.width=8", "--config.model.depth=1", "--config.data.points=16"),
}
SHORT = (
    "--config.data.train_length=64",
    "--config.data.test_length=8",
    "--config.training.batch_size=8",
    "--config.training.log_freq=1",
    "--config.training.eval_freq=4",
    "--config.training.snapshot_freq=4",
    "--config.training.snapshot_freq_for_preemption=2",
    "--config.sampling.evaluations=3",
    "--config.sampling.count=4",
    "--config.eval.batch_size=8",
    "--config.eval.num_samples=16",
    "--config.eval.samplers=('dpmpp_2m',)",
    "--config.eval.bpd_max_examples=4",
    "--config.eval.compare=('ddim/log_snr',)",
    "--config.eval.compare_evaluations=(2,)",
    "--config.eval.compare_reference_evaluations=5",
    "--config.sampling.steps=4",
    "--config.edit.images=2",
    "--config.edit.count=2",
)
BESIDE = {"tones": ".wav", "moving_digits": ".webp", "digit_volumes": ".webp", "digit_points": ""}


def flags(name: str, workdir: Path, steps: int) -> tuple[str, ...]:
    given = f"--config=configs/shapes/{name}.py", f"--workdir={workdir}", f"--config.training.n_iters={steps}"
    return (*given, *TINY[name], *SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_every_mode(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    given = flags(name, tmp_path, 4)
    for mode in ("train", "sample", "evaluate", "compare", "edit"):
        code, _, err = call(capsys, f"--mode={mode}", *given)
        assert code == 0, (mode, err)
    shown = {path.suffix for path in (tmp_path / "samples").iterdir()}
    assert shown == {".png", ".npz", BESIDE[name]} - {""}
    shape = load(tmp_path).codec.shape
    with np.load(next((tmp_path / "samples").glob("dpmpp*.npz"))) as drawn:
        assert drawn["samples"].shape == (4, *shape)
    report = json.loads((tmp_path / "report.json").read_text())
    assert np.isfinite(report["bits_per_dim"]["mean"])
    has_mean = name != "digit_points"  # the points of a set stand in no order, and have another distance
    assert ("frechet_floor" in report) == has_mean == (report["samplers"]["dpmpp_2m"].get("frechet_distance", 0) > 0)
    assert ("Frechet distance" in (tmp_path / "comparison.md").read_text()) == has_mean
    assert ("Mean Chamfer distance" in (tmp_path / "comparison.md").read_text()) != has_mean
    further = {"tones": "band_distance", "digit_points": "coverage"}.get(name)
    assert ("further" in report) == (further is not None)
    if further:
        assert further in report["samplers"]["dpmpp_2m"]["further"]
        assert further.replace("_", " ") in (tmp_path / "report.md").read_text()
    assert "ddim/log_snr" in (tmp_path / "comparison.md").read_text()
    (edited,) = (tmp_path / "edits").glob("*.npz")
    with np.load(edited) as results:
        assert results["results"].shape == (2, 2, *shape)
    with Image.open(edited.with_suffix(".png")) as picture:
        assert picture.info["task"].startswith("inpaint")
    for task in ("vary", "interpolate"):
        code, _, err = call(capsys, "--mode=edit", *given, f"--config.edit.task={task}", "--config.sampling.rtol=0.1")
        assert code == 0, (task, err)
    code, _, err = call(capsys, "--mode=edit", *given, "--config.edit.task=colorize")
    assert code == 2 and "is for images" in err and err.count("\n") == 1
    code, _, err = call(capsys, "--mode=edit", *given, "--config.edit.mask=middle")
    assert code == 2 and "it is one of first, last, ends" in err and err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_killed_run_ends_as_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    whole, broken, steps = tmp_path / "whole", tmp_path / "broken", 8
    less = ("--config.training.snapshot_sampling=False",)
    code, _, err = run("--mode=train", *flags(name, whole, steps), *less)
    assert code == 0, err
    process = start("--mode=train", *flags(name, broken, steps), *less)
    assert _signal_at(process, broken, 3, signal.SIGKILL)[0] == -signal.SIGKILL
    code, _, err = run("--mode=train", *flags(name, broken, steps), *less)
    assert code == 0, err
    trees: list[Any] = []
    for folder in (whole, broken):
        with Store(folder / "checkpoints", read_only=True) as store:
            step, tree = store.restore()[:2]
            assert step == steps
            trees.append(tree)
    for part in ("params", "ema"):
        assert trees[0][part].keys() == trees[1][part].keys()
        for key, array in trees[0][part].items():
            assert array.tobytes() == trees[1][part][key].tobytes(), key


@pytest.mark.parametrize(
    ("recipe", "fields", "message"),
    [
        ("tones", {"model.name": "mlp2"}, "unknown network 'mlp2'"),
        ("digit_points", {"data.dataset": "tones"}, "'point_transformer', a network of point sets, .* are signals"),
        ("tones", {"data.random_flip": True}, r"data.random_flip is for images; .*\(128, 1\)"),
        ("tones", {"sampling.height": 8}, "the examples of this run are no pictures"),
        ("moving_digits", {"eval.frechet_size": 5}, r"eval.frechet_size is 5, .*\(8, 16, 16, 1\); it must divide"),
    ],
)
def test_what_is_not_for_the_modality_is_refused_in_one_line(recipe: str, fields: dict, message: str) -> None:
    config = importlib.import_module(f"configs.shapes.{recipe}").get_config()
    config.update_from_flattened_dict(fields)
    with pytest.raises(ValueError, match=message) as error:
        experiment = build(config)
        sized(experiment)
        quality.distance(experiment, Workdir("nowhere"))
    assert "\n" not in str(error.value)


def test_an_image_network_names_those_that_take_signals_and_mlp_takes_images() -> None:
    config = digits.get_config()
    with config.unlocked():
        config.data.dataset = "tones"
    with pytest.raises(ValueError, match=r"'ncsnpp', a network of images, .* are signals .*; take one of .*unet_1d"):
        build(config)
    config = digits.get_config()
    default.with_network(config, "mlp", width=8, depth=1)
    assert dict(build(config).network.options)["shape"] == (8, 8, 1)


def test_files_need_not_be_there_where_samples_are_drawn() -> None:
    config = tones.get_config()
    with config.unlocked():
        config.data.update(dataset="sounds", path="/gone", length=64, rate=8000, channels=2)
    assert build(config, needs_data=False).codec.shape == (64, 2)
    with pytest.raises(ValueError, match="sounds: /gone is not a folder"):
        build(config)


def test_the_frechet_distance_reduces_the_frames_of_clips_each_by_itself() -> None:
    config = moving_digits.get_config()
    config.eval.update(frechet_size=4, num_samples=4)
    distance = quality.distance(build(config), Workdir("nowhere"))
    clips = np.arange(2 * 8 * 16 * 16).reshape(2, 8, 16, 16, 1) % 17
    reduced = distance._reduced(clips.astype(np.uint8))
    assert reduced.shape == (2, 8, 4, 4, 1)
    np.testing.assert_allclose(reduced[1, 5, 2, 3, 0], clips[1, 5, 8:12, 12:16].mean())


def test_masks_are_the_first_half_the_last_or_both_ends() -> None:
    config = tones.get_config()
    with config.unlocked():
        config.data.update(train_length=4, test_length=4)
    first, last, ends = (mask(build(config), name) for name in ("first", "last", "ends"))
    place = np.arange(128)
    np.testing.assert_array_equal(first, place < 64)
    np.testing.assert_array_equal(last, place >= 64)
    np.testing.assert_array_equal(ends, (place < 32) | (place >= 96))
