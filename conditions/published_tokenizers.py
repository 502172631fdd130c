"""The tokenizers of published text encoders, all of byte pairs.

  CLIP     lower case, split into words, single digits and runs of signs; a piece that ends a word says so (`</w>`);
           between a start token and an end token. What pads a text is the end token (Stable Diffusion 1) or `!`,
           whose number is 0 (2, and XL's second).
  OpenAI   CLIP's own code: it mends broken encodings and straightens quotes first (the package ftfy), and decodes
           HTML; what pads a text is 0. GLIDE's CLIP reads texts so.
  GLIDE    lower case, split as GPT-2 does: a piece begins with the space ahead of it; no start and no end token.

A published trap is kept, because the published models are run so: where `!` pads, it is a special token, and every
exclamation mark of a text is read as padding's number 0, not as the piece that ends a word.
"""

import dataclasses
import html
import re
from pathlib import Path
from typing import Any

from conditions.byte_pairs import END, START, WORD_END, BytePairs, Pieces, imported, load_json, package

CLIP_LENGTH, GLIDE_LENGTH = 77, 128
OPENAI_TABLES = ("bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt")
CLIP_PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What CLIP's pieces lie within: a special token, an English ending, letters, one digit, or signs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CLIPTokenizer(BytePairs):
    """CLIP's, as the transformers library has it today and folders of diffusers are run with it.

    Start, end and padding are special: where a text spells them, they are read as their own numbers, in any case but
    for the one that pads.
    """

    length: int = CLIP_LENGTH

    def _made(self) -> Any:
        tokenizers = package()
        model = tokenizers.models.BPE(
            vocab=dict(self.pieces.numbers),
            merges=list(self.pieces.merges),
            end_of_word_suffix=WORD_END,
            unk_token=END,
        )
        made = tokenizers.Tokenizer(model)
        made.normalizer = self._normalizer(tokenizers.normalizers, tokenizers.Regex)
        words = tokenizers.pre_tokenizers.Split(tokenizers.Regex(CLIP_PIECES), behavior="removed", invert=True)
        as_bytes = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([words, as_bytes])
        by_number = {number: piece for piece, number in self.pieces.numbers.items()}
        special = dict.fromkeys((self.start, self.end, *self._special_padding()))
        for number in (number for number in special if number is not None):
            any_case = number not in self._special_padding()
            made.add_special_tokens([tokenizers.AddedToken(by_number[number], normalized=any_case)])
        return made

    def _special_padding(self) -> list[int]:
        return [self.padding]

    def _normalizer(self, normalizers: Any, regex: Any) -> Any:
        spaces = normalizers.Replace(regex(r"\s+"), " ")
        return normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])

    @classmethod
    def in_folder(cls, folder: str | Path) -> "CLIPTokenizer":
        """The tokenizer of a folder as transformers writes it.

        Where tokenizer_config.json and special_tokens_map.json do not say so, a text has 77 tokens, and the end token
        pads it.

        Raises:
          ValueError: a damaged file, or a table without the tokens that the folder names.
          OSError: a folder without a table.
        """
        folder = Path(folder)
        pieces = Pieces.in_folder(folder)
        config, names = (
            load_json(folder / file) if (folder / file).exists() else {}
            for file in ("tokenizer_config.json", "special_tokens_map.json")
        )
        named = {**names, **config} if "added_tokens_decoder" in config else {**config, **names}

        def special(field: str, otherwise: str) -> int:
            given = named.get(field, otherwise)
            return pieces.number(str(given["content"] if isinstance(given, dict) else given))

        length = config.get("model_max_length", CLIP_LENGTH)
        return cls(
            pieces=pieces,
            length=length if isinstance(length, int) and length < 10**6 else CLIP_LENGTH,  # theirs for "unknown": 10^30
            padding=special("pad_token", END),
            start=special("bos_token", START),
            end=special("eos_token", END),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenAITokenizer(CLIPTokenizer):
    """CLIP's, as OpenAI's code has it, and GLIDE's for its CLIP.

    Whatever is not ASCII goes through the package ftfy, which is needed only then.
    """

    padding: int = 0

    def _special_padding(self) -> list[int]:
        return []

    def _normalizer(self, normalizers: Any, regex: Any) -> Any:
        return normalizers.Replace(regex(r"\s+"), " ")  # nothing is left to do, and a normaliser to look into

    def mended(self, text: str) -> str:
        """The text with broken encodings mended, HTML decoded twice, single spaces, in lower case."""
        if not text.isascii():
            text = imported("ftfy", "texts that are not ASCII, as OpenAI's CLIP reads them,").fix_text(text)
        return re.sub(r"\s+", " ", html.unescape(html.unescape(text))).strip().lower()

    @classmethod
    def in_folder(cls, folder: str | Path, length: int = CLIP_LENGTH) -> "OpenAITokenizer":
        """The tokenizer of a folder that holds OpenAI's table, `bpe_simple_vocab_16e6.txt`, packed as `.gz` or not.

        Raises:
          ValueError: a damaged table.
          OSError: a folder without it.
        """
        files = [file for name in OPENAI_TABLES if (file := Path(folder) / name).exists()]
        if not files:
            raise FileNotFoundError(
                f"{folder} holds no table of OpenAI's CLIP: there is no {' or '.join(OPENAI_TABLES)}"
            )
        return cls.of_pieces(Pieces.of_openai(files[0]), length)

    @classmethod
    def of_pieces(cls, pieces: Pieces, length: int = CLIP_LENGTH) -> "OpenAITokenizer":
        """The tokenizer of a table that has CLIP's start and end tokens; ValueError where it has not."""
        return cls(pieces=pieces, length=length, start=pieces.number(START), end=pieces.number(END))


@dataclasses.dataclass(frozen=True, kw_only=True)
class GLIDETokenizer(BytePairs):
    """GLIDE's, GPT-2's in lower case: no start and no end, and the end token pads."""

    length: int = GLIDE_LENGTH

    def _made(self) -> Any:
        tokenizers = package()
        made = tokenizers.Tokenizer(tokenizers.models.BPE(dict(self.pieces.numbers), list(self.pieces.merges)))
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        return made

    def mended(self, text: str) -> str:
        """The text in lower case."""
        return text.lower()

    @classmethod
    def of_pieces(cls, pieces: Pieces, length: int = GLIDE_LENGTH) -> "GLIDETokenizer":
        """The tokenizer of a table that has GPT-2's end token; ValueError where it has not."""
        return cls(pieces=pieces, length=length, padding=pieces.number(END))
