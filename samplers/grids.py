"""Time grids: falling sequences of n + 1 times for n steps, from 1 to t_min (float64 numpy: data, not code)."""

from collections.abc import Callable

import numpy as np


def uniform(n: int, t_min: float) -> np.ndarray:
    """Equal steps in t."""
    return np.linspace(1.0, t_min, n + 1)


def quadratic(n: int, t_min: float) -> np.ndarray:
    """Equal steps in sqrt(t): finer towards data (Song et al. 2021, arXiv:2010.02502, App. D.2)."""
    return np.linspace(1.0, t_min**0.5, n + 1) ** 2


def published(n: int, t_min: float) -> np.ndarray:
    """linspace(1, t_min, n), then 0: the score-SDE code's n times, its last step taken from t_min to data.

    With n = 1000 and t_min = 1e-3 these are n equal steps. Only for steppers that never evaluate at the step's end.
    """
    return np.append(np.linspace(1.0, t_min, n), 0.0)


def levels(n: int, t_min: float) -> np.ndarray:
    """i / (n - 1) for i = n - 1, ..., 0, then 0: the n noise levels of a discrete chain, and data; ignores t_min.

    The published grid is this up to t_min, but misses levels where t_min n > 1 (VP with more than 1000 of them).
    """
    return np.append(np.arange(n - 1, -1, -1) / (n - 1), 0.0)


GRIDS: dict[str, Callable[[int, float], np.ndarray]] = {
    "uniform": uniform,
    "quadratic": quadratic,
    "published": published,
    "levels": levels,
}


def create(name: str, n: int, t_min: float) -> np.ndarray:
    """The grid of that name, [n + 1].

    Raises:
      ValueError: an unknown name, no step, or t_min outside (0, 1).
    """
    if name not in GRIDS:
        raise ValueError(f"grid is {name!r}; known are {', '.join(GRIDS)}")
    if n < 2 or not 0.0 < t_min < 1.0:
        raise ValueError(f"grid: {n} steps from 1 to t_min {t_min}; needed are at least 2 steps and 0 < t_min < 1")
    return GRIDS[name](n, t_min)
