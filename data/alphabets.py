"""Alphabets: what the categories of a text stand for. Each takes text to whole numbers, and back.

A text is modelled as its symbols: its characters, the bytes of its UTF-8, or the pieces that a tokenizer cuts it into.
The mask of a chain over categories is none of an alphabet's symbols.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from data.alphabet import Alphabet
from data.fingerprint import of_file
from limits import shown


@dataclass(frozen=True)
class Characters:
    """The characters of `known`, each once, in this order; `characters_of` makes one of a text."""

    known: str

    unit = "character"

    def __post_init__(self) -> None:
        if not self.known or len(set(self.known)) != len(self.known):
            raise ValueError(f"an alphabet has each character once, and at least one; received {shown(self.known)}")

    @cached_property
    def _number_of(self) -> Int[np.ndarray, " codes"]:
        """The number of the character of each code point; -1 where it is none of the alphabet's."""
        table = np.full(sys.maxunicode + 1, -1, np.int32)
        table[_code_points(self.known)] = np.arange(len(self.known))
        return table

    def __len__(self) -> int:
        return len(self.known)

    def encode(self, text: str, what: str = "the text") -> Int[np.ndarray, " n"]:
        """See `Alphabet`."""
        numbers = self._number_of[_code_points(text)]
        missing = np.flatnonzero(numbers < 0)
        if len(missing):
            place, character = int(missing[0]), text[int(missing[0])]
            raise ValueError(
                f"{what} has the character {character!r} (U+{ord(character):04X}) at place {place}, which is none of "
                f"the {len(self)} of the vocabulary: leave it out, train on a text that has it, or set "
                "data.alphabet=bytes"
            )
        return numbers

    def decode(self, symbols: Int[np.ndarray, " n"]) -> str:
        """See `Alphabet`."""
        return "".join(self.known[int(symbol)] if 0 <= symbol < len(self) else "\ufffd" for symbol in symbols)

    def about(self) -> Any:
        """See `Alphabet`."""
        return ["characters", self.known]


def _code_points(text: str) -> Int[np.ndarray, " n"]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def characters_of(text: str) -> Characters:
    """The alphabet of all characters that occur in a text, in the order of their code points."""
    return Characters("".join(sorted(set(text))))


@dataclass(frozen=True)
class Bytes:
    """The 256 bytes, of the text's UTF-8."""

    unit = "byte"

    def __len__(self) -> int:
        return 256

    def encode(self, text: str, what: str = "the text") -> Int[np.ndarray, " n"]:
        """See `Alphabet`; every text can be written so."""
        return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int32)

    def decode(self, symbols: Int[np.ndarray, " n"]) -> str:
        """See `Alphabet`."""
        return bytes(int(symbol) if 0 <= symbol < 256 else 0xFF for symbol in symbols).decode("utf-8", "replace")

    def about(self) -> Any:
        """See `Alphabet`."""
        return ["bytes"]


class Pieces:
    """The pieces of a tokenizer, read from a file of the `tokenizers` library (tokenizer.json).

    No special tokens are put around a text.

    Raises:
      ValueError: there is no such file, or it cannot be read as a tokenizer.
      ImportError: the library is not installed.
    """

    unit = "piece"

    def __init__(self, path: str | Path):
        if not Path(path).is_file():
            raise ValueError(
                f"data.alphabet is {shown(str(path))}, and there is no such file; it must be "
                f"{', '.join(ALPHABETS)}, or the tokenizer.json of a tokenizer"
            )
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ImportError(
                f"data.alphabet={path} needs the library tokenizers: pip install tokenizers, or set data.alphabet=bytes"
            ) from error
        try:
            self.tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain exceptions
            line = " ".join(str(error).split())
            raise ValueError(f"data.alphabet: {path} cannot be read as a tokenizer ({line})") from error
        self.digest = of_file(path)
        numbers = self.tokenizer.get_vocab().values()
        self.size = max(numbers, default=-1) + 1  # a file may leave numbers out
        if not self.size:
            raise ValueError(f"data.alphabet: {path} is a tokenizer without any piece; train it first")

    def __len__(self) -> int:
        return self.size

    def encode(self, text: str, what: str = "the text") -> Int[np.ndarray, " n"]:
        """See `Alphabet`; a tokenizer may have a piece that stands for all that it does not know, or leave it out."""
        try:
            return np.asarray(self.tokenizer.encode(text, add_special_tokens=False).ids, np.int32)
        except Exception as error:  # the library raises plain exceptions
            line = " ".join(str(error).split())
            raise ValueError(f"{what} cannot be cut into pieces by the tokenizer of data.alphabet ({line})") from error

    def decode(self, symbols: Int[np.ndarray, " n"]) -> str:
        """See `Alphabet`; a number that is no piece's is left out."""
        return self.tokenizer.decode([int(symbol) for symbol in symbols], skip_special_tokens=False)

    def about(self) -> Any:
        """See `Alphabet`: the SHA-256 of the file."""
        return ["pieces", self.digest]


ALPHABETS: dict[str, Callable[[str], Alphabet]] = {
    "characters": characters_of,
    "bytes": lambda text: Bytes(),
}
"""The alphabet of each name, made of the text that is to be learned."""


def alphabet_of(name: str, text: str) -> Alphabet:
    """The alphabet of ``data.alphabet``: one of ALPHABETS, or the pieces of a tokenizer's file.

    Raises:
      ValueError: it is neither.
    """
    return ALPHABETS[name](text) if name in ALPHABETS else Pieces(name)
