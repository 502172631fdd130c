"""Improved consistency training (Song and Dhariwal 2023, arXiv:2310.14189).

    loss = (sqrt(|f(x_t, t) - f(x_r, r)|^2 + c^2) - c) / (sigma_t - sigma_r)

on a grid whose number of points doubles, with the student at the noisier of two neighbours. The target is the network
itself, without a gradient: an average of the weights would bias it (sec. 3.2).
"""

import dataclasses
import math
from typing import Annotated

import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Int

from experiment.ranges import FIELDS
from training.draws import Draws
from training.losses.consistency import grid_noise
from training.losses.paired import HuberPairs, Time, noise_range, time_at
from training.times import uniform_numbers


@dataclasses.dataclass(frozen=True, eq=False)
class ImprovedConsistency(HuberPairs):
    """The pseudo-Huber distance over the whole image, between neighbours of a grid of N(k) points.

    N(k) = min(s0 2^floor(k / K'), s1) + 1, K' = floor(K / (log2 floor(s1 / s0) + 1)). The interval between two points
    is drawn with the probability that log sigma, normal and cut at the ends of the grid, lies within it (eq. 10 and
    App. A): here by drawing that sigma.

    Attributes:
      start_scales, end_scales: s0 and s1 (published: 10 and 1280).
      P_mean, P_std: mean and deviation of log sigma (published: -1.1 and 2).
      karras_power: of the grid.
      stratified: whether each of B equal strata of a batch gives one sigma, instead of B independent draws.

    Raises:
      ValueError: an option is out of its range.
    """

    start_scales: Annotated[int, FIELDS["training.start_scales"]] = 2
    end_scales: Annotated[int, FIELDS["training.end_scales"]] = 150
    P_mean: Annotated[float, FIELDS["training.P_mean"]] = -1.2
    P_std: Annotated[float, FIELDS["training.P_std"]] = 1.2
    karras_power: Annotated[float, FIELDS["training.karras_power"]] = 7.0
    stratified: Annotated[bool, FIELDS["training.stratified"]] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.end_scales < self.start_scales:
            raise ValueError(
                f"training.start_scales is {self.start_scales} and training.end_scales {self.end_scales}; a grid that "
                "doubles needs start_scales <= end_scales"
            )

    def scales(self, step: Int[Array, ""]) -> Int[Array, ""]:
        """Return N(k)."""
        doublings = math.log2(self.end_scales // self.start_scales)
        every = max(math.floor(self.total_steps / (doublings + 1.0)), 1)
        times = jnp.minimum(step // every, math.ceil(math.log2(self.end_scales / self.start_scales)))
        return jnp.minimum(self.start_scales * 2**times, self.end_scales) + 1

    def pair(self, draws: Draws, step: Int[Array, ""]) -> tuple[Time, Time]:
        """Return the ends of the interval of the grid in which the drawn sigma lies."""
        ends, power, last = noise_range(self.process), self.karras_power, self.scales(step) - 1
        low, high = (ndtr((jnp.log(end) - self.P_mean) / self.P_std) for end in ends)
        noise = jnp.exp(self.P_mean + self.P_std * ndtri(low + uniform_numbers(draws, self.stratified) * (high - low)))
        least, most, root = (sigma ** (1.0 / power) for sigma in (*ends, noise))
        i = jnp.clip(jnp.floor((most - root) / (most - least) * last), 0, last - 1)
        t, r = (time_at(self.process, grid_noise(self.process, index / last, power)) for index in (i, i + 1))
        return t, r
