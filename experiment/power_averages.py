"""Averages of the weights by power functions of time, from which an average of any width is made afterwards.

The average of width std at time T gives the weights at time t <= T the density (g + 1) / T (t / T)^g, whose standard
deviation is std T: it is as wide, relative to the length of the run, at every T (Karras et al. 2024, arXiv:2312.02696,
App. C). Time is counted in updates. The update to time n takes the share 1 - (1 - 1 / n)^(g + 1) of the new weights,
and so each of the weights has exactly the density's integral over its own update: the first update copies the network,
and nothing is left of the initial weights.

An average of another width is the linear combination of stored ones, of any widths and times, whose density is nearest
to the wanted one in the least squares.
"""

from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from limits import Number, check

WIDTH = Number(0.0, 12**-0.5, above=True, below=True, note="published: 0.05 and 0.1; at 0.2887 all weights count alike")
"""What the width of an average may be; the flat one over the whole run has 1 / sqrt(12)."""


class PowerAverages(NamedTuple):
    """Averages that a training keeps.

    Attributes:
      begin: the step of the run at which their time is 0.
      weights: the averages, by their widths as texts, such as "0.05".
    """

    begin: Int[Array, ""]
    weights: dict[str, dict[str, Array]]

    @classmethod
    def create(cls, params: dict[str, Array], stds: tuple[float, ...], step: Any = 0) -> Self:
        """Return the averages at time 0, in buffers of their own."""
        copies = {text(std): jax.tree.map(jnp.copy, params) for std in stds}
        return cls(jnp.asarray(step, jnp.int32), copies)

    def updated(self, params: dict[str, Array], step: Int[Array, ""]) -> Self:
        """Return the averages after the update that ends at the step `step` with these weights."""

        def average(std: str, before: dict[str, Array]) -> dict[str, Array]:
            part = share(exponent(float(std)), step - self.begin)
            # Not part new + (1 - part) old: a small part is lost in 1 - part, whose rounding then adds up.
            return jax.tree.map(lambda old, new: old + part.astype(new.dtype) * (new - old), before, params)

        return self._replace(weights={std: average(std, before) for std, before in self.weights.items()})


def text(std: float) -> str:
    """Return the name of a width, which is read back as the same number."""
    return repr(float(std))


def exponent(std: float) -> float:
    """Return the exponent g > 0 of a width: std^2 = (g + 1) / ((g + 2)^2 (g + 3)).

    Raises:
      ValueError: no power function with g > 0 is so wide or so narrow.
    """
    check("", {"std": std}, {"std": WIDTH})
    squared = float(std) ** -2
    return float(np.roots([1.0, 7.0, 16.0 - squared, 12.0 - squared]).real.max())


def share(exponent: float, updates: Int[Array, ""]) -> Float[Array, ""]:
    """Return the share of the new weights in update n = 1, 2, ..., which is 1 - (1 - 1 / n)^(exponent + 1).

    Written so, it would be wrong in float32: by 6 % after a million updates, since 1 - 1 / n is near 1.
    """
    return -jnp.expm1((exponent + 1.0) * jnp.log1p(-1.0 / updates))


def correlation(a_time: Any, a_exponent: Any, b_time: Any, b_exponent: Any) -> np.ndarray:
    """Return the integral of the product of two densities, element by element in float64 (ib., App. C)."""
    a_time, a_exponent, b_time, b_exponent = (
        np.asarray(each, np.float64) for each in (a_time, a_exponent, b_time, b_exponent)
    )
    longer = np.maximum(a_time, b_time)
    overlap = np.where(a_time < b_time, (a_time / longer) ** b_exponent, (b_time / longer) ** a_exponent)
    return (a_exponent + 1) * (b_exponent + 1) / (a_exponent + b_exponent + 1) / longer * overlap


def coefficients(
    times: Float[np.ndarray, " n"], stds: Float[np.ndarray, " n"], time: float, std: float
) -> tuple[Float[np.ndarray, " n"], float]:
    """Return the coefficients of stored averages in one of another width, and how far its density is missed.

    The coefficients solve A X = B, where A is the correlation of the stored averages with each other and B with the
    wanted one, and are divided by their sum. The second number is the root mean square of what is left of the wanted
    density by the undivided ones, relative to that density: 0 is an exact reconstruction.

    Args:
      times: those of the stored averages, above 0.
      stds: their widths.
      time: that of the wanted average.
      std: its width.

    Raises:
      ValueError: a width out of range.
    """
    exponents, wanted = np.array([exponent(each) for each in stds]), exponent(std)
    own = correlation(times[:, None], exponents[:, None], times, exponents)
    with_wanted = correlation(times, exponents, time, wanted)
    # Densities of unit norm: late ones are flat and early ones high, and least squares must not take them for zero.
    unit = 1.0 / np.sqrt(np.diag(own))
    solved = unit * np.linalg.lstsq(own * unit[:, None] * unit, with_wanted * unit)[0]
    left = 1.0 + (solved @ own @ solved - 2.0 * solved @ with_wanted) / correlation(time, wanted, time, wanted)
    return solved / solved.sum(), float(np.sqrt(max(left, 0.0)))
