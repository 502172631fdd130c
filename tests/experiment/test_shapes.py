"""Every mode, and a killed run, on data of each other shape than images."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from checkpoints.store import Store
from experiment import load
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
    assert np.isfinite(report["bits_per_dim"]["mean"]) and report["samplers"]["dpmpp_2m"]["frechet_distance"] > 0
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
