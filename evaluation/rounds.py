"""Numbered rounds of an evaluation on disk: a killed one continues where it stopped, several processes share the work.

Round i of n holds examples i * size to (i + 1) * size. Process p of P computes the rounds i with i mod P = p, whatever
P is, so that neither a kill nor the number of processes changes a number. All processes see the same folder.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from evaluation import npz
from experiment.processes import barrier, is_leader
from experiment.workdir import set_aside, write_text
from experiment.writing import replacing


class Rounds:
    """The rounds in one folder, of `total` examples, `size` a round.

    `about` is JSON that says what the arrays depend on. Rounds of the same are used again, also for another total; a
    folder whose about.json says something else is set aside under a number.
    """

    def __init__(self, folder: Path, about: dict[str, Any], total: int, size: int):
        self.folder, self.total, self.size = folder, total, size
        about = json.loads(json.dumps({**about, "round_size": size}))
        file = folder / "about.json"
        if is_leader():
            if folder.exists() and _read(file) != about:
                set_aside(folder)
            folder.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                write_text(file, json.dumps(about, indent=2) + "\n")
        barrier(f"rounds {folder}")

    def __len__(self) -> int:
        return -(-self.total // self.size)

    def share(self) -> range:
        """The rounds of this process."""
        return range(jax.process_index(), len(self), jax.process_count())

    def missing(self) -> list[int]:
        """Those of its share that are still to be computed: not there, or not readable."""
        return [i for i in self.share() if not self._sound(i)]

    def progress(self, missing: list[int], description: str) -> tqdm:
        """A bar over the examples of this process's share; process 0 alone shows it."""
        total, left = (sum(map(self.real, rounds)) for rounds in (self.share(), missing))
        options = {"unit": "image", "desc": description, "dynamic_ncols": True, "disable": not is_leader()}
        return tqdm(total=total, initial=total - left, **options)

    def write(self, i: int, **arrays: np.ndarray) -> None:
        """Save a round whole or not at all; every array has `size` rows or as many as the last round has examples."""
        with replacing(self._path(i)) as file:
            np.savez(file, **arrays)

    def real(self, i: int) -> int:
        """How many examples of round i count."""
        return min(self.size, self.total - i * self.size)

    def read(self, i: int) -> dict[str, np.ndarray]:
        """The arrays of a round, without the surplus of the last one."""
        path = self._path(i)
        return {name: array[: self.real(i)] for name, array in npz.read(path, npz.headers(path)).items()}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Every round in order, of all processes."""
        return map(self.read, range(len(self)))

    def column(self, name: str) -> np.ndarray:
        """One array of all rounds."""
        return np.concatenate([self._column(i, name) for i in range(len(self))])

    def first(self, name: str, count: int) -> np.ndarray:
        """The first rows of one array."""
        needed = range(min(len(self), -(-count // self.size)))
        return np.concatenate([self._column(i, name) for i in needed])[:count]

    def _column(self, i: int, name: str) -> np.ndarray:
        return npz.read(self._path(i), [name])[name][: self.real(i)]

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


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return None
