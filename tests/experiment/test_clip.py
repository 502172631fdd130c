"""A CLIP's run through main.py: what is refused, the whole way to a report, and samples that it guides."""

import json
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

import main
from configs.text import scenes_clip
from configs.vp import digits
from experiment import Refusal
from tests.experiment.command import contents


def tiny(**sampling) -> ConfigDict:
    config = scenes_clip.get_config()
    with config.unlocked():
        config.data.update(size=16, image_size=16, train_length=64, test_length=24)
    config.model.update(image_width=8, image_layers=1, image_heads=2, text_width=8, text_layers=1, text_heads=2)
    config.model.update(projection_dim=8)
    config.training.update(batch_size=16, n_iters=4, log_freq=1, eval_freq=4, snapshot_freq=4, n_jitted_steps=1)
    config.training.update(snapshot_freq_for_preemption=2)
    config.optim.update(warmup=0, decay_steps=0)
    config.sampling.update(**sampling)
    config.eval.update(batch_size=16, accuracy_levels=3)
    return config


def refused(mode: str, config: ConfigDict, workdir: Path) -> str:
    """The one line that says why, the folder untouched."""
    before = contents(workdir)
    with pytest.raises(Refusal) as refusal:
        main.run(mode, config, str(workdir))
    assert contents(workdir) == before and "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"training.loss": "simple"}, ["training.loss is 'simple'", "'clip'", "contrastive"]),
        ({"training.accumulate": 2}, ["training.accumulate 2", "set accumulate to 1"]),
        ({"training.batch_size": 1}, ["training.batch_size"]),
        ({"data.tokenizer": ""}, ["model.name 'clip' reads texts, and data.tokenizer is ''"]),
        ({"model.num_scales": 0}, ["model.num_scales is 0", "1000"]),
        ({"model.noise_label": "log_snr"}, ["model.noise_label 'log_snr'", "tokens for 0 to 999"]),
        ({"model.preconditioning": "edm"}, ["model.preconditioning is 'edm'", "a CLIP"]),
        ({"eval.enable_bpd": True}, ["eval.enable_bpd", "a CLIP"]),
        ({"eval.measure_options": {"matching": {"among": 1}}}, ["among is 1"]),
    ],
)
def test_contradictions_are_refused(changes: dict, named: list[str], tmp_path: Path) -> None:
    config = tiny()
    for field, value in changes.items():
        section, name = field.split(".")
        with config.unlocked():
            config[section][name] = value
    line = refused("train", config, tmp_path / "run")
    for name in named:
        assert name in line


def test_the_loss_of_clips_is_theirs_alone(tmp_path: Path) -> None:
    config = digits.get_config()
    config.training.loss = "contrastive"
    assert "training.loss is 'contrastive' and model.name 'ncsnpp'" in refused("train", config, tmp_path / "run")


@pytest.mark.parametrize("mode", ["sample", "edit", "compare", "reproduce", "stats", "export"])
def test_modes_of_images_are_refused(mode: str, tmp_path: Path) -> None:
    config = tiny()
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict(), default=list))
    assert f"--mode={mode} is not for a CLIP" in refused(mode, config, tmp_path)


@pytest.mark.slow
def test_from_training_to_report_and_bit_for_bit_after_a_stop(tmp_path: Path) -> None:
    """The report's numbers are those of a choice among captions; a stopped training goes on as if it had not been."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    half = tiny()
    half.training.n_iters = 2
    for folder, config in ((whole, tiny()), (parts, half), (parts, tiny())):
        main.run("train", config, str(folder))
    records = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert all(0 <= record["test_accuracy"] <= 1 for record in records if "test_loss" in record)
    assert not (whole / "samples").exists()
    config = tiny()
    with config.unlocked():
        config.eval.measure_options = {"matching": {"among": 5}}
    for folder in (whole, parts):
        main.run("evaluate", config, str(folder))
    found, other = (json.loads((folder / "report.json").read_text())["matching"] for folder in (whole, parts))
    assert found == other and (found["captions"], found["examples"], len(found["accuracy"])) == (5, 24, 3)
    assert np.isfinite(found["cross_entropy"]).all()
    assert "## Choice of captions" in (whole / "report.md").read_text()
    assert (whole / "evaluation" / "step_00000004" / "matching.csv").exists()
