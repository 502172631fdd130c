"""Two processes on one machine train like one."""

import json
import socket
from pathlib import Path

import jax
import numpy as np
import pytest

from checkpoints.store import Store
from tests.experiment.command import run, start

ARGUMENTS = (
    "--mode=train",
    "--config=configs/vp/toy_mixture8_mlp.py",
    "--config.model.width=8",
    "--config.model.depth=1",
    "--config.training.batch_size=16",
    "--config.training.n_iters=6",
    "--config.training.snapshot_freq=6",
    "--config.training.snapshot_freq_for_preemption=3",
    "--config.training.log_freq=1",
    "--config.training.eval_freq=0",
    "--config.training.snapshot_sampling=False",
    "--config.optim.lr=0.01",
    "--config.optim.warmup=1",
)


@pytest.mark.slow
def test_two_processes_give_the_parameters_of_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"--coordinator=127.0.0.1:{free.getsockname()[1]}"
    two, one = tmp_path / "two", tmp_path / "one"
    processes = [start(*ARGUMENTS, f"--workdir={two}", address, "--processes=2", f"--process={i}") for i in (0, 1)]
    code, _, err = run(*ARGUMENTS, f"--workdir={one}")
    assert code == 0, err
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    trees, losses = [], []
    for folder in (one, two):
        with Store(folder / "checkpoints", read_only=True) as store:
            assert store.steps() == [3, 6]
            trees.append(store.restore()[1])
        lines = (folder / "metrics.jsonl").read_text().splitlines()  # process 0 alone writes it
        losses.append([json.loads(line)["loss"] for line in lines])
    assert len(losses[0]) == 6
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    for part in ("params", "ema"):
        for a, b in zip(jax.tree.leaves(trees[0][part]), jax.tree.leaves(trees[1][part]), strict=True):
            assert np.abs(a - b).max() < 1e-5
    assert max(np.abs(v).max() for k, v in trees[0]["params"].items() if k.endswith("bias")) == pytest.approx(
        0.03, abs=0.03
    )  # biases start at 0: it did move
