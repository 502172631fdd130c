"""A folder of image files."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data.images import check_image, load_image
from data.source import Example, Source

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def folder(
    *,
    path: str,
    image_size: int,
    test_path: str | None = None,
    test_fraction: float = 0.1,
    num_channels: int = 3,
    verify: bool = True,
) -> Source:
    """The images below `path`, cropped to the central square and resized to `image_size`; no labels.

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
            damaged = [line for line in pool.map(_damage, train + test) if line]
        if damaged:
            raise ValueError(f"folder: {len(damaged)} damaged image file(s), the first {damaged[0]}")
    shape = (image_size, image_size, num_channels)
    return Source("folder", Files(train, shape), Files(test, shape), shape=shape, levels=256)


class Files:
    """Records of image files, decoded when asked for."""

    def __init__(self, files: list[Path], shape: tuple[int, int, int]):
        self.files, self.shape = files, shape

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example:
        try:
            return {"image": load_image(self.files[index], channels=self.shape[2], size=self.shape[0])}
        except ValueError as error:
            raise ValueError(f"cannot read the image {self.files[index]}: {error}") from error


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        raise ValueError(f"folder: {path} is not a folder")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise ValueError(f"folder: no image file ({', '.join(sorted(SUFFIXES))}) below {path}")
    return files


def _hash(name: str) -> float:
    """A number in [0, 1) that depends on `name` alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48


def _damage(file: Path) -> str | None:
    try:
        return check_image(file)
    except ValueError as error:
        return f"{file} ({error})"
