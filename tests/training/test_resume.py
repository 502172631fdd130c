"""A run that is killed, stopped and damaged ends exactly where an uninterrupted one does."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints.store import Store
from experiment.compilation_cache import FOLDER
from tests.experiment.command import TINY, run, start

STEPS = 24
LENGTH = (
    f"--config.training.n_iters={STEPS}",
    "--config.training.log_freq=1",
    "--config.training.eval_freq=6",
    "--config.training.snapshot_freq=12",
    "--config.training.snapshot_freq_for_preemption=3",
    "--config.training.keep_checkpoints=4",
)


def _begin(workdir: Path) -> subprocess.Popen:
    return start("--mode=train", f"--workdir={workdir}", *TINY, *LENGTH)


def _records(workdir: Path) -> list[dict]:
    file = workdir / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def _signal_at(process: subprocess.Popen, workdir: Path, step: int, number: int) -> tuple[int, str]:
    """Send a signal once the run has recorded `step`; its exit code and stderr."""
    while process.poll() is None and not any(record["step"] >= step for record in _records(workdir)):
        time.sleep(0.002)
    process.send_signal(number)
    return process.wait(timeout=120), process.communicate()[1]


def _steps(workdir: Path) -> list[int]:
    return sorted(int(p.name) for p in (workdir / "checkpoints").glob("*") if p.name.isdigit())


def _steps_programs(folder: Path) -> dict[str, int]:
    """The two largest programs beside the runs, a step's gradient and its update, and when each was written."""
    programs = sorted((folder / FOLDER).glob("*-cache"), key=lambda file: file.stat().st_size)
    return {file.name: file.stat().st_mtime_ns for file in programs[-2:]}


def _damage(checkpoint: Path) -> None:
    """Cut the largest file of a checkpoint in half."""
    largest = max((p for p in checkpoint.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])


@pytest.fixture(scope="module")
def own_cache() -> Iterator[None]:
    """Programs are kept beside the runs, whatever the environment says."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, own_cache: None) -> dict[str, Any]:
    """An uninterrupted run; and one that is killed, told to stop, damaged."""
    folder = tmp_path_factory.mktemp("resume")
    whole, broken = folder / "whole", folder / "broken"
    code, _, err = run("--mode=train", f"--workdir={whole}", *TINY, *LENGTH)
    assert code == 0, err
    compiled = _steps_programs(folder)
    killed = _signal_at(_begin(broken), broken, int(np.random.default_rng().integers(1, 13)), signal.SIGKILL)[0]
    stopped, stopped_err = _signal_at(_begin(broken), broken, 14, signal.SIGTERM)
    after_stop = _steps(broken)
    _damage(broken / "checkpoints" / str(after_stop[-1]))
    end, _, end_err = run("--mode=train", f"--workdir={broken}", *TINY, *LENGTH)
    return {
        "whole": whole,
        "broken": broken,
        "killed": killed,
        "stopped": (stopped, stopped_err, after_stop),
        "end": (end, end_err),
        "programs": (compiled, _steps_programs(folder)),
    }


def test_all_ran_the_two_programs_that_the_first_compiled(story: dict) -> None:
    """What begins anew and what goes on from a checkpoint: nobody compiled a step again."""
    before, after = story["programs"]
    assert len(before) == 2 and before == after


def test_the_signals_arrived(story: dict) -> None:
    assert story["killed"] == -signal.SIGKILL


def test_sigterm_saves_and_says_so(story: dict) -> None:
    """The step of the signal is saved (here mostly not a multiple of 3); what was to come after the run does not."""
    code, err, steps = story["stopped"]
    assert code == 128 + signal.SIGTERM, err
    assert "Traceback" not in err and "ended by" not in err
    assert 14 <= steps[-1] < STEPS
    assert f"SIGTERM: saved step {steps[-1]}" in err


def test_a_damaged_newest_checkpoint_is_skipped_with_a_warning(story: dict) -> None:
    code, err = story["end"]
    assert code == 0, err
    assert "Traceback" not in err and "tensorstore_spec" not in err
    assert f"{story['stopped'][2][-1]} is damaged" in err


def test_the_end_is_bit_identical(story: dict) -> None:
    """Parameters, average, optimiser state and step; every leaf of the final checkpoint."""
    found = []
    for name in ("whole", "broken"):
        with Store(story[name] / "checkpoints", read_only=True) as store:
            found.append(store.restore()[:2])
    (step, tree), (broken_step, broken) = found
    assert step == broken_step == STEPS

    def compare(a: Any, b: Any, path: str) -> int:
        if isinstance(a, dict):
            assert a.keys() == b.keys(), path
            return sum(compare(a[key], b[key], f"{path}.{key}") for key in a)
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes(), path
        return 1

    assert {"params", "ema", "opt_state", "step"} <= tree.keys()
    assert compare(tree, broken, "state") > 3 * len(tree["params"])


def test_every_step_is_recorded_once_with_the_same_numbers(story: dict) -> None:
    """Losses of all steps, and test losses of every sixth: as in the uninterrupted run."""
    for name in ("loss", "test_loss"):
        whole, broken = (
            [(r["step"], r[name]) for r in _records(story[run_name]) if name in r] for run_name in ("whole", "broken")
        )
        assert [step for step, _ in whole] == list(
            range(6 if name == "test_loss" else 1, STEPS + 1, 6 if name == "test_loss" else 1)
        )
        assert broken == whole


def test_rolling_and_archived_checkpoints_are_kept(story: dict) -> None:
    assert _steps(story["whole"]) == [12, 15, 18, 21, 24]


def test_the_config_is_saved(story: dict) -> None:
    """That another is refused, in one line that names the fields, is in tests/test_main.py."""
    saved = json.loads((story["whole"] / "config.json").read_text())
    assert saved["model"]["nf"] == 4 and saved["training"]["n_iters"] == STEPS
