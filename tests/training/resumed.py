"""Runs that are killed and continued, each in a process of its own, beside one of one piece."""

import json
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from checkpoints.store import Store
from tests.experiment.command import run, start


def saved(folder: Path, last: int) -> dict[str, Any]:
    """The last checkpoint of a run, which must be of that step."""
    with Store(folder / "checkpoints", read_only=True) as store:
        step, tree, _ = store.restore()
    assert step == last
    return tree


def check_killed(config: str, changes: Mapping[str, Any], last: int, folder: Path) -> dict[str, Any]:
    """Train in `folder`/whole, and in `folder`/killed until the checkpoint of step 2 is there, and then again.

    Returns the last checkpoint, which is that of both to the bit.
    """
    train = ("--mode=train", f"--config={config}", *(f"--config.{name}={value}" for name, value in changes.items()))
    code, _, err = run(*train, f"--workdir={folder / 'whole'}", cache=folder / "cache")
    assert code == 0, err
    process, killed = start(*train, f"--workdir={folder / 'killed'}", cache=folder / "cache"), folder / "killed"
    while process.poll() is None and not (killed / "checkpoints" / "2").exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=120) == -signal.SIGKILL
    process.communicate()
    code, _, err = run(*train, f"--workdir={killed}", cache=folder / "cache")
    assert code == 0, err
    whole = saved(folder / "whole", last)
    jax.tree.map(np.testing.assert_array_equal, whole, saved(killed, last))
    return whole


def check_evaluated(folder: Path) -> dict[str, Any]:
    """Evaluate both runs of `check_killed`, and draw of the first; returns the report, which is the same of both."""
    reports = []
    for name in ("whole", "killed"):
        code, out, err = run("--mode=evaluate", f"--workdir={folder / name}", cache=folder / "cache")
        assert code == 0 and "## Samples" in out and "precision" in out, err
        reports.append(json.loads((folder / name / "report.json").read_text()))
    assert reports[0] == reports[1]
    code, out, err = run("--mode=sample", f"--workdir={folder / 'whole'}", cache=folder / "cache")
    assert code == 0 and "samples of generator, 1 evaluations each" in out, err
    return reports[0]
