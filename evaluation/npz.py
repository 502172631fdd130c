"""Arrays of .npz files whose headers are looked at before any number is read.

A header says how large an array becomes, and a few kilobytes may say a terabyte. So whoever reads a file that others
have made first asks for the `headers`, refuses what is not of the shape that it expects, and only then reads the rest:
whole, or a few rows at a time, so that an array larger than the memory can be looked through.
"""

import math
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Header(NamedTuple):
    """What an array will be.

    Attributes:
      shape: its lengths.
      columns: whether its first axis is the fastest.
      dtype: the kind of its numbers; objects cannot be read.
      packed: how many bytes of the file it is made of, which no packing of random numbers makes much fewer.
    """

    shape: tuple[int, ...]
    columns: bool
    dtype: np.dtype
    packed: int

    @property
    def bytes(self) -> int:
        """Its size in memory, in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@contextmanager
def _opened(path: str | Path, what: str) -> Iterator[zipfile.ZipFile]:
    """The file as an archive; whatever is wrong within becomes a ValueError of one line that names it."""
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive
        except Exception as error:  # damage comes as any error of zipfile, zlib, struct or NumPy
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"{path} is not an .npz of {what}: {said}") from None


def headers(path: str | Path, what: str = "arrays") -> dict[str, Header]:
    """The headers of all arrays of an .npz by name; no number is read. The messages call them `what` they should be.

    Raises:
      ValueError: the file is no .npz, or is damaged; one line that names it.
      OSError: there is no such file, or it cannot be opened.
    """
    size = Path(path).stat().st_size  # no part is larger, whatever it says
    found = {}
    with _opened(path, what) as archive:
        for info in archive.infolist():
            with archive.open(info) as stream:
                header = Header(*_header(stream), min(info.compress_size, size))
            found[info.filename.removesuffix(".npy")] = header
    return found


def read(path: str | Path, names: Iterable[str], what: str = "arrays") -> dict[str, np.ndarray]:
    """The arrays of these names, each as large as its header says and no larger; it raises what `headers` does."""
    found = {}
    with _opened(path, what) as archive:
        for name in names:
            with archive.open(f"{name}.npy") as stream:
                found[name] = np.lib.format.read_array(stream, allow_pickle=False)
                stream.read(1)  # the end of it, where zipfile compares the checksum
    return found


def rows(path: Path, name: str, count: int, what: str = "arrays") -> Iterator[np.ndarray]:
    """The array [n, ...] in order, `count` rows at a time, the last ones fewer; it must not be one of `columns`.

    It raises what `headers` does, also where the array is shorter than it says.
    """
    with _opened(path, what) as archive, archive.open(f"{name}.npy") as stream:
        shape, _, dtype = _header(stream)
        size = math.prod(shape[1:]) * dtype.itemsize
        for first in range(0, shape[0], count):
            here = min(count, shape[0] - first)
            content = stream.read(here * size)
            if len(content) < here * size:
                raise ValueError(f"{name} ends after {first} of {shape[0]} rows and a part")
            yield np.frombuffer(content, dtype).reshape(here, *shape[1:])
        stream.read(1)  # the end of it, where zipfile compares the checksum


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version not in READERS:
        raise ValueError(f"an array of an unknown version {version}")
    shape, columns, dtype = READERS[version](stream)
    if any(length < 0 for length in shape):
        raise ValueError(f"an array of shape {shape}")
    return shape, columns, dtype
