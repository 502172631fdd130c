"""From an encoded image to the array a model sees: decode, crop, resize."""

import io
from os import PathLike

import numpy as np
from PIL import Image, ImageOps


def load_image(
    file: str | PathLike | bytes, *, channels: int, size: int | None = None, crop: int | None = None
) -> np.ndarray:
    """Decodes an image file, or the bytes of one, to uint8 [h, w, channels], RGB or grey.

    `size` cuts the central square and resizes it with antialiasing (Lanczos); that size is left alone. `crop` first
    cuts the central square of so many pixels.
    Raises ValueError, without the name of the file, where it cannot be decoded to 8 bits.
    """
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"mode {image.mode!r} has more than 8 bits a channel")
            image = ImageOps.exif_transpose(image).convert({1: "L", 3: "RGB"}[channels])
            if crop is not None:
                if crop > min(image.size):
                    raise ValueError(f"crop={crop} does not fit into {image.width}x{image.height} pixels")
                image = _central_square(image, crop)
            if size is not None and image.size != (size, size):
                image = _central_square(image, min(image.size)).resize((size, size), Image.Resampling.LANCZOS)
    except (OSError, SyntaxError, EOFError) as error:  # what Pillow raises for damaged files
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return np.array(image).reshape(image.height, image.width, channels)


def check_image(file: str | PathLike) -> None:
    """Raises ValueError where an image file is damaged or cut short; cheaper than decoding it."""
    try:
        with Image.open(file) as image:
            if image.format == "PNG":
                image.verify()  # checks the sum of every chunk; for other formats it looks at the header only
            else:
                image.draft(None, (1, 1))  # a JPEG is then read to its end, but at an eighth of its size
                image.load()
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _central_square(image: Image.Image, side: int) -> Image.Image:
    # cut before resizing: given a box, Pillow's resize (and ImageOps.fit) lets the filter reach outside it
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
