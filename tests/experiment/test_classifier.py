"""A classifier's run through main.py: what is refused, and the whole way from training to a report."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import main
from configs.vp import digits, digits_classifier
from experiment import Refusal
from tests.experiment.command import contents, run

TINY = (
    "--config=configs/vp/digits_classifier.py",
    "--config.model.nf=8",
    "--config.model.ch_mult=(1,)",
    "--config.model.attn_resolutions=()",
    "--config.model.head_channels=4",
    "--config.training.batch_size=16",
    "--config.training.log_freq=1",
    "--config.training.eval_freq=4",
    "--config.training.snapshot_freq=8",
    "--config.training.snapshot_freq_for_preemption=4",
    "--config.eval.accuracy_levels=3",
)


def refused(mode: str, config, workdir: Path) -> str:
    """The one line that says why, the folder untouched."""
    before = contents(workdir)
    with pytest.raises(Refusal) as refusal:
        main.run(mode, config, str(workdir))
    assert contents(workdir) == before and "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"training.loss": "simple"}, ["training.loss is 'simple'", "'noisy_classifier'"]),
        ({"training.loss": "hybrid"}, ["training.loss is one of noise levels", "training.continuous=False"]),
        ({"training.weight": "edm"}, ["'cross_entropy'", "training.weight is 'edm'"]),
        ({"model.label_dim": 7}, ["model.label_dim is 7", "10"]),
        ({"model.label_dim": 0}, ["label_dim=0", "2 or more"]),
        ({"model.preconditioning": "edm"}, ["model.preconditioning is 'edm'", "'none'"]),
        ({"model.noise_label": "index"}, ["model.noise_label 'index'", "log_snr"]),
        ({"data.augment": 0.1}, ["data.augment is 0.1"]),
        ({"eval.enable_bpd": True}, ["eval.enable_bpd", "a classifier"]),
        ({"eval.accuracy_levels": 0}, ["eval.accuracy_levels is 0"]),
    ],
)
def test_contradictions_are_refused(changes: dict, named: list[str], tmp_path: Path) -> None:
    config = digits_classifier.get_config()
    config.update_from_flattened_dict(changes)
    line = refused("train", config, tmp_path / "run")
    for name in named:
        assert name in line


def test_the_loss_of_classifiers_is_theirs_alone(tmp_path: Path) -> None:
    config = digits.get_config()
    config.training.loss = "cross_entropy"
    assert "training.loss is 'cross_entropy' and model.name 'ncsnpp'" in refused("train", config, tmp_path / "run")


def test_data_without_classes_are_refused(tmp_path: Path) -> None:
    config = digits_classifier.get_config()
    with config.unlocked():
        config.data.update(dataset="photo_patches", image_size=32, num_channels=3)
        config.model.attn_resolutions = (16,)
    line = refused("train", config, tmp_path / "run")
    assert "model.label_dim is 10" in line and "no classes" in line


@pytest.mark.parametrize("mode", ["sample", "edit", "compare", "reproduce", "stats", "export"])
def test_modes_of_images_are_refused(mode: str, tmp_path: Path) -> None:
    config = digits_classifier.get_config()
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict(), default=list))
    assert f"--mode={mode} is not for a classifier" in refused(mode, config, tmp_path)


@pytest.mark.slow
def test_from_training_to_report_and_bit_for_bit_after_a_stop(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train = ("--mode=train", *TINY)
    for folder, steps in ((whole, 8), (parts, 4), (parts, 8)):
        code, _, err = run(
            *train, f"--workdir={folder}", f"--config.training.n_iters={steps}", cache=tmp_path / "cache"
        )
        assert code == 0, err
    records = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    tests = [record for record in records if "test_loss" in record]
    assert [record["step"] for record in tests] == [4, 8] and all(0 <= r["test_accuracy"] <= 1 for r in tests)
    assert not (whole / "samples").exists()
    evaluate = ("--mode=evaluate", *TINY, "--config.training.n_iters=8")
    for folder in (whole, parts):
        code, out, err = run(*evaluate, f"--workdir={folder}", cache=tmp_path / "cache")
        assert code == 0 and "## Accuracy" in out, err
    reports = [json.loads((folder / "report.json").read_text()) for folder in (whole, parts)]
    assert reports[0] == reports[1] and len(reports[0]["accuracy"]["accuracy"]) == 3
    assert np.isfinite(reports[0]["accuracy"]["cross_entropy"]).all()
    shutil.rmtree(whole / "evaluation" / "step_00000008" / "accuracy")
    before = (whole / "report.json").read_text()
    code, _, err = run(*evaluate, f"--workdir={whole}", cache=tmp_path / "cache")
    assert code == 0 and (whole / "report.json").read_text() == before, err
