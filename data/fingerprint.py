"""Fingerprints: what tells one set of examples, or one file, from another that may have the same name and size.

A number that was computed from data belongs to this content alone. So the content is hashed (SHA-256), not names,
sizes or times: a data set that was copied elsewhere keeps its fingerprint, and one changed pixel gives another.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from os import PathLike
from typing import IO, Any, Protocol, runtime_checkable

import numpy as np
from tqdm import tqdm

from data.source import Records, Unreadable, take

SECONDS_UNSEEN = 5.0  # a hash that takes longer shows how far it is
AT_ONCE = 1024  # files given to the threads, and examples taken, at a time


@runtime_checkable
class Openable(Protocol):
    """A file on a disk (a Path) or within another file."""

    def open(self, mode: str) -> IO[bytes]:
        """The file, to be read; OSError where that cannot be."""


def of_records(records: Records) -> str:
    """The fingerprint of a set of examples: of all their names, kinds, shapes and numbers, in their order.

    Records that have a `fingerprint()` of their own, cheaper and as exact, are asked for it. It is computed once for
    each object and kept with it, so that later changes of files are not seen by this process.

    Raises:
      Unreadable: a file of the set cannot be read, or an example not decoded.
    """
    known = getattr(records, "_fingerprint", None)
    if known is None:
        own = getattr(records, "fingerprint", None)
        known = own() if own else of_examples(records)
        with suppress(AttributeError):  # a plain list takes no attributes
            records._fingerprint = known  # type: ignore[attr-defined]
    return known


def of_file(path: str | PathLike | Openable) -> str:
    """The SHA-256 of a file's content, in hexadecimal; OSError where it cannot be read."""
    with path.open("rb") if isinstance(path, Openable) else open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def of_files(paths: Sequence[str | PathLike | Openable], what: str) -> list[str]:
    """The SHA-256 of each file, computed by several threads; `what` the files are is said beside the progress bar."""

    def digests() -> Iterator[str]:
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(paths), AT_ONCE):
                yield from pool.map(_of_named, paths[start : start + AT_ONCE])

    return list(_shown(digests(), total=len(paths), unit="file", what=what))


def _of_named(path: str | PathLike | Openable) -> str:
    try:
        return of_file(path)
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror or error}") from error


def of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """The fingerprint of named arrays: their names, kinds, shapes and bytes."""
    facts = {}
    for name, array in arrays.items():
        data = np.ascontiguousarray(array)
        facts[name] = (data.dtype.str, data.shape, hashlib.sha256(data).hexdigest())  # type: ignore[arg-type]
    return of_facts(facts)


def of_examples(records: Records) -> str:
    """The fingerprint of any records: every example is read."""
    starts = range(0, len(records), AT_ONCE)
    parts = (of_arrays(take(records, np.arange(start, min(start + AT_ONCE, len(records))))) for start in starts)
    return of_facts(list(_shown(parts, total=len(starts), unit="part", what="the examples")))


def of_facts(facts: Any) -> str:
    """The SHA-256 of what JSON can write down, the same in whatever order a dict was filled."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _shown(digests: Iterator[str], *, total: int, unit: str, what: str) -> Iterator[str]:
    return tqdm(digests, total=total, unit=unit, desc=f"reading {what}", delay=SECONDS_UNSEEN, dynamic_ncols=True)
