"""From texts to the fields of records of which a network that reads texts is told.

Some networks read a text themselves, and are told the numbers of its tokens. Others are told features, which a frozen
text encoder makes of it (`experiment.text_encoder`).
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from conditions.tokenizers import Tokenizer

Fields = dict[str, np.ndarray]
"""Arrays [n, ...] by the names of fields of records."""


class Reader(Protocol):
    """What reads texts for a network."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of what it makes of a text."""

    @property
    def digest(self) -> str:
        """A text that is equal where what it makes of every text is."""

    def check(self, texts: Sequence[str]) -> None:
        """Raise ValueError for a text that it cannot read; of one that is too long a warning says what is cut off."""

    def read(self, texts: Sequence[str]) -> Fields:
        """What it makes of texts, arrays [n, ...]; ValueError for anything but a list of texts of at least one."""

    @property
    def nothing(self) -> Fields:
        """What a network is told of an example without a text, arrays without the axis of examples."""


@dataclasses.dataclass(frozen=True)
class TokenReader:
    """The fields "tokens" [n, length] and "mask" [n, length]; no token stands for no text."""

    tokenizer: Tokenizer
    fields = ("tokens", "mask")

    @property
    def digest(self) -> str:
        """The tokenizer's."""
        return self.tokenizer.digest

    def check(self, texts: Sequence[str]) -> None:
        """Raise ValueError for a text with a word that the tokenizer does not know."""
        self.tokenizer.encode(texts)

    def read(self, texts: Sequence[str]) -> Fields:
        """The tokens of texts."""
        ids, mask = self.tokenizer.encode([str(text) for text in texts])
        return {"tokens": ids, "mask": mask}

    @property
    def nothing(self) -> Fields:
        """No token at all; the numbers are looked at by nobody."""
        length = self.tokenizer.length
        return {"tokens": np.full(length, self.tokenizer.padding, np.int32), "mask": np.zeros(length, bool)}
