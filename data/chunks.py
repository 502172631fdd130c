"""Records of a text: chunks of its symbols, all of one length."""

from typing import Any

import numpy as np
from jaxtyping import Int

from data.alphabet import Alphabet
from data.fingerprint import of_arrays, of_facts
from data.source import Example, Source


class Chunks:
    """The chunks of one text that begin at 0, stride, 2 stride, ...: "image" int32 [length]. A rest is in none.

    Args:
      symbols: of the whole text.
      length: of a chunk.
      stride: how far the beginnings of two chunks are apart; 0: the length, so that none overlap.
      alphabet: what the symbols stand for.
      characters: of the whole text; the bits of its symbols are shared out among them.
    """

    def __init__(
        self, symbols: Int[np.ndarray, " n"], *, length: int, stride: int, alphabet: Alphabet, characters: int
    ):
        smallest = np.min_scalar_type(max(len(alphabet) - 1, 0))
        self.symbols, self.length, self.stride = symbols.astype(smallest), length, stride or length
        self.alphabet, self.characters = alphabet, characters

    def __len__(self) -> int:
        return max((len(self.symbols) - self.length) // self.stride + 1, 0)

    def __getitem__(self, index: Any) -> Example:
        begins = np.asarray(index)[..., None] * self.stride
        return {"image": self.symbols[begins + np.arange(self.length)].astype(np.int32)}

    take = __getitem__

    @property
    def symbols_per_character(self) -> float:
        """Bits for each symbol times this are bits for each character of the text; 1 of an empty one."""
        return len(self.symbols) / self.characters if self.characters else 1.0

    def fingerprint(self) -> str:
        """The fingerprint is that of the symbols, of what they stand for, and of where chunks begin."""
        facts = ["chunks", self.length, self.stride, self.alphabet.about()]
        return of_facts([*facts, of_arrays({"symbols": self.symbols})])


def of_texts(name: str, train: str, test: str, *, alphabet: Alphabet, length: int, stride: int) -> Source:
    """The source of a training text and a test text in chunks; those of the test text never overlap.

    Raises:
      ValueError: a text has a symbol that is none of the alphabet's, or is shorter than a chunk; but the test text may
        be empty, and there is no test set then.
    """

    def split(what: str, text: str, stride: int) -> Chunks:
        symbols = alphabet.encode(text, f"{name}: the {what} text")
        if text and len(symbols) < length:
            raise ValueError(
                f"{name}: the {what} text has {len(symbols)} {alphabet.unit}s, which is shorter than one chunk, "
                f"data.length={length}: choose a smaller data.length, or a longer {what} text"
            )
        return Chunks(symbols, length=length, stride=stride, alphabet=alphabet, characters=len(text))

    records = split("training", train, stride), split("test", test, 0)
    return Source(name, *records, shape=(length,), levels=None, modality="text", alphabet=alphabet)
