"""What a model says of a noised point, whatever it was trained to output: the pair (x0, eps).

A point x = alpha x0 + sigma eps and any one of its prediction types determine this pair, and the pair determines every
other: the score is -eps / sigma, and the velocity of the probability flow alpha' x0 + sigma' eps. A solver that has
both divides by neither alpha nor sigma.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_lib.base import Coefficient, Process, expand

ScoreFn = Callable[[Float[Array, "b *d"], Float[Array, " b"]], Float[Array, "b *d"]]
"""(x [b, ...], t [b]) -> grad_x log p_t(x) [b, ...]."""

NetworkFn = Callable[..., Array]
"""(x [b, ...], c_noise [b]) -> the output [b, ...]: the shape of x, or twice its channels.

One that is told where a jump ends takes (x, c_noise, end [b]).
"""

NEARLY_NOISE = 1.0 - 1e-3
"""The time at which a score, or a network that predicts eps, is asked in place of one at which alpha is 0.

There x is noise alone, and neither says anything of x0: the process then begins at this time with draws of its prior.
"""


class Prediction(NamedTuple):
    """What a model says at (x, t).

    Attributes:
      x0: the denoised point E[x_0 | x_t = x], [b, ...].
      eps: the noise in x, [b, ...]; x = alpha x0 + sigma eps.
      variance: the output v of a network that predicts a variance too (Nichol and Dhariwal 2021, arXiv:2102.09672),
        [b, ...], whose meaning is a name of `sde_lib.VARIANCES`; None where there is none.
    """

    x0: Float[Array, "b *d"]
    eps: Float[Array, "b *d"]
    variance: Float[Array, "b *d"] | None = None


@dataclasses.dataclass(frozen=True)
class PredictFn:
    """(x [b, ...], t [b]) -> `Prediction`: a model along one process, which is what every solver follows.

    A model of jumps is told the time s < t at which one ends (`sde_lib.jump`); its limit s = t is the prediction that
    solvers and likelihoods follow.

    Attributes:
      process: gives the alpha and sigma for which the pairs hold: an SDE, or the `NoiseLevels` of a discrete chain.
      function: (x, t) -> `Prediction`; of a model that is told the end of a jump (x, t, s).
      told_end: whether it is.
    """

    process: Process
    function: Callable[..., Prediction]
    told_end: bool = False

    def __call__(
        self, x: Float[Array, "b *d"], t: Float[Array, " b"], s: Float[Array, " b"] | None = None
    ) -> Prediction:
        """The prediction at points x and times t, of a model of jumps for the one to s; without s for s = t."""
        return self.function(x, t, t if s is None else s) if self.told_end else self.function(x, t)

    def score(self, x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Float[Array, "b *d"]:
        """The `ScoreFn`; one evaluation of the model."""
        return self.score_of(self(x, t), t)

    def score_of(self, prediction: Prediction, t: Coefficient) -> Float[Array, "b *d"]:
        """The score that a prediction at t stands for, -eps / sigma; sigma(t) must not be 0."""
        return -prediction.eps / expand(self.process.sigma(t), prediction.eps)


Model = PredictFn | ScoreFn | Callable[[Float[Array, "b *d"], Float[Array, " b"]], Prediction]
"""What solvers take: predictions, or a score, which `as_prediction` turns into them."""


def of_eps(
    process: Process,
    x: Float[Array, "b *d"],
    t: Coefficient,
    eps: Float[Array, "..."],
    variance: Float[Array, "b *d"] | None = None,
) -> Prediction:
    """The prediction of a model that finds this noise in x, in its shape; alpha(t) must not be 0."""
    alpha, sigma = expand(process.alpha(t), x), expand(process.sigma(t), x)
    return Prediction((x - sigma * eps) / alpha, eps, variance)


def of_x0(
    process: Process,
    x: Float[Array, "b *d"],
    t: Coefficient,
    x0: Float[Array, "b *d"],
    variance: Float[Array, "b *d"] | None = None,
) -> Prediction:
    """The prediction of a model whose denoised point is this one; where sigma(t) is 0 its eps is 0."""
    alpha, sigma = expand(process.alpha(t), x), expand(process.sigma(t), x)
    noisy = sigma > 0.0
    return Prediction(x0, jnp.where(noisy, (x - alpha * x0) / jnp.where(noisy, sigma, 1.0), 0.0), variance)


def with_gradient(
    process: Process, prediction: Prediction, t: Coefficient, gradient: Float[Array, "b *d"]
) -> Prediction:
    """The prediction at the same x whose score has this gradient added; unchanged where alpha(t) is 0.

    There x says nothing of the data, and so the gradient of whatever is said of them is 0.
    """
    alpha, sigma = (expand(c, gradient) for c in (process.alpha(t), process.sigma(t)))
    seen = alpha > 0.0
    push = jnp.where(seen, sigma * gradient, 0.0)
    x0 = prediction.x0 + sigma / jnp.where(seen, alpha, 1.0) * push
    return Prediction(x0, prediction.eps - push, prediction.variance)


def begins_in_noise(process: Process) -> bool:
    """Whether alpha is 0 at t = 1, so that a point there says nothing of the data."""
    with jax.ensure_compile_time_eval():
        alpha = process.alpha(jnp.ones(()))
    # A schedule whose numbers are traced is one that is learned, whose alpha is never 0.
    return not isinstance(alpha, jax.core.Tracer) and float(alpha) == 0.0


def before_noise(process: Process, t: Float[Array, "..."]) -> Float[Array, "..."]:
    """t, but `NEARLY_NOISE` where alpha(t) is 0."""
    if not begins_in_noise(process):
        return t
    return jnp.where(process.alpha(t) == 0.0, jnp.asarray(NEARLY_NOISE, t.dtype), t)


def of_score(process: Process, score: ScoreFn) -> PredictFn:
    """The predictions that a score stands for: eps = -sigma score, and x0 by Tweedie's formula (Efron 2011).

    Where alpha is 0 the score is asked at `NEARLY_NOISE`.
    """

    def function(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Prediction:
        t = before_noise(process, t)
        return of_eps(process, x, t, -expand(process.sigma(t), x) * score(x, t))

    return PredictFn(process, function)


def as_prediction(process: Process, model: Model) -> PredictFn:
    """What every solver does first with its model: predictions stay as they are, of a score they are `of_score`'s.

    A function may be either; what it returns says which.
    """
    if isinstance(model, PredictFn):
        return model
    ask: Any = model

    def function(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Prediction:
        if begins_in_noise(process):  # a score is not to be asked at t = 1, so which it is must be known before
            return ask(x, t) if isinstance(jax.eval_shape(ask, x, t), Prediction) else of_score(process, ask)(x, t)
        answer = ask(x, t)
        return answer if isinstance(answer, Prediction) else of_score(process, lambda x, t: answer)(x, t)

    return PredictFn(process, function)


def along(process: Process, predict: PredictFn) -> PredictFn:
    """The predictions of a model of another process, at the points of this one that have the same noise.

    x / alpha has the noise sigma / alpha along both, so the pair (x0, eps) is the same. Both are processes in
    continuous time. Where alpha is 0 the model is asked at `NEARLY_NOISE`; noise that the other process does not have
    is that at its nearer end.
    """
    other: Any = predict.process
    if other == process:
        return predict

    def function(x: Float[Array, "b *d"], t: Float[Array, " b"], *s: Float[Array, " b"]) -> Prediction:
        t = before_noise(process, t)
        time = other.time_of_log_snr(process.log_snr(t)).astype(x.dtype)
        ends = [other.time_of_log_snr(process.log_snr(before_noise(process, end))).astype(x.dtype) for end in s]
        ends = [jnp.where(end > 0.0, there, 0.0) for end, there in zip(s, ends, strict=True)]
        return predict(expand(other.alpha(time) / process.alpha(t), x) * x, time, *ends)

    return PredictFn(process, function, predict.told_end)


def halves(output: Float[Array, "b *c"], x: Float[Array, "b *d"]) -> tuple[Array, Array | None]:
    """A network's output at x as prediction and variance output v, which is None where it has the channels of x alone.

    Raises:
      ValueError: an output that has neither the shape of x nor twice its channels.
    """
    if output.shape == x.shape:
        return output, None
    if output.shape != (*x.shape[:-1], 2 * x.shape[-1]):
        raise ValueError(
            f"the network's output is {output.shape} for an input of {x.shape}; allowed are the same shape, or twice "
            "the channels where it predicts a variance too"
        )
    prediction, v = jnp.split(output, 2, axis=-1)
    return prediction, v
