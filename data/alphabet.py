"""What an alphabet is."""

from typing import Any, Protocol

import numpy as np
from jaxtyping import Int


class Alphabet(Protocol):
    """The symbols of a text, numbered from 0."""

    @property
    def unit(self) -> str:
        """What one symbol is: "character", "byte" or "piece"; bits are reported for each."""

    def __len__(self) -> int:
        """The number of symbols."""

    def encode(self, text: str, what: str = "the text") -> Int[np.ndarray, " n"]:
        """The numbers of a text's symbols, int32; `what` the text is stands in messages.

        Raises:
          ValueError: a symbol of the text is none of the alphabet's.
        """

    def decode(self, symbols: Int[np.ndarray, " n"]) -> str:
        """The text of the numbers of symbols; what is no text, such as half a character, is shown as U+FFFD."""

    def about(self) -> Any:
        """All that the numbers depend on, as plain parts."""
