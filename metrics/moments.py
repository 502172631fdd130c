"""The mean and the covariance of a set of vectors in float64, of all at once or batch by batch."""

from typing import NamedTuple

import numpy as np


class Moments(NamedTuple):
    """The mean [d] and the unbiased covariance [d, d] of a set of vectors, in float64, and its size (0: not known)."""

    mean: np.ndarray
    covariance: np.ndarray
    count: int  # type: ignore[assignment]  # a tuple has a method of this name


def _finite(vectors: np.ndarray) -> np.ndarray:
    flat = np.asarray(vectors, np.float64).reshape(len(vectors), -1)
    if not np.isfinite(flat).all():
        broken = int((~np.isfinite(flat).all(axis=1)).sum())
        raise ValueError(f"{broken} of {len(flat)} examples are not finite")
    return flat


def moments(vectors: np.ndarray) -> Moments:
    """The moments of examples [n, ...], each of which is flattened.

    Raises:
      ValueError: there are fewer than two examples, or one is not finite.
    """
    accumulator = Accumulator()
    accumulator.update(vectors)
    return accumulator.moments()


class Accumulator:
    """The moments of batches that are seen once and never kept: count n, mean m, scatter S = sum (x - m)(x - m)^T.

    Two sets merge into n = n_a + n_b, m = m_a + (n_b / n) delta, S = S_a + S_b + (n_a n_b / n) delta delta^T with
    delta = m_b - m_a (Chan, Golub and LeVeque 1983, eq. 2.1), which cancels no large numbers: a sum of squares less a
    square of sums would lose the variance of a mean far from 0. The memory is d^2, whatever the number of examples.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = np.zeros(0)
        self.scatter = np.zeros((0, 0))

    def update(self, vectors: np.ndarray) -> None:
        """Add a batch [b, ...], whose examples are flattened; an empty one adds nothing.

        Raises:
          ValueError: an example is not finite, or of another size than those before.
        """
        if len(vectors):
            flat = _finite(vectors)
            mean = flat.mean(axis=0)
            flat = flat - mean
            self._add(len(flat), mean, flat.T @ flat)

    def merge(self, other: "Accumulator") -> None:
        """Add what another accumulator has seen, of another process or of an earlier round."""
        if other.count:
            self._add(other.count, other.mean, other.scatter)

    def _add(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        if not self.count:
            self.count, self.mean, self.scatter = count, mean.copy(), scatter.copy()
            return
        if mean.shape != self.mean.shape:
            raise ValueError(f"examples of {mean.size} numbers after examples of {self.mean.size}")
        total = self.count + count
        delta = mean - self.mean
        self.mean = self.mean + delta * (count / total)
        self.scatter += scatter
        self.scatter += np.outer(delta * (self.count * count / total), delta)
        self.count = total

    def moments(self) -> Moments:
        """The moments of all examples that were seen.

        Raises:
          ValueError: they are fewer than two.
        """
        if self.count < 2:
            raise ValueError(f"moments of {self.count} examples; at least 2 are needed")
        return Moments(self.mean.copy(), self.scatter / (self.count - 1), self.count)
