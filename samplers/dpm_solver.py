"""DPM-Solver and DPM-Solver++, multistep: exponential integrators in lambda = log(alpha / sigma).

In lambda the flow is linear but for the network's answer m, which changes slowly (Lu et al. 2022, arXiv:2206.00927,
and arXiv:2211.01095 for m = x0). With h = lambda_s - lambda_t a step of any order is

    x_s = keep x - c (phi_1 D0 + phi_2 D1 + phi_3 D2),       phi_1 = e^z - 1,  phi_(k+1) = phi_k / z - 1 / k!,

where D0, D1, D2 are m and its first differences in lambda. The two forms differ by what is exchanged:

    m = x0  (++):  keep = sigma_s / sigma_t,  c = alpha_s,  z = -h
    m = eps     :  keep = alpha_s / alpha_t,  c = sigma_s,  z = +h

and the reverse SDE with the flow's marginals, noise eta > 0, has z = -(1 + eta) h, keep e^(-eta h) and adds
sigma_s sqrt(1 - e^(-2 eta h)) z (arXiv:2211.01095, App. F; eta = 1 there).
"""

import itertools
import math

from limits import check, not_negative, whole
from samplers.base import Stepper
from samplers.linear import PREDICTIONS, Method, Move, Row, linear
from samplers.nodes import Node
from sde_lib.base import AffineSDE
from sde_lib.prediction import Model

WHOLE = {"x0": 1.05, "eps": 3.0}
"""Up to which ratio of neighbouring steps in lambda the whole second difference is better, for m = x0 and m = eps.

Measured on the mixtures of benchmarks/solvers.py with 10 to 320 evaluations on four grids of three processes.
"""


def unevenness(grid: list[Node]) -> float:
    """The largest ratio of two neighbouring steps in lambda, 1 or more; a step to data, which is infinite, aside."""
    h = [abs(s.lam - t.lam) for t, s in itertools.pairwise(grid) if not math.isinf(s.lam)]
    return max((max(a / b, b / a) for a, b in itertools.pairwise(h)), default=1.0)


def check_solver(name: str, order: int, orders: tuple[int, ...], prediction: str, eta: float = 0.0) -> None:
    """Refuse in one line what no solver of the family has."""
    ranges = {"order": whole(min(orders), max(orders)), "eta": not_negative(note="1 is the reverse SDE")}
    check(f"{name}: ", {"order": order, "eta": eta}, ranges)
    if prediction not in PREDICTIONS:
        raise ValueError(f"{name}: prediction is {prediction!r}; allowed are {', '.join(PREDICTIONS)}")
    if eta > 0.0 and prediction != "x0":
        raise ValueError(f"{name}: eta is {eta} with prediction {prediction!r}; noise (eta > 0) needs 'x0'")


def phi(z: float) -> tuple[float, float, float]:
    """phi_1, phi_2, phi_3 at z: e^z - 1, phi_1 / z - 1, phi_2 / z - 1/2, by their series where that cancels."""
    if abs(z) > 0.1:
        first = math.expm1(z)
        second = first / z - 1.0
        return first, second, second / z - 0.5
    tail = sum(z**k / math.factorial(k + 3) for k in range(1, 12)) + 1 / 6  # (phi_3) / z
    third = z * tail
    second = z * (third + 0.5)
    return z * (second + 1.0), second, third


def scales(t: Node, s: Node, prediction: str) -> tuple[float, float, float]:
    """keep, c and the sign of z for a step from t to s."""
    if prediction == "x0":
        return s.sigma / t.sigma, s.alpha, -1.0
    return s.alpha / t.alpha, s.sigma, 1.0


def to_x0(t: Node, s: Node, prediction: str) -> Move:
    """The step to noise 0: alpha_s times the newest answer's x0."""
    return Move(0.0, [s.alpha]) if prediction == "x0" else Move(s.alpha / t.alpha, [-s.alpha * t.rho])


def ramp(steps: int, order: int, lower_order_final: int) -> list[int]:
    """The order of each step: rising with the answers at hand; in runs of fewer steps than given also falling."""
    fall = steps < lower_order_final
    return [min(order, i + 1, steps - i if fall else order) for i in range(steps)]


def dpm_solver(
    sde: AffineSDE,
    model: Model,
    *,
    order: int = 2,
    prediction: str = "x0",
    eta: float = 0.0,
    taylor: bool = False,
    published: bool | None = None,
    lower_order_final: int = 10,
) -> Stepper:
    """Multistep DPM-Solver++ (`prediction` 'x0') or DPM-Solver ('eps') of order 1, 2 or 3; one evaluation a step.

    Order 1 is DDIM. Order 2 takes phi_1 / 2 for phi_2, as the authors do, or phi_2 itself with `taylor` (k-diffusion's
    'heun' type; order 3 always does). `eta` > 0 is the SDE's solver, 1 the published SDE-DPM-Solver++ and k-diffusion's
    dpmpp_2m_sde and dpmpp_3m_sde. A step to data is of order 1. `lower_order_final`: runs of fewer steps end with
    lower orders (10 in the authors' code, 15 in diffusers; 0 never). Order 3 is for unguided scores.

    The authors' step of order 3, and k-diffusion's and diffusers' after it, take half the second difference for it,
    (D1_0 - D1_1) / (r0 + r1), so that it converges with order 2 only; with `published` this one does the same. With
    False it takes the whole, of order 3, which is better where neighbouring steps in lambda are alike, as on grids even
    in log SNR, and worse where they are not: the fit through three uneven points overshoots (VP, 40 evaluations on the
    uniform grid: error 0.087 whole, 0.035 half). None chooses by the grid; `WHOLE` holds the bounds.

    Raises:
      ValueError: another order or prediction, or noise with 'eps'.
    """
    check_solver("dpm_solver", order, (1, 2, 3), prediction, eta)

    def table(grid: list[Node]) -> list[Row]:
        rows = []
        half = unevenness(grid) > WHOLE[prediction] if published is None else published
        for i, p in enumerate(ramp(len(grid) - 1, order, lower_order_final)):
            t, s = grid[i], grid[i + 1]
            keep, c, sign = scales(t, s, prediction)
            h = s.lam - t.lam
            if math.isinf(h):
                rows.append(Row(t, to_x0(t, s, prediction)))
                continue
            phi_1, phi_2, phi_3 = phi(sign * (1.0 + eta) * h)
            steps = [(grid[i + 1 - j].lam - grid[i - j].lam) / h for j in range(1, p)]
            coefficients = [phi_1, 0.0, 0.0]
            if p == 2:
                slope = (phi_2 if taylor else 0.5 * phi_1) / steps[0]
                coefficients = [phi_1 + slope, -slope]
            elif p == 3:
                coefficients = _third_order(phi_1, phi_2, phi_3 if half else 2.0 * phi_3, *steps)
            noise = s.sigma * math.sqrt(-math.expm1(-2.0 * eta * h)) if eta else 0.0
            rows.append(Row(t, Move(keep * math.exp(-eta * h), [-c * w for w in coefficients[:p]], noise)))
        return rows

    return linear(sde, model, Method(prediction, memory=order, multistep=order > 1, noisy=eta > 0.0), table)


def _third_order(phi_1: float, phi_2: float, phi_3: float, r0: float, r1: float) -> list[float]:
    """Coefficients of m_0, m_1, m_2: phi_2 D1 + phi_3 D2 / 2 over unequal steps r0, r1 (in units of h)."""
    mix = r0 / (r0 + r1)
    newer, older = phi_2 * (1.0 + mix) + phi_3 / (r0 + r1), -phi_2 * mix - phi_3 / (r0 + r1)
    return [phi_1 + newer / r0, -newer / r0 + older / r1, -older / r1]
