"""Improved precision and recall (Kynkaanniemi et al. 2019): the share of one set on the manifold of the other."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

BLOCK = 2048  # a block of distances is BLOCK x BLOCK, however large the sets


class PrecisionRecall(NamedTuple):
    """The share of the samples that lie among the real images, and of the real images that lie among the samples."""

    precision: float
    recall: float


def _blocks(n: int) -> Iterator[slice]:
    return (slice(i, min(i + BLOCK, n)) for i in range(0, n, BLOCK))


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The squared distances [n, m] in float64, by |x|^2 + |y|^2 - 2 x.y; between equal points they are exactly 0."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    scale = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1)[None]
    squared = scale - 2.0 * (x @ y.T)
    squared[squared < 1e-13 * scale] = 0.0
    return squared


def squared_radii(features: np.ndarray, k: int = 3) -> np.ndarray:
    """The squared distance [n] of each feature to its k-th nearest neighbour in the set, itself not counted (eq. 1).

    Raises:
      ValueError: k does not lie between 1 and n - 1.
    """
    n = len(features)
    if not 1 <= k < n:
        raise ValueError(f"k is {k}; of {n} features it must be between 1 and {n - 1}")
    nearest = np.full((n, k), np.inf)
    for rows in _blocks(n):
        for columns in _blocks(n):
            if columns.start < rows.start:
                continue  # its transpose was there before
            squared = _distances(features[rows], features[columns])
            if rows == columns:
                np.fill_diagonal(squared, np.inf)
            else:
                nearest[columns] = _smallest(nearest[columns], squared.T)
            nearest[rows] = _smallest(nearest[rows], squared)
    return nearest.max(axis=1)


def _smallest(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The k smallest of each row of known [n, k] and new [n, m]."""
    k = known.shape[1]
    return np.partition(np.concatenate([known, new], axis=1), k - 1, axis=1)[:, :k]


def covered(
    x: np.ndarray, y: np.ndarray, squared_radii_x: np.ndarray, squared_radii_y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each x [n] lies in the ball, border included, of at least one y, and each y [m] in that of one x."""
    in_y, in_x = np.zeros(len(x), bool), np.zeros(len(y), bool)
    for rows in _blocks(len(x)):
        for columns in _blocks(len(y)):
            squared = _distances(x[rows], y[columns])
            in_y[rows] |= (squared <= squared_radii_y[columns]).any(axis=1)
            in_x[columns] |= (squared <= squared_radii_x[rows, None]).any(axis=0)
    return in_y, in_x


def precision_recall(samples: np.ndarray, real: np.ndarray, *, k: int = 3) -> PrecisionRecall:
    """Precision and recall of samples [n, d] against real features [m, d] (eq. 2).

    Published values have k = 3 and n = m = 50,000. Both depend on n and m, because a larger set has smaller balls. They
    take memory for a few BLOCK x BLOCK of float64, and the cost is (n + m)^2 d.

    Raises:
      ValueError: k does not lie between 1 and the smaller size less 1.
    """
    samples_in, real_in = covered(samples, real, squared_radii(samples, k), squared_radii(real, k))
    return PrecisionRecall(float(samples_in.mean()), float(real_in.mean()))
