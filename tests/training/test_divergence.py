"""A run whose numbers stop being numbers ends, naming the steps; what it had saved stays and is finite."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

import main
from checkpoints.store import Store
from configs.vp import toy_mixture8_mlp
from tests.experiment.command import call
from training import loop, optimizer
from training.saving import Diverged


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
    with pytest.raises(Diverged, match=r"at step 5 and 1 more up to 6.*checkpoint is of step 4.*optim\.lr"):
        main.run("train", _config(), str(tmp_path / "run"))
    assert _saved(tmp_path / "run")[0] == 4


def test_weights_that_overflow_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """An update of infinite length breaks the weights at the first step, while its own loss is still finite."""
    monkeypatch.setattr(optimizer, "create", lambda **_: optax.scale(1e39))  # infinite in float32
    workdir = tmp_path / "run"
    code, _, err = call(
        capsys,
        "--mode=train",
        "--config=configs/vp/toy_mixture8_mlp.py",
        f"--workdir={workdir}",
        "--config.model.width=8",
        "--config.model.depth=1",
        "--config.training.batch_size=8",
        "--config.training.n_iters=8",
        "--config.training.eval_freq=0",
        "--config.training.snapshot_freq_for_preemption=1",
        "--config.training.snapshot_sampling=False",
        "--config.optim.decay_steps=0",
    )
    assert code == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: weights not finite at step 1; no checkpoint had been saved yet")
    with Store(workdir / "checkpoints", read_only=True) as store:
        assert store.steps() == []
