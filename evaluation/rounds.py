"""Numbered rounds of an evaluation on disk: a killed one continues where it stopped, and processes share the work.

Round i of n holds examples i * size to (i + 1) * size. Process p of P computes the rounds i with i mod P = p, whatever
P is, so that neither a kill nor the number of processes changes a number. All processes see the same folder.
`Rounds.fill` is the one loop in which everything that an evaluation keeps is computed.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from evaluation import npz
from experiment.placing import one_ahead
from experiment.processes import barrier, is_leader
from experiment.workdir import set_aside, write_text
from experiment.writing import replacing

Begun = TypeVar("Begun")


class Rounds:
    """The rounds in one folder, of `total` examples, of which each round has `size`.

    `about` is JSON that says what the arrays depend on. Rounds of the same are used again, also for another total; a
    folder whose about.json says something else is set aside under a number.
    """

    def __init__(self, folder: Path, about: dict[str, Any], total: int, size: int):
        self.folder, self.total, self.size = folder, total, size
        file, text = folder / "about.json", json.dumps({**about, "round_size": size}, indent=2) + "\n"
        if is_leader():
            known = None
            with suppress(OSError, ValueError, RecursionError):
                known = json.loads(file.read_text())
            if folder.exists() and known != json.loads(text):
                set_aside(folder)
            folder.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                write_text(file, text)
        barrier(f"rounds {folder}")

    def __len__(self) -> int:
        return -(-self.total // self.size)

    def share(self) -> range:
        """The numbers of the rounds of this process."""
        return range(jax.process_index(), len(self), jax.process_count())

    def missing(self) -> list[int]:
        """The rounds of its share that are still to be computed: they are not there, or are not readable."""
        return [i for i in self.share() if not self._sound(i)]

    def fill(
        self,
        what: str,
        begin: Callable[[int], Begun],
        finish: Callable[[Begun, range], dict[str, np.ndarray]],
    ) -> Self:
        """Compute the rounds that are missing, and return when every process has done its share.

        Args:
          what: names the numbers in the progress bar, which process 0 shows of the examples of its share.
          begin: dispatches round i to the devices. It need not wait for them, because the next round begins before this
            one is finished, which hides the fetching, the checks and the writing (`experiment.placing.one_ahead`).
          finish: fetches what was begun, and returns the arrays [n, ...] of those n examples. It raises a `Failure`
            where they are not sound, and then nothing of the round is written.
        """
        missing = self.missing()
        total, left = (sum(map(self.real, rounds)) for rounds in (self.share(), missing))
        options: dict[str, Any] = {"unit": "image", "dynamic_ncols": True, "disable": not is_leader()}
        with tqdm(total=total, initial=total - left, desc=what, **options) as progress:
            for i, begun in one_ahead(begin, missing):
                self.write(i, **finish(begun, self.examples(i)))
                progress.update(self.real(i))
        barrier(f"{what} in {self.folder}")
        return self

    def write(self, i: int, **arrays: Any) -> None:
        """Save a round whole or not at all; every array has `size` rows or as many as the last round has examples."""
        with replacing(self._path(i)) as file:
            np.savez(file, **arrays)

    def real(self, i: int) -> int:
        """How many examples of round i count."""
        return len(self.examples(i))

    def examples(self, i: int) -> range:
        """The places of round i's examples among all; the last round may have fewer than `size`."""
        return range(i * self.size, min((i + 1) * self.size, self.total))

    def read(self, i: int) -> dict[str, np.ndarray]:
        """The arrays of a round, without the surplus of the last one."""
        path = self._path(i)
        return {name: array[: self.real(i)] for name, array in npz.read(path, npz.headers(path)).items()}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """The arrays of every round in order, of all processes."""
        return map(self.read, range(len(self)))

    def column(self, name: str, count: int | None = None) -> np.ndarray:
        """The array [total, ...] of that name, of all rounds, or the first `count` rows of it."""
        needed = range(len(self) if count is None else min(len(self), -(-count // self.size)))
        parts = [npz.read(self._path(i), [name])[name][: self.real(i)] for i in needed]
        return np.concatenate(parts)[:count]

    def _path(self, i: int) -> Path:
        return self.folder / f"round_{i:05d}.npz"

    def _sound(self, i: int) -> bool:
        path = self._path(i)
        if not path.exists():
            return False
        try:
            found = npz.headers(path)
            if any(header.bytes > header.packed for header in found.values()):
                raise ValueError("it claims more numbers than it holds")  # rounds are written as they are, unpacked
            if any(header.shape[:1] < (self.real(i),) for header in found.values()):
                return False  # a shorter last round of an evaluation of fewer examples is computed again
            return bool(npz.read(path, found))
        except (ValueError, OSError) as error:
            logging.warning("%s is damaged and computed again: %s", path, error)
            return False
