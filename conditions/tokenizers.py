"""From texts to the numbers of their tokens, on the host, as the network that is told them was trained to read them.

A published trap is avoided: all of the published codes cut a text that is too long in silence. Here a warning names
what was cut.
"""

import abc
import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Bool, Int

from limits import shown


class Encoded(NamedTuple):
    """Texts as numbers.

    Attributes:
      ids: the numbers of the tokens.
      mask: where there is a token; the rest pads the text.
    """

    ids: Int[np.ndarray, "b n"]
    mask: Bool[np.ndarray, "b n"]


class Reading(NamedTuple):
    """A text as its tokens: what was read, the number of each token, and where in what was read it begins."""

    text: str
    ids: list[int]
    begins: list[int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokenizer(abc.ABC):
    """What reads texts.

    Attributes:
      length: tokens of an encoded text, with start, end and padding.
      padding: the number of what pads a text.
      start, end: the numbers that stand around a text; None for a tokenizer that has none.
    """

    length: int
    padding: int
    start: int | None = None
    end: int | None = None

    def __post_init__(self) -> None:
        if self.length < 1 + self._taken:
            raise ValueError(f"length={self.length}: no token of a text would fit")

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """How many tokens there are: the vocabulary of a network that reads them."""

    @property
    @abc.abstractmethod
    def table(self) -> Any:
        """What says which number a token has, of plain data."""

    @abc.abstractmethod
    def read(self, text: str) -> Reading:
        """The tokens of a text, all of them, without what stands around it."""

    @property
    def digest(self) -> str:
        """A text that is equal where the tokens of every text are: of this class, its table and its other settings."""
        settings = (type(self).__name__, self.length, self.padding, self.start, self.end, self.table)
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The tokens of texts, at one length; a warning names what is cut off a text that is too long.

        The empty text has no tokens but those around it: it is what a network is told without a prompt.

        Raises ValueError for anything but a list of texts of at least one.
        """
        check_texts(texts)
        ids = np.full((len(texts), self.length), self.padding, np.int32)
        mask = np.zeros(ids.shape, bool)
        for i, text in enumerate(texts):
            before, after = ([] if number is None else [number] for number in (self.start, self.end))
            tokens = [*before, *self._within(text), *after]
            ids[i, : len(tokens)] = tokens
            mask[i, : len(tokens)] = True
        return Encoded(ids, mask)

    @property
    def _taken(self) -> int:
        return (self.start is not None) + (self.end is not None)

    def _within(self, text: str) -> list[int]:
        """The tokens of a text that fit between start and end."""
        reading, room = self.read(text), self.length - self._taken
        if len(reading.ids) > room:
            _warn_of_cut(len(reading.ids), room, reading.text[reading.begins[room] :])
        return reading.ids[:room]


@functools.lru_cache(maxsize=1024)
def _warn_of_cut(tokens: int, room: int, rest: str) -> None:
    """Say what is cut off a text of so many tokens: once, although the text is read anew in every batch."""
    logging.warning(
        "a text of %d tokens is longer than the %d that the model reads; what is cut: %r", tokens, room, rest
    )


def check_texts(texts: Any) -> None:
    """Raise ValueError unless these are texts, a list of at least one."""
    if isinstance(texts, str) or not isinstance(texts, Sequence | np.ndarray):
        raise ValueError(f"the texts are {shown(texts)}; give a list of texts, one too: ['a red fox']")
    if not len(texts):
        raise ValueError("the list of texts is empty; give one text or more, '' for none")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"text {i + 1} of {len(texts)} is {shown(text)}, of type {type(text).__name__}; give a text"
            )
