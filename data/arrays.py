"""Folders of NumPy files, one example each: volumes of grey levels, and sets of points."""

from pathlib import Path
from typing import ClassVar

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


def point_sets(
    *, path: str, points: int, coordinates: int = 2, varying: bool = False, test_fraction: float = 0.1
) -> Source:
    """Sets of points float32 [points, coordinates] of the .npy files below `path`, floats of any precision.

    They are modelled as they are; a variance of the coordinates near one suits most noise processes. With `varying` a
    file may hold fewer points, at least one: behind them the coordinates are NaN, and the field "present" bool [points]
    of the record says which points there are.

    Raises:
      ValueError: a file with another number of points, other coordinates or another type, or that is no array; it is
        named.
    """
    shape, named = (points, coordinates), "data.points and data.coordinates"
    kind = VaryingSets if varying else Sets
    train, test = (
        kind("point_sets", found, shape, np.dtype(np.float32), named)
        for found in files.split("point_sets", path, (".npy",), test_fraction)
    )
    return Source("point_sets", train, test, shape, None, modality="point_set", padded=varying)


class Files:
    """Records of .npy files, one example of that shape each, read when they are asked for.

    `kind` is the name of the data set, and `named` the fields that say the shape, for messages; `mend` says what else
    may be done about a file of another shape.
    """

    mend: ClassVar[str] = ""

    def __init__(self, kind: str, found: list[Path], shape: tuple[int, ...], dtype: np.dtype, named: str):
        self.kind, self.files, self.shape, self.dtype, self.named = kind, found, shape, dtype, named
        for file in found:
            self._array(file)

    @property
    def asked(self) -> str:
        """The shapes that a file may have, in words."""
        return f"{self.shape}"

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example:
        return {"image": self._read(index)}

    def fingerprint(self) -> str:
        """It is that of the files' content in their order, and of the shape they are read to."""
        return of_facts([self.kind, self.shape, of_files(self.files, "the arrays")])

    def _read(self, index: int) -> np.ndarray:
        """The array of a file in the type of the records, with all of their axes; Unreadable where it is damaged."""
        try:
            return np.array(self._array(self.files[index]), self.dtype).reshape(-1, *self.shape[1:])
        except ValueError as error:
            raise Unreadable(str(error)) from error

    def _fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a file may hold an array of this shape; an axis of one channel may be missing."""
        return shape == self.shape or (self.shape[-1] == 1 and shape == self.shape[:-1])

    def _array(self, file: Path) -> np.ndarray:
        """The array of a file, mapped into memory."""
        try:
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # NumPy raises nearly anything at damaged files
            raise ValueError(f"{self.kind}: {file} cannot be read as an array: {error}") from error
        if not self._fits(array.shape):
            raise ValueError(
                f"{self.kind}: {file} holds {array.shape}, and {self.named} ask for {self.asked}; leave it out, or "
                f"change these{self.mend}"
            )
        if not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise ValueError(f"{self.kind}: {file} holds {array.dtype}; needed is {self.dtype}")
        return array


class Sets(Files):
    """Records of sets of as many points each."""

    mend = ", or set data.varying to True, which takes sets of fewer points"


class VaryingSets(Files):
    """Records of sets that may have fewer points than there are places for: "present" says which there are."""

    def __getitem__(self, index: int) -> Example:
        found = self._read(index)
        image = np.full(self.shape, np.nan, self.dtype)
        image[: len(found)] = found
        return {"image": image, "present": np.arange(len(image)) < len(found)}

    @property
    def asked(self) -> str:
        """From one point to all."""
        return f"1 to {self.shape[0]} points of {self.shape[1]} coordinates"

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return bool(shape) and 1 <= shape[0] <= self.shape[0] and super()._fits((self.shape[0], *shape[1:]))
