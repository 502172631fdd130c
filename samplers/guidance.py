"""Guidance: following a model away from another one, a prediction for a prediction, whatever the SDE and the sampler.

For the score s_c of what is wanted and s_u of what is not,

    s = s_u + scale (s_c - s_u) = s_c + w (s_c - s_u),        scale = 1 + w.

Both conventions are published: Ho and Salimans 2022 (arXiv:2207.12598, eq. 6) write the weight w, most code the scale.
Scale 1 (w = 0) is the conditional model, scale 0 the unconditional one.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

import limits
from sde_lib.base import Process, expand
from sde_lib.parameterization import OUTPUTS
from sde_lib.prediction import Model, PredictFn, Prediction, as_prediction

CONVENTIONS = ("scale", "weight")
RANGES: dict[str, limits.Range] = {
    "guidance": limits.Number(note="1 is without"),
    "guidance_convention": limits.OneOf(CONVENTIONS),
    "guidance_low": limits.not_negative(note="of sigma / alpha"),
    "guidance_high": limits.not_negative(infinite=True, note="of sigma / alpha"),
    "guidance_rescale": limits.share(note="published: 0.7; 0 is without"),
}
ConditionalFn = Callable[[Float[Array, "b *d"], Float[Array, " b"], Any], Any]
"""(x [b, ...], t [b], condition: arrays [b, ...]) -> the `Prediction`, or the score."""


def scale_of(guidance: float, convention: str) -> float:
    """The scale that a number of that convention means.

    Raises:
      ValueError: an unknown convention.
    """
    limits.check("", {"guidance_convention": convention}, RANGES)
    return guidance + 1.0 if convention == "weight" else guidance


def classifier_free(
    process: Process,
    model: ConditionalFn,
    condition: Any,
    none: Any,
    scale: float | Array,
    *,
    low: float = 0.0,
    high: float = math.inf,
    rescale: float = 0.0,
    output: str = "eps",
) -> PredictFn:
    """The predictions of a network with `condition`, away from its own with `none`; one evaluation of twice the batch.

    Only where low < sigma / alpha <= high; elsewhere they are the conditional ones alone, at the cost of one evaluation
    (Kynkaanniemi et al. 2024, arXiv:2404.07724). `rescale` is the share phi in which the guided `output` of the network
    gets back the standard deviation of the conditional one, against saturation (Lin et al. 2023, arXiv:2305.08891, eq.
    15 and 16); `thresholded` comes after. A variance output is the conditional one (GLIDE's rule). Scale 1 or 0, as a
    Python number, is evaluated once only; as an array it may be swept without compiling again.

    Args:
      process: what noises the data; gives sigma / alpha.
      model: the conditional network's predictions, or its score.
      condition, none: pytrees of arrays [b, ...], what the network is told, and what tells it nothing.
      scale: s; a weight w is the scale 1 + w.
      output: what the network predicts, a name of `sde_lib.PREDICTIONS`; only `rescale` asks for it.

    Raises:
      ValueError: an interval or share out of bounds, or an unknown output.
    """
    known = known_scale(scale, low, high, rescale)

    def told(condition: Any) -> PredictFn:
        return with_condition(process, model, condition)

    if known == 1.0:
        return told(condition)
    if known == 0.0 and not rescale and _everywhere(low, high):
        return told(none)
    both = told(jax.tree.map(lambda a, b: jnp.concatenate([a, b]), condition, none))

    def doubled(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> tuple[Prediction, Prediction]:
        answer = both(jnp.concatenate([x, x]), jnp.concatenate([t, t]))
        return jax.tree.map(lambda a: a[: len(x)], answer), jax.tree.map(lambda a: a[len(x) :], answer)

    return _guided(process, told(condition), doubled, scale, low, high, _rescaled(process, rescale, output))


def with_condition(process: Process, model: ConditionalFn, condition: Any) -> PredictFn:
    """The predictions of a conditional model that is always told the same."""

    return as_prediction(process, lambda x, t: model(x, t, condition))


def autoguidance(
    process: Process,
    model: Model,
    weak: Model,
    scale: float | Array,
    *,
    low: float = 0.0,
    high: float = math.inf,
    rescale: float = 0.0,
    output: str = "eps",
) -> PredictFn:
    """A model's predictions, away from those of a weaker one of the same data.

    Karras et al. 2024 (arXiv:2406.02507, eq. 5). `weak` is smaller or less trained, told the same condition or none. It
    costs two evaluations, one of each network; options are as in `classifier_free`.

    Raises:
      ValueError: an interval or share out of bounds, or an unknown output.
    """
    strong, other = as_prediction(process, model), as_prediction(process, weak)
    if known_scale(scale, low, high, rescale) == 1.0:
        return strong
    rescaled = _rescaled(process, rescale, output)
    return _guided(process, strong, lambda x, t: (strong(x, t), other(x, t)), scale, low, high, rescaled)


def inside(process: Process, t: Float[Array, " b"], low: float, high: float) -> Bool[Array, " b"]:
    """Whether low < sigma / alpha <= high."""
    noise = process.sigma(t)
    return (noise > low * process.alpha(t)) & (noise <= high * process.alpha(t))


Rescaled = Callable[[Prediction, Prediction, Float[Array, " b"]], Prediction]
"""(what is guided, what is wanted, t) -> what is guided, with less deviation."""


def _rescaled(process: Process, share: float, output: str) -> Rescaled:
    """Return what gives back, in this share, the deviation that the output a x0 + b eps has in what is wanted.

    The output times r, at the same x = alpha x0 + sigma eps, moves x0 by -sigma k and eps by alpha k with
    k = (r - 1) (a x0 + b eps) / (b alpha - a sigma), which is 0 where x says nothing of the output.
    """
    limits.check("guidance: ", {"output": output}, {"output": limits.OneOf(tuple(OUTPUTS))})

    def rescaled(guided: Prediction, wanted: Prediction, t: Float[Array, " b"]) -> Prediction:
        if not share:
            return guided
        x0, eps = guided.x0, guided.eps
        alpha, sigma, a, b = (expand(c, x0) for c in (process.alpha(t), process.sigma(t), *OUTPUTS[output](process, t)))
        said = a * x0 + b * eps
        flat = ((a * p.x0 + b * p.eps).reshape(len(x0), -1) for p in (guided, wanted))
        wide, narrow = (jnp.std(numbers, axis=1) for numbers in flat)
        less = expand(share * (narrow / jnp.maximum(wide, jnp.finfo(x0.dtype).tiny) - 1.0), x0)
        det = b * alpha - a * sigma
        k = jnp.where(det != 0.0, less * said / jnp.where(det != 0.0, det, 1.0), 0.0)
        return Prediction(x0 - sigma * k, eps + alpha * k, guided.variance)

    return rescaled


def _guided(
    process: Process, alone: PredictFn, pair: Callable, scale: float | Array, low: float, high: float, last: Rescaled
) -> PredictFn:
    """What `pair` (x, t) -> (what is wanted, what is not) gives within the interval, else what `alone` does.

    x0 moves as eps does: both are linear in the score at a given x. What is guided is `last` rescaled.
    """

    def within(x: Array, t: Array) -> Prediction:
        wanted, other = pair(x, t)
        strength = jnp.asarray(scale, x.dtype) - 1.0  # in this form scale 1 is exact
        if not _everywhere(low, high):
            strength = jnp.where(inside(process, t, low, high), strength, 0.0)
        strength = expand(strength, x)
        x0, eps = (a + strength * (a - b) for a, b in zip(wanted[:2], other[:2], strict=True))
        return last(Prediction(x0, eps, wanted.variance), wanted, t)

    if _everywhere(low, high):
        return PredictFn(process, within)
    return PredictFn(
        process, lambda x, t: jax.lax.cond(jnp.any(inside(process, t, low, high)), within, alone.function, x, t)
    )


def _everywhere(low: float, high: float) -> bool:
    return low == 0.0 and high == math.inf


def known_scale(scale: float | Array, low: float, high: float, rescale: float) -> float | None:
    """The scale where it is a number, None where it is an array; ValueError for numbers that are none of guidance's."""
    given = {"guidance_low": low, "guidance_high": high, "guidance_rescale": rescale}
    known = None
    if not isinstance(scale, jax.Array | np.ndarray):
        known, given = scale, {"guidance": scale, **given}
    limits.check("", given, RANGES)
    if low >= high:
        raise ValueError(f"guidance_low is {low}, guidance_high {high}; needed is low < high, of sigma / alpha")
    return known
