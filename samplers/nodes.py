"""The noise levels that a solver steps between, in float64: what its coefficients are computed from.

A few-step solver is a table of numbers that depend on the grid alone. Computed in float32 from float32 times, those
of a long run lose digits (a step in log SNR is the small difference of two large numbers); computed here, on the
host, they are rounded once, after the last subtraction.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from samplers.base import Plan, from_time_to_time
from sde_lib.base import AffineSDE


class Node(NamedTuple):
    """One noise level: its time, the scale of the data and the standard deviation of the noise."""

    t: float
    alpha: float
    sigma: float

    @property
    def rho(self) -> float:
        """sigma / alpha, the noise of data of scale 1; 0 at data, infinite where there is nothing of the data."""
        return self.sigma / self.alpha if self.alpha > 0.0 else math.inf

    @property
    def lam(self) -> float:
        """log(alpha / sigma), half the log SNR; infinite at data, minus infinite where there is nothing of the data."""
        if self.alpha == 0.0:
            return -math.inf
        return math.log(self.alpha / self.sigma) if self.sigma > 0.0 else math.inf


DATA = Node(0.0, 1.0, 0.0)


def host(function: Callable[..., Any], *values: np.ndarray | float) -> Any:
    """Coefficients of the SDE in float64, also while something is being traced or without x64.

    The values, of equal shapes, are repeated up to a power of two: every new shape would compile each operation anew.
    """
    arrays = [np.asarray(value, np.float64) for value in values]
    size, shape = arrays[0].size, arrays[0].shape
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        found = function(*(jnp.asarray(np.resize(a, 1 << max(size - 1, 0).bit_length())) for a in arrays))
        return jax.tree.map(lambda part: np.asarray(part, np.float64)[:size].reshape(shape), found)


OWN = 2e-3
"""How far a time of a chain's own grid may lie from its level; the published grids are off by up to their t_min."""


def own_chain(sde: AffineSDE, n: int, times: Any) -> bool:
    """Whether each step of the grid goes down one level of a chain of n; below its cleanest level lies the data.

    The chain's one-step kernels take one level, so they are right on such a grid alone: on one of 100 times they would
    take 100 of 1000 levels, and leave the noise of the other 900 in the sample.
    """
    t = np.maximum(np.asarray(times, np.float64), 0.0)
    if len(t) - 1 > n or n < 2:
        return False
    first = host(lambda t: sde.level_position(t, n), t[:1])
    levels = host(lambda index: sde.level_time(index, n), first - np.arange(len(t)))
    return bool(np.all(np.abs(t - np.maximum(levels, 0.0)) <= OWN))


def _check_chain(sde: AffineSDE, n: int, times: Any) -> None:
    """ValueError for a published chain of so few steps that one of them has no positive scale: Euler's of sub-VP."""
    t = np.asarray(times)[:-1]
    scale, alpha = host(lambda t: sde.discretization(n, t).scale, t), host(sde.alpha, t)
    if not np.all((scale > 0.0) | (alpha == 0.0)):
        raise ValueError(
            f"sampling.discretization is {n}, which is too few steps for the chain of {type(sde).__name__}: a step's "
            f"scale falls to {scale.min():.3g}, and must stay above 0; take more of them (published: 1000), or 0 for "
            "exact kernels"
        )


def kernel_plan(sde: AffineSDE, discretization: int | None) -> Callable[[Any], Plan]:
    """Rows (t, s) on the own grid of the published chain of `discretization` levels.

    On every other grid they are (t, s, the exact kernel from s to t), the kernel in float64. In float32 two neighbours
    of 1000 times differ by 6e-5 of their distance from what they should, and so do kernels. On a grid that is traced
    they are (t, s) too, for exact kernels in float32; with a chain the plan refuses it with a ValueError, since nobody
    can tell whether it is the chain's own.
    """

    def plan(times: Any) -> Plan:
        rows, ends = from_time_to_time(times)
        if isinstance(times, jax.core.Tracer):
            if discretization:
                raise ValueError(
                    f"sampler: the grid is a traced array, and discretization {discretization}, whose kernels are for "
                    "the chain's own grid alone; give it as numbers, outside what is compiled, or leave out the chain"
                )
            return Plan(rows, ends)
        if discretization and own_chain(sde, discretization, times):
            _check_chain(sde, discretization, times)
            return Plan(rows, ends)
        t = np.asarray(times, np.float64)
        kernels = host(sde.transition, t[1:], t[:-1])
        return Plan((*rows, kernels), ends)

    return plan


def _shown(times: np.ndarray) -> str:
    return "[" + ", ".join(f"{t:.4g}" for t in times.ravel()[-4:]) + "]"


def nodes(sde: AffineSDE, times: Any) -> list[Node]:
    """The levels of a grid. A last time of 0 is data, also under VE, whose own sigma(0) is sigma_min.

    Raises:
      ValueError: a grid that is traced (its numbers must be known before anything is compiled), not of two or more
        numbers, or one with data anywhere but at its end.
    """
    if isinstance(times, jax.core.Tracer):
        raise ValueError("sampler: the grid is a traced array; give it as numbers, outside what is compiled")
    t = np.asarray(times, np.float64)
    if t.ndim != 1 or len(t) < 2 or not np.all(t[:-1] > 0.0) or t[-1] < 0.0:
        raise ValueError(f"sampler: grid {_shown(t)}; needed are 2 or more times > 0, of which only the last may be 0")
    return [*nodes_of(sde, t[:-1]), DATA] if t[-1] == 0.0 else nodes_of(sde, t)


def halfway(t: Node, s: Node) -> float:
    """The mean of the two log(alpha / sigma)."""
    return 0.5 * (t.lam + s.lam)


def nodes_at(sde: AffineSDE, lams: list[float], t_min: float | None = None) -> list[Node]:
    """The levels with the given log(alpha / sigma), sought in log t; beyond [t_min, 1] the nearer end.

    t_min is the SDE's unless given.
    """
    target = 2.0 * np.asarray(lams, np.float64)[:, None]
    low, high = np.full_like(target, math.log(t_min or sde.t_min)), np.zeros_like(target)
    for _ in range(9 if len(target) else 0):  # each cuts the bracket by 128, all of them to the last digit
        places = low + (high - low) * np.linspace(0.0, 1.0, 129)
        above = np.sum(host(sde.log_snr, np.exp(places[:, 1:-1])) > target, axis=1, keepdims=True)
        low, high = (np.take_along_axis(places, k, axis=1) for k in (above, above + 1))
    return nodes_of(sde, np.exp(0.5 * (low + high))[:, 0])


def inner_nodes(
    sde: AffineSDE, steps: list[tuple[Node, Node]], place: Callable[[Node, Node], float] = halfway
) -> list[Node | None]:
    """The level within each step (t, s) at which log(alpha / sigma) is place(t, s); None within one to data."""
    found = iter(nodes_at(sde, [place(t, s) for t, s in steps if s.sigma > 0.0]))
    return [next(found) if s.sigma > 0.0 else None for _, s in steps]


def nodes_of(sde: AffineSDE, t: np.ndarray) -> list[Node]:
    """The process's levels at the given times."""
    return [Node(*map(float, level)) for level in zip(t, host(sde.alpha, t), host(sde.sigma, t), strict=True)]


def posterior_std(t: Node, s: Node) -> float:
    """Standard deviation of p(x_s | x_t, x_0): sigma_s q / sigma_t with q that of the forward kernel from s to t."""
    return s.sigma * math.sqrt(max(t.sigma**2 - (t.alpha / s.alpha * s.sigma) ** 2, 0.0)) / t.sigma


def ancestral_step(t: Node, s: Node, eta: float) -> tuple[Node, float]:
    """Where a step with noise goes: s with less noise, and the deviation of what is added to be at s again.

    The noise is eta times the posterior's, at most all of sigma_s (k-diffusion's sigma_down and sigma_up).
    """
    noise = min(eta * posterior_std(t, s), s.sigma) if eta else 0.0
    return s._replace(sigma=math.sqrt(s.sigma**2 - noise**2)), noise
