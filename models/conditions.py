"""What a network may be told beside the noise: classes, one-hot, and none of them."""

import jax
from jaxtyping import Array, Float, Int

NO_CLASS = -1
"""The label of an example whose class the network is not told."""


def one_hot(label: Int[Array, " b"], num_classes: int) -> Float[Array, "b k"]:
    """Labels as networks take them in ``condition["label"]``; zeros for NO_CLASS, as in EDM (arXiv:2206.00364)."""
    return jax.nn.one_hot(label, num_classes)
