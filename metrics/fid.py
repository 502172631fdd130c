"""The Frechet distance between two sets of vectors, as if each were Gaussian.

Over the pool features of `metrics.inception` it is the FID (Heusel et al. 2017), over the spatial ones the sFID (Nash
et al. 2021), and over pixels it is neither.
"""

import numpy as np

from metrics.moments import Moments


def frechet_distance(a: Moments, b: Moments) -> float:
    """|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2) (Dowson and Landau 1982; Heusel et al. 2017).

    With C = R R^T the last trace is the sum of the singular values of R_a^T R_b, so that no root is ever taken of
    the rounding errors of a product; R holds only the eigenvectors that are not null, as of a set of n < d vectors
    most are. The distance is biased upwards in small sets, so it should be compared at equal sizes, and beside the
    distance between two real sets. It is computed in float64, and takes 6 s for d = 2048 on two cores.

    Raises:
      ValueError: the two sets have vectors of different sizes.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"moments of vectors of {a.mean.size} and of {b.mean.size} numbers cannot be compared")
    cross = np.linalg.svd(_factor(a).T @ _factor(b), compute_uv=False).sum()
    trace = np.trace(a.covariance) + np.trace(b.covariance)
    return float(np.sum((a.mean - b.mean) ** 2) + trace - 2.0 * cross)


def _factor(of: Moments) -> np.ndarray:
    """The R [d, rank] whose R R^T is the covariance."""
    values, vectors = np.linalg.eigh(of.covariance)
    floor = max(values[-1], 0.0) * len(values) * np.finfo(np.float64).eps  # as numpy.linalg.matrix_rank
    kept = values > floor
    return vectors[:, kept] * np.sqrt(values[kept])
