"""Classes as a condition: one-hot vectors, zeros for none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from conditions.base import Condition, Conditioner

NO_CLASS = -1
"""The label of an example whose class the network is not told."""


def one_hot(label: Int[Array | np.ndarray, " b"], num_classes: int) -> Float[Array, "b k"]:
    """Labels as networks take them in ``condition["label"]``; zeros for NO_CLASS, as in EDM (arXiv:2206.00364)."""
    return jax.nn.one_hot(label, num_classes)


@dataclass(frozen=True)
class Labels(Conditioner):
    """The field "label" of a record, a class counted from 0, as the entry "label" [b, num_classes]."""

    num_classes: int
    fields = ("label",)

    def encode(self, batch: Mapping[str, Any], keys: Key[Array, " b"] | None = None) -> Condition:
        """The classes of records, one-hot."""
        return {"label": one_hot(batch["label"], self.num_classes)}

    def none(self, condition: Condition) -> Condition:
        """No class for any example."""
        return {"label": jnp.zeros_like(condition["label"])}
