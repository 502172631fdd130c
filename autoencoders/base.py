"""What a codec is."""

from typing import Protocol

import numpy as np
from jaxtyping import Array, Float, Key, Shaped

AnyArray = Array | np.ndarray


class Codec(Protocol):
    """The map between stored data and x, the space of the model.

    Training, samplers and likelihoods see x alone; pictures, files and Frechet distances see decoded data alone.
    """

    @property
    def field(self) -> str:
        """The name of the data in a record."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example's x, which need not be that of the stored data."""

    def encode(self, data: Shaped[AnyArray, "b *d"], keys: Key[Array, " b"] | None = None) -> Float[AnyArray, "b *x"]:
        """The x of stored data; a codec that draws random numbers takes those of example i from keys[i]."""

    def decode(self, x: Float[AnyArray, "*x"]) -> Shaped[AnyArray, "*d"]:
        """The data of x, as they are stored."""

    def bits_offset(self) -> float:
        """The c in bits/dim = -log2 p(x) / D + c; a ValueError where a density of x says nothing of the data."""
