"""Data on their way to noise: what each of three schedules says at the places of the slider.

A place is a percent of the way from data to noise, t = percent / 100. The schedules are the linear and the cosine one
and the run's own, all with the same noise.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

import sde_lib
from sde_lib.categorical import CategoricalProcess

COMPARED = ("linear", "cosine")
"""The schedules that the run's own stands beside, names of both `sde_lib.SCHEDULES` and `sde_lib.KEEP_SCHEDULES`."""
ENOUGH = 256
"""Of how many categories at most the share that is kept is computed."""

NOTHING = 1e-30
"""A share below which nothing is kept; chains call it the least of floats, so that their logarithms are finite."""


class Schedule(NamedTuple):
    """One of the schedules that stand side by side.

    Attributes:
      name: what people call it.
      process: an SDE, or a chain over categories.
      own: whether it is the run's.
    """

    name: str
    process: Any
    own: bool


class Coefficients(NamedTuple):
    """What a process says at each of some times, float64; a logarithm of 0, or of what has no noise, is infinite."""

    alpha: np.ndarray
    sigma: np.ndarray
    log_snr: np.ndarray


def gaussian_schedules(config: ConfigDict, process: sde_lib.AffineSDE) -> list[Schedule]:
    """The linear and the cosine schedule of VP, and the `process` of a run of this config."""
    found = [Schedule(name, sde_lib.create("vp", schedule=name), False) for name in COMPARED]
    return [*found, Schedule(own_name(config), process, True)]


def categorical_schedules(config: ConfigDict, process: CategoricalProcess) -> list[Schedule]:
    """The run's kind of chain with linear and cosine schedules, and the `process` of a run of this config.

    A chain that has no such schedule, as D3PM's kernels have only some, stands without it.
    """
    options = {name: value for name, value in config.sde.items() if name in KEPT_OPTIONS}
    found = []
    for name in COMPARED:
        try:
            chain = sde_lib.create_categorical(**options, categories=process.categories, schedule=name)
        except ValueError:
            continue
        found.append(Schedule(name, chain, False))
    return [*found, Schedule(own_name(config), process, True)]


KEPT_OPTIONS = ("name", "kernel", "n", "bands", "published")
"""The options of a chain over categories that say nothing of its schedule."""


def own_name(config: ConfigDict) -> str:
    """What the run's own schedule is called, such as "this run: vp, cosine"."""
    schedule = config.sde.get("schedule")
    return f"this run: {config.sde.name}" + (f", {schedule}" if isinstance(schedule, str) and schedule else "")


def coefficients(process: sde_lib.AffineSDE, times: np.ndarray) -> Coefficients:
    """alpha, sigma and log SNR of an SDE at these times."""
    t = jnp.asarray(times, jnp.float32)
    alpha, sigma = (np.broadcast_to(np.asarray(f(t), np.float64), t.shape) for f in (process.alpha, process.sigma))
    return Coefficients(alpha, sigma, 2.0 * _log_ratio(alpha, sigma))


def kept(process: CategoricalProcess, times: np.ndarray) -> Coefficients:
    """The share of categories that are the data's own at these times, the share that are not, and the log ratio.

    The shares are means over all data categories, or over so many of them as `ENOUGH` says, evenly apart.
    """
    many = min(process.categories, ENOUGH)
    every = jnp.asarray(np.round(np.linspace(0, process.categories - 1, many)).astype(np.int32))[None]

    @jax.jit
    def unchanged(t: jax.Array) -> jax.Array:
        marginal = process.marginal(every, t[None])
        return jnp.mean(jnp.take_along_axis(marginal, every[..., None], axis=-1))

    share = np.array([unchanged(jnp.asarray(t, jnp.float32)) for t in times], np.float64)
    share[share < NOTHING] = 0.0
    return Coefficients(share, 1.0 - share, _log_ratio(share, 1.0 - share))


def _log_ratio(alpha: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(alpha) - np.log(sigma))


def noised(process: sde_lib.AffineSDE, x0: Any, eps: Any, times: np.ndarray) -> np.ndarray:
    """x_t = alpha(t) x_0 + sigma(t) eps at each of these times, [times, n, ...]: the marginal of the process."""

    @jax.jit
    def at(t: jax.Array) -> jax.Array:
        mean, std = process.marginal(x0, t)
        return mean + std * eps

    return np.stack([np.asarray(at(jnp.asarray(t, jnp.float32))) for t in times])


def replaced(process: CategoricalProcess, key: jax.Array, x0: jax.Array, times: np.ndarray) -> np.ndarray:
    """Draws of x_t at each of these times, [times, n, ...] int32, all with the same random numbers.

    What a chain with masks has masked at one time it has masked at all later ones. A chain of levels is asked at its
    nearest level.
    """
    draw: Callable[..., jax.Array] = jax.jit(lambda t: process.noise(key, x0, jnp.full(len(x0), t)))
    found = [np.asarray(draw(jnp.asarray(t, jnp.float32))) for t in on_levels(process, times)]
    return np.stack(found)


def on_levels(process: CategoricalProcess, times: Sequence[float] | np.ndarray) -> np.ndarray:
    """The times, or the nearest levels of a chain, of which data are one."""
    n = process.num_levels
    return np.round(np.asarray(times) * n) / n if n else np.asarray(times)
