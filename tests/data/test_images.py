"""Pictures as they look: transparency on white, orientation, depth."""

import io

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
