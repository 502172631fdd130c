"""Files of one kind below a folder, those to train on and those to test on; pictures have `data.listing`."""

import hashlib
import os
from collections.abc import Collection
from pathlib import Path

NOWHERE = os.devnull
"""The folder of a data set whose files are not asked for: it has none."""


def split(kind: str, path: str, suffixes: Collection[str], test_fraction: float) -> tuple[list[Path], list[Path]]:
    """The files with these endings below `path`, in the order of their names, and of them those to test on.

    Hidden files are left out, and NOWHERE has none. A file is in the test set where its relative path hashes below
    `test_fraction`, so that adding files moves none from one set to the other.

    Raises:
      ValueError: there is no such folder, no such file in it, or one of the two sets would be empty.
    """
    if path == NOWHERE:
        return [], []
    if not str(path).strip():
        raise ValueError(
            f"{kind}: data.path is {str(path)!r}; give the folder of the files, as --config.data.path=FOLDER"
        )
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"{kind}: {path} is not a folder")
    found = []
    for folder, folders, names in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
    named = {file.relative_to(root).as_posix(): file for file in found if file.suffix.lower() in suffixes}
    if not named:
        raise ValueError(f"{kind}: there is no file below {path} whose name ends in {', '.join(sorted(suffixes))}")
    held_out = {name for name in named if share_of(name) < test_fraction}
    train, test = (
        [named[name] for name in sorted(named) if (name in held_out) == of_test] for of_test in (False, True)
    )
    if not train or (test_fraction > 0 and not test):
        raise ValueError(
            f"{kind}: test_fraction={test_fraction} splits the {len(named)} file(s) of {path} into {len(train)} to "
            f"train on and {len(test)} to test; change it (0: no test set)"
        )
    return train, test


def share_of(name: str) -> float:
    """A number in [0, 1) that depends on `name` alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48
