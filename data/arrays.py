"""Folders of NumPy files, one example each: volumes of grey levels, and sets of points."""

from pathlib import Path

import numpy as np

from data import files
from data.fingerprint import of_facts, of_files
from data.source import Example, Source, Unreadable


def volumes(*, path: str, depth: int, height: int, width: int, channels: int = 1, test_fraction: float = 0.1) -> Source:
    """Volumes uint8 [depth, height, width, channels] of the .npy files below `path`, of 256 levels.

    Of one channel that axis may be missing in a file.

    Raises:
      ValueError: a file of another shape or type, or that is no array; it is named.
    """
    shape, named = (depth, height, width, channels), "data.depth, data.height, data.width and data.channels"
    train, test = (
        Files("volumes", found, shape, np.dtype(np.uint8), named)
        for found in files.split("volumes", path, (".npy",), test_fraction)
    )
    return Source("volumes", train, test, shape, 256, modality="volume", rate=8.0)


def point_sets(*, path: str, points: int, coordinates: int = 2, test_fraction: float = 0.1) -> Source:
    """Sets of points float32 [points, coordinates] of the .npy files below `path`, floats of any precision.

    They are modelled as they are; a variance of the coordinates near one suits most noise processes.

    Raises:
      ValueError: a file with another number of points, other coordinates or another type, or that is no array; it is
        named.
    """
    shape, named = (points, coordinates), "data.points and data.coordinates"
    train, test = (
        Files("point_sets", found, shape, np.dtype(np.float32), named)
        for found in files.split("point_sets", path, (".npy",), test_fraction)
    )
    return Source("point_sets", train, test, shape, None, modality="point_set")


class Files:
    """Records of .npy files, one example of that shape each, read when they are asked for.

    `kind` is the name of the data set, and `named` the fields that say the shape, for messages.
    """

    def __init__(self, kind: str, found: list[Path], shape: tuple[int, ...], dtype: np.dtype, named: str):
        self.kind, self.files, self.shape, self.dtype, self.named = kind, found, shape, dtype, named
        for file in found:
            self._array(file)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example:
        try:
            return {"image": np.array(self._array(self.files[index]), self.dtype).reshape(self.shape)}
        except ValueError as error:
            raise Unreadable(str(error)) from error

    def fingerprint(self) -> str:
        """It is that of the files' content in their order, and of the shape they are read to."""
        return of_facts([self.kind, self.shape, of_files(self.files, "the arrays")])

    def _array(self, file: Path) -> np.ndarray:
        """The array of a file, mapped into memory."""
        try:
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # NumPy raises nearly anything at damaged files
            raise ValueError(f"{self.kind}: {file} cannot be read as an array: {error}") from error
        allowed = {self.shape, self.shape[:-1]} if self.shape[-1] == 1 else {self.shape}
        if array.shape not in allowed:
            raise ValueError(
                f"{self.kind}: {file} holds {array.shape}, and {self.named} ask for {self.shape}; leave it out, or "
                "change these"
            )
        if not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise ValueError(f"{self.kind}: {file} holds {array.dtype}; needed is {self.dtype}")
        return array
