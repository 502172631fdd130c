"""Snapshots of a run's power-function averages, WORKDIR/averages/step_N.npz, and the average of any width from them.

A snapshot holds the averages alone, whole or not at all: its step, the step at which their time began, their widths,
and the weights as "STD/NAME". A checkpoint holds the averages of its own step, so that it needs no snapshot there.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiment.errors import Failure
from experiment.power_averages import PowerAverages, coefficients, text
from experiment.workdir import Workdir
from experiment.writing import replacing

FOLDER = "averages"
NAME = re.compile(r"step_(\d+)\.npz")
ALLOWED = 0.1
"""How far, relative to its norm, the density of a reconstructed average may be from the wanted one."""
NEGLIGIBLE = 1e-9
"""A stored average with a smaller coefficient is not read: no weight would change in float32."""


class Unreachable(Failure, ValueError):
    """There is no average of this width to be had of this checkpoint."""


def write(workdir: Workdir, step: int, averages: PowerAverages) -> None:
    """Write the averages behind a step, which are arrays of the host."""
    path = workdir.path / FOLDER / f"step_{step:08d}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        np.savez(file, **_arrays(step, averages))


def take_back(workdir: Workdir, after: int) -> None:
    """Remove the snapshots behind the step that a run goes on from; it makes them again."""
    for step, path in _paths(workdir):
        if step > after:
            path.unlink()


def reconstruct(workdir: Workdir, step: int, own: PowerAverages | None, std: float) -> dict[str, np.ndarray]:
    """Return the average of width `std` at the step, by weight, put together in float64 and rounded once.

    Snapshots of later steps are left alone, and so are those of averages that began at another step.

    Args:
      workdir: the run.
      step: that of a checkpoint.
      own: the averages in the checkpoint; None where it has none.
      std: the width.

    Raises:
      Unreachable: the run keeps no averages, the snapshots do not suffice for this width, or one is damaged.
    """
    field = f"eval.ema_std is {std:g}"
    if own is None:
        raise Unreachable(
            f"{field}, and the checkpoint of step {step} in {workdir.path} has no power-function averages; train with "
            "--config.training.ema_stds='(0.05, 0.1)', or set eval.ema_std to 0"
        )
    begin = int(own.begin)
    kept: list[tuple[int, float, Path | None]] = [(step - begin, float(each), None) for each in own.weights]
    for at, path in _paths(workdir):
        if begin < at < step:
            with _opened(path) as arrays:
                same = int(arrays["begin"]) == begin
                kept += [(at - begin, float(each), path) for each in arrays["stds"] if same]
    times, stds = (np.array([each[i] for each in kept], np.float64) for i in (0, 1))
    factors, missed = coefficients(times, stds, step - begin, std)
    if missed > ALLOWED:
        widths = ", ".join(f"{each:g}" for each in sorted(set(stds)))
        raise Unreachable(
            f"{field}, and the averages of widths {widths} at {len(set(times))} steps up to {step} miss it by "
            f"{missed:.0%} (at most {ALLOWED:.0%}); take a width nearer to theirs, or a step with more snapshots "
            "before it (training.ema_snapshot_freq)"
        )
    first = next(iter(own.weights.values()))
    total = {name: np.zeros(np.shape(leaf), np.float64) for name, leaf in first.items()}
    needed: dict[Path | None, list[tuple[float, str]]] = {}
    for factor, (_, width, place) in zip(factors, kept, strict=True):
        if abs(factor) > NEGLIGIBLE:
            needed.setdefault(place, []).append((factor, text(width)))
    for place, parts in needed.items():
        with _opened(place) if place else contextlib.nullcontext(_arrays(step, own)) as arrays:
            for factor, which in parts:
                for name in total:
                    total[name] += factor * arrays[f"{which}/{name}"]
    return {name: total[name].astype(first[name].dtype) for name in total}


def _arrays(step: int, averages: PowerAverages) -> dict[str, Any]:
    """The arrays of a snapshot by their names in its file."""
    named = {f"{std}/{name}": leaf for std, weights in averages.weights.items() for name, leaf in weights.items()}
    return {"step": step, "begin": averages.begin, "stds": np.array([float(std) for std in averages.weights]), **named}


def _paths(workdir: Workdir) -> list[tuple[int, Path]]:
    """The steps of a run's snapshots, ascending, and their files."""
    found = [(NAME.fullmatch(path.name), path) for path in (workdir.path / FOLDER).glob("*")]
    return sorted((int(name.group(1)), path) for name, path in found if name)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, Any]]:
    """The arrays of a file, each read when it is asked for; whatever is wrong with them is said in one line."""
    try:
        with np.load(path) as arrays:
            yield arrays
    except Exception as error:  # damage comes as any error of zipfile, zlib or NumPy
        raise Unreachable(
            f"{path} is damaged, or of another network ({' '.join(f'{type(error).__name__}: {error}'.split())}); move "
            "it away, and the other snapshots are used"
        ) from error
