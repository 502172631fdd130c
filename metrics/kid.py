"""KID: the squared maximum mean discrepancy under a cubic kernel (Binkowski et al. 2018); unbiased in small sets."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

Features = Float[np.ndarray, "n d"]
Rows = Int[np.ndarray, "subsets size"]
BLOCK = 2048  # a block of the kernel is BLOCK x BLOCK, however large the sets
ESTIMATORS = ("unbiased", "biased", "u_statistic")


def _sums(x: Features, y: Features) -> tuple[float, float]:
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


def squared_mmd(x: Features, y: Features, estimator: str = "unbiased") -> float:
    """MMD^2 of two sets of features under k(x, y) = (x.y / d + 1)^3 (Binkowski et al. 2018, eq. 4), in float64.

    For equal distributions it is 0 on average and at times negative. Its cost is (n + m)^2 d. The estimator "unbiased"
    takes means over i != j within the sets and over all pairs across; "biased" takes all pairs everywhere, and is never
    negative; "u_statistic" leaves the pairs i = j out across as well (Gretton et al. 2012, Lemma 6 and eq. 4).

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
    samples: Features,
    real: Features,
    *,
    subsets: int = 100,
    size: int = 1000,
    seed: int = 0,
    indices: tuple[Rows, Rows] | None = None,
) -> dict[str, Any]:
    """The mean and the population deviation of the unbiased MMD^2 over subsets, as KID is published.

    Each subset is drawn without replacement within itself, and is smaller than `size` where a set is; `indices` are
    the rows of samples and of real in each, instead of a draw. The dict has mean, std, each (the values of all
    subsets), subsets and size.
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
