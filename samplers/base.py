"""What every sampler is made of: a stepper, the loop that drives it, and composition.

A stepper is a pair of pure functions, ``init`` and ``step``; `sample` is the one ``lax.scan`` over a grid of
times; `chain` makes predictor-corrector out of two steppers.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sde_lib.base import AffineSDE, Coefficient, Kernel
from sde_lib.prediction import ScoreFn


class State(NamedTuple):
    """What travels along a trajectory: the sample, the same without the last step's noise, and memory."""

    x: Float[Array, "b *d"]
    mean: Float[Array, "b *d"]
    memory: Any = ()


@dataclasses.dataclass(frozen=True)
class Stepper:
    """A one-step method from time t to s < t: ``step(key, state, t, s) -> state``.

    Attributes:
      step: the update; t and s are scalars, pure and traceable.
      evaluations: score evaluations that one step costs.
      init: ``x -> State``; a method with memory brings its own.
    """

    step: Callable[[Key[Array, ""], State, Coefficient, Coefficient], State]
    evaluations: int
    init: Callable[[Float[Array, "b *d"]], State] = lambda x: State(x, x)


class Samples(NamedTuple):
    """Samples [b, ...], score evaluations spent on each of them, and the trajectory where one was asked for.

    ``trajectory`` is [n + 1, b, ...], the starting point first; None unless requested.
    """

    x: Float[Array, "b *d"]
    evaluations: Array
    trajectory: Float[Array, "n b *d"] | None = None


KernelFn = Callable[[Coefficient, Coefficient], Kernel]
"""(t, s) -> the forward kernel from s to t that a discrete sampler reverses."""


def kernel_fn(sde: AffineSDE, discretization: int | None) -> KernelFn:
    """The exact transition, or, for parity with published numbers, the published chain of that many steps."""
    if discretization is None:
        return lambda t, s: sde.transition(s, t)
    return lambda t, s: sde.discretization(discretization, t)


def normal_like(key: Key[Array, ""], x: Float[Array, "b *d"]) -> Float[Array, "b *d"]:
    """Standard normal noise in the shape and type of x."""
    return jax.random.normal(key, x.shape, x.dtype)


def at(score: ScoreFn, x: Float[Array, "b *d"], t: Coefficient) -> Float[Array, "b *d"]:
    """The score of the whole batch at one scalar time."""
    return score(x, jnp.full(len(x), t, x.dtype))


def chain(predictor: Stepper, corrector: Stepper) -> Stepper:
    """Predictor-corrector (Song et al. 2021, Algorithm 1): correct at t, then predict to s.

    The published order. The corrector never runs at the last time, so the sample carries the predictor's error
    of one step; a final denoise is chosen in `sample`.
    """

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient) -> State:
        key_correct, key_predict = jax.random.split(key)
        corrected = corrector.step(key_correct, state, t, s)
        return predictor.step(key_predict, corrected, t, s)

    return Stepper(step, predictor.evaluations + corrector.evaluations, predictor.init)


def tweedie(sde: AffineSDE, score: ScoreFn) -> Callable[[Float[Array, "b *d"], Coefficient], Array]:
    """The denoiser x -> E[x_0 | x_t = x] for `sample`'s last step to data; one evaluation."""
    return lambda x, t: sde.tweedie(x, t, at(score, x, t))


def sample(
    stepper: Stepper,
    key: Key[Array, ""],
    x: Float[Array, "b *d"],
    times: Float[Array, " n"],
    *,
    denoiser: Callable[[Float[Array, "b *d"], Coefficient], Array] | None = None,
    noiseless_end: bool = False,
    trajectory: bool = False,
) -> Samples:
    """Carry x from times[0] to times[-1] with one ``lax.scan``; jit it once and call it often.

    Args:
      stepper: the method.
      key: the key of step i is ``fold_in(key, i)``.
      x: the starting points at times[0], usually prior draws, [b, ...].
      times: the falling grid, n + 1 values for n steps.
      denoiser: the last step to data, applied at times[-1], e.g. `tweedie`; one more evaluation.
      noiseless_end: leave out the noise of the last step (the published "denoise").
      trajectory: keep every state, [n + 1, b, ...].
    """

    def body(state: State, step: tuple[Array, Array, Array]) -> tuple[State, Array | None]:
        i, t, s = step
        state = stepper.step(jax.random.fold_in(key, i), state, t, s)
        return state, state.x if trajectory else None

    steps = len(times) - 1
    times = jnp.asarray(times, x.dtype)
    state, path = jax.lax.scan(body, stepper.init(x), (jnp.arange(steps), times[:-1], times[1:]))
    end = state.mean if noiseless_end else state.x
    evaluations = steps * stepper.evaluations
    if denoiser is not None:
        end, evaluations = denoiser(end, times[-1]), evaluations + 1
    if path is not None:
        path = jnp.concatenate([x[None], path])
    return Samples(end, jnp.full(len(x), evaluations), path)
