"""The model that is trained, as a loss sees it."""

import dataclasses
from collections.abc import Callable
from typing import cast

from jaxtyping import Array

from sde_lib import AffineSDE, Levels, LogitsFn, Parameterization, Plain, PredictFn, logits_fn


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """The network with the weights that are trained, for one batch: it knows the batch's condition and its dropout.

    Attributes:
      network: (weights by name, x [b, ...], noise label [b]) -> the output.
      params: the weights, among them those of a learned noise schedule.
      parameterization: what the output means.
    """

    network: Callable[[dict[str, Array], Array, Array], Array]
    params: dict[str, Array]
    parameterization: Parameterization

    def predict_fn(self, process: AffineSDE | Levels, params: dict[str, Array] | None = None) -> PredictFn:
        """Return the predictions along a process, of these weights or of others; one network evaluation a call."""
        weights = self.params if params is None else params
        return self.parameterization.predict_fn(process, lambda x, c_noise: self.network(weights, x, c_noise))

    def logits_fn(self, process: AffineSDE | Levels) -> LogitsFn:
        """Return what a classifier says of noisy data; one network evaluation a call."""
        label = cast(Plain, self.parameterization).noise_label  # a classifier has no preconditioning
        return logits_fn(process, lambda x, c_noise: self.network(self.params, x, c_noise), label)
