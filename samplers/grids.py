"""Time grids: falling sequences of n + 1 times for n steps, from `start` to t_min (float64 numpy: data, not code).

A grid is a choice of name and count. Those in t are the same for every SDE; those in noise are even in a function of
rho = sigma / alpha, and ask the SDE for the times; those of a chain pick levels of a discretely trained network.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Array

import limits
from samplers import spacings
from samplers.nodes import host, nodes_at, nodes_of
from sde_lib.base import AffineSDE
from sde_lib.prediction import NEARLY_NOISE

Times = TypeVar("Times", float, np.ndarray, Array)


def uniform(sde: AffineSDE, n: int, t_min: float, start: float = 1.0) -> np.ndarray:
    """Equal steps in t."""
    return np.linspace(start, t_min, n + 1)


def shifted_times(t: Times, shift: float) -> Times:
    """t' = s t / (1 + (s - 1) t), which multiplies sigma / alpha = t / (1 - t) of a linear flow by s.

    (Esser et al. 2024, arXiv:2403.03206, eq. 23.)
    """
    return shift * t / (1.0 + (shift - 1.0) * t)


def shifted(sde: AffineSDE, n: int, t_min: float, start: float = 1.0, *, shift: float = 3.0) -> np.ndarray:
    """Equal steps in the time before `shifted_times`: coarser towards data where the shift is above 1."""
    first, last = (shifted_times(t, 1.0 / shift) for t in (start, t_min))  # the shift by 1 / s undoes that by s
    return np.array([start, *shifted_times(np.linspace(first, last, n + 1)[1:-1], shift), t_min])


def quadratic(sde: AffineSDE, n: int, t_min: float, start: float = 1.0) -> np.ndarray:
    """Equal steps in sqrt(t): finer towards data (Song et al. 2021, arXiv:2010.02502, App. D.2)."""
    inner = np.linspace(start**0.5, t_min**0.5, n + 1)[1:-1] ** 2
    return np.array([start, *inner, t_min])  # the root's square is not always the number


def published(sde: AffineSDE, n: int, t_min: float, start: float = 1.0) -> np.ndarray:
    """linspace(start, t_min, n), then 0: the score-SDE code's n times, its last step taken from t_min to data.

    With n = 1000 and t_min = 1e-3 these are n equal steps. Only for steppers that never evaluate at the step's end.
    """
    return np.append(np.linspace(start, t_min, n), 0.0)


def levels(sde: AffineSDE, n: int, t_min: float, start: float = 1.0) -> np.ndarray:
    """The n noise levels of a discrete chain, noisiest first, then data; of these those up to `start`. Ignores t_min.

    The published grid is this up to t_min, but misses levels where t_min n > 1 (VP with more than 1000 of them).
    """
    return np.append(_up_to(start, _level_times(sde, np.arange(n - 1, -1, -1), n)), 0.0)


def _out_of_noise(grid: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The grid in noise, begun where alpha is 0: its first step is to `NEARLY_NOISE`, and it is even from there."""

    @functools.wraps(grid)
    def begun(sde: AffineSDE, n: int, t_min: float, start: float = 1.0, **options: float) -> np.ndarray:
        if n < 2 or nodes_of(sde, np.array([start]))[0].alpha > 0.0:
            return grid(sde, n, t_min, start, **options)
        return np.append(start, grid(sde, n - 1, t_min, NEARLY_NOISE, **options))

    return begun


@_out_of_noise
def log_snr(sde: AffineSDE, n: int, t_min: float, start: float = 1.0) -> np.ndarray:
    """Equal steps in log SNR (Lu et al. 2022, arXiv:2206.00927, sec. 3.4); for VE and EDM rho falls geometrically."""
    first, last = (node.lam for node in nodes_of(sde, np.array([start, t_min])))
    return _times(sde, np.linspace(first, last, n + 1), t_min, start)


@_out_of_noise
def karras(sde: AffineSDE, n: int, t_min: float, start: float = 1.0, *, power: float = 7.0) -> np.ndarray:
    """Equal steps in rho^(1/power): finer towards data (Karras et al. 2022, arXiv:2206.00364, eq. 5)."""
    first, last = (node.rho ** (1.0 / power) for node in nodes_of(sde, np.array([start, t_min])))
    return _times(sde, -power * np.log(np.linspace(first, last, n + 1)), t_min, start)


def given(sde: AffineSDE, n: int, t_min: float, start: float = 1.0, *, noise: tuple[float, ...] = ()) -> np.ndarray:
    """Times of which those between the ends are given by their sigma / alpha: 0.821 between 80 and data, for example.

    Raises:
      ValueError: their number is not n - 1, or they do not fall from the start's to the end's.
    """
    if len(noise) != n - 1:
        raise ValueError(
            f"grid 'given': grid_noise {noise} are {len(noise)} times between its ends, which is {len(noise) + 1} "
            f"steps, and needed are {n}; give sampling.grid_noise {n - 1} values, or take as many steps as it has"
        )
    first, last = (node.rho for node in nodes_of(sde, np.array([start, t_min])))
    if any(a <= b for a, b in itertools.pairwise((first, *noise, last))):
        raise ValueError(
            f"grid 'given': grid_noise is {noise}; needed are values of sigma / alpha that fall from below {first:.4g} "
            f"to above {last:.4g}"
        )
    return _times(sde, -np.log([first, *noise, last]), t_min, start)


def _level_times(sde: AffineSDE, index: np.ndarray, n: int) -> np.ndarray:
    """The times of levels of a chain of n."""
    return host(lambda i: sde.level_time(i, n), index)


def _up_to(start: float, times: np.ndarray) -> np.ndarray:
    """Those of a chain's times at or below `start`, which may be a float32's rounding off."""
    visited = times[times <= start + 1e-6]
    if not len(visited):
        raise ValueError(
            f"grid: none of the {len(times)} levels lies at or below {start}; its cleanest {times[-1]:.4g}"
        )
    return visited


def _times(sde: AffineSDE, lams: np.ndarray, t_min: float, start: float) -> np.ndarray:
    """The times of the inner log(alpha / sigma), between `start` and t_min as they are."""
    return np.array([start, *(node.t for node in nodes_at(sde, list(lams[1:-1]), t_min)), t_min])


RANGES: dict[str, limits.Range] = {
    "steps": limits.whole(1),
    "power": limits.positive(note="published: 7"),
    "shift": limits.positive(note="published: 3; 1 is without"),
    "t_min": limits.share(above=True, below=True, note="usual: 1e-3"),
    "chain": limits.whole(0),
    "noise": limits.Several(limits.positive(), distinct=True),
}


GRIDS: dict[str, Callable[..., np.ndarray]] = {
    "uniform": uniform,
    "shifted": shifted,
    "quadratic": quadratic,
    "log_snr": log_snr,
    "karras": karras,
    "given": given,
    "published": published,
    "levels": levels,
}
"""The grids in continuous time, by name."""
ONE_LENGTH = ("given",)
"""Those that have one number of steps, which their options say."""


def unknown(name: str) -> str:
    """What to say of a name that is neither a grid's nor a spacing's."""
    return f"grid is {name!r}; known are auto, {', '.join(GRIDS)}; and, of a chain, {spacings.KNOWN}"


def create(
    sde: AffineSDE,
    name: str,
    n: int,
    t_min: float,
    *,
    chain: int = 0,
    power: float = 7.0,
    shift: float = 3.0,
    noise: tuple[float, ...] = (),
    start: float = 1.0,
) -> np.ndarray:
    """The grid of that name, [n + 1]; of a chain's levels, those up to `start`.

    Args:
      sde: the process; grids in t do without.
      name: one of GRIDS, or a spacing of a chain's levels (see `samplers.spacings`), which has n + 1 of them.
      n: steps.
      t_min: where it ends; ignored by 'levels' and the spacings.
      chain: how many levels the chain has, for the spacings.
      power: of 'karras'.
      shift: of 'shifted'.
      noise: of 'given'.
      start: where it begins.

    Raises:
      ValueError: an unknown name, too few steps, not 0 < t_min < start <= 1, a spacing without a chain, or a chain
        without a level up to `start`.
    """
    if name not in GRIDS and not spacings.known(name):
        raise ValueError(unknown(name))
    numbers = {"steps": n, "power": power, "shift": shift, "t_min": t_min, "chain": chain, "noise": noise}
    limits.check("grid: ", numbers, RANGES)
    if not t_min < start <= 1.0:
        raise ValueError(f"grid: it starts at {start} and ends at t_min {t_min}; needed is t_min < start <= 1")
    if name in ("published", "levels") and n < 2:
        raise ValueError(f"grid {name!r}: {n} steps; needed are at least 2")
    if name not in GRIDS:
        if not chain:
            raise ValueError(f"grid {name!r} picks levels of a chain, and this process has none; use uniform")
        visited = np.unique(spacings.create(name, n + 1, chain))  # one that 'ldm_quad' repeats would be a step of 0
        return _up_to(start, _level_times(sde, visited[::-1], chain))
    own: dict[str, dict[str, Any]] = {
        "karras": {"power": power},
        "shifted": {"shift": shift},
        "given": {"noise": noise},
    }
    return GRIDS[name](sde, n, t_min, start, **own.get(name, {}))
