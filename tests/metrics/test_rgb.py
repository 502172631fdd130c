"""Images become the bytes that the Inception network takes; a range is never guessed."""

import numpy as np
import pytest

from metrics.rgb import as_rgb


def test_floats_are_rounded_and_grey_is_repeated() -> None:
    """Truncation would make 99 of 99.6 and darken every image by half a level."""
    grey = np.array([-3.0, 0.4, 0.6, 99.6, 254.7, 300.0], np.float32).reshape(1, 2, 3, 1)
    out = as_rgb(grey)
    assert out.dtype == np.uint8 and out.shape == (1, 2, 3, 3)
    np.testing.assert_array_equal(out[..., 0].ravel(), [0, 0, 1, 100, 255, 255])
    np.testing.assert_array_equal(out[..., 1], out[..., 2])
    assert as_rgb(np.zeros((1, 2, 3, 1), np.float32)).max() == 0, "a black float image is an image"


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (np.full((2, 4, 4, 3), 0.5), r"0\.\.255 .* lie in 0\.5\.\.0\.5: give value_range=\(0, 1\)"),
        (np.linspace(-0.1, 1.1, 96).reshape(2, 4, 4, 3), r"lie in -0\.1\.\.1\.1: give value_range"),
        (np.linspace(-1.3, 1.3, 96).reshape(2, 4, 4, 3), r"lie in -1\.3\.\.1\.3"),
        (np.eye(4)[None, :, :, None], r"lie in 0\.\.1"),
        (-np.ones((1, 4, 4, 1)), r"lie in -1\.\.-1"),
        (np.linspace(-127.5, 127.5, 96).reshape(2, 4, 4, 3), r"lie in -128\.\.128"),
        (np.linspace(0, 65535, 96).reshape(2, 4, 4, 3), r"lie in 0\.\.6\.55e\+04"),
        (np.full((2, 4, 4, 3), np.nan), "not finite"),
        (np.zeros((2, 4, 4, 4), np.uint8), r"\(2, 4, 4, 4\)"),
        (np.zeros((2, 7), np.float32), r"\(2, 7\)"),
        (np.zeros((2, 4, 4, 3), np.int64), "int64"),
    ],
)
def test_what_is_no_image_or_leaves_its_range_open_is_refused(images: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        as_rgb(images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value_range", "numbers", "levels"),
    [
        ((0, 1), [-0.1, 0.0, 0.2, 0.5, 1.0, 1.1], [0, 0, 51, 128, 255, 255]),
        ((-1, 1), [-1.2, -1.0, -0.6, 0.0, 1.0, 1.3], [0, 0, 51, 128, 255, 255]),
        ((0, 255), [-3.0, 0.0, 0.4, 0.6, 1.0, 2.0], [0, 0, 0, 1, 1, 2]),
        ((0, 16), [0, 1, 2, 8, 15, 16], [0, 16, 32, 128, 239, 255]),
    ],
)
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_numbers_are_scaled_by_the_range_that_is_given(value_range, numbers, levels, kind: type) -> None:
    if kind is np.int64 and numbers != [int(number) for number in numbers]:
        numbers, levels = zip(*[(n, k) for n, k in zip(numbers, levels, strict=True) if n == int(n)], strict=True)
    images = np.array(numbers, kind).reshape(1, 1, -1, 1)
    np.testing.assert_array_equal(as_rgb(images, value_range)[0, 0, :, 0], levels)


@pytest.mark.parametrize(
    ("value_range", "numbers", "says"),
    [
        ((0, 1), [-1.0, 1.0], r"value_range is \(0, 1\), and the images lie in -1\.\.1"),
        ((-1, 1), [0.0, 255.0], r"lie in 0\.\.255"),
        ((1, 0), [0.0, 1.0], "what is black and what is white"),
        ((0, np.inf), [0.0, 1.0], "what is black and what is white"),
        ((0, 1), [0.0, np.nan], "not finite"),
    ],
)
def test_another_range_than_the_images_have_is_refused(value_range, numbers, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        as_rgb(np.array(numbers).reshape(1, 1, -1, 1), value_range)
