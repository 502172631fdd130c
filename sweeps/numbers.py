"""The numbers of a point: read from the files of its run, and kept with all that they depend on once it is finished."""

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from data.fingerprint import of_facts
from experiment.config_files import read_json
from experiment.workdir import write_text

FILE = "numbers.json"
Numbers = dict[str, tuple[float, float | None]]
"""A value and its standard error, None where that is not known, by the name of what was measured."""
OF_TRAINING = ("loss", "test_loss", "test_accuracy")
"""These are of the last record of a training's metrics.jsonl that has them."""


def kept(folder: Path, config: ConfigDict, modes: tuple[str, ...]) -> Numbers | None:
    """The numbers of a point that is finished; None of one that is not, or whose numbers are of something else."""
    try:
        found = json.loads((folder / FILE).read_text())
        if found["about"] != _about(config, modes):
            return None
        return {name: (float(value), error) for name, (value, error) in found["numbers"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def keep(folder: Path, config: ConfigDict, modes: tuple[str, ...]) -> Numbers:
    """Read the numbers of a point that all modes have ended for, and write down that it is finished."""
    found = of_run(folder, evaluated="evaluate" in modes)
    write_text(folder / FILE, json.dumps({"about": _about(config, modes), "numbers": found}, indent=2) + "\n")
    return found


def of_run(folder: Path, *, evaluated: bool) -> Numbers:
    """The numbers of a run: the last of its curves, and where it was evaluated those of its report.json."""
    numbers = _of_curves(folder / "metrics.jsonl")
    return numbers | (_of_report(read_json(folder / "report.json", "evaluate the run again")) if evaluated else {})


def _about(config: ConfigDict, modes: tuple[str, ...]) -> dict[str, Any]:
    """What the numbers of a point depend on: its whole config and what was done with it."""
    return {"config": of_facts(json.loads(json.dumps(config.to_dict()))), "modes": list(modes)}


def _of_curves(file: Path) -> Numbers:
    """The last of each number `OF_TRAINING`; none where the run writes no such file."""
    lines = file.read_text().splitlines() if file.exists() else []
    last: dict[str, float] = {}
    for line in lines:
        last |= json.loads(line)
    return {name: (last[name], None) for name in OF_TRAINING if name in last}


def _of_report(report: dict[str, Any]) -> Numbers:
    """The means of every measure of a report, and the distance of each sampler's samples."""
    numbers: Numbers = {}
    for name, part in report.items():
        if not isinstance(part, dict):
            continue
        inner = {name: part} | {f"{name} {key}": value for key, value in part.items() if "mean" not in part}
        for each, value in inner.items():
            if isinstance(value, dict) and isinstance(value.get("mean"), float):
                numbers[each] = (value["mean"], value.get("standard_error"))
    for method, row in report.get("samplers", {}).items():
        if "frechet_distance" in row:
            numbers[f"Frechet distance {method}"] = (row["frechet_distance"], None)
        if fid := row.get("inception", {}).get("fid"):
            numbers[f"FID {method}"] = (fid["mean"] if isinstance(fid, dict) else fid, None)
    return numbers
