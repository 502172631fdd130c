"""A folder of image files."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from data.fingerprint import of_facts, of_files
from data.images import check_image, load_image
from data.source import Example, Source, Unreadable

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def folder(
    *,
    path: str,
    image_size: int,
    test_path: str | None = None,
    test_fraction: float = 0.1,
    num_channels: int = 3,
    verify: bool = True,
    classes: bool = False,
) -> Source:
    """The images below `path`, cropped to the central square and resized to `image_size`.

    With `classes` the folders right below `path` are classes, numbered in the order of their names.

    The test set is `test_path`, or else those files whose relative path hashes below `test_fraction`, so that
    adding files moves none from one set to the other. Every file is checked here (unless `verify` is off) and
    again when it is read: a damaged one, a missing folder or an empty set is a ValueError that names it.
    """
    if num_channels not in (1, 3):
        raise ValueError(f"folder: num_channels must be 1 (grey) or 3 (RGB), got {num_channels}")
    train, test = _files(Path(path)), []
    if test_path:
        test = _files(Path(test_path))
    elif test_fraction > 0:
        held_out = {file for file in train if _hash(file.relative_to(path).as_posix()) < test_fraction}
        train, test = [f for f in train if f not in held_out], [f for f in train if f in held_out]
        if not train or not test:
            raise ValueError(
                f"folder: test_fraction={test_fraction} splits the images of {path} into {len(train)} to "
                f"train on and {len(test)} to test; change it, or give test_path (0: no test set)"
            )
    if verify:
        with ThreadPoolExecutor() as pool:
            damaged = [line for line in pool.map(partial(_damage, channels=num_channels), train + test) if line]
        if damaged:
            raise ValueError(f"folder: {len(damaged)} image file(s) cannot be read, the first {damaged[0]}")
    shape = (image_size, image_size, num_channels)
    if not classes:
        return Source("folder", Files(train, shape), Files(test, shape), shape=shape, levels=256)
    names = sorted({_class(file, path) for file in train})
    sets = [_labels(train, path, names), _labels(test, test_path or path, names)]
    records = [Files(files, shape, labels) for files, labels in zip((train, test), sets, strict=True)]
    return Source("folder", *records, shape=shape, levels=256, num_classes=len(names))


class Files:
    """Records of image files, decoded when asked for; with their `labels` where they have classes."""

    def __init__(self, files: list[Path], shape: tuple[int, int, int], labels: list[int] | None = None):
        self.files, self.shape, self.labels = files, shape, labels

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example:
        try:
            image = load_image(self.files[index], channels=self.shape[2], size=self.shape[0])
        except ValueError as error:
            raise Unreadable(f"cannot read the image {self.files[index]}: {error}") from error
        return {"image": image} if self.labels is None else {"image": image, "label": np.int32(self.labels[index])}

    def fingerprint(self) -> str:
        """That of the files' content in their order, of their labels and of the shape they are read to."""
        return of_facts(["folder", self.shape, self.labels, of_files(self.files, "the image files")])


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        raise ValueError(f"folder: {path} is not a folder")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise ValueError(f"folder: no image file ({', '.join(sorted(SUFFIXES))}) below {path}")
    return files


def _class(file: Path, path: str | Path) -> str:
    parts = file.relative_to(path).parts
    if len(parts) < 2:
        raise ValueError(f"folder: {file} lies in no class; put each image into a folder of its class below {path}")
    return parts[0]


def _labels(files: list[Path], path: str | Path, names: list[str]) -> list[int]:
    found = [_class(file, path) for file in files]
    unknown = sorted(set(found) - set(names))
    if unknown:
        raise ValueError(f"folder: class {unknown[0]!r} is in the test set alone; known are {', '.join(names)}")
    return [names.index(name) for name in found]


def _hash(name: str) -> float:
    """A number in [0, 1) that depends on `name` alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48


def _damage(file: Path, channels: int) -> str | None:
    try:
        return check_image(file, channels=channels)
    except ValueError as error:
        return f"{file} ({error})"
