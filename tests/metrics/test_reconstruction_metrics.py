"""PSNR and SSIM: closed forms, and the definition by a direct convolution in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metrics.psnr import psnr
from metrics.ssim import ssim

SHAPE = (2, 16, 19, 3)


def images(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, SHAPE).astype(np.float64)


def direct(x: np.ndarray, y: np.ndarray, data_range: float) -> np.ndarray:
    """SSIM window by window: weighted moments of 11 x 11 pixels, each window and channel by itself."""
    row = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    weights = np.outer(row, row) / row.sum() ** 2
    c_1, c_2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    found = np.zeros((len(x), x.shape[1] - 10, x.shape[2] - 10, x.shape[3]))
    for n, i, j, c in np.ndindex(*found.shape):
        u, v = (image[n, i : i + 11, j : j + 11, c] for image in (x, y))
        m_u, m_v = (weights * u).sum(), (weights * v).sum()
        s_u, s_v = (weights * (u - m_u) ** 2).sum(), (weights * (v - m_v) ** 2).sum()
        s_uv = (weights * (u - m_u) * (v - m_v)).sum()
        luminance = (2 * m_u * m_v + c_1) / (m_u**2 + m_v**2 + c_1)
        found[n, i, j, c] = luminance * (2 * s_uv + c_2) / (s_u + s_v + c_2)
    return found.mean(axis=(1, 2, 3))


def test_psnr_of_errors_that_are_known() -> None:
    """An error of one grey level everywhere is 48.13 dB, of the whole range 0 dB, and none is infinite."""
    np.testing.assert_allclose(psnr(np.array([1.0, 255.0**2])), [20 * np.log10(255.0), 0.0])
    np.testing.assert_allclose(psnr(np.array([1e-4]), data_range=1.0), [40.0])
    assert psnr(np.zeros(1)) == np.inf


@pytest.mark.parametrize("data_range", [255.0, 1.0])
def test_ssim_is_that_of_the_definition(data_range: float) -> None:
    """Of noise, and of images that are nearly the same, where variances cancel most."""
    x = images(0) * (data_range / 255.0)
    for y in (images(1) * (data_range / 255.0), 0.9 * x + 0.05 * data_range, np.full_like(x, 0.7 * data_range)):
        found = jax.jit(lambda x, y: ssim(x, y, data_range))(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
        np.testing.assert_allclose(found, direct(x, y, data_range), rtol=0, atol=2e-5)


def test_ssim_of_flat_and_of_equal_images() -> None:
    """Flat images have the luminance term alone, (2 a b + c) / (a^2 + b^2 + c)."""
    x, c = jnp.full(SHAPE, 100.0), (0.01 * 255.0) ** 2
    expected = (2 * 100.0 * 150.0 + c) / (100.0**2 + 150.0**2 + c)
    np.testing.assert_allclose(ssim(x, x + 50.0), expected, rtol=1e-4)
    np.testing.assert_allclose(ssim(jnp.asarray(images(2)), jnp.asarray(images(2))), 1.0, rtol=1e-6)


def test_images_smaller_than_the_window_are_refused() -> None:
    with pytest.raises(ValueError, match=r"11 x 11 pixels, and these images are \(8, 8\)"):
        ssim(jnp.zeros((1, 8, 8, 1)), jnp.zeros((1, 8, 8, 1)))
