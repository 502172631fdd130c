"""Consistency distillation and consistency training (Song et al. 2023, arXiv:2303.01469, Algorithms 2 and 3).

    loss = w d(f(x_t, t), f_target(x_r, r)),        t = t_i, r = t_(i+1) on a grid of N points from noise to t_min

With a teacher x_r is one Heun step of its probability flow from x_t, in sigma; without one x_r has the noise of x_t
itself, which is right in expectation as N grows. The number of points and the target's rate are functions of the step:

    n(k) = max(ceil(sqrt(k / K ((s1 + 1)^2 - s0^2) + s0^2) - 1), 1),    N = n + 1,    mu = exp(s0 log(mu0) / n)

as in the authors' code, where mu goes by n and the grid has one point more. The target follows the weights behind each
step of the optimiser, mu t + (1 - mu) w, with the mu of that step.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiment.ranges import FIELDS
from sde_lib import AffineSDE, PredictFn, expand
from sde_lib.prediction import along
from training.draws import Draws
from training.examples import Examples
from training.losses.paired import Image, Noise, PairedLoss, Time, noise_at, noise_range, time_at
from training.model import Scores, TrainedModel
from training.times import uniform_numbers


def _resized(difference: Image) -> Image:
    """The difference of images [b, h, w, c] at 32 by 32 pixels, bilinearly."""
    return jax.image.resize(difference, (len(difference), 32, 32, difference.shape[-1]), "linear", antialias=False)


def _mean(values: Image) -> Float[Array, " b"]:
    return jnp.mean(values.reshape(len(values), -1), axis=1)


def _largest(rows: Float[Array, "b n"]) -> Float[Array, " b"]:
    """The largest number of each row, by its place.

    The gradient of `jnp.max` asks which numbers are equal to it, and where a compiled program rounds them differently
    a second time none is: then it is NaN.
    """
    place = jnp.argmax(rows, axis=1, keepdims=True)
    return jnp.take_along_axis(rows, place, axis=1)[:, 0]


NORMS: dict[str, Callable[[Image], Float[Array, " b"]]] = {
    "l1": lambda d: _mean(jnp.abs(d)),
    "l2": lambda d: _mean(jnp.square(d)),
    "l2_32": lambda d: _mean(jnp.square(_resized(d))),
    "linf": lambda d: _largest(jnp.abs(d.reshape(len(d), -1))),
}
"""The distances of two images as functions of their difference; "l2" is the mean square, "l1" the mean."""

WEIGHTS: dict[str, Callable[[Noise, float], Noise]] = {
    "uniform": lambda snr, sigma_data: jnp.ones_like(snr),
    "snr": lambda snr, sigma_data: snr,
    "snr_plus_1": lambda snr, sigma_data: snr + 1.0,
    "truncated_snr": lambda snr, sigma_data: jnp.maximum(snr, 1.0),
    "karras": lambda snr, sigma_data: snr + sigma_data**-2,
}
"""w as functions of SNR at t, the noisier of the two times, and sigma_data.

They are weights on an error of images, unlike `training.weight`, which is on one of noise: its "uniform" is "snr" here.
"""


def grid_noise(process: AffineSDE, position: Noise, power: float) -> Noise:
    """Return sigma / alpha at a position in [0, 1] of Karras et al.'s grid, from the largest to that at t_min.

    (arXiv:2206.00364, eq. 5: point i of N is at the position i / (N - 1).)
    """
    last, first = (noise ** (1.0 / power) for noise in noise_range(process))
    return (first + position * (last - first)) ** power


def heun_step(process: AffineSDE, teacher: PredictFn, x: Image, t: Time, r: Time) -> Image:
    """Return x_r of one step of Heun's method along a teacher's flow; two evaluations.

    The step is that of Karras et al. 2022 (Algorithm 1) for x / alpha in sigma / alpha, whose slope is eps. The teacher
    may be a model of another process: it is asked where its own has the same noise.
    """
    predict, alpha = along(process, teacher), process.alpha(r)
    h, scaled = noise_at(process, r) - noise_at(process, t), x / expand(process.alpha(t), x)
    slope = predict(x, t).eps
    euler = expand(alpha, x) * (scaled + expand(h, x) * slope)
    return expand(alpha, x) * (scaled + expand(0.5 * h, x) * (slope + predict(euler, r).eps))


@dataclasses.dataclass(frozen=True, eq=False)
class Consistency(PairedLoss):
    """Distillation of a teacher where there is one, else training from data.

    Attributes:
      scale_mode: "progressive", N(k) as above, or "fixed", N = start_scales.
      start_scales, end_scales: s0 and s1 (published: 2 and 150 for CIFAR-10, 200 for ImageNet-64; fixed: 18 and 40).
      target_ema_mode: "adaptive", mu(k) as above, or "fixed", start_ema.
      start_ema: mu0 (published: 0.9 and 0.95; with 0 the target is the network itself).
      karras_power: of the grid.
      loss_norm: the distance d, a name of `NORMS`.
      consistency_weight: w, a name of `WEIGHTS`.
      sigma_data: of the weight "karras".
      stratified: whether each of B equal strata of a batch gives one i, instead of B independent draws.

    Raises:
      ValueError: an option is out of its range, or the distance between features of a network ("lpips").
    """

    needs_target: ClassVar[bool] = True
    takes_teacher: ClassVar[bool] = True

    scale_mode: Annotated[str, FIELDS["training.scale_mode"]] = "progressive"
    start_scales: Annotated[int, FIELDS["training.start_scales"]] = 2
    end_scales: Annotated[int, FIELDS["training.end_scales"]] = 150
    target_ema_mode: Annotated[str, FIELDS["training.target_ema_mode"]] = "adaptive"
    start_ema: Annotated[float, FIELDS["training.start_ema"]] = 0.9
    karras_power: Annotated[float, FIELDS["training.karras_power"]] = 7.0
    loss_norm: Annotated[str, FIELDS["training.loss_norm"]] = "l2"
    consistency_weight: Annotated[str, FIELDS["training.consistency_weight"]] = "uniform"
    sigma_data: Annotated[float, FIELDS["training.sigma_data"]] = 0.5
    stratified: Annotated[bool, FIELDS["training.stratified"]] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss_norm not in NORMS:
            raise ValueError(
                f"training.loss_norm is {self.loss_norm!r}, the distance between the features of a network that comes "
                f"with the autoencoders, and is not here; take one of {', '.join(NORMS)} (published beside it: l2)"
            )
        if self.scale_mode == "progressive" and self.end_scales < self.start_scales:
            raise ValueError(
                f"training.start_scales is {self.start_scales} and training.end_scales {self.end_scales}; a grid that "
                "grows needs start_scales <= end_scales"
            )

    def intervals(self, step: Int[Array, ""]) -> Int[Array, ""]:
        """Return n(k); of a fixed grid its number of points, by which mu goes there.

        n counts the j >= 0 below sqrt(...) - 1: those with k ((s1 + 1)^2 - s0^2) > K ((j + 1)^2 - s0^2), in whole
        numbers, since a root that is rounded up would begin with one more.
        """
        if self.scale_mode == "fixed":
            return jnp.asarray(self.start_scales)
        first, last = self.start_scales**2, (self.end_scales + 1) ** 2
        passed = [self.total_steps * ((j + 1) ** 2 - first) // (last - first) for j in range(self.end_scales)]
        return jnp.maximum(jnp.sum(step > np.array(passed, np.int32)), 1)

    def scales(self, step: Int[Array, ""]) -> Int[Array, ""]:
        """Return N(k), the number of points of the grid."""
        return self.intervals(step) + (self.scale_mode == "progressive")

    def target_decay(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """Return mu(k)."""
        if self.target_ema_mode == "fixed":
            return jnp.asarray(self.start_ema)
        return jnp.asarray(self.start_ema) ** (self.start_scales / self.intervals(step))

    def pair(self, draws: Draws, step: Int[Array, ""]) -> tuple[Time, Time]:
        """Return (t_i, t_(i+1)), i uniform in 0, ..., N - 2; t_0 is the noisiest."""
        last = self.scales(step) - 1
        i = jnp.minimum(jnp.floor(uniform_numbers(draws, self.stratified) * last), last - 1)
        power = self.karras_power
        t, r = (time_at(self.process, grid_noise(self.process, index / last, power)) for index in (i, i + 1))
        return t, r

    def at(self, model: TrainedModel, examples: Examples, t: Time, r: Time, eps: Image) -> Scores:
        """Return w d; two evaluations, one of them with a gradient, and two of the teacher where there is one."""
        x_t = self.noised(examples.x0, t, eps)
        if model.teacher is None:
            x_r = self.noised(examples.x0, r, eps)
        else:
            x_r = heun_step(self.process, model.teacher, x_t, t, r)
        weight = WEIGHTS[self.consistency_weight](noise_at(self.process, t) ** -2, self.sigma_data)
        return {"loss": weight * NORMS[self.loss_norm](self.difference(model, x_t, x_r, t, r, model.target))}
