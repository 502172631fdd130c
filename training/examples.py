"""From stored records to the examples of a loss, and to what the network is told of them."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from autoencoders import Codec
from autoencoders.latents import MIRRORED
from conditions import Condition, Conditioner, Together, only_present
from conditions.present import PRESENT, share
from data.augment import random_flip
from data.geometry import augment
from training.draws import Draws

Batch = dict[str, Any]
"""Arrays [b, ...] of records by name: the data that the codec encodes, and what a condition is made of."""


NOISE = "noise"
"""The field of a record that is its noise, of the pairs of a teacher's flow (`training.reflow`)."""


class Examples(NamedTuple):
    """A part of a batch as a loss sees it: x0 in the space of the model, the records, and the random numbers.

    `present` says which points of each example there are, [b, n]; None: all.
    """

    x0: Float[Array, "b *d"]
    fields: Batch
    draws: Draws
    present: Bool[Array, "b n"] | None = None

    def over_present(self, means: Float[Array, " b"]) -> Float[Array, " b"]:
        """Return means over the numbers of points that there are, of means over all, in which absent ones count 0."""
        return means if self.present is None else means / share(self.present).astype(means.dtype)


@dataclasses.dataclass(frozen=True)
class Encoder:
    """``(batch, draws, train) -> examples, condition``: flips and augmentations are made in training alone.

    Attributes:
      codec: encodes stored data.
      random_flips: whether every second image is mirrored.
      augment_probability: of each of EDM's augmentations; the network is told of them in ``condition["augment"]``.
      conditioner: what the network is told of a record.
      dropout: the probability that the network is told nothing of an example (`Conditioner.drop`).
    """

    codec: Codec
    random_flips: bool = False
    augment_probability: float = 0.0
    conditioner: Conditioner = Together()
    dropout: float = 0.0

    def __call__(self, batch: Batch, draws: Draws, train: bool) -> tuple[Examples, Condition]:
        """Return the examples of a batch and what the network is told of each."""
        data, mirrored = batch[self.codec.field], batch.get(MIRRORED)
        if mirrored is not None and train:  # what an encoder says of a mirrored picture is not that mirrored
            data = random_flip(draws.flip, data, mirrored)
        x0 = jnp.asarray(self.codec.encode(data, draws.dequantize))
        if self.random_flips and mirrored is None and train:
            x0 = random_flip(draws.flip, x0)
        condition = self.conditioner.encode(self.conditioner.make(x0) | batch, draws.condition)
        if self.dropout and train:
            condition = self.conditioner.drop(draws.drop, condition, self.dropout)
        if self.augment_probability and train:
            x0, condition["augment"] = augment(draws.augment, x0, self.augment_probability)
        if (present := condition.get(PRESENT)) is not None:
            draws = draws._replace(present=present)
        return Examples(only_present(x0, condition), batch, draws, present), condition
