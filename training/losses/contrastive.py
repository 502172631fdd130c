"""A CLIP of noisy images learns which caption of a batch is each image's, and which image is each caption's.

With the features I of the noised images and T of the captions at length 1, and the scale s = exp(logit_scale), the
logit of image i and caption k is `s <I_i, T_k>`; the loss is the mean of the cross-entropy over its rows and of that
over its columns (Radford et al. 2021, arXiv:2103.00020, sec. 2.3), of images that are noised to a drawn time and of
which the noise is told (Nichol et al. 2022, arXiv:2112.10741, sec. 2.4 and 4.2). s is learned, and no step leaves it
above 100.

The loss is least where the logit is log p(x_t, caption) / (p(x_t) p(caption)) but for a constant (van den Oord et al.
2018, arXiv:1807.03748): rows alone would leave open a function of the image, and columns one of the caption. So the
gradient of the logit in x_t is that of log p(caption | x_t), by which samples are guided as by a classifier.

The matrix is that of the whole batch, whose features all devices gather, so that the loss does not depend on their
number. Equal captions, of which a batch of a small grammar holds many, are equally right: where a caption is there n
times, each of the n has the share 1 / n of the target, and the least that the loss can be is log n. As equal captions
have equal features, the mean over the batch, and so its gradient, is what it would be if each example had its own pair
alone as the target; the scores of each example, and what counts as right, are not.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from models.clip import unit
from training.examples import Examples
from training.losses.base import NoisedLoss
from training.model import Scores, TrainedModel, Weights
from training.times import LOSS_AWARE

SCALE = "logit_scale"
"""The name of the weight."""

LARGEST = 100.0
"""The largest scale of the logits (sec. 2.5 there)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Contrastive(NoisedLoss):
    """The loss in nats; "accuracy" is 1 where the likeliest caption of the batch is the image's own, else 0.

    Of a batch of n different captions an untrained network has the loss log n and the accuracy 1 / n.

    Raises:
      ValueError: times are drawn by the losses.
    """

    needs_matcher = True
    compares = True
    ignores = ("reduce_mean",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.times.time_sampling == LOSS_AWARE:
            raise ValueError(
                "training.loss is 'contrastive', in which every noise level counts alike, and training.time_sampling "
                "'loss_aware'; draw t in another way"
            )

    def bounded(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        """Return the optimiser whose steps end at a scale of `LARGEST` at most."""

        def capped(updates: Weights, params: Weights | None) -> Weights:
            assert params
            return updates | {SCALE: jnp.minimum(updates[SCALE], jnp.log(LARGEST) - params[SCALE])}

        return optax.chain(optimizer, optax.stateless(capped))

    def at(self, model: TrainedModel, examples: Examples, t: Float[Array, " b"], eps: Float[Array, "b *d"]) -> Scores:
        """Return the scores of examples with this noise at these times; one evaluation of each tower."""
        assert model.module
        clip, tokens = model.module(model.params), examples.fields["tokens"]
        images = unit(model.features_fn(self.process)(self.noised(examples.x0, t, eps), t))
        texts, scale = unit(clip.encode_text(tokens)), jnp.exp(clip.logit_scale[...])
        padded = jnp.where(examples.fields["mask"], tokens, -1)  # what pads a text is no part of it
        all_images, all_texts, all_padded = examples.draws.whole((images, texts, padded))
        right = same_rows(padded, all_padded)
        of_images, of_texts = scale * images @ all_texts.T, scale * texts @ all_images.T
        loss = 0.5 * (_cross_entropy(of_images, right) + _cross_entropy(of_texts, right))
        chosen = jnp.take_along_axis(right, jnp.argmax(of_images, axis=1)[:, None], axis=1)[:, 0]
        return {"loss": loss, "accuracy": chosen.astype(jnp.float32)}


def same_rows(rows: Array, others: Array) -> Bool[Array, "b k"]:
    """Return which rows [b, n] are equal to which of the others [k, n]."""
    return jnp.all(rows[:, None] == others[None], axis=-1)


def _cross_entropy(logits: Float[Array, "b k"], right: Bool[Array, "b k"]) -> Float[Array, " b"]:
    """Return the cross-entropy of a softmax over k where all that is right is equally so, nats."""
    own = jnp.where(right, jax.nn.log_softmax(logits, axis=1), 0.0)
    return -jnp.sum(own, axis=1) / jnp.sum(right, axis=1)
