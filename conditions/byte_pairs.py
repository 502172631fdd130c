"""Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) of a text's bytes, by a published table.

The package `tokenizers` does it. A table says which pairs of pieces are merged, most frequent first, and which number
a piece has. The bytes are written as printable characters in it, as GPT-2 does.
"""

import abc
import dataclasses
import gzip
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conditions.tokenizers import Reading, Tokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"

VOCABULARIES = ("vocab.json", "encoder.json", "encoder.json.gz")
MERGES = ("merges.txt", "vocab.bpe", "vocab.bpe.gz")
TOGETHER = "tokenizer.json"
"""Files of a folder: numbers by piece, and merges; or both in one."""

OPENAI_MERGES = 49152 - 256 - 2
"""How many merges of OpenAI's file `bpe_simple_vocab_16e6.txt` its CLIP uses."""


@dataclasses.dataclass(frozen=True)
class Pieces:
    """A table of byte pairs.

    Attributes:
      numbers: the number of each piece.
      merges: the pairs that are merged, most frequent first.
    """

    numbers: Mapping[str, int]
    merges: Sequence[tuple[str, str]]

    @classmethod
    def in_folder(cls, folder: str | Path) -> "Pieces":
        """The table of a folder, in vocab.json and merges.txt, encoder.json and vocab.bpe, or tokenizer.json.

        Raises:
          ValueError: a damaged file.
          OSError: a folder without these files.
        """
        folder = Path(folder)
        vocabulary = next((folder / name for name in VOCABULARIES if (folder / name).exists()), None)
        merges = next((folder / name for name in MERGES if (folder / name).exists()), None)
        if vocabulary and merges:
            return cls(_numbers(vocabulary, load_json(vocabulary)), _merges(merges, _text(merges).split("\n")))
        if (file := folder / TOGETHER).exists():
            model = load_json(file).get("model")
            if not isinstance(model, dict) or not isinstance(model.get("merges"), list):
                raise ValueError(f"{file} holds no table of byte pairs as its model")
            lines = [line if isinstance(line, str) else " ".join(line) for line in model["merges"]]
            return cls(_numbers(file, model.get("vocab")), _merges(file, lines))
        raise FileNotFoundError(
            f"{folder} holds no table of byte pairs: there is neither {VOCABULARIES[0]} beside {MERGES[0]} nor "
            f"{VOCABULARIES[1]} beside {MERGES[1]} nor {TOGETHER}"
        )

    @classmethod
    def of_openai(cls, file: str | Path) -> "Pieces":
        """CLIP's table of OpenAI's file `bpe_simple_vocab_16e6.txt`, which may be packed as `.gz`.

        Raises:
          ValueError: a damaged file.
          OSError: no such file.
        """
        return cls.of_merges(_merges(Path(file), _text(Path(file)).split("\n")[: OPENAI_MERGES + 1]))

    @classmethod
    def of_merges(cls, merges: Sequence[tuple[str, str]]) -> "Pieces":
        """CLIP's table of its merges: all bytes, all that end a word, the merged pairs, and start and end."""
        single = list(_bytes())
        pieces = [*single, *(piece + WORD_END for piece in single), *map("".join, merges), START, END]
        return cls({piece: number for number, piece in enumerate(pieces)}, merges)

    def number(self, piece: str) -> int:
        """The number of a piece that must be there; ValueError where it is not."""
        if piece not in self.numbers:
            raise ValueError(f"the table of {len(self.numbers)} pieces has no {piece!r}, which CLIP's texts need")
        return self.numbers[piece]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BytePairs(Tokenizer):
    """What reads texts in byte pairs, by a table."""

    pieces: Pieces

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "_engine", self._made())

    @abc.abstractmethod
    def _made(self) -> Any:
        """The `tokenizers.Tokenizer` of this table."""

    @property
    def size(self) -> int:
        """One more than the largest number of the table."""
        return 1 + max(self.pieces.numbers.values())

    @property
    def table(self) -> Any:
        """Numbers and merges."""
        return dict(self.pieces.numbers), [list(pair) for pair in self.pieces.merges]

    def mended(self, text: str) -> str:
        """The text as it is split."""
        return text

    def read(self, text: str) -> Reading:
        """The tokens of a text, without what stands around it."""
        text = self.mended(text)
        found = self._engine.encode(text, add_special_tokens=False)  # type: ignore[attr-defined]
        return Reading(text, found.ids, [begin for begin, _ in found.offsets])


def package() -> Any:
    """The package `tokenizers`; ValueError, with the way to install it, where it is missing."""
    return imported("tokenizers", "byte pairs of texts")


def imported(name: str, what: str) -> Any:
    """The package of that name, which `what` needs; ValueError, with the way to install it, where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ValueError(f"reading {what} needs the package {name}: install it with pip install {name}") from None


def _bytes() -> dict[str, int]:
    """The printable character that stands for each byte, in the order of GPT-2's table."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _text(file: Path) -> str:
    try:
        return (gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()).decode()
    except (gzip.BadGzipFile, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from None


def load_json(file: Path) -> Any:
    """The dictionary in a file; ValueError where it is damaged or holds something else."""
    try:
        found = json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds no dictionary")
    return found


def _numbers(file: Path, given: Any) -> dict[str, int]:
    if not isinstance(given, dict) or not given or any(type(number) is not int for number in given.values()):
        raise ValueError(f"{file} holds no numbers by piece")
    return given


def _merges(file: Path, lines: Sequence[str]) -> list[tuple[str, str]]:
    """Two pieces a line; the first line may name the version."""
    lines = lines[1:] if "#version" in lines[0] else lines
    found = [tuple(line.rstrip("\r").split(" ")) for line in lines if line.strip()]
    if wrong := [pair for pair in found if len(pair) != 2]:
        raise ValueError(f"{file} is no list of pairs: a line is {' '.join(wrong[0])!r}")
    return found  # type: ignore[return-value]
