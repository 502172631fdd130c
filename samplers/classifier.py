"""Classifier guidance: a score moved by the gradient of what a classifier of noisy data says, whatever the SDE.

By Bayes' rule the score of the class y is that of all data and the classifier's gradient (Sohl-Dickstein et al. 2015;
Song et al. 2021, arXiv:2011.13456, sec. 5 and App. I),

    grad_x log p_t(x | y) = grad_x log p_t(x) + grad_x log p_t(y | x);

the latter times a scale s gives the score of p_t(x) p_t(y | x)^s, the class's typical examples for s > 1. As noise that
is eps - s sigma grad_x log p(y | x_t): the DDIM form of Dhariwal and Nichol 2021 (arXiv:2105.05233, eq. 14, Algorithm
2). Their ancestral form, Algorithm 1, is `samplers.ancestral` with a `guide`.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from samplers.guidance import inside, known_scale
from sde_lib.base import Process, expand
from sde_lib.classifier import LogProbFn
from sde_lib.prediction import Model, PredictFn, Prediction, ScoreFn, as_prediction, with_gradient


def classifier_guide(
    process: Process, log_prob: LogProbFn, scale: float | Array, *, low: float = 0.0, high: float = math.inf
) -> ScoreFn:
    """scale grad_x log p(y | x_t), 0 where not low < sigma / alpha <= high; for each example its own.

    One forward and one backward pass of the classifier a call, none where no example lies in a given interval.

    Args:
      process: what noises the data; gives sigma / alpha.
      log_prob: (x, t) -> log p(y | x_t) [b], as of `sde_lib.log_prob_fn`.
      scale: s, a number or one an example, [b].

    Raises:
      ValueError: a scale that is no finite number, or an interval out of bounds.
    """
    known_scale(scale, low, high, 0.0)

    def gradient(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Float[Array, "b *d"]:
        return expand(jnp.asarray(scale, x.dtype), x) * jax.grad(lambda x: jnp.sum(log_prob(x, t)))(x)

    if low == 0.0 and high == math.inf:
        return gradient

    def within(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Float[Array, "b *d"]:
        acts = inside(process, t, low, high)

        moved = lambda: jnp.where(acts.reshape(-1, *[1] * (x.ndim - 1)), gradient(x, t), 0.0)  # noqa: E731
        return jax.lax.cond(jnp.any(acts), moved, lambda: jnp.zeros_like(x))

    return within


def classifier_guided(
    process: Process,
    model: Model,
    log_prob: LogProbFn,
    scale: float | Array,
    *,
    low: float = 0.0,
    high: float = math.inf,
) -> PredictFn:
    """The model's score and the `classifier_guide`, as a prediction; its variance output is left as it is.

    Scale 1 is the score of the class, if the classifier is exact, and 0 is none. A conditional model may be guided too.
    Where alpha is 0 it is not moved: x says nothing of the class there.

    Raises:
      ValueError: as `classifier_guide`.
    """
    guide, predict = classifier_guide(process, log_prob, scale, low=low, high=high), as_prediction(process, model)

    def guided(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Prediction:
        return with_gradient(process, predict(x, t), t, guide(x, t))

    return PredictFn(predict.process, guided)
