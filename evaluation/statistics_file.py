"""The arrays of a file of statistics, which are found to be of known shapes before any of them is read."""

import math
from pathlib import Path

import numpy as np

from evaluation import npz

POOL, SPATIAL = 2048, 2023  # the numbers of Inception's two feature sets that statistics are of
EXPECTED: dict[str, tuple[str, tuple[int | None, ...]]] = {
    "mu": ("f", (POOL,)),
    "sigma": ("f", (POOL, POOL)),
    "mu_s": ("f", (SPATIAL,)),
    "sigma_s": ("f", (SPATIAL, SPATIAL)),
    "features": ("f", (None, POOL)),
    "pool_3": ("f", (None, POOL)),
    "count": ("iu", ()),
    "about": ("U", ()),
}
"""The kind of each known array, in NumPy's letters, and its shape, where None is any number of images."""
KINDS = {"f": "floats", "iu": "an integer", "U": "text"}
LONGEST_TEXT = 2**20
DENSEST = 20
"""Features are floats without a pattern, which no packing makes this many times smaller."""
ROUNDING = 1e-3  # of a covariance, in its largest entry; in single precision it is below 1e-6


def contents(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of known names; others, such as the images in guided-diffusion's files, are left unread.

    Raises:
      ValueError: the file is no .npz, is damaged, has neither mu and sigma nor pool_3, or has an array of a known name
        that is of another kind or shape, or larger than the file can hold; one line, before an array is read.
      OSError: there is no such file.
    """
    found = npz.headers(path, "statistics")
    named = {name: header for name, header in found.items() if name in EXPECTED}
    if "pool_3" not in named or "mu" in named:
        missing = [name for name in ("mu", "sigma") if name not in named]
        if missing:
            raise ValueError(f"{path} holds no {' and no '.join(missing)}; it has {', '.join(found) or 'nothing'}")
    if ("mu_s" in named) != ("sigma_s" in named):
        raise ValueError(f"{path} holds one of mu_s and sigma_s; it needs both, or neither")
    for name, header in named.items():
        _check(path, name, header)
    arrays = npz.read(path, named, "statistics")
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{path} holds statistics that are not finite ({name})")
        if name.startswith("sigma"):
            _check_covariance(path, name, array)
    return arrays


def _check_covariance(path: str | Path, name: str, matrix: np.ndarray) -> None:
    rounding = ROUNDING * np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > rounding or np.diagonal(matrix).min() < -rounding:
        raise ValueError(f"{path} has {name}, which is no covariance: it is not symmetric, or a variance is negative")


def _check(path: str | Path, name: str, header: npz.Header) -> None:
    kinds, shape = EXPECTED[name]
    fits = len(header.shape) == len(shape) and all(n in (None, m) for n, m in zip(shape, header.shape, strict=True))
    if header.dtype.kind not in kinds or not fits:
        needed = f"({', '.join('n' if n is None else str(n) for n in shape)}{',' if len(shape) == 1 else ''})"
        raise ValueError(
            f"{path} has {name} of {header.dtype} and shape {header.shape}; {KINDS[kinds]} of shape {needed} are needed"
        )
    if header.dtype.kind == "U" and header.bytes > LONGEST_TEXT:
        raise ValueError(f"{path} has {name} of {header.bytes} bytes; it is at most {LONGEST_TEXT}")
    if None in shape and header.bytes > DENSEST * header.packed + 4 * math.prod(n or 1 for n in shape):
        raise ValueError(
            f"{path} has {name} of shape {header.shape}, {header.bytes / 2**20:.0f} MiB, packed into "
            f"{header.packed / 2**20:.1f} MiB; these are no features of images"
        )
