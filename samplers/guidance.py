"""Guidance: following a score away from another one, a score for a score, whatever the SDE and the sampler.

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
from sde_lib.base import expand
from sde_lib.preconditioning import Process
from sde_lib.prediction import ScoreAndVarianceFn, ScoreFn

CONVENTIONS = ("scale", "weight")
RANGES: dict[str, limits.Range] = {
    "guidance": limits.Number(note="1 is without"),
    "guidance_convention": limits.OneOf(CONVENTIONS),
    "guidance_low": limits.not_negative(note="of sigma / alpha"),
    "guidance_high": limits.not_negative(infinite=True, note="of sigma / alpha"),
    "guidance_rescale": limits.share(note="published: 0.7; 0 is without"),
}
ConditionalFn = Callable[[Float[Array, "b *d"], Float[Array, " b"], Any], Any]
"""(x [b, ...], t [b], condition: arrays [b, ...]) -> the score, or the score and a learned variance's answer."""


def check(scale: float, low: float, high: float, rescale: float) -> None:
    """ValueError for numbers that are none of guidance's."""
    given = {"guidance": scale, "guidance_low": low, "guidance_high": high, "guidance_rescale": rescale}
    limits.check("", given, RANGES)
    if low >= high:
        raise ValueError(f"guidance_low is {low}, guidance_high {high}; needed is low < high, of sigma / alpha")


def scale_of(guidance: float, convention: str) -> float:
    """The scale that a number of that convention means.

    Raises:
      ValueError: an unknown convention.
    """
    limits.check("", {"guidance_convention": convention}, RANGES)
    return guidance + 1.0 if convention == "weight" else guidance


def classifier_free(
    process: Process,
    score: ConditionalFn,
    condition: Any,
    none: Any,
    scale: float | Array,
    *,
    low: float = 0.0,
    high: float = math.inf,
    rescale: float = 0.0,
) -> ScoreFn | ScoreAndVarianceFn:
    """The score of one network with `condition`, away from its own with `none`; one evaluation of twice the batch.

    Only where low < sigma / alpha <= high, elsewhere the conditional score alone, at the cost of one (Kynkaanniemi et
    al. 2024, arXiv:2404.07724). `rescale` is the share phi in which the guided score gets back the standard deviation
    of the conditional one, against saturation (Lin et al. 2023, arXiv:2305.08891, eq. 15 and 16); `thresholded` comes
    after. A learned variance is the conditional one (GLIDE's rule). Scale 1 or 0, as a Python number, is evaluated once
    only; as an array it may be swept without compiling again.

    Args:
      process: what noises the data; gives sigma / alpha.
      score: the conditional network's.
      condition, none: pytrees of arrays [b, ...], what the network is told, and what tells it nothing.
      scale: s; a weight w is the scale 1 + w.

    Raises:
      ValueError: an interval or share out of bounds.
    """
    known = known_scale(scale, low, high, rescale)
    if known == 1.0:
        return lambda x, t: score(x, t, condition)
    if known == 0.0 and not rescale and _everywhere(low, high):
        return lambda x, t: score(x, t, none)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), condition, none)

    def doubled(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Any:
        answer = score(jnp.concatenate([x, x]), jnp.concatenate([t, t]), both)
        wanted = _parts(jax.tree.map(lambda a: a[: len(x)], answer))
        other = _parts(jax.tree.map(lambda a: a[len(x) :], answer))
        return wanted, other[0]

    return _guided(process, lambda x, t: score(x, t, condition), doubled, scale, low, high, rescale)


def autoguidance(
    process: Process,
    score: ScoreFn | ScoreAndVarianceFn,
    weak: ScoreFn,
    scale: float | Array,
    *,
    low: float = 0.0,
    high: float = math.inf,
    rescale: float = 0.0,
) -> ScoreFn | ScoreAndVarianceFn:
    """A score away from that of a weaker model of the same data (Karras et al. 2024, arXiv:2406.02507, eq. 5).

    `weak` is smaller or less trained, told the same condition or none. Two evaluations, one of each network; options as
    in `classifier_free`.

    Raises:
      ValueError: an interval or share out of bounds.
    """
    if known_scale(scale, low, high, rescale) == 1.0:
        return score
    return _guided(process, score, lambda x, t: (_parts(score(x, t)), weak(x, t)), scale, low, high, rescale)


def inside(process: Process, t: Float[Array, " b"], low: float, high: float) -> Bool[Array, " b"]:
    """Whether low < sigma / alpha <= high."""
    noise = process.sigma(t)
    return (noise > low * process.alpha(t)) & (noise <= high * process.alpha(t))


def _guided(
    process: Process, alone: Callable, pair: Callable, scale: float | Array, low: float, high: float, rescale: float
) -> Callable:
    """What `pair` (x, t) -> (the wanted answer's parts, the other score) gives within the interval, else `alone`."""

    def within(x: Array, t: Array) -> Any:
        (wanted, *rest), other = pair(x, t)
        strength = jnp.asarray(scale, x.dtype) - 1.0  # in this form scale 1 is exact
        if not _everywhere(low, high):
            strength = jnp.where(inside(process, t, low, high), strength, 0.0)
        moved = wanted + expand(strength, x) * (wanted - other)
        if rescale:
            tiny = jnp.finfo(x.dtype).tiny
            wide, narrow = (jnp.std(a.reshape(len(x), -1), axis=1) for a in (moved, wanted))
            moved = moved * expand(1.0 - rescale + rescale * narrow / jnp.maximum(wide, tiny), x)
        return (moved, *rest) if rest else moved

    if _everywhere(low, high):
        return within
    return lambda x, t: jax.lax.cond(jnp.any(inside(process, t, low, high)), within, alone, x, t)


def _parts(answer: Any) -> tuple:
    return answer if isinstance(answer, tuple) else (answer,)


def _everywhere(low: float, high: float) -> bool:
    return low == 0.0 and high == math.inf


def known_scale(scale: float | Array, low: float, high: float, rescale: float) -> float | None:
    """The scale where it is a number; None where it is an array. Checks all."""
    if isinstance(scale, jax.Array | np.ndarray):
        check(1.0, low, high, rescale)
        return None
    check(scale, low, high, rescale)
    return scale
