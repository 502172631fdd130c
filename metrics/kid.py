"""KID: the squared maximum mean discrepancy under a cubic kernel (Binkowski et al. 2018); unbiased in small sets."""

from typing import Any

import numpy as np

BLOCK = 2048  # a block of the kernel is BLOCK x BLOCK, however large the sets
ESTIMATORS = ("unbiased", "biased", "u_statistic")


def _sums(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The sums of k(x_i, y_j) over all i and j, and over i = j."""
    total, diagonal = 0.0, 0.0
    for i in range(0, len(x), BLOCK):
        rows = np.asarray(x[i : i + BLOCK], np.float64)
        for j in range(0, len(y), BLOCK):
            kernel = (rows @ np.asarray(y[j : j + BLOCK], np.float64).T / x.shape[1] + 1.0) ** 3
            total += kernel.sum()
            if i == j:
                diagonal += np.trace(kernel)
    return float(total), float(diagonal)


def squared_mmd(x: np.ndarray, y: np.ndarray, estimator: str = "unbiased") -> float:
    """MMD^2 of two sets of features under k(x, y) = (x.y / d + 1)^3 (Binkowski et al. 2018, eq. 4).

    "unbiased" takes means over i != j within the sets and over all pairs across; "biased" takes all pairs everywhere,
    and is never negative; "u_statistic" leaves the pairs i = j out across as well (Gretton et al. 2012, Lemma 6 and
    eq. 4).

    Args:
      x: the features [n, d] of one set.
      y: the features [m, d] of the other.
      estimator: one of `ESTIMATORS`.

    Returns:
      MMD^2 in float64, which for equal distributions is 0 on average and at times negative. Its cost is (n + m)^2 d.

    Raises:
      ValueError: the estimator is unknown, there are fewer than 2 features, d differs, or n and m differ (u_statistic).
    """
    n, m = len(x), len(y)
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator {estimator!r} is not known; known are {', '.join(ESTIMATORS)}")
    if min(n, m) < 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"features [n, d] and [m, d] with n and m at least 2 are needed, got {x.shape} and {y.shape}")
    if estimator == "u_statistic" and n != m:
        raise ValueError(f"the u_statistic pairs the two sets; they hold {n} and {m} features")
    (xx, trace_x), (yy, trace_y), (xy, trace_xy) = _sums(x, x), _sums(y, y), _sums(x, y)
    if estimator == "biased":
        return xx / n**2 + yy / m**2 - 2 * xy / (n * m)
    within = (xx - trace_x) / (n * (n - 1)) + (yy - trace_y) / (m * (m - 1))
    across = xy / (n * m) if estimator == "unbiased" else (xy - trace_xy) / (n * (n - 1))
    return within - 2 * across


def kid(
    samples: np.ndarray,
    real: np.ndarray,
    *,
    subsets: int = 100,
    size: int = 1000,
    seed: int = 0,
    indices: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, Any]:
    """The mean and the population deviation of the unbiased MMD^2 over subsets, as KID is published.

    Args:
      samples: the features [n, d] of the samples.
      real: the features [m, d] of real images.
      subsets: how many subsets there are, each drawn without replacement within itself.
      size: the size of each subset, which is less where a set is smaller.
      seed: the seed of the draw.
      indices: the rows of each subset, [subsets, size] into samples and into real, instead of a draw.

    Returns:
      A dict of mean, std, each (the values of all subsets), subsets and size.
    """
    if indices is None:
        rng = np.random.default_rng(seed)
        size = min(size, len(samples), len(real))
        draws = [(rng.permutation(len(samples))[:size], rng.permutation(len(real))[:size]) for _ in range(subsets)]
    else:
        draws = list(zip(*indices, strict=True))
    each = [squared_mmd(samples[i], real[j]) for i, j in draws]
    return {
        "mean": float(np.mean(each)),
        "std": float(np.std(each)),
        "each": each,
        "subsets": len(each),
        "size": len(draws[0][0]),
    }
