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


def flow_heun(sde: AffineSDE, score: ScoreFn) -> Stepper:
    """Heun's method, the trapezoid with an Euler guess: two evaluations a step, order 2; deterministic.

    Evaluates the score at s as well: the grid must end at t_min > 0, never at 0.
    """

    def velocity(x: Float[Array, "b *d"], t: Coefficient) -> Float[Array, "b *d"]:
        return sde.flow_velocity(x, t, at(score, x, t))

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        x = state.x
        v = velocity(x, t)
        x = x + 0.5 * (s - t) * (v + velocity(x + (s - t) * v, s))
        return State(x, x, state.memory)

    return Stepper(step, evaluations=2)
