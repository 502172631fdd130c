"""Pictures side by side, each with a text below it where it has one."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MIN_SIDE = 32  # smaller images are enlarged, pixel by pixel, so that a person can see them
TOLD_SIDE = 112  # and larger those that have a text of their own, which stands below each in a few lines
CAPTION_WIDTH = 240  # of the facts below a grid, which stands at the left where it is narrower
FONT_SIZE = 11


def image_grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """uint8 images [n, h, w, c] side by side with a line between: [H, W, c], white where the last row is short.

    There are so many `columns`, or by default as many as make the grid about square.

    Raises:
      ValueError: images of another type, whose range would be a guess.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"a grid is of uint8 images, and these are {images.dtype}; see GreyLevels.to_uint8_display")
    n, h, w, c = images.shape
    enlarge = max(1, math.ceil(MIN_SIDE / max(h, w)))
    images = images.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    columns = columns or min(n, math.ceil(math.sqrt(n * h / w)))
    rows = math.ceil(n / columns)
    step = images.shape[1] + 2, images.shape[2] + 2
    grid = np.full((rows * step[0] + 2, columns * step[1] + 2, c), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * step[0] + 2, (i % columns) * step[1] + 2
        grid[top : top + image.shape[0], left : left + image.shape[1]] = image
    return grid


def captioned_grid(images: np.ndarray, captions: Sequence[str], columns: int | None = None) -> np.ndarray:
    """uint8 images [n, h, w, 1 or 3] side by side, each with its own text below it: [H, W, c].

    Raises:
      ValueError: images of another type, or another number of texts.
    """
    if images.dtype != np.uint8 or len(images) != len(captions):
        raise ValueError(
            f"a grid is of uint8 images, each with its text; these are {len(images)} of {images.dtype} with "
            f"{len(captions)} texts"
        )
    enlarge = max(1, math.ceil(TOLD_SIDE / images.shape[2]))
    larger = images.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    cells = [
        np.asarray(captioned(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), str(text)))
        for image, text in zip(larger, captions, strict=True)
    ]
    height = max(len(cell) for cell in cells)
    same = [np.pad(cell, [(0, height - len(cell)), *[(0, 0)] * (cell.ndim - 1)], constant_values=255) for cell in cells]
    return image_grid(np.stack(same).reshape(len(images), height, larger.shape[2], -1), columns)


def captioned(picture: Image.Image, text: str, at_least: int = 0) -> Image.Image:
    """The picture with the text on white below it, in lines as long as it is wide, or as `at_least` says in pixels."""
    font, width = ImageFont.load_default(FONT_SIZE), max(picture.width, at_least)
    lines = _lines(text, width - 4, font.getlength)
    if not lines:
        return picture
    height = FONT_SIZE + 3
    larger = Image.new(picture.mode, (width, picture.height + height * len(lines) + 2), "white")
    larger.paste(picture)
    draw = ImageDraw.Draw(larger)
    for i, line in enumerate(lines):
        draw.text((2, picture.height + i * height), line, fill="black", font=font)
    return larger


def _lines(text: str, width: float, length: Callable[[str], float]) -> list[str]:
    """The words of a text in lines of at most this length; a word is broken only where it is longer than a line."""
    lines: list[str] = []
    for word in text.split():
        if lines and length(longer := f"{lines[-1]} {word}") <= width:
            lines[-1] = longer
            continue
        while length(word) > width and len(word) > 1:
            whole = next((n for n in range(len(word) - 1, 1, -1) if length(word[:n]) <= width), 1)
            lines.append(word[:whole])
            word = word[whole:]
        lines.append(word)
    return lines
