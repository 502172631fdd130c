"""What a network that judges noisy data, a classifier or a CLIP, sees at a noise level of any process.

It is shown x / sqrt(alpha^2 sigma_d^2 + sigma^2), as large at every level as data of the deviation sigma_d make it,
EDM's c_in for data of any scale alpha (Karras et al. 2022, arXiv:2206.00364, table 1). With sigma_d = 1 and a process
that preserves the variance that is x itself, as which the CLIP of GLIDE was shown it (Nichol et al. 2022,
arXiv:2112.10741, sec. 2.4).
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_lib.base import AffineSDE, expand
from sde_lib.noise_levels import NoiseLevels
from sde_lib.parameterization import noise_label_fn

FeaturesFn = Callable[[Float[Array, "b *d"], Float[Array, " b"]], Float[Array, "b e"]]
"""(x [b, ...], t [b]) -> features [b, e]."""


def features_fn(
    process: AffineSDE | NoiseLevels, encode: FeaturesFn, noise_label: str, data_std: float = 1.0
) -> FeaturesFn:
    """The `FeaturesFn` of a network (x [b, ...], c_noise [b]) -> features [b, e]; one evaluation a call.

    `process` is the SDE, or its `NoiseLevels` where the network was trained on a discrete chain; `data_std` is sigma_d.

    Raises:
      ValueError: an unknown noise label.
    """
    label = noise_label_fn(process, noise_label)

    def features(x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Float[Array, "b e"]:
        size = jnp.sqrt((data_std * process.alpha(t)) ** 2 + process.sigma(t) ** 2)
        return encode(x / expand(size, x), label(t))

    return features
