"""A loss of a network on stored records: the function whose gradient a training step takes."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Key

from models.functional import Network
from sde_lib import Parameterization
from training.draws import Draws
from training.examples import Batch, Encoder
from training.losses.base import Loss, Scores
from training.model import TrainedModel


def batch_scores(
    loss: Loss, network: Network, parameterization: Parameterization, encoder: Encoder, *, parts: int = 1
) -> Callable[..., Scores]:
    """Return ``(variables, batch, key, train, state=None) -> scores`` [b] by name, "loss" among them.

    The batch is one of `parts` equal parts of a global batch. Example j of that draws everything (flip,
    dequantisation, augmentation, t, noise, dropout) from its own key ``fold_in(key, j)``, so the scores do not depend
    on the number of devices and micro-batches. `state` is the loss's own; without one it is a loss that has learnt
    nothing.
    """

    def scores(variables: dict, batch: Batch, key: Key[Array, ""], train: bool, state: Any = None) -> Scores:
        examples, condition = encoder(batch, Draws.of_batch(key, batch, parts), train)
        keys = examples.draws.dropout if train else None

        def apply(params: dict[str, Array], x: Array, c_noise: Array) -> Array:
            return network.apply({**variables, "params": params}, x, c_noise, condition or None, keys=keys)

        return loss(TrainedModel(apply, variables["params"], parameterization), examples, state)

    return scores
