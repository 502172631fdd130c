"""Images of several kinds as the RGB bytes that the Inception network takes. A range is never guessed."""

import numpy as np

BYTES = (0.0, 255.0)
DIM = 16.0
"""Float images whose brightest number is no more than this may as well lie in 0..1 or -1..1, and are asked about."""
BEYOND = 64.0
"""How far float images in 0..255 may reach out of it, as those do that were resized with a kernel that rings."""


def as_rgb(images: np.ndarray, value_range: tuple[float, float] | None = None) -> np.ndarray:
    """Images [n, h, w, 1 or 3] as uint8 [n, h, w, 3], rounded and cut off at black and white; grey is repeated.

    Args:
      images: uint8, or any numbers where `value_range` says what they mean.
      value_range: what is black and what is white, such as (0, 1), (-1, 1) or (0, 255). With None uint8 is taken as it
        is, and floats must lie in 0..255 beyond doubt.

    Raises:
      ValueError: the images have another shape or type, or numbers that are not finite, do not lie in the range, or
        leave open which range they lie in.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"Inception features are of images [n, h, w, 1 or 3]; got {images.shape}")
    floats = np.issubdtype(images.dtype, np.floating)
    if value_range is not None and (floats or np.issubdtype(images.dtype, np.integer)):
        images = _scaled(images, value_range)
    elif floats:
        _check_bytes(images)
        images = np.clip(np.rint(images), *BYTES).astype(np.uint8)
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8, or floats in 0..255; got {images.dtype}")
    return images.repeat(3, axis=-1) if images.shape[-1] == 1 else images


def _check_bytes(images: np.ndarray) -> None:
    """Raise a ValueError unless floats are 0..255 beyond doubt; zero is black."""
    low, high = _ends(images) if images.size else (0.0, 0.0)
    dim = high <= DIM and (low, high) != (0.0, 0.0)
    if dim or low < -BEYOND or high > BYTES[1] + BEYOND:
        raise ValueError(
            f"float images must lie in 0..255 unless value_range says otherwise; these lie in {low:.3g}..{high:.3g}: "
            "give value_range=(0, 1), (-1, 1), or (0, 255) if they are that dark, or decode them with "
            "GreyLevels.to_uint8_display"
        )


def _scaled(images: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    black, white = map(float, value_range)
    if not (np.isfinite([black, white]).all() and black < white):
        raise ValueError(f"value_range is {value_range}; it is two numbers, what is black and what is white")
    low, high = _ends(images) if images.size else (black, white)
    margin = 0.5 * (white - black)
    if low < black - margin or high > white + margin:
        raise ValueError(f"value_range is {value_range}, and the images lie in {low:.3g}..{high:.3g}; give their own")
    levels = (images.astype(np.float64) - black) * (BYTES[1] / (white - black))
    return np.clip(np.rint(levels), *BYTES).astype(np.uint8)


def _ends(images: np.ndarray) -> tuple[float, float]:
    if not np.isfinite(images).all():
        raise ValueError("images are not finite")
    return float(images.min()), float(images.max())
