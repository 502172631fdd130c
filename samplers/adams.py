"""Multistep methods in eps: DEIS, linear multistep and iPNDM, Adams-Bashforth along the flow in y = x / alpha.

There the flow is dy = eps d rho with rho = sigma / alpha (Karras et al. 2022, eq. 1; Zhang and Chen 2022, eq. 12), and

    y_s = y_t + sum_j eps_j  integral of L_j d rho  from rho_t to rho_s,

L_j the Lagrange polynomial through the last answers. What the three methods differ in is the variable it is a
polynomial of: log rho (DEIS), rho (k-diffusion's LMS, DEIS's rho-AB) or the number of the step (iPNDM).
"""

import math
from collections.abc import Callable

import numpy as np

from limits import check, whole
from samplers.base import Stepper
from samplers.dpm_solver import ramp
from samplers.linear import Method, Move, Row, linear
from samplers.nodes import Node
from sde_lib.base import AffineSDE
from sde_lib.prediction import Model

MAX_ORDER = 4
Rate = Callable[[np.ndarray], np.ndarray]
Variable = Callable[[list[Node]], tuple[list[float], Rate]]
"""The end of a step and the points of its answers, newest first -> u at each of them, and u -> d rho / du."""
QUADRATURE = np.polynomial.legendre.leggauss(48)


def _lagrange(places: list[float], u: np.ndarray) -> np.ndarray:
    """The Lagrange polynomials of the given places at u, [places, u]."""
    rows = []
    for j, own in enumerate(places):
        factors = [(u - other) / (own - other) for k, other in enumerate(places) if k != j]
        rows.append(np.prod(factors, axis=0) if factors else np.ones_like(u))
    return np.array(rows)


def _integrals(places: list[float], end: float, rate: Rate) -> list[float]:
    """The integral of L_j(u) rate(u) du from places[0] to `end` for each j, by Gauss-Legendre quadrature."""
    nodes, weights = QUADRATURE
    start = places[0]
    u = 0.5 * (end - start) * nodes + 0.5 * (end + start)
    return list(_lagrange(places, u) @ (0.5 * (end - start) * weights * rate(u)))


def _adams(
    name: str, sde: AffineSDE, model: Model, order: int, variable: Variable, lower_order_final: int = 0
) -> Stepper:
    """The method of that variable; a step to where it is infinite, as log rho is at data, is Euler's."""
    check(f"{name}: ", {"order": order}, {"order": whole(1, MAX_ORDER)})

    def table(grid: list[Node]) -> list[Row]:
        rows = []
        for i, p in enumerate(ramp(len(grid) - 1, order, lower_order_final)):
            t, s = grid[i], grid[i + 1]
            (end, *places), rate = variable(grid[i - p + 1 : i + 2][::-1])
            coefficients = [s.rho - t.rho] if math.isinf(end) else _integrals(places, end, rate)
            rows.append(Row(t, Move(s.alpha / t.alpha, [s.alpha * w for w in coefficients])))
        return rows

    return linear(sde, model, Method("eps", memory=order, multistep=order > 1), table)


def deis(sde: AffineSDE, model: Model, *, order: int = 3, lower_order_final: int = 15) -> Stepper:
    """DEIS with polynomials in log rho ('logrho', as in diffusers), order 1 to 4; one evaluation a step.

    Zhang and Chen 2022 (arXiv:2204.13902). A step to data is of order 1; `lower_order_final` as in `dpm_solver`.

    Raises:
      ValueError: another order.
    """
    return _adams("deis", sde, model, order, lambda points: ([-p.lam for p in points], np.exp), lower_order_final)


def lms(sde: AffineSDE, model: Model, *, order: int = 4) -> Stepper:
    """Linear multistep in rho, order 1 to 4, the step to data included; one evaluation a step (k-diffusion's lms).

    Raises:
      ValueError: another order.
    """
    return _adams("lms", sde, model, order, lambda points: ([p.rho for p in points], np.ones_like))


def ipndm(sde: AffineSDE, model: Model, *, order: int = 4) -> Stepper:
    """iPNDM, order 1 to 4: DDIM's step with eps extrapolated by Adams-Bashforth's constants; one evaluation a step.

    Liu et al. 2022 (arXiv:2202.09778) without its Runge-Kutta start (Zhang and Chen 2022, App. H.2). The constants
    presume equal steps in the variable the grid is even in; they are of their order only there.

    Raises:
      ValueError: another order.
    """

    def number(points: list[Node]) -> tuple[list[float], Rate]:
        return [1.0 - k for k in range(len(points))], lambda u: np.full_like(u, points[0].rho - points[1].rho)

    return _adams("ipndm", sde, model, order, number)
