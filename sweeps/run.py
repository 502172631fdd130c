"""The loop of a sweep: what is finished is passed over, what is half done goes on, and the table grows with it."""

from collections.abc import Callable
from pathlib import Path

import jax
from absl import logging
from ml_collections import ConfigDict

import interruption
import limits
from checkpoints.store import CheckpointDamaged, CheckpointNotSaved
from experiment import Failure, Refusal, ranges
from experiment.lock import Held
from experiment.workdir import Workdir
from sweeps import numbers, record, table
from sweeps.points import Point, points

Check = Callable[[ConfigDict, Path], None]
"""(config, folder): refuse, with a ValueError or an OSError, what could not be trained there; nothing is written."""
Perform = Callable[[str, ConfigDict, Path], None]
"""(mode, config, folder): do what a mode does in the folder of a run, holding its lock."""

FINISHED, WAITING, ELSEWHERE = "finished", "not finished", "another command is at work on it"


def prepare(config: ConfigDict, workdir: Workdir, check: Check, perform: Perform) -> Callable[[], None]:
    """Check every point of ``config.sweep`` and return the sweep, to be called; nothing is compiled or written here.

    Raises:
      ValueError: ``config.sweep`` is out of its ranges, or as `points` and `record.check`; or a point, which the
        message names, cannot be trained, or has no run where the first mode is another than training.
      OSError: what a config names is not there.
    """
    limits.check("sweep.", config.sweep, ranges.of_section("sweep"))  # the points' configs are without it
    record.check(workdir, config)
    chosen, modes = points(config), tuple(config.sweep.modes)
    for point in chosen:
        folder = workdir.path / point.folder
        if not (folder / "config.json").exists():  # one that has begun was checked then
            if modes[0] != "train":
                raise ValueError(
                    f"sweep.modes is {modes}, and the point {_named(point)} has no run yet in {folder}; let "
                    "sweep.modes begin with 'train'"
                )
            try:
                check(point.config, folder)
            except (ValueError, OSError) as error:
                raise ValueError(f"the point {_named(point)} of the sweep: {error}") from error
    return lambda: sweep(config, workdir, chosen, modes, perform)


def sweep(config: ConfigDict, workdir: Workdir, chosen: list[Point], modes: tuple[str, ...], perform: Perform) -> None:
    """Do what is left of each point, and write the table after each; a signal ends it behind a training that saved.

    A point that fails is told and the others go on. One at which another command is at work is passed over, so that
    several commands may share a sweep.

    Raises:
      Failure: points have failed; all others are finished, or were left to other commands.
      OSError: the table itself cannot be written.
    """
    record.begin(workdir, config)
    results = [_known(workdir, point, modes) for point in chosen]
    table.write(workdir.path, results)
    for i, point in enumerate(chosen):
        results[i] = _known(workdir, point, modes)  # another command may have finished it meanwhile
        if results[i].numbers is None:
            logging.info("point %d of %d: %s", i + 1, len(chosen), _named(point))
            results[i] = _done(workdir, point, modes, perform)
            if interruption.received:
                logging.warning("the same command continues the sweep; %s has what is finished", table.FILES[0])
                return
            table.write(workdir.path, results)
            jax.clear_caches()  # of programs that no other point runs
    results = [_known(workdir, each.point, modes) if each.state == ELSEWHERE else each for each in results]
    table.write(workdir.path, results)
    print((workdir.path / table.FILES[0]).read_text())
    if failed := [each for each in results if each.state not in (FINISHED, WAITING)]:
        raise Failure(
            f"{len(failed)} of {len(results)} points of the sweep failed, the first of them {_named(failed[0].point)}: "
            f"{failed[0].state}; the same command tries them again"
        )


def _known(workdir: Workdir, point: Point, modes: tuple[str, ...]) -> table.Result:
    """The result of a point that is finished, or that it is not."""
    found = numbers.kept(workdir.path / point.folder, point.config, modes)
    return table.Result(point, found, WAITING if found is None else FINISHED)


def _done(workdir: Workdir, point: Point, modes: tuple[str, ...], perform: Perform) -> table.Result:
    """Do what the modes do of a point, each from where it was; the result, or how it failed."""
    folder = workdir.path / point.folder
    try:
        for mode in modes:
            perform(mode, point.config, folder)
            if interruption.received:
                return table.Result(point, None, WAITING)
        return table.Result(point, numbers.keep(folder, point.config, modes), FINISHED)
    except Held:
        return table.Result(point, None, ELSEWHERE)
    except MemoryError:
        state = "out of memory"
    except (Failure, Refusal, ValueError, OSError, CheckpointDamaged, CheckpointNotSaved) as error:
        state = " ".join(str(error).split())
    logging.warning("the point %s failed: %s", _named(point), state)
    return table.Result(point, None, f"failed: {state}")


def _named(point: Point) -> str:
    """Such as "optim.lr=1e-3, training.batch_size=32"."""
    return ", ".join(f"{name}={text}" for name, text in point.values.items())
