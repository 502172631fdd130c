"""The denoised image made to agree with the measurement: a score for a score."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from inverse.measurement import LinearMeasurement
from sde_lib.base import expand
from sde_lib.preconditioning import Process


def consistent(process: Process, score: Callable, measurement: LinearMeasurement, y: Array) -> Callable:
    """The score whose denoised image x0 = (x + sigma^2 score) / alpha is replaced by x0 + A^+ (y - A x0).

    DDNM (Wang et al. 2022, arXiv:2212.00490, eq. 13); for a mask what GLIDE's inpainting does. What A sees then moves
    as the exact posterior does; the rest is denoised given a noisy copy of it, so that what y says of the rest is
    partly lost. No evaluation more than the score's. A learned variance passes through. For exact y only.

    Args:
      process: what noises the data.
      score: of images [b, ...], with or without a variance.
      measurement: A.
      y: [b, ...], or [1, ...] for all.

    Raises:
      ValueError: a noisy measurement; on use, shapes that do not fit.
    """
    if measurement.noise:
        raise ValueError(f"consistent: takes exact measurements, and noise is {measurement.noise}; use 'posterior'")

    def wrapped(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Any:
        alpha, variance = expand(process.alpha(t), x), expand(process.sigma(t) ** 2, x)
        answer = score(x, t)
        gradient, *rest = answer if isinstance(answer, tuple) else (answer,)
        x0 = measurement.impose((x + variance * gradient) / alpha, y)
        gradient = (alpha * x0 - x) / jnp.maximum(variance, jnp.finfo(x.dtype).tiny)
        return (gradient, *rest) if rest else gradient

    return wrapped
