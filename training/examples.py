"""From stored records to the examples of a loss, and to what the network is told of them."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from data.augment import random_flip
from data.geometry import augment
from data.scaling import Scaler
from models.conditions import NO_CLASS, one_hot
from training.draws import Draws

Batch = dict[str, Any]
"""Arrays [b, ...] of records by name: "image", and "label" where classes are known."""


class Examples(NamedTuple):
    """A part of a batch as a loss sees it.

    Attributes:
      x0: the examples in the space of the model, [b, ...].
      fields: the records, [b, ...] each.
      draws: the examples' random numbers.
    """

    x0: Float[Array, "b *d"]
    fields: Batch
    draws: Draws


@dataclasses.dataclass(frozen=True)
class Encoder:
    """``(batch, draws, train) -> examples, condition``: flips and augmentations are made in training alone.

    Attributes:
      scaler: encodes stored data.
      random_flips: whether every second image is mirrored.
      augment_probability: of each of EDM's augmentations; the network is told of them in ``condition["augment"]``.
      num_classes: the classes that the network is told of, one-hot in ``condition["label"]``; 0: none.
      label_dropout: the probability that an example's class is dropped (all zeros), so that the network learns the
        unconditional score as well (Ho and Salimans 2022, arXiv:2207.12598).
    """

    scaler: Scaler
    random_flips: bool = False
    augment_probability: float = 0.0
    num_classes: int = 0
    label_dropout: float = 0.0

    def __call__(self, batch: Batch, draws: Draws, train: bool) -> tuple[Examples, dict[str, Array]]:
        """Return the examples of a batch and what the network is told of each."""
        condition = {}
        x0 = self.scaler.encode(batch["image"], draws.dequantize)
        if self.random_flips and train:
            x0 = random_flip(draws.flip, x0)
        if self.augment_probability and train:
            x0, condition["augment"] = augment(draws.augment, x0, self.augment_probability)
        if self.num_classes:
            label = batch["label"]
            if self.label_dropout and train:
                dropped = jax.vmap(lambda k: jax.random.bernoulli(k, self.label_dropout))(draws.label)
                label = jnp.where(dropped, NO_CLASS, label)
            condition["label"] = one_hot(label, self.num_classes)
        return Examples(x0, batch, draws), condition
