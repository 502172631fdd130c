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
QUADRATURE = np.polynomial.legendre.leggauss(48)


def _check(name: str, order: int) -> None:
    check(f"{name}: ", {"order": order}, {"order": whole(1, MAX_ORDER)})


def _lagrange(places: list[float], u: np.ndarray) -> np.ndarray:
    """The Lagrange polynomials of the given places at u, [places, u]."""
    rows = []
    for j, own in enumerate(places):
        factors = [(u - other) / (own - other) for k, other in enumerate(places) if k != j]
        rows.append(np.prod(factors, axis=0) if factors else np.ones_like(u))
    return np.array(rows)


def _integrals(places: list[float], start: float, end: float, density: Callable[[np.ndarray], np.ndarray]) -> list:
    """Integrals of L_j(u) density(u) du from start to end, by Gauss-Legendre quadrature."""
    nodes, weights = QUADRATURE
    u = 0.5 * (end - start) * nodes + 0.5 * (end + start)
    return list(_lagrange(places, u) @ (0.5 * (end - start) * weights * density(u)))


def _multistep(
    sde: AffineSDE,
    model: Model,
    order: int,
    lower_order_final: int,
    integrals: Callable[[list[Node], int, int], list[float]],
) -> Stepper:
    def table(grid: list[Node]) -> list[Row]:
        rows = []
        for i, p in enumerate(ramp(len(grid) - 1, order, lower_order_final)):
            t, s = grid[i], grid[i + 1]
            rows.append(Row(t, Move(s.alpha / t.alpha, [s.alpha * w for w in integrals(grid, i, p)])))
        return rows

    return linear(sde, model, Method("eps", memory=order, multistep=order > 1), table)


def deis(sde: AffineSDE, model: Model, *, order: int = 3, lower_order_final: int = 15) -> Stepper:
    """DEIS with polynomials in log rho ('logrho', as in diffusers), order 1 to 4; one evaluation a step.

    Zhang and Chen 2022 (arXiv:2204.13902). A step to data is of order 1; `lower_order_final` as in `dpm_solver`.

    Raises:
      ValueError: another order.
    """
    _check("deis", order)

    def integrals(grid: list[Node], i: int, p: int) -> list[float]:
        t, s = grid[i], grid[i + 1]
        if s.sigma == 0.0:
            return [-t.rho]
        return _integrals([math.log(grid[i - j].rho) for j in range(p)], math.log(t.rho), math.log(s.rho), np.exp)

    return _multistep(sde, model, order, lower_order_final, integrals)


def lms(sde: AffineSDE, model: Model, *, order: int = 4) -> Stepper:
    """Linear multistep in rho, order 1 to 4, the step to data included; one evaluation a step (k-diffusion's lms).

    Raises:
      ValueError: another order.
    """
    _check("lms", order)

    def integrals(grid: list[Node], i: int, p: int) -> list[float]:
        return _integrals([grid[i - j].rho for j in range(p)], grid[i].rho, grid[i + 1].rho, np.ones_like)

    return _multistep(sde, model, order, 0, integrals)


def ipndm(sde: AffineSDE, model: Model, *, order: int = 4) -> Stepper:
    """iPNDM, order 1 to 4: DDIM's step with eps extrapolated by Adams-Bashforth's constants; one evaluation a step.

    Liu et al. 2022 (arXiv:2202.09778) without its Runge-Kutta start (Zhang and Chen 2022, App. H.2). The constants
    presume equal steps in the variable the grid is even in; they are of their order only there.

    Raises:
      ValueError: another order.
    """
    _check("ipndm", order)

    def integrals(grid: list[Node], i: int, p: int) -> list[float]:
        advance = grid[i + 1].rho - grid[i].rho
        return [advance * w for w in _integrals([-float(j) for j in range(p)], 0.0, 1.0, np.ones_like)]

    return _multistep(sde, model, order, 0, integrals)
