"""From an encoded picture to the array a model sees: decode, lay on white, crop, resize."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from os import PathLike

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from limits import Sides, sides

MAX_PIXELS = 2**26  # 8192 x 8192; with a channel of transparency they take 256 MiB
GREY_MODES = ("1", "L", "LA", "La")  # Pillow's names
MODES = {1: "L", 2: "LA", 3: "RGB"}  # by the number of channels
UNSCALED = {"L;2": lambda v: v * 85, "L;4": lambda v: v * 17, "RGB;16B": lambda v: tuple(part >> 8 for part in v)}
"""Pillow's names of raw pixels that it scales to 8 bits, while the colour a PNG calls transparent is left as it is."""
ORIENTATION = 0x0112  # the tag of Exif
File = str | PathLike | bytes

# Pillow warns of pictures somewhat larger than MAX_PIXELS; here they are refused in words of our own.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def load_image(file: File, *, channels: int | None, size: Sides | None = None, crop: Sides | None = None) -> np.ndarray:
    """Decodes a picture's file, or the bytes of one, to uint8 [h, w, channels].

    One channel is grey, three are RGB: what is transparent is laid on white. Two are grey and alpha (255: opaque). None
    stands for one or three, as the file has it. The orientation of a photograph (Exif) is followed. Colours of 16 bits
    are read by their upper 8.
    `size` cuts the largest rectangle of its proportions (a square of one number) out of the middle and resizes it with
    antialiasing (Lanczos); a picture that has that size is left alone. `crop` first cuts so many pixels out of the
    middle.

    Raises:
      ValueError: the file cannot be read or decoded, it has more than MAX_PIXELS pixels, or it is grey or float of more
        than 8 bits, whose white nobody knows. The message does not name the file.
    """
    with _one_line():
        image = _decoded(file, channels)
        if crop is not None:
            height, width = sides(crop)
            if height > image.height or width > image.width:
                raise ValueError(f"crop={crop} does not fit into {image.width}x{image.height} pixels")
            image = _middle(image, height, width)
        if size is not None:
            image = _fitted(image, size)
    return np.array(image).reshape(image.height, image.width, -1)


def picture_size(file: File) -> tuple[int, int]:
    """The height and width of a picture as `load_image` would decode it, upright.

    A JPEG is read as far as its header; a PNG, which may say its orientation at its end, whole.

    Raises:
      ValueError: as `load_image`, as far as was read.
    """
    with _one_line(), _opened(file) as image:
        sideways = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        return (image.width, image.height) if sideways else (image.height, image.width)


def fitted(image: np.ndarray, size: Sides) -> np.ndarray:
    """The picture, uint8 [h, w, 1 or 3], cropped and resized to [*size, ...] as `load_image` does it."""
    pixels = image[..., 0] if image.shape[2] == 1 else image
    return np.array(_fitted(Image.fromarray(pixels), size)).reshape(*sides(size), -1)


def fitted_mask(mask: np.ndarray, size: Sides) -> np.ndarray:
    """The mask, bool [h, w], cropped as pictures are: bool [*size], True where more than half of a pixel's area is."""
    whole = Image.fromarray(mask.astype(np.float32))
    kept = _middle(whole, *largest_inside(mask.shape, size)).resize(sides(size)[::-1], Image.Resampling.BOX)
    return np.asarray(kept) > 0.5


def largest_inside(shape: tuple[int, int], size: Sides) -> tuple[int, int]:
    """The height and the width of the largest rectangle that has the proportions of `size` and fits into `shape`."""
    (height, width), (wanted_height, wanted_width) = shape, sides(size)
    if height * wanted_width <= width * wanted_height:
        return height, max(1, round(height * wanted_width / wanted_height))
    return max(1, round(width * wanted_height / wanted_width)), width


def check_image(file: File, *, channels: int) -> None:
    """Raises ValueError where `load_image` does, or where a PNG's checksums are wrong; decodes a JPEG to an eighth."""
    with _one_line():
        with _opened(file) as image:
            if image.format == "PNG":
                image.verify()  # the sums of all chunks, which decoding does not look at
        _decoded(file, channels, draft=True)


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Turn whatever a decoder raises into a ValueError of one line."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ValueError("it is not a picture of a kind that is known") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"it has far more than {MAX_PIXELS} pixels; resize it") from error
    except ValueError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything at damaged files
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _opened(file: File) -> Image.Image:
    """A picture of which the header is read, and its size and depth are allowed."""
    image = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file)
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"it has {image.width} x {image.height} pixels, and {MAX_PIXELS} are allowed; resize it")
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"mode {image.mode!r} has more than 8 bits a channel; convert it to 8 bits")
    _scale_transparent_colour(image)
    return image


def _scale_transparent_colour(image: Image.Image) -> None:
    """Scale the one colour of a PNG that is transparent as its pixels will be, which Pillow leaves to us."""
    tile = getattr(image, "tile", None)
    scale = UNSCALED.get(tile[0].args) if image.format == "PNG" and tile else None
    if scale and "transparency" in image.info:
        image.info["transparency"] = scale(image.info["transparency"])


def _decoded(file: File, channels: int | None, *, draft: bool = False) -> Image.Image:
    """The whole picture, upright, of so many channels; a `draft` of a JPEG is read to its end, but is small."""
    with _opened(file) as image:
        if draft:
            image.draft(None, (1, 1))
        image = ImageOps.exif_transpose(image)
        mode = MODES[channels or (1 if image.mode in GREY_MODES else 3)]
        return image.convert("RGBA").convert(mode) if mode == "LA" else _on_white(image).convert(mode)


def _on_white(image: Image.Image) -> Image.Image:
    """The picture as it looks on white; one without transparency is left alone, bit for bit."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _fitted(image: Image.Image, size: Sides) -> Image.Image:
    height, width = sides(size)
    if image.size == (width, height):
        return image
    kept = _middle(image, *largest_inside((image.height, image.width), size))
    return kept.resize((width, height), Image.Resampling.LANCZOS)


def _middle(image: Image.Image, height: int, width: int) -> Image.Image:
    # The picture is cut before it is resized: given a box, Pillow's resize (and ImageOps.fit) reaches outside it.
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
