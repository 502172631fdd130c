"""Euler's, Heun's and the midpoint method along the flow in rho = sigma / alpha, with EDM's churn.

In y = x / alpha the flow is dy = eps d rho (Karras et al. 2022, arXiv:2206.00364, eq. 1), straight where the data are
one point. A step to data is Euler's, which gives x0. Their likes in t are in `samplers.flow`.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated

from limits import check, declared, not_negative
from samplers.base import Stepper
from samplers.linear import Method, Move, Row, linear
from samplers.nodes import Node, ancestral_step, halfway, inner_nodes, nodes_at
from sde_lib.base import AffineSDE
from sde_lib.prediction import Model


@dataclasses.dataclass(frozen=True)
class Churn:
    """Noise added ahead of each step (Karras et al. 2022, Algorithm 2): rho grows by 1 + min(s_churn / n, sqrt 2 - 1).

    Attributes:
      s_churn: the noise of all steps together; 0 is deterministic. n is the number of steps, the one to data included.
      s_min: the lowest rho at which noise is added.
      s_max: the highest. Departure: EDM's code would churn beyond the grid's noisiest level, up to sigma 113, where
        no network was trained; here that is the limit.
      s_noise: the deviation of the added noise.
    """

    s_churn: Annotated[float, not_negative(note="published: 40; 0 is deterministic")] = 0.0
    s_min: Annotated[float, not_negative(note="published: 0.05")] = 0.0
    s_max: Annotated[float, not_negative(infinite=True, note="published: 50")] = math.inf
    s_noise: Annotated[float, not_negative(note="published: 1.003")] = 1.0

    def __post_init__(self) -> None:
        check("churn: ", vars(self), {name: option.range for name, option in declared(Churn).items()})
        if self.s_min > self.s_max:
            raise ValueError(f"churn: s_min is {self.s_min} and s_max {self.s_max}; needed is s_min <= s_max")

    def starts(self, sde: AffineSDE, grid: list[Node]) -> list[tuple[Node, tuple[float, float]]]:
        """Where each step begins, and what leads there from the grid: the sample's factor and the noise."""
        gamma, top = min(self.s_churn / (len(grid) - 1), math.sqrt(2.0) - 1.0), grid[0].rho
        churned = [gamma > 0.0 and self.s_min <= t.rho <= self.s_max and t.rho < top for t in grid[:-1]]
        rhos = [min(t.rho * (1.0 + gamma), top) for t, yes in zip(grid, churned, strict=False) if yes]
        hats = iter(nodes_at(sde, [-math.log(rho) for rho in rhos]))
        starts = []
        for t, yes in zip(grid, churned, strict=False):
            hat = next(hats) if yes else t
            noise = self.s_noise * math.sqrt(max(hat.rho**2 - t.rho**2, 0.0))
            starts.append((hat, (hat.alpha / t.alpha, hat.alpha * noise)))
        return starts


def _euler(t: Node, s: Node) -> Move:
    """Euler's step in rho with the newest answer."""
    return Move(s.alpha / t.alpha, [s.alpha * (s.rho - t.rho)])


Step = tuple[Node, tuple[float, float], Node, float]
"""Where a step begins, what leads there from the grid, where it ends, and the noise added there."""


def _two_stages(sde: AffineSDE, steps: list[Step], place: Callable[[Node, Node], float], share: float) -> list[Row]:
    """Euler to the inner point, at lambda = place(t, s), then the whole step with that share of the answer there."""
    rows = []
    inner = inner_nodes(sde, [(t, s) for t, _, s, _ in steps], place)
    for (t, before, s, noise), middle in zip(steps, inner, strict=True):
        whole = _euler(t, s)
        if middle is None:
            rows.append(Row(t, whole._replace(noise=noise), before=before))
            continue
        (advance,) = whole.coefficients
        rows.append(Row(t, _euler(t, middle), Move(1.0), before, ends=False))
        rows.append(Row(middle, Move(whole.keep, [share * advance, (1.0 - share) * advance], noise)))
    return rows


def euler(sde: AffineSDE, model: Model, *, churn: Churn = Churn()) -> Stepper:
    """Euler's method in rho, order 1, one evaluation a step; without churn it is DDIM."""

    def table(grid: list[Node]) -> list[Row]:
        starts = zip(churn.starts(sde, grid), grid[1:], strict=True)
        return [Row(t, _euler(t, s), before=before) for (t, before), s in starts]

    return linear(sde, model, Method("eps", noisy=churn.s_churn > 0.0), table)


def heun(sde: AffineSDE, model: Model, *, churn: Churn = Churn(), place: float = 1.0) -> Stepper:
    """EDM's sampler: order 2, two evaluations a step, one in the step to data.

    y_s = y + h ((1 - 1 / (2 a)) eps(rho) + 1 / (2 a) eps(rho + a h)) with a = `place`: 1 is Heun's method, 1/2 the
    midpoint method (Karras et al. 2022, Algorithms 2 and 3).

    Raises:
      ValueError: a place outside (0, 1].
    """
    if not 0.0 < place <= 1.0:
        raise ValueError(f"heun: place is {place}; allowed is 0 < place <= 1 (1: Heun, 0.5: midpoint)")

    def inner(t: Node, s: Node) -> float:
        return -math.log(t.rho + place * (s.rho - t.rho))

    def table(grid: list[Node]) -> list[Row]:
        steps = [(*start, s, 0.0) for start, s in zip(churn.starts(sde, grid), grid[1:], strict=True)]
        return _two_stages(sde, steps, inner, 0.5 / place)

    return linear(sde, model, Method("eps", 2, stages=True, noisy=churn.s_churn > 0.0, evaluations=2), table)


def dpm_2(sde: AffineSDE, model: Model, *, eta: float = 0.0, churn: Churn = Churn()) -> Stepper:
    """The midpoint method in rho with its inner point halfway in log rho: k-diffusion's dpm_2 and dpm_2_ancestral.

    Order 2, two evaluations a step, one in the step to data. `eta` > 0: ancestral noise after each step.

    Raises:
      ValueError: a negative eta, or eta and churn at once.
    """
    if eta < 0.0 or (eta and churn.s_churn):
        raise ValueError(f"dpm_2: eta {eta} with {churn}; allowed is eta >= 0, and one of them at a time")

    def table(grid: list[Node]) -> list[Row]:
        starts = zip(churn.starts(sde, grid), grid[1:], strict=True)
        steps = [(*start, *ancestral_step(start[0], s, eta)) for start, s in starts]
        return _two_stages(sde, steps, halfway, 1.0)

    noisy = eta > 0.0 or churn.s_churn > 0.0
    return linear(sde, model, Method("eps", 2, stages=True, noisy=noisy, evaluations=2), table)
