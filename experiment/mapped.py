"""Arrays that are computed once, kept in a folder and mapped into memory; a folder is there whole or not at all.

They are used again only where all that they depend on is the same, which lies beside them as JSON.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from experiment.processes import agreed, barrier, is_leader
from experiment.workdir import write_text

ABOUT = "about.json"

Batches = Iterable[tuple[int, dict[str, np.ndarray]]]
"""The place of the first row of each batch of all processes, and the batch, arrays [b, ...] by name."""


def arrays(folder: Path, about: dict[str, Any], total: int, compute: Callable[[], Batches]) -> dict[str, np.ndarray]:
    """Return the arrays of the folder by name, `total` rows each; they are computed where it holds none of `about`.

    All processes compute, each the same batches, and process 0 writes; what a last batch has beyond `total` is left
    out. A kill leaves nothing that would be used.

    Args:
      folder: where they lie; other arrays in it are replaced.
      about: all that they depend on, as JSON.
      total: the number of rows.
      compute: begins the batches.
    """
    if not agreed(_known(folder) == about):
        _write(folder, about, total, compute())
        barrier(f"arrays of {folder.name}")
    return {file.stem: np.load(file, mmap_mode="r") for file in sorted(folder.glob("*.npy"))}


def batches(total: int, size: int, what: str, compute: Callable[[int], dict[str, np.ndarray]]) -> Batches:
    """Yield the rows 0 to `total`, and beyond in the last batch, of which each process computes `size` at once.

    `compute` makes the arrays of this process's own rows from the one that it is given on; `what` they are is said
    beside the progress bar.
    """
    processes, process = jax.process_count(), jax.process_index()
    for first in tqdm(range(0, total, processes * size), desc=what, unit="batch", disable=not is_leader()):
        batch = compute(first + process * size)
        yield first, multihost_utils.process_allgather(batch, tiled=True) if processes > 1 else batch


def _known(folder: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        return json.loads((folder / ABOUT).read_text())
    return None


def _write(folder: Path, about: dict[str, Any], total: int, batches: Batches) -> None:
    """Write the batches into a folder beside, which takes the name in the end."""
    unfinished = folder.with_name(f".{folder.name}")
    files: dict[str, np.memmap] = {}
    if is_leader():
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
    for first, batch in batches:
        if is_leader():
            for name, array in batch.items():
                if name not in files:
                    shape, path = (total, *array.shape[1:]), unfinished / f"{name}.npy"
                    files[name] = np.lib.format.open_memmap(path, "w+", array.dtype, shape)
                files[name][first : first + len(array)] = array[: total - first]
    if is_leader():
        for file in files.values():
            file.flush()
        write_text(unfinished / ABOUT, json.dumps(about, indent=2, sort_keys=True) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
