"""Denoising score matching (Vincent 2011; Song et al. 2021, arXiv:2011.13456, eq. 7) as three independent choices.

For x_t = alpha x_0 + sigma eps the score of p(x_t | x_0) is -eps / sigma, so every loss of this family is

    E_t  w(t)  E_(x_0, eps) |eps_hat(x_t, t) - eps|^2

whatever the network predicts: how t is drawn (`training.times`), what an error at t counts (`training.weighting`), and
whether the numbers of an image are averaged or added up. The published losses have these names:

    L_simple (Ho et al. 2020), weight sigma^2 (Song et al. 2021):  time_sampling uniform, weight uniform
    EDM (Karras et al. 2022, arXiv:2206.00364, table 1):           time_sampling lognormal, weight edm
    a bound on the likelihood (Song et al. 2021b, Theorem 1):      time_sampling uniform, weight likelihood

Since g^2 / sigma^2 = -d/dt log SNR, drawing t uniformly in log SNR turns the likelihood's weight into a constant: that
is the importance sampling of Song et al. 2021b (arXiv:2101.09258, App. B), here for every affine SDE at once.

On the n noise levels of a chain t takes their times, and alpha and sigma are the chain's. With weight uniform that is
the loss of DDPM (Ho et al. 2020, eq. 14) for VP and of SMLD (Song and Ermon 2019, eq. 6) for VE.
"""

import dataclasses
from typing import Annotated

import chex
import jax.numpy as jnp
from jaxtyping import Array, Float

from experiment.ranges import FIELDS
from sde_lib import NoiseLevels, Prediction
from training.draws import Draws
from training.examples import Examples
from training.losses.base import NoisedLoss
from training.model import Scores, TrainedModel
from training.times import LossHistory, log_snr_range
from training.weighting import Weighting, Weights


def weighted_errors(
    weights: Float[Array, " b"], eps_hat: Float[Array, "b *d"], eps: Float[Array, "b *d"], *, reduce_mean: bool = True
) -> Float[Array, " b"]:
    """Return the weight of each example times the mean, or half the sum, of its squared errors."""
    errors = jnp.square(eps_hat - eps).reshape(len(eps), -1)
    return weights * (jnp.mean(errors, axis=1) if reduce_mean else 0.5 * jnp.sum(errors, axis=1))


def errors(
    weights: Weights,
    prediction: Prediction,
    x0: Float[Array, "b *d"],
    eps: Float[Array, "b *d"],
    *,
    reduce_mean: bool = True,
) -> Float[Array, " b"]:
    """Return the weighted errors of what the model says of eps, and of x0 where that counts, of each example."""
    of_eps = weighted_errors(weights.eps, prediction.eps, eps, reduce_mean=reduce_mean)
    if weights.x0 is None:
        return of_eps
    return of_eps + weighted_errors(weights.x0, prediction.x0, x0, reduce_mean=reduce_mean)


@dataclasses.dataclass(frozen=True, eq=False)
class DenoisingScoreMatching(NoisedLoss):
    """The loss is w(t) |eps_hat - eps|^2.

    Attributes:
      weighting: w(t).
      importance_sampling: whether t is drawn uniformly in log SNR for the weight "likelihood": the expectation is the
        same, the variance less.
      reduce_mean: whether the loss is the mean over an example's numbers, or half their sum (both are published).

    Raises:
      ValueError: two options contradict each other.
    """

    leaves_out = True

    weighting: Weighting = Weighting()
    importance_sampling: Annotated[bool, FIELDS["training.importance_sampling"]] = False
    reduce_mean: Annotated[bool, FIELDS["training.reduce_mean"]] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        bounds = self.weighting.bounds_likelihood
        if isinstance(self.process, NoiseLevels) and bounds:
            raise ValueError(
                "training.likelihood_weighting bounds the likelihood of a process in continuous time; with "
                "training.continuous=False leave it off"
            )
        if self.importance_sampling and not bounds:
            raise ValueError(
                "training.importance_sampling is for training.likelihood_weighting=True: it draws t in proportion to "
                "that weight; switch both on or both off"
            )
        if bounds and self.times.time_sampling != "uniform":
            raise ValueError(
                f"training.time_sampling is {self.times.time_sampling!r}, and the weight 'likelihood' bounds the "
                "likelihood for t uniform in time; set it to 'uniform', with training.importance_sampling for less "
                "variance"
            )

    def draw_times(self, draws: Draws, state: LossHistory | None = None) -> Float[Array, " b"]:
        """Return drawn times, with importance sampling uniform in log SNR."""
        times = dataclasses.replace(self.times, time_sampling="log_snr") if self.importance_sampling else self.times
        return times(self.process, draws, state)

    def weights(self, t: Float[Array, " b"]) -> Weights:
        """Return what errors count at t; with importance sampling the constant that leaves the expectation as it is."""
        if self.importance_sampling and not isinstance(self.process, NoiseLevels):
            first, last = log_snr_range(self.process)
            return Weights(jnp.full_like(t, (first - last) / (1.0 - self.process.t_min)))
        return self.weighting(self.process, t)

    def at(self, model: TrainedModel, examples: Examples, t: Float[Array, " b"], eps: Float[Array, "b *d"]) -> Scores:
        """Return the loss of examples with this noise at these times; one network evaluation."""
        x0 = examples.x0
        chex.assert_equal_shape([x0, eps])
        chex.assert_shape(t, (len(x0),))
        prediction = model.predict_fn(self.process)(self.noised(x0, t, eps), t)
        loss = errors(self.weights(t), prediction, x0, eps, reduce_mean=self.reduce_mean)
        return {"loss": examples.over_present(loss) if self.reduce_mean else loss}
