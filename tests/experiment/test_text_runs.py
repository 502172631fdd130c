"""Runs of text from the command line: a killed one ends as an uninterrupted one, and bad input is one line."""

import signal
from pathlib import Path
from typing import Any

import pytest

from checkpoints.store import Store
from tests.experiment.command import call, run, start
from tests.training.test_resume import _signal_at

TINY = (
    "--config=configs/categorical/pydoc_masked.py",
    "--config.model.width=8",
    "--config.model.depth=1",
    "--config.model.num_heads=2",
    "--config.data.length=16",
    "--config.training.batch_size=8",
    "--config.training.log_freq=1",
    "--config.training.eval_freq=4",
    "--config.training.snapshot_freq=4",
    "--config.training.snapshot_freq_for_preemption=2",
    "--config.training.snapshot_sampling=False",
    "--config.training.n_iters=8",
    "--config.optim.decay_steps=0",
)


@pytest.mark.slow
def test_a_killed_run_of_text_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    code, _, err = run("--mode=train", *TINY, f"--workdir={whole}")
    assert code == 0, err
    process = start("--mode=train", *TINY, f"--workdir={broken}")
    assert _signal_at(process, broken, 3, signal.SIGKILL)[0] == -signal.SIGKILL
    code, _, err = run("--mode=train", *TINY, f"--workdir={broken}")
    assert code == 0, err
    trees: list[Any] = []
    for folder in (whole, broken):
        with Store(folder / "checkpoints", read_only=True) as store:
            step, tree = store.restore()[:2]
            assert step == 8
            trees.append(tree)
    for part in ("params", "ema"):
        assert trees[0][part].keys() == trees[1][part].keys()
        for key, array in trees[0][part].items():
            assert array.tobytes() == trees[1][part][key].tobytes(), key


@pytest.mark.slow
def test_a_text_that_cannot_be_used_is_one_line_and_leaves_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    contents = {"latin1.txt": "Füße".encode("latin1"), "empty.txt": b"", "short.txt": b"short"}
    said = {"latin1.txt": "is not UTF-8", "empty.txt": "is empty", "short.txt": "shorter than one chunk"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        given = "--config.data.dataset=text", f"--config.data.path={tmp_path / name}", f"--workdir={tmp_path / 'run'}"
        code, _, err = call(capsys, "--mode=train", *TINY, *given)
        assert code == 2 and said[name] in err and err.count("\n") == 1, err
        assert not (tmp_path / "run").exists()
