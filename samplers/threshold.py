"""Keeping the denoised image within the data's range: a prediction for a prediction, whatever the sampler."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

import limits
from sde_lib.base import Process, expand
from sde_lib.prediction import Model, PredictFn, Prediction, as_prediction, of_x0

RULES = ("none", "clip", "dynamic")
RANGES: dict[str, limits.Range] = {
    "threshold": limits.OneOf(RULES),
    "threshold_quantile": limits.share(above=True, note="published: 0.995"),
}


def thresholded(
    process: Process, model: Model, rule: str, *, quantile: float = 0.995, low: float = -1.0, high: float = 1.0
) -> PredictFn:
    """The predictions whose denoised image x0 stays within [low, high].

    'clip' cuts what is outside (Ho et al. 2020's code); 'dynamic' scales each image down by the given quantile of its
    numbers' size, where that exceeds the range, and cuts the rest (Saharia et al. 2022, arXiv:2205.11487, sec. 2.3).
    eps changes in accord, and the variance output is left as it is. It is not for latents, which have no range, nor for
    likelihoods.

    Raises:
      ValueError: an unknown rule, or a quantile or range out of bounds.
    """
    predict = as_prediction(process, model)
    if rule == "none":
        return predict
    confine = confined(rule, quantile=quantile, low=low, high=high)

    def of_confined(x: Float[Array, "b *d"], t: Float[Array, " b"], *end: Float[Array, " b"]) -> Prediction:
        prediction = predict(x, t, *end)
        return of_x0(process, x, t, confine(prediction.x0), prediction.variance)

    return PredictFn(predict.process, of_confined, predict.told_end)


def confined(
    rule: str, *, quantile: float = 0.995, low: float = -1.0, high: float = 1.0
) -> Callable[[Float[Array, "b *d"]], Float[Array, "b *d"]]:
    """The rule of `thresholded` as a function of x0 alone; it raises the same."""
    limits.check("", {"threshold": rule, "threshold_quantile": quantile}, RANGES)
    limits.check("threshold: ", {"low": low, "high": high}, {"low": limits.Number(), "high": limits.Number()})
    if low >= high:
        raise ValueError(f"threshold: the range is {low} to {high}; needed is low < high")
    middle, half = 0.5 * (low + high), 0.5 * (high - low)

    def clip(x0: Array) -> Array:
        return jnp.clip(x0, low, high)

    def dynamic(x0: Array) -> Array:
        centred = (x0 - middle) / half
        reach = jnp.quantile(jnp.abs(centred).reshape(len(x0), -1), quantile, axis=1)
        reach = expand(jnp.maximum(reach, 1.0), x0)
        return middle + half * jnp.clip(centred, -reach, reach) / reach

    return {"none": lambda x0: x0, "clip": clip, "dynamic": dynamic}[rule]
