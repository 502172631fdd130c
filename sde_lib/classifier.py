"""What a classifier of noisy data says at a noise level of any SDE, and the probability of a class by it.

It is shown the data at the same size at every level (`sde_lib.features`): VE's x at sigma = 50 is as large as VP's at
t = 1. A point so scaled depends on x / alpha and the signal-to-noise ratio alone; told the noise by its log_snr, a
classifier trained on one SDE is therefore the same function of the data on every other.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sde_lib.base import AffineSDE
from sde_lib.features import features_fn
from sde_lib.noise_levels import NoiseLevels
from sde_lib.prediction import NetworkFn

SIGMA_DATA = 0.5
"""Standard deviation of the data, about that of images in [-1, 1]; others differ from it by no more than a factor."""

LogitsFn = Callable[[Float[Array, "b *d"], Float[Array, " b"]], Float[Array, "b k"]]
"""(x [b, ...], t [b]) -> logits [b, k]: log p(y | x_t) but for a constant."""

LogProbFn = Callable[[Float[Array, "b *d"], Float[Array, " b"]], Float[Array, " b"]]
"""(x [b, ...], t [b]) -> log p(y | x_t) [b] of each example's own y, nats."""


def logits_fn(process: AffineSDE | NoiseLevels, network: NetworkFn, noise_label: str) -> LogitsFn:
    """The `LogitsFn` of a classifier network (x [b, ...], c_noise [b]) -> logits [b, k]; one evaluation a call.

    `process` is the SDE, or its `NoiseLevels` where the network was trained on a discrete chain.

    Raises:
      ValueError: an unknown noise label.
    """
    return features_fn(process, network, noise_label, SIGMA_DATA)


def log_prob_fn(logits: LogitsFn, label: Int[Array, " b"]) -> LogProbFn:
    """The `LogProbFn` of each example's class: log softmax(logits) at its label, 0 and no gradient where that is -1."""

    def log_prob(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Float[Array, " b"]:
        each = jax.nn.log_softmax(logits(x, t))
        return jnp.sum(jax.nn.one_hot(label, each.shape[-1], dtype=each.dtype) * each, axis=-1)

    return log_prob
