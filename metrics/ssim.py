"""The structural similarity of two images (Wang, Bovik, Sheikh and Simoncelli 2004, IEEE TIP 13(4), eq. 13).

    SSIM = mean of  (2 m_x m_y + c_1)(2 s_xy + c_2) / ((m_x^2 + m_y^2 + c_1)(s_x^2 + s_y^2 + c_2))

over all places at which the window lies within the image, and over the channels, each by itself. The window is the
published one, a Gaussian of deviation 1.5 over 11 x 11 pixels, which weighs means, variances and covariance alike
(variances are those of a distribution: no n / (n - 1)); c_1 = (0.01 range)^2 and c_2 = (0.03 range)^2.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SIDE = 11
DEVIATION = 1.5


def ssim(x: Float[Array, "b h w c"], y: Float[Array, "b h w c"], data_range: float = 255.0) -> Float[Array, " b"]:
    """Return the similarity of each pair, 1 for equal images; `data_range` is the distance of black and white.

    Raises:
      ValueError: images that are smaller than the window.
    """
    if min(x.shape[1:3]) < SIDE:
        raise ValueError(f"the window of SSIM is {SIDE} x {SIDE} pixels, and these images are {x.shape[1:3]}")
    m_x, m_y = _mean(x), _mean(y)
    # Differences from the middle of the range, which change no variance, lose fewer digits of it.
    u, v = x - data_range / 2, y - data_range / 2
    m_u, m_v = m_x - data_range / 2, m_y - data_range / 2
    s_x, s_y, s_xy = (
        _mean(a * b) - m_a * m_b for a, b, m_a, m_b in ((u, u, m_u, m_u), (v, v, m_v, m_v), (u, v, m_u, m_v))
    )
    c_1, c_2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    similar = (2 * m_x * m_y + c_1) * (2 * s_xy + c_2) / ((m_x**2 + m_y**2 + c_1) * (s_x + s_y + c_2))
    return jnp.mean(similar, axis=(1, 2, 3))


def _mean(x: Array) -> Array:
    """Return the weighted means over all windows within the images, by a product with a band of weights an axis."""
    weights = np.exp(-0.5 * (np.arange(SIDE) - SIDE // 2) ** 2 / DEVIATION**2)
    rows, columns = (_band(weights / weights.sum(), length) for length in x.shape[1:3])
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x, precision="highest")


def _band(weights: np.ndarray, length: int) -> np.ndarray:
    """Return the weights [length - SIDE + 1, length] of each window along an axis."""
    windows = length - SIDE + 1
    band = np.zeros((windows, length), np.float32)
    for i, weight in enumerate(weights):
        band[np.arange(windows), np.arange(windows) + i] = weight
    return band
