"""How much the error at each noise level counts: weights w(t) on |eps_hat - eps|^2.

An error of x0 is one of eps, |x0_hat - x0|^2 = |eps_hat - eps|^2 / SNR, whatever the network predicts, so a weight
published for x0 is one on eps, divided by SNR = alpha^2 / sigma^2. With sigma~ = sigma / alpha = SNR^(-1/2), the noise
of data of scale 1, and sigma_d the standard deviation of the data:

| name          | on the error of eps      | on the error of x0                          | source                     |
|---------------|--------------------------|---------------------------------------------|----------------------------|
| uniform       | 1                        | SNR                                         | Ho et al. 2020, eq. 14     |
| snr           | 1                        | SNR                                         | Salimans and Ho 2022       |
| snr_plus_1    | 1 + 1 / SNR              | SNR + 1                                     | Salimans and Ho 2022       |
| truncated_snr | max(1, 1 / SNR)          | max(SNR, 1)                                 | Salimans and Ho 2022       |
| min_snr       | min(1, gamma / SNR)      | min(SNR, gamma)                             | Hang et al. 2023           |
| p2            | 1 / (k + SNR)^gamma      | SNR / (k + SNR)^gamma                       | Choi et al. 2022           |
| edm           | 1 + (sigma~ / sigma_d)^2 | (sigma~^2 + sigma_d^2) / (sigma~ sigma_d)^2 | Karras et al. 2022, tab. 1 |
| likelihood    | g^2 / sigma^2            | g^2 / sigma^2 SNR                           | Song et al. 2021b, thm. 1  |

(arXiv:2006.11239, 2202.00512, 2303.09556, 2204.00227, 2206.00364, 2101.09258.) Hang et al. write min_snr for a network
that predicts v of a variance-preserving process as min(SNR, gamma) / (SNR + 1) on the error of v: the same weight,
since there |v_hat - v|^2 = (SNR + 1) |x0_hat - x0|^2. The plain error of v is thus the weight snr_plus_1. With the
weight uniform an error of x0 counts SNR, next to nothing where there is noise alone: what a condition says of the whole
image, such as a text, is learned late then, whatever the network predicts.

Where a weight on eps grows as 1 / SNR it is a weight on the error of x0, and is used as one: snr_plus_1 is the sum of
both errors, truncated_snr the larger of them. So it is finite where there is no signal at all (zero terminal SNR).
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from experiment.ranges import FIELDS
from limits import check_declared
from sde_lib import AffineSDE, NoiseLevels

Process = AffineSDE | NoiseLevels
Time = Float[Array, " b"]


class Weights(NamedTuple):
    """What the errors count at times [b]: eps |eps_hat - eps|^2 + x0 |x0_hat - x0|^2; x0 None: the first alone."""

    eps: Time
    x0: Time | None = None

    def on_x0(self, snr: Time) -> Time:
        """Return the weight on the error of x0 that says the same."""
        return self.eps * snr + (0.0 if self.x0 is None else self.x0)


WEIGHTINGS: dict[str, Callable[..., Weights]] = {
    "uniform": lambda process, t, options: Weights(jnp.ones_like(t)),
    "snr": lambda process, t, options: Weights(jnp.ones_like(t)),
    "snr_plus_1": lambda process, t, options: Weights(jnp.ones_like(t), jnp.ones_like(t)),
    "truncated_snr": lambda process, t, options: _larger(process.log_snr(t) >= 0.0, t),
    "min_snr": lambda process, t, options: Weights(
        jnp.minimum(1.0, options.min_snr_gamma * jnp.exp(-process.log_snr(t)))
    ),
    "p2": lambda process, t, options: Weights((options.p2_k + jnp.exp(process.log_snr(t))) ** -options.p2_gamma),
    "edm": lambda process, t, options: Weights(jnp.ones_like(t), jnp.full_like(t, options.sigma_data**-2)),
    "likelihood": lambda process, t, options: Weights((process.diffusion(t) / process.sigma(t)) ** 2),
}
"""The weights by name, as functions of (process, t, `Weighting`)."""


def _larger(eps_is: Bool[Array, " b"], t: Time) -> Weights:
    """Return the weights that count one error alone: that of eps where `eps_is`, elsewhere that of x0."""
    return Weights(eps_is.astype(t.dtype), (~eps_is).astype(t.dtype))


@dataclasses.dataclass(frozen=True)
class Weighting:
    """The weight of the error at t: a name of `WEIGHTINGS`, with the options of all of them.

    Attributes:
      weight: the name.
      min_snr_gamma, p2_k, p2_gamma, sigma_data: options of "min_snr", "p2" and "edm".
      likelihood_weighting: the published name of the weight "likelihood".

    Raises:
      ValueError: an option is out of its range, or two of them name different weights.
    """

    weight: Annotated[str, FIELDS["training.weight"]] = "uniform"
    min_snr_gamma: Annotated[float, FIELDS["training.min_snr_gamma"]] = 5.0
    p2_k: Annotated[float, FIELDS["training.p2_k"]] = 1.0
    p2_gamma: Annotated[float, FIELDS["training.p2_gamma"]] = 1.0
    sigma_data: Annotated[float, FIELDS["training.sigma_data"]] = 0.5
    likelihood_weighting: Annotated[bool, FIELDS["training.likelihood_weighting"]] = False

    def __post_init__(self) -> None:
        check_declared("training.", self)
        if self.likelihood_weighting and self.weight not in ("uniform", "likelihood"):
            raise ValueError(
                f"training.likelihood_weighting is the weight 'likelihood', and training.weight is {self.weight!r}; "
                "switch the former off or leave the latter at 'uniform'"
            )

    @property
    def bounds_likelihood(self) -> bool:
        """Whether it is the weight "likelihood", by either name."""
        return self.likelihood_weighting or self.weight == "likelihood"

    def __call__(self, process: Process, t: Time) -> Weights:
        """Return what the errors count at t."""
        return WEIGHTINGS["likelihood" if self.bounds_likelihood else self.weight](process, t, self)
