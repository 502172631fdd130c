"""Euler's, Heun's and the midpoint method along the flow, in rho = sigma / alpha or in t, with EDM's churn.

In y = x / alpha the flow is dy = eps d rho (Karras et al. 2022, arXiv:2206.00364, eq. 1), straight where the data are
one point; in t it is dx = (f x + g^2 eps / (2 sigma)) dt. A step to data is Euler's: x0.
"""

import dataclasses
import itertools
import math

import numpy as np

from samplers.base import Stepper
from samplers.linear import Method, Move, Row, linear
from samplers.nodes import Node, ancestral, host, nodes_at, nodes_of
from sde_lib.base import AffineSDE
from sde_lib.prediction import ScoreFn

VARIABLES = ("rho", "t")


@dataclasses.dataclass(frozen=True)
class Churn:
    """Noise added ahead of each step (Karras et al. 2022, Algorithm 2): rho grows by 1 + min(amount / n, sqrt 2 - 1).

    Attributes:
      amount: S_churn; 0 is deterministic. n is the number of steps, the one to data included.
      low: S_min, in rho.
      high: S_max, in rho. No step is churned beyond the process's own noisiest level.
      noise: S_noise, the deviation of the added noise.
    """

    amount: float = 0.0
    low: float = 0.0
    high: float = math.inf
    noise: float = 1.0

    def __post_init__(self) -> None:
        if self.amount < 0.0 or self.noise < 0.0 or self.low > self.high:
            raise ValueError(
                f"churn: amount {self.amount}, from {self.low} to {self.high}, noise {self.noise}; needed are amount "
                "and noise >= 0 and low <= high (published: 40, 0.05 to 50, 1.003)"
            )

    def starts(self, sde: AffineSDE, grid: list[Node]) -> list[tuple[Node, tuple[float, float]]]:
        """Where each step begins, and what leads there from the grid: the sample's factor and the noise."""
        gamma, top = min(self.amount / (len(grid) - 1), math.sqrt(2.0) - 1.0), grid[0].rho
        churned = [gamma > 0.0 and self.low <= t.rho <= self.high and t.rho < top for t in grid[:-1]]
        rhos = [min(t.rho * (1.0 + gamma), top) for t, yes in zip(grid, churned, strict=False) if yes]
        hats = iter(nodes_at(sde, [-math.log(rho) for rho in rhos]))
        starts = []
        for t, yes in zip(grid, churned, strict=False):
            hat = next(hats) if yes else t
            noise = self.noise * math.sqrt(max(hat.rho**2 - t.rho**2, 0.0))
            starts.append((hat, (hat.alpha / t.alpha, hat.alpha * noise)))
        return starts


NO_CHURN = Churn()


def _check(name: str, variable: str, churn: Churn) -> None:
    if variable not in VARIABLES:
        raise ValueError(f"{name}: variable is {variable!r}; allowed are {', '.join(VARIABLES)}")
    if churn.amount and variable != "rho":
        raise ValueError(f"{name}: churn is defined in rho; with variable {variable!r} leave its amount at 0")


def _euler(t: Node, s: Node) -> Move:
    """Euler's step in rho with the newest answer."""
    return Move(s.alpha / t.alpha, [s.alpha * (s.rho - t.rho)])


def _velocity(sde: AffineSDE, grid: list[Node]) -> list[tuple[float, float]]:
    """f and g^2 / (2 sigma) of the flow in t at each node; at data, where no step begins, 0."""
    t = np.array([node.t for node in grid])
    f, g = host(sde.drift_coefficient, t), host(sde.diffusion, t)
    return [
        (float(a), float(b) ** 2 / (2.0 * node.sigma)) if node.sigma > 0.0 else (0.0, 0.0)
        for a, b, node in zip(f, g, grid, strict=True)
    ]


def euler(sde: AffineSDE, score: ScoreFn, *, variable: str = "rho", churn: Churn = NO_CHURN) -> Stepper:
    """Euler's method, order 1, one evaluation a step; in rho and without churn it is DDIM.

    Raises:
      ValueError: another variable, or churn in t.
    """
    return heun(sde, score, variable=variable, churn=churn, stages=1)


def heun(
    sde: AffineSDE,
    score: ScoreFn,
    *,
    variable: str = "rho",
    churn: Churn = NO_CHURN,
    place: float = 1.0,
    stages: int = 2,
) -> Stepper:
    """Heun's method, order 2, two evaluations a step, one in the step to data: EDM's sampler in rho, with its churn.

    x_s = x + h ((1 - 1 / (2 a)) v(t) + 1 / (2 a) v(t + a h)) with a = `place`: 1 is Heun's, 1/2 the midpoint method
    (Karras et al. 2022, Algorithms 2 and 3). `stages` = 1 is Euler's.

    Raises:
      ValueError: another variable, churn in t, or a place outside (0, 1].
    """
    _check("heun", variable, churn)
    if not 0.0 < place <= 1.0:
        raise ValueError(f"heun: place is {place}; allowed is 0 < place <= 1 (1: Heun, 0.5: midpoint)")
    second = 0.5 / place

    def in_rho(grid: list[Node]) -> list[Row]:
        starts = churn.starts(sde, grid)
        whole = [s.sigma == 0.0 or stages == 1 for s in grid[1:]]
        ahead = [hat.rho + place * (s.rho - hat.rho) for (hat, _), s in zip(starts, grid[1:], strict=True)]
        between = [-math.log(rho) for rho, one in zip(ahead, whole, strict=True) if not one and place < 1.0]
        inner = iter(nodes_at(sde, between))
        rows = []
        for (t, before), s, one in zip(starts, grid[1:], whole, strict=True):
            if one:
                rows.append(Row(t, _euler(t, s), before=before))
                continue
            middle = next(inner) if place < 1.0 else s
            rows.append(Row(t, _euler(t, middle), Move(1.0), before, ends=False))
            advance = s.alpha * (s.rho - t.rho)
            rows.append(Row(middle, Move(s.alpha / t.alpha, [second * advance, (1.0 - second) * advance])))
        return rows

    def in_t(grid: list[Node]) -> list[Row]:
        middles = nodes_of(sde, np.array([t.t + place * (s.t - t.t) for t, s in itertools.pairwise(grid)]))
        rows = []
        velocities = zip(_velocity(sde, grid[:-1]), _velocity(sde, middles), strict=True)
        for (t, s), middle, ((f, c), (f_mid, c_mid)) in zip(itertools.pairwise(grid), middles, velocities, strict=True):
            h = s.t - t.t
            if s.sigma == 0.0 or stages == 1:
                rows.append(Row(t, Move(1.0 + h * f, [h * c])))
                continue
            ahead = Move(1.0 + place * h * f, [place * h * c])
            rows.append(Row(t, ahead, Move(1.0), ends=False))
            weights = [second * c_mid, (1.0 - second) * c + second * f_mid * ahead.weights[0]]
            keep = 1.0 + h * ((1.0 - second) * f + second * f_mid * ahead.keep)
            rows.append(Row(middle, Move(keep, [h * w for w in weights])))
        return rows

    method = Method("eps", memory=stages, stages=stages > 1, noisy=churn.amount > 0.0, evaluations=stages)
    return linear(sde, score, method, in_rho if variable == "rho" else in_t)


def dpm_2(sde: AffineSDE, score: ScoreFn, *, eta: float = 0.0, churn: Churn = NO_CHURN) -> Stepper:
    """The midpoint method in rho with its inner point halfway in log rho: k-diffusion's dpm_2 and dpm_2_ancestral.

    Order 2, two evaluations a step, one in the step to data. `eta` > 0: ancestral noise after each step.

    Raises:
      ValueError: a negative eta, or eta and churn at once.
    """
    if eta < 0.0 or (eta and churn.amount):
        raise ValueError(f"dpm_2: eta {eta} with churn {churn.amount}; allowed is eta >= 0, and one of them at a time")

    def table(grid: list[Node]) -> list[Row]:
        starts = zip(churn.starts(sde, grid), grid[1:], strict=True)
        steps = [(t, before, *ancestral(t, s, eta)) for (t, before), s in starts]
        inner = iter(nodes_at(sde, [0.5 * (t.lam + s.lam) for t, _, s, _ in steps if s.sigma > 0.0]))
        rows = []
        for t, before, s, noise in steps:
            whole = _euler(t, s)
            if s.sigma == 0.0:
                rows.append(Row(t, Move(whole.keep, whole.weights, noise), before=before))
                continue
            middle = next(inner)
            rows.append(Row(t, _euler(t, middle), Move(1.0), before, ends=False))
            rows.append(Row(middle, Move(whole.keep, [*whole.weights, 0.0], noise)))
        return rows

    noisy = eta > 0.0 or churn.amount > 0.0
    return linear(sde, score, Method("eps", memory=2, stages=True, noisy=noisy, evaluations=2), table)
