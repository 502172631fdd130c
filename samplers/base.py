"""What every sampler is made of: a stepper, the loop that drives it, and composition.

A stepper is a pair of pure functions, ``init`` and ``step``, and the ``plan`` that says what a grid of times asks of
``step``; `sample` is the one ``lax.scan`` over that; `predictor_corrector` makes one out of two steppers.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Num

from sde_lib.base import AffineSDE, Coefficient, Kernel, expand
from sde_lib.prediction import Model, PredictFn, Prediction, as_prediction


class State(NamedTuple):
    """What travels along a trajectory: the sample, the same without the last step's noise, and memory.

    A sample of categories is of integers, and has no noise that could be left out.
    """

    x: Num[Array, "b *d"]
    mean: Num[Array, "b *d"]
    memory: Any = ()


class Plan(NamedTuple):
    """What a grid asks of a stepper: the arguments of each call of ``step``, [calls, ...], and which end a grid step.

    ``rows`` is a tuple of pytrees; call i gets entry i of every array in it.
    """

    rows: tuple[Any, ...]
    ends: np.ndarray

    def reached(self, times: Any) -> Any:
        """The time at each of `ends`. A table with a row for every point of the grid may take several in one step."""
        return times[1:] if len(self.ends) == len(times) - 1 else times[1:][self.ends]


def from_time_to_time(times: Any) -> Plan:
    """One call a step, from t to s."""
    return Plan((times[:-1], times[1:]), np.arange(len(times) - 1))


@dataclasses.dataclass(frozen=True)
class Stepper:
    """A method that carries a sample along a grid: ``step(key, state, *row) -> state`` for each row of its plan.

    Most take one row a step of the grid, (t, s): from time t to s < t. A few-step solver's row is its coefficients,
    computed in float64 from the whole grid (`samplers.linear`), and a step of several evaluations is several rows.

    Attributes:
      step: the update, pure and traceable.
      evaluations: score evaluations of one row.
      init: ``x -> State``; a method with memory brings its own.
      plan: the grid's times to rows; the numbers of a few-step solver's must be known when it is traced.
      per_step: score evaluations of a step of the grid that does not end in data; None: those of one row.
      correctable: whether a corrector may move the sample between two rows.
      place: ``(state, x, *row) -> State``: the state after that row, the last of a step of the grid, with its sample
        moved to x; what the method remembers of the step moves along.
      one_step: whether a step of the grid depends on the sample alone, so that steps may be taken again.
      per_end: score evaluations at the end of each step of the grid, besides those of its rows.
      to_data: whether the last step of the grid, however long, may lead to data.
    """

    step: Callable[..., State]
    evaluations: int
    init: Callable[[Num[Array, "b *d"]], State] = lambda x: State(x, x)
    plan: Callable[[Any], Plan] = from_time_to_time
    per_step: int | None = None
    correctable: bool = True
    place: Callable[..., State] = lambda state, x, *row: state._replace(x=x)
    one_step: bool = True
    per_end: int = 0
    to_data: bool = False


class Samples(NamedTuple):
    """Samples [b, ...], score evaluations spent on each of them, and the trajectory where one was asked for.

    ``trajectory`` is [n + 1, b, ...], the starting point first; None unless requested. Of a singlestep solver, which
    evaluates at several points of the grid in one step, it has the steps' ends.
    """

    x: Num[Array, "b *d"]
    evaluations: Array
    trajectory: Num[Array, "n b *d"] | None = None


def kernel_fn(sde: AffineSDE, discretization: int | None) -> Callable[[Coefficient, Coefficient], Kernel]:
    """(t, s) -> the forward kernel from s to t that a discrete sampler reverses.

    It is the exact transition, or, for parity with published numbers, that of the published chain of so many steps.
    """
    if discretization is None:
        return lambda t, s: sde.transition(s, t)
    return lambda t, s: sde.discretization(discretization, t)


def normal_like(key: Key[Array, ""], x: Float[Array, "b *d"]) -> Float[Array, "b *d"]:
    """Standard normal noise in the shape and type of x."""
    return jax.random.normal(key, x.shape, x.dtype)


def at(predict: PredictFn, x: Float[Array, "b *d"], t: Coefficient) -> Prediction:
    """The prediction of the whole batch at one scalar time."""
    return predict(x, jnp.full(len(x), t, x.dtype))


def out_of_noise(
    sde: AffineSDE, t: Coefficient, s: Coefficient, prediction: Prediction, mean: Array, std: Coefficient | None = None
) -> tuple[Array, Coefficient]:
    """Mean and deviation of a step from t to s: the given ones, but the posterior's where alpha(t) = 0.

    There x says nothing of the data, and the reverse SDE's drift and diffusion are infinite; x_s is normal with mean
    alpha_s x0 and deviation sigma_s. With no deviation it is the flow's alpha_s x0 + sigma_s eps.
    """
    noise = sde.alpha(t) == 0.0
    x_s = expand(sde.alpha(s), mean) * prediction.x0
    if std is None:
        return jnp.where(noise, x_s + expand(sde.sigma(s), mean) * prediction.eps, mean), jnp.zeros(())
    return jnp.where(noise, x_s, mean), jnp.where(noise, sde.sigma(s), std)


def predictor_corrector(predictor: Stepper, corrector: Stepper) -> Stepper:
    """Predictor-corrector (Song et al. 2021, Algorithm 1): correct at t, then predict to s.

    The published order. The corrector never runs at the last time, so the sample carries the predictor's error
    of one step; a final denoise is chosen in `sample`.

    Raises:
      ValueError: a predictor whose steps have several stages: a corrector cannot move the sample between them.
    """
    if not predictor.correctable:
        raise ValueError(
            "the predictor's steps have several stages, where no corrector can act; take one with one evaluation a step"
        )

    def plan(times: Any) -> Plan:
        predictions = predictor.plan(times)
        return Plan((corrector.plan(times).rows, predictions.rows), predictions.ends)

    def step(key: Key[Array, ""], state: State, correct: tuple[Any, ...], predict: tuple[Any, ...]) -> State:
        key_correct, key_predict = jax.random.split(key)
        corrected = corrector.step(key_correct, state, *correct)
        return predictor.step(key_predict, corrected, *predict)

    def place(state: State, x: Float[Array, "b *d"], correct: tuple[Any, ...], predict: tuple[Any, ...]) -> State:
        return predictor.place(state, x, *predict)

    evaluations = predictor.evaluations + corrector.evaluations
    return Stepper(step, evaluations, predictor.init, plan, place=place, one_step=predictor.one_step)


def tweedie(sde: AffineSDE, model: Model) -> Callable[[Float[Array, "b *d"], Coefficient], Array]:
    """The denoiser x -> E[x_0 | x_t = x] for `sample`'s last step to data; one evaluation."""
    predict = as_prediction(sde, model)
    return lambda x, t: at(predict, x, t).x0


def sample(
    stepper: Stepper,
    key: Key[Array, ""],
    x: Num[Array, "b *d"],
    times: Float[Array, " n"] | np.ndarray,
    *,
    denoiser: Callable[[Float[Array, "b *d"], Coefficient], Array] | None = None,
    noiseless_end: bool = False,
    trajectory: bool = False,
) -> Samples:
    """Carry x from times[0] to times[-1] with one ``lax.scan``; jit it once and call it often.

    Args:
      stepper: the method.
      key: the key of row i is ``fold_in(key, i)``.
      x: the starting points at times[0], usually prior draws, [b, ...].
      times: the falling grid, n + 1 values for n steps; numbers, not traced, for the solvers of `samplers.linear`.
      denoiser: the last step to data, applied at times[-1], e.g. `tweedie`; one more evaluation.
      noiseless_end: leave out the noise of the last step (the published "denoise").
      trajectory: keep every state, [n + 1, b, ...].
    """

    plan = stepper.plan(times)
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.result_type(float)  # categories: integers
    rows = jax.tree.map(lambda a: jnp.asarray(a, dtype), plan.rows)
    calls = len(jax.tree.leaves(rows)[0])

    def body(state: State, call: tuple[Array, tuple[Any, ...]]) -> tuple[State, Array | None]:
        i, row = call
        state = stepper.step(jax.random.fold_in(key, i), state, *row)
        return state, state.x if trajectory else None

    state, path = jax.lax.scan(body, stepper.init(x), (jnp.arange(calls), rows))
    end = state.mean if noiseless_end else state.x
    evaluations = calls * stepper.evaluations + len(plan.ends) * stepper.per_end
    if denoiser is not None:
        end, evaluations = denoiser(end, jnp.asarray(times[-1], dtype)), evaluations + 1
    if path is not None:
        path = jnp.concatenate([x[None], path[plan.ends]])
    return Samples(end, jnp.full(len(x), evaluations), path)
