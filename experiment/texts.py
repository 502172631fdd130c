"""What a network reads: the captions of a data set and the prompts of samples, and what reads them for it."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from conditions.byte_pairs import Pieces
from conditions.published_tokenizers import CLIPTokenizer, GLIDETokenizer, OpenAITokenizer
from conditions.readers import Reader
from conditions.tokenizers import Tokenizer
from conditions.word_tokenizer import WordTokenizer
from data import Source
from data.fingerprint import of_facts, of_records
from data.source import Example, Records, take
from experiment.config_files import expand
from limits import shown

CAPTION = "caption"
"""The field of a record that holds its text."""

WORDS = "words"
"""The name of the tokenizer that knows the words of its data set, one token each."""

FOLDERS: dict[str, Callable[[str, int], Tokenizer]] = {
    "clip": lambda folder, length: CLIPTokenizer.in_folder(folder),
    "openai": lambda folder, length: OpenAITokenizer.in_folder(folder, length),
    "glide": lambda folder, length: GLIDETokenizer.of_pieces(Pieces.in_folder(folder), length),
}
"""By the kind that stands ahead of the folder of a table of byte pairs: (folder, tokens of a text) -> its tokenizer."""

PROMPTS = ("sampling.prompt", "sampling.negative_prompt")
"""The fields of a config that hold prompts."""

LINES = "@"
"""What stands ahead of a file of prompts, one on each line."""


def tokenizer_of(name: str, length: int, source: Source) -> Tokenizer | None:
    """The tokenizer of ``data.tokenizer`` for texts of this length: "words", "" for none, or a kind of `FOLDERS`.

    Raises:
      ValueError: another name, "words" for a data set that does not say its own, or a damaged table.
      OSError: there is no table of byte pairs in the folder.
    """
    kind, _, folder = name.partition(":")
    if kind in FOLDERS and folder:
        return FOLDERS[kind](expand(folder), length)
    if name == WORDS and source.vocabulary:
        return WordTokenizer(words=source.vocabulary, length=length)
    if name == WORDS:
        raise ValueError(
            f"data.tokenizer is {name!r}, and {source.name!r} does not say which words its captions have; give the "
            f"folder of a table of byte pairs: {', '.join(f'{kind}:FOLDER' for kind in FOLDERS)}"
        )
    if name:
        kinds = ", ".join(f"{kind}:FOLDER" for kind in FOLDERS)
        raise ValueError(f"data.tokenizer is {name!r}; it must be {WORDS}, {kinds}, or '' for none")
    return None


def prompts_of(text: str, field: str = "sampling.prompt") -> tuple[str, ...]:
    """The prompts that this field of a config names: the text itself, or the lines of @FILE; none of ''.

    Raises:
      ValueError: nothing but spaces, a file without a prompt, or one that is not UTF-8.
      OSError: the file is not there.
    """
    if text and not text.strip():
        raise ValueError(f"{field} is {text!r}, which says nothing; give words, or leave it ''")
    if not text.startswith(LINES):
        return (text,) if text else ()
    file = Path(expand(text.removeprefix(LINES)))
    if not file.is_file():
        raise FileNotFoundError(
            f"{field} is {text!r}, and there is no such file; @FILE names one with a prompt on each line"
        )
    try:
        found = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except UnicodeDecodeError:
        raise ValueError(f"{field} is {text!r}, which is no text in UTF-8; give a prompt a line") from None
    if not found:
        raise ValueError(f"{field} is {text!r}, which holds no prompt; give one a line")
    return found


def check_given(given: Mapping[str, Any]) -> None:
    """Refuse, with a ValueError, a prompt that is no text among fields of a config by their dotted names.

    A field of a config is written as its text is, so that a list or None would be drawn word for word.
    """
    for field in PROMPTS:
        if not isinstance(value := given.get(field, ""), str):
            raise ValueError(
                f"{field} is {shown(value)}, of type {type(value).__name__}; it must be a text, '' for none, or @FILE "
                "for several, one on each line"
            )


def warn_of_unused(given: Sequence[str], drawn: int, mend: str) -> None:
    """Warn of prompts of which nothing is drawn, as there are more of them than pictures; `mend` says what helps."""
    if len(given) > drawn:
        logging.warning(
            "sampling.prompt holds %d prompts for %d pictures, and the last %d are left out, from %r on; %s",
            *(len(given), drawn, len(given) - drawn, given[drawn], mend),
        )


class Read:
    """The records of captions, with what the network is told of each beside it."""

    def __init__(self, records: Records, reader: Reader):
        self.records, self.reader = records, reader

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        return {name: values[0] for name, values in self.take(np.array([index])).items()}

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at `indices`, read together; as they are where they have no captions."""
        found = take(self.records, indices)
        return found | (self.reader.read(found[CAPTION].tolist()) if CAPTION in found else {})

    def of_texts(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """What is read of their captions alone."""
        return self.reader.read(take(self.records, indices)[CAPTION].tolist())

    def fingerprint(self) -> str:
        """It is that of the records and of how they are read."""
        return of_facts([of_records(self.records), self.reader.digest])


def captioned(records: Records) -> bool:
    """Whether there are captions, as far as the first record says."""
    bare = records.records if isinstance(records, Read) else records  # whose texts need not be read
    return len(bare) > 0 and CAPTION in take(bare, np.arange(1))


def digest(texts: Sequence[str], reader: Reader) -> str:
    """A text that is equal where these texts are, and are read alike."""
    said = [*map(str, texts), reader.digest]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
