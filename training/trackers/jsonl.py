"""The tracker "jsonl" appends the numbers to metrics.jsonl, one object a line."""

import json
from collections.abc import Mapping

from experiment.workdir import write_text
from training.trackers.base import Tracked, Tracker

FILE = "metrics.jsonl"


class JsonLines(Tracker):
    """Lines ``{"step": 50, "loss": 0.2, ...}``; what a killed run wrote beyond its last checkpoint is taken back."""

    def __init__(self, run: Tracked):
        self._file = run.folder / FILE
        if self._file.exists():
            lines = self._file.read_text(errors="replace").splitlines()
            write_text(self._file, "".join(f"{line}\n" for line in lines if _step(line) <= run.start))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line, which names the step first."""
        with self._file.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


def _step(line: str) -> float:
    """The step of a line; a line that a kill cut short, or that is damaged otherwise, belongs to no step."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")
