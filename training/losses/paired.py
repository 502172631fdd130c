"""Losses of two points of one path: what a map makes of the noisier one is led to what it makes of the other.

A consistency function leads every point of a path of the probability flow to the path's end. So its loss compares what
the network makes of x_t and of x_r, r < t, which lie on one path or nearly so; only the former is given the gradient
(Song et al. 2023, arXiv:2303.01469). The losses differ in how (t, r) and x_r are chosen, and in the distance.

Published formulas are in the noise of data of scale 1, sigma / alpha, which is EDM's time; here the pairs are times of
any process.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from experiment.ranges import FIELDS
from sde_lib import AffineSDE, expand, jump_fn
from sde_lib.prediction import before_noise
from training.draws import Draws
from training.examples import Examples
from training.losses.base import Loss
from training.model import Scores, TrainedModel, Weights

Time = Float[Array, " b"]
Noise = Float[Array, "..."]
Image = Float[Array, "b *d"]
Map = Callable[[Image, Time], Image]
"""(x [b, ...], t [b]) -> the end of its path, [b, ...]."""


def noise_at(process: AffineSDE, t: Noise) -> Noise:
    """Return sigma / alpha at t; where alpha is 0 it is that of `NEARLY_NOISE`."""
    t = before_noise(process, t)
    return process.sigma(t) / process.alpha(t)


def time_at(process: AffineSDE, noise: Noise) -> Noise:
    """Return the time in [t_min, 1] with this sigma / alpha; of other values the nearer end's."""
    return process.time_of_log_snr(-2.0 * jnp.log(noise))


def noise_range(process: AffineSDE) -> tuple[Array, Array]:
    """Return sigma / alpha at t_min and at 1."""
    return noise_at(process, jnp.asarray(process.t_min)), noise_at(process, jnp.asarray(1.0))


def pseudo_huber(difference: Image, c: float) -> Float[Array, " b"]:
    """Return sqrt(|difference|^2 + c^2 D) - c sqrt(D) over all D numbers of an example; with c = 0 its norm.

    (Song and Dhariwal 2023, arXiv:2310.14189, eq. 7, whose c is this one times sqrt(D).) The root is of the whole
    image: one for each pixel would be another loss.
    """
    rows = difference.reshape(len(difference), -1)
    squares, offset = jnp.sum(jnp.square(rows), axis=1), c * rows.shape[1] ** 0.5
    root = jnp.sqrt(jnp.maximum(squares + offset**2, jnp.finfo(rows.dtype).tiny))
    return squares / (root + offset)


@dataclasses.dataclass(frozen=True, eq=False)
class PairedLoss(Loss):
    """A loss of x_t and x_r on one path.

    Attributes:
      process: what noises the data, in continuous time.
      total_steps: the length K of the training over which its schedule goes; a config's 0 is ``training.n_iters``.

    Raises:
      ValueError: noise levels, which have no flow, or no length.
    """

    of_levels = False

    process: AffineSDE
    total_steps: Annotated[int, FIELDS["training.total_steps"]] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.total_steps:
            raise ValueError(
                "training.total_steps is 0; the schedule of this loss goes over a whole training: give the number of "
                "its steps (in a config 0 is training.n_iters)"
            )

    @property
    def end(self) -> float:
        """The time to which the map leads, which is the process's t_min."""
        return self.process.t_min

    @abc.abstractmethod
    def pair(self, draws: Draws, step: Int[Array, ""]) -> tuple[Time, Time]:
        """Return the times (t, r) of each example at a step, r < t."""

    @abc.abstractmethod
    def at(self, model: TrainedModel, examples: Examples, t: Time, r: Time, eps: Image) -> Scores:
        """Return the scores of examples with this noise at these pairs of times."""

    def noised(self, x0: Image, t: Time, eps: Image) -> Image:
        """Return x_t, which is x0 at t = 0."""
        mean, std = self.process.marginal(x0, t)
        return jnp.where(expand(t, x0) > 0.0, mean + expand(std, x0) * eps, x0)

    def map(self, model: TrainedModel, weights: Weights | None = None) -> Map:
        """Return the jump to `end`, of these weights or of those that are trained; one evaluation a call.

        A point that is at the end already stays there, whatever the network says. Both points of a pair meet the same
        dropout, which is the example's own.
        """
        leap = jump_fn(self.process, model.predict_fn(self.process, weights))

        def function(x: Image, t: Time) -> Image:
            return jnp.where(expand(t, x) > self.end, leap(x, t, jnp.full_like(t, self.end)), x)

        return function

    def difference(
        self, model: TrainedModel, x_t: Image, x_r: Image, t: Time, r: Time, target: Weights | None = None
    ) -> Image:
        """Return f(x_t, t) - f(x_r, r); the latter, of the `target` weights or the same, is without a gradient."""
        aim = jax.lax.stop_gradient(self.map(model, target)(jax.lax.stop_gradient(x_r), r))
        return self.map(model)(x_t, t) - aim

    def __call__(self, model: TrainedModel, examples: Examples, state: None = None) -> Scores:
        """Return the scores at drawn pairs; of a model that is tested, as the last step draws them."""
        step = jnp.asarray(self.total_steps - 1) if model.step is None else model.step
        t, r = (time.astype(examples.x0.dtype) for time in self.pair(examples.draws, step))
        return self.at(model, examples, t, r, examples.draws.eps(examples.x0))


@dataclasses.dataclass(frozen=True, eq=False)
class HuberPairs(PairedLoss):
    """The pseudo-Huber distance of two points with the same noise, over their distance in sigma: no target network.

    Attributes:
      huber_c: c of `pseudo_huber`.
    """

    huber_c: Annotated[float, FIELDS["training.huber_c"]] = 0.00054

    def at(self, model: TrainedModel, examples: Examples, t: Time, r: Time, eps: Image) -> Scores:
        """Return the loss of examples with this noise at these pairs; two evaluations, one of them with a gradient."""
        x_t, x_r = (self.noised(examples.x0, time, eps) for time in (t, r))
        step = noise_at(self.process, t) - noise_at(self.process, r)
        return {"loss": pseudo_huber(self.difference(model, x_t, x_r, t, r), self.huber_c) / step}
