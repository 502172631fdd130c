"""Correctors: Langevin dynamics at a fixed time, which leaves p_t as it is and pulls strays back to it."""

from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from limits import OneOf, Range, check, positive, whole
from samplers.base import State, Stepper, at, kernel_fn, normal_like
from samplers.nodes import kernel_plan
from sde_lib.base import AffineSDE, Coefficient, Kernel, expand
from sde_lib.prediction import Model, as_prediction

NORMS = ("sample", "batch")
RANGES: dict[str, Range] = {
    "corrector_norm": OneOf(NORMS),
    "n_steps_each": whole(1, note="published: 1"),
    "snr": positive(note="published: 0.16"),
}


def _corrector(
    sde: AffineSDE,
    model: Model,
    snr: float,
    length: Callable[[Array, Array, Coefficient], Coefficient],
    n_steps_each: int,
    discretization: int | None,
) -> Stepper:
    """x + h score + sqrt(2 h) z, so many times, with h = 2 (a snr length(z, score, t))^2."""
    kernel, predict = kernel_fn(sde, discretization), as_prediction(sde, model)

    def step(key: Key[Array, ""], state: State, t: Coefficient, s: Coefficient, row: Kernel | None = None) -> State:
        scale = (row or kernel(t, s)).scale

        def correct(i: Array | int, state: State) -> State:
            x = state.x
            z, score = normal_like(jax.random.fold_in(key, i), x), predict.score_of(at(predict, x, t), t)
            h = expand(2.0 * (scale * snr * length(z, score, t)) ** 2, x)
            mean = x + h * score
            return State(mean + jnp.sqrt(2.0 * h) * z, mean, state.memory)

        return jax.lax.fori_loop(0, n_steps_each, correct, state)

    return Stepper(step, evaluations=n_steps_each, plan=kernel_plan(sde, discretization))


def langevin(
    sde: AffineSDE,
    model: Model,
    *,
    snr: Annotated[float, RANGES["snr"]] = 0.16,
    n_steps_each: Annotated[int, RANGES["n_steps_each"]] = 1,
    corrector_norm: Annotated[str, RANGES["corrector_norm"]] = "sample",
    discretization: int | None = None,
) -> Stepper:
    """x + h score + sqrt(2 h) z with h = 2 a^2 (snr |z| / |score|)^2 (Song et al. 2021, Algorithms 4 and 5).

    `snr` is the ratio of the drift's length to the noise's: larger moves further and errs more (published: 0.16 on
    CIFAR-10, 0.075 at 256 px). a is the scale of the forward kernel from s to t, 1 for VE; with `discretization` = N
    that of the published N-step chain on its own grid, as in `samplers.reverse_diffusion`. Published code averages
    both norms over the batch (`corrector_norm` = 'batch'), so that a sample depends on its neighbours; here each has
    its own |score|, and sqrt(d) for |z|. A step that depends on where it is taken leaves p |score|^2 in place of p: the
    same in images, where |score| hardly varies, but not in a few dimensions: use `annealed_langevin` or 'batch' there.
    `n_steps_each` evaluations. Deterministic samplers gain nothing from it; it is not a sampler by itself.

    Raises:
      ValueError: an unknown norm, no step, or a snr that is not positive.
    """
    check("corrector: ", {"corrector_norm": corrector_norm, "n_steps_each": n_steps_each, "snr": snr}, RANGES)

    def length(z: Array, score: Array, t: Coefficient) -> Coefficient:
        noise, pull = (jnp.linalg.norm(a.reshape(len(a), -1), axis=1) for a in (z, score))
        if corrector_norm == "batch":
            noise, pull = jnp.mean(noise), jnp.mean(pull)
        else:
            # A step that grows with its own noise is hotter than its drift, (d + 2) / d times: no |z| here.
            noise = jnp.full_like(pull, z[0].size ** 0.5)
        return noise / jnp.maximum(pull, jnp.finfo(z.dtype).tiny)

    return _corrector(sde, model, snr, length, n_steps_each, discretization)


def annealed_langevin(
    sde: AffineSDE,
    model: Model,
    *,
    snr: Annotated[float, RANGES["snr"]] = 0.16,
    n_steps_each: Annotated[int, RANGES["n_steps_each"]] = 1,
    discretization: int | None = None,
) -> Stepper:
    """x + h score + sqrt(2 h) z with h = 2 a^2 (snr sigma_t)^2 (Song and Ermon 2019, Algorithm 1; published 'ald').

    The step depends on the noise level only, so no sample depends on its neighbours. `n_steps_each` evaluations; a and
    `discretization` as in `langevin`.

    Raises:
      ValueError: no step, or a snr that is not positive.
    """
    check("corrector: ", {"n_steps_each": n_steps_each, "snr": snr}, RANGES)
    return _corrector(sde, model, snr, lambda z, score, t: sde.sigma(t), n_steps_each, discretization)
