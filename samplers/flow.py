"""Fixed-step solvers of the probability flow dx/dt = f x - g^2 score / 2."""

from jaxtyping import Array, Float, Key

from samplers.base import State, Stepper, at
from sde_lib.base import AffineSDE, Coefficient
from sde_lib.prediction import ScoreFn


def flow_euler(sde: AffineSDE, score: ScoreFn) -> Stepper:
    """Euler's method: one evaluation a step, order 1; deterministic. Few-step users want `flow_heun`."""

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        x = state.x + (s - t) * sde.flow_velocity(state.x, t, at(score, state.x, t))
        return State(x, x, state.memory)

    return Stepper(step, evaluations=1)


def flow_heun(sde: AffineSDE, score: ScoreFn, *, place: float = 1.0) -> Stepper:
    """Heun's method, the trapezoid with an Euler guess: two evaluations a step, order 2; deterministic.

    With `place` a < 1 the second evaluation is at t + a (s - t), weighted 1 / (2 a): 1/2 is the midpoint method (Karras
    et al. 2022, Algorithm 3). With a = 1 the score is evaluated at s: the grid must end at t_min > 0, never at 0. The
    same method in sigma / alpha, with the step to data, is `samplers.runge_kutta.heun`.

    Raises:
      ValueError: a place outside (0, 1].
    """
    if not 0.0 < place <= 1.0:
        raise ValueError(f"flow_heun: place is {place}; allowed is 0 < place <= 1 (1: Heun, 0.5: midpoint)")
    share = 0.5 / place

    def velocity(x: Float[Array, "b *d"], t: Coefficient) -> Float[Array, "b *d"]:
        return sde.flow_velocity(x, t, at(score, x, t))

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        x = state.x
        v = velocity(x, t)
        ahead = velocity(x + place * (s - t) * v, t + place * (s - t))
        x = x + (s - t) * ((1.0 - share) * v + share * ahead)
        return State(x, x, state.memory)

    return Stepper(step, evaluations=2)
