"""Pictures as they look: transparency on white, orientation, depth."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from data.images import load_image

OPAQUE = np.random.default_rng(0).random((8, 9)) < 0.5


def encoded(image: Image.Image, kind: str = "png", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def cut_outs(hidden: int) -> dict[str, bytes]:
    """Pictures that look alike, grey 80 where opaque; the colour behind what is transparent is `hidden`."""
    grey, alpha = np.where(OPAQUE, 80, hidden).astype(np.uint8), np.where(OPAQUE, 255, 0).astype(np.uint8)
    colours = np.repeat(grey[..., None], 3, axis=2)
    palette = Image.fromarray(OPAQUE.astype(np.uint8), "P")
    palette.putpalette([hidden] * 3 + [80] * 3)
    return {
        "RGBA": encoded(Image.fromarray(np.dstack([colours, alpha]))),
        "RGBA of WebP": encoded(Image.fromarray(np.dstack([colours, alpha])), "webp", lossless=True, exact=True),
        "LA": encoded(Image.fromarray(np.dstack([grey, alpha]), "LA")),
        "P with a key": encoded(palette, transparency=0),
        "P with an alpha for each colour": encoded(palette, transparency=bytes([0, 255])),
        "RGB with a key": encoded(Image.fromarray(colours), transparency=(hidden,) * 3),
        "L with a key": encoded(Image.fromarray(grey), transparency=hidden),
    }


@pytest.mark.parametrize("kind", cut_outs(0))
@pytest.mark.parametrize("hidden", [0, 200, 255])
@pytest.mark.parametrize("channels", [1, 3, None])
def test_what_is_transparent_is_white_whatever_is_hidden_behind_it(kind, hidden, channels):
    found = load_image(cut_outs(hidden)[kind], channels=channels)
    np.testing.assert_array_equal(found, np.where(OPAQUE, 80, 255)[..., None] + np.zeros(found.shape, int))
    assert channels is None or found.shape[2] == channels


def test_half_transparent_is_half_white():
    """alpha c + (1 - alpha) 255, rounded."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    alpha = pixels[..., 3:] / 255
    found = load_image(encoded(Image.fromarray(pixels)), channels=3)
    assert np.abs(found - (alpha * pixels[..., :3] + (1 - alpha) * 255)).max() <= 0.51


def test_an_alpha_that_is_opaque_changes_nothing():
    pixels = np.random.default_rng(2).integers(0, 256, (64, 64, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    plain = encoded(Image.fromarray(pixels[..., :3]))
    for channels in (1, 3):
        found = load_image(encoded(Image.fromarray(pixels)), channels=channels)
        np.testing.assert_array_equal(found, load_image(plain, channels=channels))


def test_a_transparent_photograph_held_upright_stands_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[1] = (10, 20, 30, 255)
    found = load_image(encoded(Image.fromarray(pixels), exif=exif), channels=3)
    expected = np.full((3, 2, 3), 255)
    expected[:, 0] = (10, 20, 30)
    np.testing.assert_array_equal(found, expected)


def png(bits: int, colour_type: int, row: bytes, transparent: bytes) -> bytes:
    """A PNG of one row of four pixels, one colour of which is transparent."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, bits, colour_type, 0, 0, 0)) + chunk(b"tRNS", transparent)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("bits", "colour_type", "row", "transparent", "greys"),
    [
        (1, 0, bytes([0b01010000]), struct.pack(">H", 0), (255, 255, 255, 255)),
        (1, 0, bytes([0b01010000]), struct.pack(">H", 1), (0, 255, 0, 255)),
        (2, 0, bytes([0b00011011]), struct.pack(">H", 1), (0, 255, 170, 255)),
        (4, 0, bytes([0x05, 0xAF]), struct.pack(">H", 5), (0, 255, 170, 255)),
        (8, 0, bytes([0, 5, 85, 170]), struct.pack(">H", 5), (0, 255, 85, 170)),
        (16, 2, struct.pack(">12H", *np.repeat([0, 0x3210, 0x5521, 0xAAAA], 3)), struct.pack(">3H", *[0x3210] * 3),
         (0, 255, 0x55, 0xAA)),
    ],
)  # fmt: skip
def test_a_colour_that_is_transparent_is_so_at_every_depth(bits, colour_type, row, transparent, greys):
    """Pillow scales pixels to 8 bits, and leaves the number of that colour as it is."""
    file = png(bits, colour_type, row, transparent)
    np.testing.assert_array_equal(load_image(file, channels=1)[0, :, 0], greys)
    if bits > 1:  # as a mask has it
        hole = np.arange(4) == greys.index(255)
        np.testing.assert_array_equal(load_image(file, channels=2)[0, :, 1], np.where(hole, 0, 255))
