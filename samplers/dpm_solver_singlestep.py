"""Singlestep DPM-Solver and DPM-Solver++: Runge-Kutta steps in lambda, which remember nothing between steps.

The same integrator as `samplers.dpm_solver`, its notation included, with the differences D1, D2 taken from answers
inside the step instead of from earlier ones (Lu et al. 2022, arXiv:2206.00927, Algorithms 1 and 2; arXiv:2211.01095).
"""

import itertools

from samplers.base import Stepper
from samplers.dpm_solver import check_solver, phi, scales, to_x0
from samplers.linear import Method, Move, Row, linear
from samplers.nodes import Node, ancestral_step, inner_nodes
from sde_lib.base import AffineSDE
from sde_lib.prediction import Model


def orders_of(evaluations: int, order: int, *, to_data: bool = False) -> list[int]:
    """Orders of the steps that together cost so many evaluations: full ones, and lower at the end.

    `to_data`: a step of order 1, to data, follows them.
    """
    if order == 3 and evaluations % 3 == 0 and not to_data:
        return [3] * (evaluations // 3 - 1) + [2, 1]
    rest = evaluations % order
    return [order] * (evaluations // order) + ([rest] if rest else [])


def dpm_solver_singlestep(
    sde: AffineSDE,
    model: Model,
    *,
    order: int = 2,
    prediction: str = "x0",
    taylor: bool = False,
    phi_inside: bool = True,
) -> Stepper:
    """Singlestep DPM-Solver++ ('x0') or DPM-Solver ('eps') of order 1, 2 or 3; evaluates at every point of the grid.

    The grid's points serve in turn as beginnings and as inner points of steps, grouped by `orders_of`, so that n steps
    of the grid cost n evaluations at any order; the authors' inner points on uniform and quadratic grids. The step to
    data is one of its own, of order 1. `taylor`: both differences at order 3, phi_2 at order 2, where the authors'
    default takes the last difference alone and phi_1 / 2. `phi_inside`: the second inner point of order 3 is reached
    with phi_2, as in the authors' code, or with phi_1 / 2, as in diffusers.

    Raises:
      ValueError: another order or prediction.
    """
    check_solver("dpm_solver_singlestep", order, (1, 2, 3), prediction)

    def table(grid: list[Node]) -> list[Row]:
        rows, first = [], 0
        to_data = grid[-1].sigma == 0.0
        for size in [*orders_of(len(grid) - 1 - to_data, order, to_data=to_data), *[1] * to_data]:
            rows += _step(grid[first : first + size + 1], prediction, taylor, phi_inside=phi_inside)
            first += size
        return rows

    return linear(sde, model, Method(prediction, memory=order, stages=order > 1), table)


def dpm_solver_2s(sde: AffineSDE, model: Model, *, prediction: str = "x0", eta: float = 0.0) -> Stepper:
    """Two evaluations a step, the second halfway in lambda: k-diffusion's dpmpp_2s_ancestral, of order 2 at eta 0.

    `eta` > 0 steps to a lower noise level and adds the difference as noise, as its ancestral samplers do.

    Raises:
      ValueError: another prediction, or noise with 'eps'.
    """
    check_solver("dpm_solver_2s", 2, (2,), prediction, eta)

    def table(grid: list[Node]) -> list[Row]:
        steps = [(t, *ancestral_step(t, s, eta)) for t, s in itertools.pairwise(grid)]
        inner = inner_nodes(sde, [(t, s) for t, s, _ in steps])
        rows = []
        for (t, s, noise), middle in zip(steps, inner, strict=True):
            rows += _step([t, middle, s] if middle else [t, s], prediction, False, noise)
        return rows

    return linear(sde, model, Method(prediction, memory=2, stages=True, noisy=eta > 0.0, evaluations=2), table)


def dpm_solver_sde(sde: AffineSDE, model: Model, *, eta: float = 1.0) -> Stepper:
    """k-diffusion's dpmpp_sde: DPM-Solver++ with an inner point halfway in lambda, and noise at both; two evaluations.

    The inner point is reached by an ancestral step of its own; the whole step then uses its answer in place of the
    first. At eta 0 it is `dpm_solver_2s`.

    Raises:
      ValueError: a negative eta.
    """
    check_solver("dpm_solver_sde", 2, (2,), "x0", eta)

    def move(t: Node, s: Node, *answers: float) -> Move:
        less, noise = ancestral_step(t, s, eta)
        keep = less.sigma / t.sigma
        return Move(keep, [(s.alpha - keep * t.alpha) * a for a in answers], noise)

    def table(grid: list[Node]) -> list[Row]:
        rows, steps = [], list(itertools.pairwise(grid))
        for (t, s), middle in zip(steps, inner_nodes(sde, steps), strict=True):
            if middle is None:
                rows.append(Row(t, move(t, s, 1.0)))
            else:
                rows.append(Row(t, move(t, middle, 1.0), Move(1.0), ends=False))
                rows.append(Row(middle, move(t, s, 1.0, 0.0)))
        return rows

    return linear(sde, model, Method("x0", memory=2, stages=True, noisy=eta > 0.0, evaluations=2), table)


def _step(
    points: list[Node], prediction: str, taylor: bool, noise: float = 0.0, *, phi_inside: bool = True
) -> list[Row]:
    """The rows of one step along its points: its beginning, no, one or two inner points, and its end."""
    t, *inner, s = points
    if s.sigma == 0.0:
        return [Row(t, to_x0(t, s, prediction)._replace(noise=noise))]
    h = s.lam - t.lam
    r = [(node.lam - t.lam) / h for node in inner]

    def move(to: Node, *answers: float, noise: float = 0.0) -> Move:
        keep, c, _ = scales(t, to, prediction)
        return Move(keep, [-c * a for a in answers], noise)

    def phis(to: Node) -> tuple[float, float, float]:
        return phi(scales(t, to, prediction)[2] * (to.lam - t.lam))

    phi_1, phi_2, phi_3 = phis(s)
    if not inner:
        return [Row(t, move(s, phi_1, noise=noise))]
    rows = [Row(t, move(inner[0], phis(inner[0])[0]), Move(1.0), ends=False)]
    if len(inner) == 1:
        slope = (phi_2 if taylor else 0.5 * phi_1) / r[0]
        return [*rows, Row(inner[0], move(s, slope, phi_1 - slope, noise=noise))]
    inner_1, inner_2, _ = phis(inner[1])
    slope = (inner_2 if phi_inside else 0.5 * inner_1) * r[1] / r[0]
    rows.append(Row(inner[0], move(inner[1], slope, inner_1 - slope), Move(1.0), ends=False))
    if not taylor:
        slope = phi_2 / r[1]
        return [*rows, Row(inner[1], move(s, slope, 0.0, phi_1 - slope, noise=noise))]
    # phi_2 D1 + phi_3 D2 with D1 = (r1 d0 - r0 d1) / (r1 - r0), D2 = 2 (d1 - d0) / (r1 - r0), d_k = (m_k - m) / r_k.
    gap = r[1] - r[0]
    first, second = (phi_2 * r[1] - 2.0 * phi_3) / (gap * r[0]), (2.0 * phi_3 - phi_2 * r[0]) / (gap * r[1])
    return [*rows, Row(inner[1], move(s, second, first, phi_1 - first - second, noise=noise))]
