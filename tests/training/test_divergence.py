"""A run whose numbers stop being numbers ends, naming the steps; what it had saved stays and is finite."""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import main
from checkpoints.store import Store
from configs.vp import toy_mixture8_mlp
from training import loop


def _config(**optim: Any) -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    config.model.update(width=8, depth=1)
    config.optim.update(optim)
    config.training.update(batch_size=8, n_iters=8, log_freq=4, eval_freq=0, snapshot_sampling=False)
    config.training.update(snapshot_freq=8, snapshot_freq_for_preemption=2)
    return config


def _saved(workdir: Path) -> tuple[int, dict]:
    with Store(workdir / "checkpoints", read_only=True) as store:
        step, tree, _ = store.restore()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))
    return step, tree


def test_a_loss_that_becomes_nan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of the fifth batch on are NaN: steps 5 and 6 are read together, at the save of step 6."""
    real = loop.batches

    def broken(*arguments: Any, **options: Any) -> Any:
        for n, batch in enumerate(real(*arguments, **options)):
            yield batch if n < 4 else {"image": batch["image"] * np.nan}

    monkeypatch.setattr(loop, "batches", broken)
    with pytest.raises(loop.Diverged, match=r"at step 5 and 1 more up to 6.*checkpoint is of step 4.*optim\.lr"):
        main.run("train", _config(), str(tmp_path / "run"))
    assert _saved(tmp_path / "run")[0] == 4


def test_weights_that_overflow_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """This rate is infinite in float32: the first step breaks the weights while its own loss is still finite."""
    config, workdir = _config(lr=1e39, warmup=1, grad_clip=0.0), tmp_path / "run"
    config.training.snapshot_freq_for_preemption = 1
    given = {"MODE": "train", "CONFIG": config, "WORKDIR": str(workdir)}
    given |= dict.fromkeys(("CHECKPOINT", "COORDINATOR", "PROCESSES", "PROCESS"))
    for flag, value in given.items():
        monkeypatch.setattr(main, flag, type("Flag", (), {"value": value}))
    monkeypatch.setattr(sys, "argv", ["main.py"])
    with pytest.raises(SystemExit) as end:
        main.main([])
    assert end.value.code == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: weights not finite at step 1; no checkpoint had been saved yet")
    with Store(workdir / "checkpoints", read_only=True) as store:
        assert store.steps() == []
