"""A classifier of noisy data is trained on any SDE (Dhariwal and Nichol 2021, arXiv:2105.05233, sec. 4 and App. H).

    E_t E_(x_0, y, eps)  -log p(y | x_t),        x_t = alpha x_0 + sigma eps,

where every noise level counts alike.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_lib import log_prob_fn
from training.examples import Examples
from training.losses.base import NoisedLoss
from training.model import Scores, TrainedModel
from training.times import LOSS_AWARE


@dataclasses.dataclass(frozen=True, eq=False)
class CrossEntropy(NoisedLoss):
    """The loss is -log p(y | x_t) in nats; "accuracy" is 1 where the likeliest class is the example's own, else 0.

    Raises:
      ValueError: times are drawn by the losses.
    """

    needs_classifier = True
    ignores = ("reduce_mean",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.times.time_sampling == LOSS_AWARE:
            raise ValueError(
                "training.loss is 'cross_entropy', in which every noise level counts alike, and training.time_sampling "
                "'loss_aware'; draw t in another way"
            )

    def at(self, model: TrainedModel, examples: Examples, t: Float[Array, " b"], eps: Float[Array, "b *d"]) -> Scores:
        """Return the scores of examples with this noise at these times; one network evaluation."""
        label = examples.fields["label"]
        logits = model.logits_fn(self.process)(self.noised(examples.x0, t, eps), t)
        log_prob = log_prob_fn(lambda x, t: logits, label)(logits, t)
        return {"loss": -log_prob, "accuracy": (jnp.argmax(logits, axis=-1) == label).astype(jnp.float32)}
