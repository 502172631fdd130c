"""UniPC: a multistep predictor, corrected with the next step's own evaluation (Zhao et al. 2023, arXiv:2302.04867)."""

import math
from collections.abc import Sequence

import numpy as np

from samplers.base import Stepper
from samplers.dpm_solver import check_solver, phi, ramp, scales, to_x0
from samplers.linear import Method, Move, Row, linear
from samplers.nodes import Node
from sde_lib.base import AffineSDE
from sde_lib.prediction import Model

VARIANTS = ("bh1", "bh2")


def unipc(
    sde: AffineSDE,
    model: Model,
    *,
    order: int = 2,
    prediction: str = "x0",
    variant: str = "bh2",
    lower_order_final: bool = True,
    uncorrected: int = 0,
) -> Stepper:
    """UniPC of order 1 to 4: one evaluation a step, of order one more than the predictor's.

    The step of `samplers.dpm_solver` in the same notation, its differences weighted so that the orders match in
    B(h) = h ('bh1') or e^h - 1 ('bh2', the authors' choice for guided and few-step sampling). Once the network has
    answered at the new point, the step there is taken again with that answer included (UniC). A step to data is of
    order 1. The first `uncorrected` steps go without, as strong guidance wants.

    Raises:
      ValueError: another order, prediction or variant.
    """
    check_solver("unipc", order, (1, 2, 3, 4), prediction)
    if variant not in VARIANTS:
        raise ValueError(f"unipc: variant is {variant!r}; allowed are {', '.join(VARIANTS)}")

    def move(grid: list[Node], i: int, p: int, *, corrected: bool) -> Move:
        """From node i to i + 1 with m_0 = the answer at i; corrected: the answer at i + 1 comes before it."""
        t, s = grid[i], grid[i + 1]
        keep, c, sign = scales(t, s, prediction)
        z = sign * (s.lam - t.lam)
        if math.isinf(z):
            return to_x0(t, s, prediction)
        steps = [(grid[i - j].lam - t.lam) / (s.lam - t.lam) for j in range(1, p)]
        coefficients = _coefficients(z, steps, corrected=corrected, variant=variant)
        return Move(keep, [-c * w for w in coefficients])

    def table(grid: list[Node]) -> list[Row]:
        orders = ramp(len(grid) - 1, order, len(grid) if lower_order_final else 0)
        rows: list[Row] = []
        ahead = Move(1.0)
        for i, p in enumerate(orders):
            if i > uncorrected:
                base = move(grid, i - 1, orders[i - 1], corrected=True)
            else:  # where the last step led; its newest answer is now the second
                base = Move(ahead.keep, [0.0, *ahead.coefficients])
            ahead = move(grid, i, p, corrected=False)
            # The next step starts at the new base, itself a combination of the old one and the answers.
            kept, added = (np.array(_padded(m.coefficients, order + 1)) for m in (base, ahead))
            coefficients = ahead.keep * kept + added
            rows.append(Row(grid[i], Move(ahead.keep * base.keep, list(coefficients)), base))
        return rows

    return linear(sde, model, Method(prediction, memory=order + 1, stages=True, multistep=True), table)


def _padded(coefficients: Sequence[float], n: int) -> list[float]:
    return [*coefficients[:n], *[0.0] * (n - len(coefficients))]


def _coefficients(z: float, steps: list[float], *, corrected: bool, variant: str) -> list[float]:
    """Coefficients of the answers, newest first, in units of -c: phi_1 m_0 + B sum_k rho_k (m_k - m_0) / r_k.

    r_k are the other answers' places in units of the step: negative for earlier ones, 1 for the corrector's. The rho
    solve sum_k rho_k r_k^(j-1) = j! phi_(j+1) / B for j = 1, 2, ...; a single one is 1/2, which suffices for order 2.
    """
    places = [*steps, 1.0] if corrected else steps
    phi_1 = phi(z)[0]
    if not places:
        return [phi_1]
    scale = z if variant == "bh1" else phi_1
    right, term = [], phi_1
    for j in range(1, len(places) + 1):
        term = term / z - 1.0 / math.factorial(j)
        right.append(math.factorial(j) * term / scale)
    rho = np.array([0.5]) if len(places) == 1 else np.linalg.solve(np.vander(places, increasing=True).T, right)
    slopes = scale * rho / places
    coefficients = [phi_1 - slopes.sum(), *slopes[: len(steps)]]
    return [slopes[-1], *coefficients] if corrected else coefficients
