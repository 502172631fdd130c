"""A run over categories that is killed ends as an uninterrupted one, bit by bit: digits and text."""

import signal
from pathlib import Path

import jax
import pytest

from checkpoints.store import Store
from tests.experiment.command import run, start
from tests.experiment.test_categorical_runs import TINY
from tests.training.test_resume import _signal_at

STEPS = 24
SHORT = (
    "--config.training.batch_size=8",
    "--config.training.log_freq=1",
    "--config.training.eval_freq=4",
    "--config.training.snapshot_freq=4",
    "--config.training.snapshot_freq_for_preemption=2",
    "--config.training.snapshot_sampling=False",
    f"--config.training.n_iters={STEPS}",
    "--config.optim.decay_steps=0",
)


def state_of(folder: Path) -> dict[str, bytes]:
    """Every leaf of the last checkpoint, by its path: weights, their average, and the optimiser's state."""
    with Store(folder / "checkpoints", read_only=True) as store:
        step, tree = store.restore()[:2]
    assert step == STEPS
    return {jax.tree_util.keystr(path): leaf.tobytes() for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits_masked", "pydoc_masked"])
def test_a_killed_run_ends_as_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    given = "--mode=train", f"--config=configs/categorical/{name}.py", *TINY[name], *SHORT
    whole, broken, cache = tmp_path / "whole", tmp_path / "broken", tmp_path / "cache"
    code, _, err = run(*given, f"--workdir={whole}", cache=cache)
    assert code == 0, err
    process = start(*given, f"--workdir={broken}", cache=cache)
    assert _signal_at(process, broken, 3, signal.SIGKILL)[0] == -signal.SIGKILL
    code, _, err = run(*given, f"--workdir={broken}", cache=cache)
    assert code == 0, err
    found, expected = state_of(broken), state_of(whole)
    assert found.keys() == expected.keys()
    assert [path for path in expected if found[path] != expected[path]] == []
