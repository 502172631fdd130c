"""The codec of categories: whole numbers that are modelled as they are, and no point of an axis.

Grey levels of pictures and the symbols of a text are categories as they are stored; x is the same as int32.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Shaped

from autoencoders.grey_levels import AnyArray, GreyLevels

MOST_LEVELS = 256
"""Categories up to which data are stored as bytes, and can be shown as grey levels."""


@dataclass(frozen=True)
class Categories:
    """The codec of data of so many categories a number.

    Attributes:
      num_categories: K; stored numbers are 0 to K - 1.
      shape: of one example, the same in x as stored.
      field: the name of the data in a record.
      modality: what the axes of the data mean (`data.Source.modality`).
      alphabet: what the numbers of a text stand for (`data.alphabet.Alphabet`); None where data are no text.
    """

    num_categories: int
    shape: tuple[int, ...] = ()
    field: str = "image"
    modality: str = "image"
    alphabet: Any = None

    centered: ClassVar[bool] = False

    @classmethod
    def of_source(cls, source: Any, centered: bool, dequantization: str) -> "Categories":
        """The codec of a data set, whose numbers are neither centered nor dequantised.

        Raises:
          ValueError: its data are continuous.
        """
        if source.num_categories is None:
            raise ValueError(
                f"data.codec is 'categories', and the data of {source.name!r} are continuous; set it to 'levels'"
            )
        return cls(source.num_categories, source.shape, modality=source.modality, alphabet=source.alphabet)

    @property
    def levels(self) -> int:
        """How many values a number of x has."""
        return self.num_categories

    @property
    def pictures(self) -> GreyLevels:
        """The codec between the stored data and floats in [0, 1]; more categories than a picture's are left alone."""
        levels = self.num_categories if 2 <= self.num_categories <= MOST_LEVELS else None
        return GreyLevels(levels, False, "none", self.shape, self.field, self.modality)

    @property
    def information(self) -> tuple[str, float]:
        """Bits, for each number; of a text for each character, byte or piece."""
        return f"bits/{self.alphabet.unit if self.alphabet else 'dim'}", 1.0

    def encode(self, data: Shaped[AnyArray, "b *d"], keys: Key[Array, " b"] | None = None) -> Int[Array, "b *d"]:
        """The stored numbers as int32; nothing is random."""
        return jnp.asarray(data).astype(jnp.int32)

    def decode(self, x: Int[AnyArray, "*d"]) -> Shaped[np.ndarray, "*d"]:
        """The numbers as they are stored, uint8 up to 256 categories; a mask that is left becomes the last of them."""
        kept = np.clip(np.asarray(x), 0, self.num_categories - 1)
        return kept.astype(np.uint8 if self.num_categories <= MOST_LEVELS else np.int32)

    def of_pictures(self, y: Float[AnyArray, "b *d"]) -> Int[Array, "b *d"]:
        """The nearest category of floats in [0, 1]."""
        return self.encode(self.pictures.decode(y))

    def reconstruct(self, x: Int[AnyArray, "b *d"]) -> Float[AnyArray, "b *d"]:
        """The floats in [0, 1] of categories."""
        return self.pictures.encode(self.decode(x))

    def stretch(self, levels: Shaped[AnyArray, "*d"]) -> Shaped[AnyArray, "*d"]:
        """Stored levels stretched over 0..255, as uint8; ValueError for more categories than a picture's."""
        return self.pictures.stretch(levels)

    def to_uint8_display(self, x: Int[AnyArray, "*d"]) -> Shaped[AnyArray, "*d"]:
        """The categories stretched over 0..255, for image files and for eyes."""
        return self.stretch(self.decode(x))

    def bare(self) -> GreyLevels:
        """The codec of records that hold x itself: as continuous data."""
        return dataclasses.replace(self.pictures, levels=None)

    def bits_offset(self) -> float:
        """It is 0: a probability of x is one of the stored data."""
        return 0.0

    def about(self) -> dict[str, Any]:
        """Its attributes, and its kind."""
        attributes = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"kind": type(self).__name__, **attributes, "alphabet": self.alphabet and self.alphabet.about()}
