"""The Frechet distance between two sets of vectors, as if each were Gaussian; statistics in float64."""

from typing import NamedTuple

import numpy as np


class Moments(NamedTuple):
    """Mean [d] and unbiased covariance [d, d] of a set of vectors, float64, and its size."""

    mean: np.ndarray
    covariance: np.ndarray
    count: int


def moments(vectors: np.ndarray) -> Moments:
    """Moments of [n, ...], each example flattened.

    Raises:
      ValueError: fewer than two examples, or one that is not finite.
    """
    flat = np.asarray(vectors, np.float64).reshape(len(vectors), -1)
    if len(flat) < 2:
        raise ValueError(f"moments of {len(flat)} examples; at least 2 are needed")
    if not np.isfinite(flat).all():
        broken = int((~np.isfinite(flat).all(axis=1)).sum())
        raise ValueError(f"{broken} of {len(flat)} examples are not finite")
    return Moments(flat.mean(axis=0), np.atleast_2d(np.cov(flat, rowvar=False)), len(flat))


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def frechet_distance(a: Moments, b: Moments) -> float:
    """|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2) (Dowson and Landau 1982; Heusel et al. 2017).

    The symmetric form needs eigenvalues of symmetric matrices only, so that singular covariances (constant pixels,
    fewer examples than dimensions) do no harm. Biased upwards in small sets: compare at equal sizes, beside the
    distance between two real sets.
    """
    root = _root(a.covariance)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b.covariance @ root), 0.0)).sum()
    trace = np.trace(a.covariance) + np.trace(b.covariance)
    return float(np.sum((a.mean - b.mean) ** 2) + trace - 2.0 * cross)
