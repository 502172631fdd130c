"""Easy consistency tuning (Geng et al. 2024, arXiv:2406.14548): a diffusion model is tuned to a consistency model.

    loss = |D(x_t, t) - D(x_r, r)| / (t - r),        r = t (1 - q^-(stage + 1) (1 + k sigmoid(-b t))), at least 0

where t and r are sigma, or with c > 0 the pseudo-Huber distance of the two. In the first stage most r are 0, where the
loss is that of a diffusion model; every stage brings r nearer to t. The map leads to data, it is the denoiser D itself:
the authors train with EDM's plain scalings too, and put a boundary at sigma 0.003 only where they draw samples. So the
weights and the parameterization are those of the diffusion model that the training begins with.
"""

import dataclasses
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from experiment.ranges import FIELDS
from training.draws import Draws
from training.losses.paired import HuberPairs, Noise, Time, noise_at, noise_range, time_at
from training.times import Times


@dataclasses.dataclass(frozen=True, eq=False)
class EasyConsistency(HuberPairs):
    """The distance between the denoiser at t and, without a gradient, at r: the same noise, weights and dropout.

    Attributes:
      times: how t is drawn (published: lognormal with P_mean -1.1 and P_std 2; CIFAR-10: -0.8 and 1.6).
      ect_q: q, by whose powers r comes near to t (published: 2, or 256 without stages).
      ect_k, ect_b: k and b, which bring r of little noise nearer to 0 (published: 8 and 1; k = 0 is without).
      doubling_steps: the steps of a stage; 0: there is only the first.

    Published is huber_c = 0, the norm itself. An r below the least noise of the process is 0, and there the aim is the
    example itself.

    Raises:
      ValueError: an option is out of its range.
    """

    tunes: ClassVar[bool] = True

    times: Times = Times()
    ect_q: Annotated[int, FIELDS["training.ect_q"]] = 2
    ect_k: Annotated[float, FIELDS["training.ect_k"]] = 8.0
    ect_b: Annotated[float, FIELDS["training.ect_b"]] = 1.0
    doubling_steps: Annotated[int, FIELDS["training.doubling_steps"]] = 0

    @property
    def end(self) -> float:
        """Data, t = 0."""
        return 0.0

    def cleaner(self, noise: Noise, step: Int[Array, ""]) -> Noise:
        """Return sigma_r of sigma_t at a step."""
        stage = step // self.doubling_steps if self.doubling_steps else 0
        ratio = 1.0 - float(self.ect_q) ** -(stage + 1.0) * (1.0 + self.ect_k * jax.nn.sigmoid(-self.ect_b * noise))
        return jnp.maximum(ratio, 0.0) * noise

    def pair(self, draws: Draws, step: Int[Array, ""]) -> tuple[Time, Time]:
        """Return t as drawn, and r of that."""
        t = self.times(self.process, draws)
        r = self.cleaner(noise_at(self.process, t), step)
        return t, jnp.where(r > noise_range(self.process)[0], time_at(self.process, r), self.end)
