"""Fixed-step solvers of the probability flow dx/dt = alpha' x0 + sigma' eps."""

from collections.abc import Callable

from jaxtyping import Array, Float, Key

from samplers.base import State, Stepper, at
from sde_lib.base import AffineSDE, Coefficient
from sde_lib.prediction import Model, as_prediction


def velocity_fn(sde: AffineSDE, model: Model) -> Callable[[Float[Array, "b *d"], Coefficient], Array]:
    """(x [b, ...], t) -> dx/dt of the whole batch at one scalar time."""
    predict = as_prediction(sde, model)

    def velocity(x: Float[Array, "b *d"], t: Coefficient) -> Float[Array, "b *d"]:
        prediction = at(predict, x, t)
        return sde.velocity(prediction.x0, prediction.eps, t)

    return velocity


def flow_euler(sde: AffineSDE, model: Model) -> Stepper:
    """Euler's method: one evaluation a step, order 1; deterministic. Few-step users want `flow_heun`."""
    velocity = velocity_fn(sde, model)

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        x = state.x + (s - t) * velocity(state.x, t)
        return State(x, x, state.memory)

    return Stepper(step, evaluations=1)


def flow_heun(sde: AffineSDE, model: Model, *, place: float = 1.0) -> Stepper:
    """Heun's method, the trapezoid with an Euler guess: two evaluations a step, order 2; deterministic.

    With `place` a < 1 the second evaluation is at t + a (s - t), weighted 1 / (2 a): 1/2 is the midpoint method (Karras
    et al. 2022, Algorithm 3). With a = 1 the model is evaluated at s, so the grid must end at t_min > 0, never at 0.
    The same method in sigma / alpha, with the step to data, is `samplers.runge_kutta.heun`.

    Raises:
      ValueError: a place outside (0, 1].
    """
    if not 0.0 < place <= 1.0:
        raise ValueError(f"flow_heun: place is {place}; allowed is 0 < place <= 1 (1: Heun, 0.5: midpoint)")
    share, velocity = 0.5 / place, velocity_fn(sde, model)

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        x = state.x
        v = velocity(x, t)
        ahead = velocity(x + place * (s - t) * v, t + place * (s - t))
        x = x + (s - t) * ((1.0 - share) * v + share * ahead)
        return State(x, x, state.memory)

    return Stepper(step, evaluations=2)
