"""The peak signal-to-noise ratio of images, in decibels."""

import numpy as np
from jaxtyping import Float


def psnr(mean_square: Float[np.ndarray, " n"], data_range: float = 255.0) -> Float[np.ndarray, " n"]:
    """Return 10 log10(range^2 / MSE) of each image, of its mean squared error over all its numbers; infinite for 0.

    `data_range` is the distance of black and white. The ratio of a set is the mean of its images' ratios, not the
    ratio of the mean error.
    """
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(data_range**2 / np.asarray(mean_square, np.float64))
