"""Texts for people: a picture of each, and a file with all of them."""

import textwrap
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 64  # characters of a line of a picture, behind which it is broken
FONT_SIZE, LINE, MARGIN = 11, 14, 4  # pixels


def texts_of(examples: np.ndarray, codec: Any) -> list[str]:
    """The text of each example, whose symbols the codec's alphabet knows."""
    return [codec.alphabet.decode(symbols) for symbols in examples]


def pictured(examples: np.ndarray, codec: Any) -> np.ndarray:
    """Each text in black letters on white, all pictures as large as the longest needs: uint8 [n, h, w, 1].

    Long lines are broken where they end, within words too, so that nothing is added to the text and nothing left out.
    """
    font = ImageFont.load_default(FONT_SIZE)
    lines = [_broken(text) for text in texts_of(examples, codec)]
    width = int(max(font.getlength(line) for each in lines for line in each)) + 2 * MARGIN
    height = LINE * max(map(len, lines)) + 2 * MARGIN
    return np.stack([_drawn(each, (width, height), font) for each in lines])[..., None]


def _broken(text: str) -> list[str]:
    """Its lines, none longer than COLUMNS."""
    whole = text.expandtabs().split("\n")
    return [part for line in whole for part in textwrap.wrap(line, COLUMNS, **_AS_IT_IS) or [""]]


_AS_IT_IS: Any = {"drop_whitespace": False, "replace_whitespace": False, "break_on_hyphens": False}


def _drawn(lines: Sequence[str], size: tuple[int, int], font: Any) -> np.ndarray:
    picture = Image.new("L", size, "white")
    draw = ImageDraw.Draw(picture)
    for i, line in enumerate(lines):
        draw.text((MARGIN, MARGIN + LINE * i), line, fill="black", font=font)
    return np.asarray(picture)


def write(file: BinaryIO, examples: np.ndarray, codec: Any, rate: float) -> None:
    """All texts in UTF-8, one after another, each behind a line with its number; there is no `rate` in them."""
    for i, text in enumerate(texts_of(examples, codec)):
        file.write(f"[{i}]\n{text}\n".encode(errors="replace"))
