"""The runs of a comparison: that of the working folder, and those of ``eval.compare_runs``, on the same data.

Each is what its own folder says: network, process, codec, settings of samplers, checkpoint, and how it is compared
(`evaluation.entries`). The comparison as a whole (numbers of samples, batch, seed, lists of samplers, what samples are
measured against) is asked for by the config of the first.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from evaluation import entries, ingredients
from evaluation.entries import Entry
from experiment import Experiment, inputs, rules
from experiment.build import of_run
from experiment.weights import kind, load_guided
from experiment.workdir import Workdir

FIELD = "eval.compare_runs"


class Contender(NamedTuple):
    """One run of a comparison.

    Attributes:
      name: what tables and pictures call it.
      path: its folder.
      kept: where its samples are kept, in the working folder.
      experiment: what its config names.
      entries: what is drawn of it.
      step: the training step of its checkpoint.
      variables: its weights, and those of its guide.
    """

    name: str
    path: Path
    kept: Path
    experiment: Experiment
    entries: list[Entry]
    step: int
    variables: dict[str, Any]


def of_config(experiment: Experiment, workdir: Workdir) -> list[Contender]:
    """The run of the working folder and those of ``eval.compare_runs``, with their weights; nothing is compiled.

    Raises:
      ValueError: a folder that holds no run, a classifier, a run twice, or one on other data; an entry that
        `entries.of_run` refuses; a checkpoint of another architecture.
      OSError: a file or a checkpoint is not there.
    """
    asked = experiment.config.eval
    folders = {workdir.path.resolve(): workdir}
    runs = [(workdir, own, entries.of_run(own, asked)) for own in _of_widths(experiment)]
    for folder in asked.compare_runs:
        with _named(folder):
            other = Workdir(folder)
            if other.path.resolve() in folders:
                raise ValueError("it is among the runs already, of which --workdir is the first; give each once")
            folders[other.path.resolve()] = other
            theirs = _of_folder(other)
            _check_data(experiment, workdir, theirs, other)
            runs.append((other, theirs, entries.of_run(theirs, asked)))
    kept = workdir.path / "comparison"
    found: list[Contender] = []
    paths = [place.path for place in folders.values()]
    names = dict(zip(paths, _names(paths), strict=True))
    for place, own, listed in runs:
        name, first = names[place.path], place is workdir
        step, variables = load_guided(place, own)
        below = kept if first else kept / name.replace(os.sep, "_")
        name += f", {kind(own.config)}" if first and asked.compare_ema_stds else ""
        found.append(Contender(name, place.path, below, own, listed, step, variables))
    return found


def _of_widths(experiment: Experiment) -> list[Experiment]:
    """The first run with each width of ``eval.compare_ema_stds``; as it is where there are none."""
    found = []
    for std in experiment.config.eval.compare_ema_stds:
        config = experiment.config.copy_and_resolve_references()
        with config.unlocked():
            config.eval.ema_std = float(std)
        rules.check(rules.of_config(config))
        found.append(dataclasses.replace(experiment, config=config))
    return found or [experiment]


@contextlib.contextmanager
def _named(folder: str) -> Iterator[None]:
    """Name the run in what is refused of it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{FIELD} has {folder!r}: {error}") from error


def _names(paths: list[Path]) -> list[str]:
    """The last part of each path, or the whole of those whose last part is another's too."""
    last = [os.path.basename(os.path.abspath(path)) for path in paths]
    return [name if last.count(name) == 1 else str(path) for name, path in zip(last, paths, strict=True)]


def _of_folder(workdir: Workdir) -> Experiment:
    if not workdir.config_file.exists():
        raise ValueError("it holds no run (no config.json); give the --workdir of one")
    config = workdir.config()
    rules.check(rules.of_images(config, "compare"))
    return of_run(config, workdir)


def _check_data(ours: Experiment, here: Workdir, theirs: Experiment, there: Workdir) -> None:
    """Refuse, with a ValueError, a run that was trained on other data than the first."""
    for difference in _differences(ours, here, theirs, there):
        raise ValueError(
            f"{difference}; samples are measured against one data set, so compare runs that were trained on the same"
        )


def _differences(ours: Experiment, here: Workdir, theirs: Experiment, there: Workdir) -> Iterator[str]:
    """The ways in which a run's data differ from the first run's.

    Contents count where both folders have a record of them (`experiment.inputs`). Where one has none, being older or
    imported, the configs must name the same data set.
    """
    first, source = f"{here.path}", theirs.source
    if source.shape != ours.source.shape:
        yield f"its examples are {source.shape}, and those of {first} {ours.source.shape}"
    if source.levels != ours.source.levels:
        yield f"its examples have {source.levels} grey levels, and those of {first} {ours.source.levels}"
    if 0 != ours.num_classes != theirs.num_classes != 0:
        yield f"it is told of {theirs.num_classes} classes, and {first} of {ours.num_classes}"
    now, then = inputs.data_of(there), inputs.data_of(here)
    if now and then:
        if now["classes"] != then["classes"]:
            yield f"its data have other names of classes than those of {first}"
        for split in ("train", "test"):
            if now[split]["fingerprint"] != then[split]["fingerprint"]:
                counts = f"{now[split]['examples']} and {then[split]['examples']} examples"
                yield f"its {split} set is not that of {first} ({counts}; inputs.json has their fingerprints)"
    else:
        mine, other = ingredients.data_options(ours), ingredients.data_options(theirs)
        for name in sorted(mine.keys() | other.keys()):
            if mine.get(name) != other.get(name):
                yield f"its data.{name} is {other.get(name)!r}, and that of {first} {mine.get(name)!r}"
