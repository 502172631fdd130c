"""Singlestep DPM-Solver and DPM-Solver++: Runge-Kutta steps in lambda, which remember nothing between steps.

The same integrator as `samplers.dpm_solver`, its notation included, with the differences D1, D2 taken from answers
inside the step instead of from earlier ones (Lu et al. 2022, arXiv:2206.00927, Algorithms 1 and 2; arXiv:2211.01095).
"""

from samplers.base import Stepper
from samplers.dpm_solver import check_solver, phi, scales, to_x0
from samplers.linear import Move, Row
from samplers.nodes import Node
from sde_lib.base import AffineSDE
from sde_lib.prediction import ScoreFn


def orders_of(evaluations: int, order: int) -> list[int]:
    """Orders of the steps that together cost so many evaluations: full ones, and lower at the end."""
    if order == 3 and evaluations % 3 == 0:
        return [3] * (evaluations // 3 - 1) + [2, 1]
    rest = evaluations % order
    return [order] * (evaluations // order) + ([rest] if rest else [])


def dpm_solver_singlestep(
    sde: AffineSDE, score: ScoreFn, *, order: int = 2, prediction: str = "x0", taylor: bool = False
) -> Stepper:
    """Singlestep DPM-Solver++ ('x0') or DPM-Solver ('eps') of order 1, 2 or 3; evaluates at every point of the grid.

    The grid's points serve in turn as beginnings and as inner points of steps, grouped by `orders_of`, so that n steps
    of the grid cost n evaluations at any order; the authors' inner points on uniform and quadratic grids. A group that
    ends in data is of order 1. `taylor`: both differences at order 3, phi_2 at order 2, where the authors' default
    takes the last difference alone and phi_1 / 2.

    Raises:
      ValueError: another order or prediction.
    """
    check_solver("dpm_solver_singlestep", order, (1, 2, 3), prediction)

    def table(grid: list[Node]) -> list[Row]:
        rows, first = [], 0
        return [Row(t, to_x0(t, s, prediction)._replace(noise=noise))]

    h = s.lam - t.lam
    r = [(node.lam - t.lam) / h for node in inner]

    def move(to: Node, *answers: float, noise: float = 0.0) -> Move:
        keep, c, _ = scales(t, to, prediction)
        return Move(keep, [-c * a for a in answers], noise)

    def phis(to: Node) -> tuple[float, float, float]:
        return phi(scales(t, to, prediction)[2] * (to.lam - t.lam))

    stay, (phi_1, phi_2, phi_3) = Move(1.0), phis(s)
    if not inner:
        return [Row(t, move(s, phi_1, noise=noise))]
    rows = [Row(t, move(inner[0], phis(inner[0])[0]), stay, ends=False)]
    if len(inner) == 1:
        slope = (phi_2 if taylor else 0.5 * phi_1) / r[0]
        return [*rows, Row(inner[0], move(s, slope, phi_1 - slope, noise=noise))]
    inner_1, inner_2, _ = phis(inner[1])
    slope = inner_2 / r[0]
    rows.append(Row(inner[0], move(inner[1], slope, inner_1 - slope), stay, ends=False))
    if not taylor:
        slope = phi_2 / r[1]
        return [*rows, Row(inner[1], move(s, slope, 0.0, phi_1 - slope, noise=noise))]
    # phi_2 D1 + phi_3 D2 with D1 = (r1 d0 - r0 d1) / (r1 - r0), D2 = 2 (d1 - d0) / (r1 - r0), d_k = (m_k - m) / r_k.
    gap = r[1] - r[0]
    first, second = (phi_2 * r[1] - 2.0 * phi_3) / (gap * r[0]), (2.0 * phi_3 - phi_2 * r[0]) / (gap * r[1])
    return [*rows, Row(inner[1], move(s, second, first, phi_1 - first - second, noise=noise))]
