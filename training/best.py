"""A run writes down which of its archived checkpoints has the lowest FID, and keeps that one for ever."""

import json
from pathlib import Path
from typing import Any, Protocol

from absl import logging

from experiment.workdir import set_aside, write_text

FILE = "best_fid.json"


class Measure(Protocol):
    """The FID of samples of these weights."""

    about: dict[str, Any]
    """This is everything besides the weights that it depends on, as JSON: numbers of another kind are not compared."""

    def __call__(self, variables: dict[str, Any]) -> float | None:
        """Return it; None where the samples are not finite."""


class Best:
    """The numbers of all archived checkpoints up to the step that a run goes on from, and the lowest of them."""

    def __init__(self, folder: Path, about: dict[str, Any], start: int):
        """Read those of an earlier part of the run; of steps beyond `start`, which it repeats, they are taken back.

        A damaged file, or numbers that were measured otherwise, are set aside with a warning.
        """
        self._file, self._about = folder / FILE, json.loads(json.dumps(about))
        self._found: dict[int, float] = {}
        self.kept: list[int] = []
        """The steps that must not be deleted, whatever else is."""
        if not self._file.exists():
            return
        try:
            saved = json.loads(self._file.read_text())
            found = {int(step): float(fid) for step, fid in saved["all"].items()}
            known, self.kept = saved["about"], [int(saved["step"])]
            why = "was measured otherwise than now"
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            found, known, why = {}, None, "is damaged"
        if known == self._about:
            self._found = {step: fid for step, fid in found.items() if step <= start}
            return
        set_aside(self._file)
        logging.warning("%s %s; it is set aside, and the lowest FID is looked for anew", self._file, why)

    @property
    def step(self) -> int | None:
        """The step of the lowest FID, the first of equal ones; None before there is any."""
        return min(sorted(self._found), key=self._found.__getitem__, default=None)

    def add(self, step: int, fid: float) -> bool:
        """Note the number of a step, and return whether it is the lowest so far."""
        self._found[step] = fid
        known = {"step": self.step, "fid": min(self._found.values()), "all": dict(sorted(self._found.items()))}
        write_text(self._file, json.dumps(known | {"about": self._about}, indent=2) + "\n")
        return self.step == step
