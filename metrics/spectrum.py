"""The power spectrum of signals, and how far apart two of them are."""

import numpy as np
from jaxtyping import Float


def power_spectrum(signals: Float[np.ndarray, "n length c"]) -> Float[np.ndarray, " f"]:
    """The mean of |X_k|^2 / length over signals and channels, at k = 0 to length // 2 periods of a signal, in float64.

    X is the discrete Fourier transform of a signal. White noise of deviation s has s^2 everywhere.
    """
    transformed = np.fft.rfft(np.asarray(signals, np.float64), axis=1)
    return np.mean(np.square(np.abs(transformed)), axis=(0, 2)) / signals.shape[1]


def log_spectral_distance(a: Float[np.ndarray, " f"], b: Float[np.ndarray, " f"]) -> float:
    """The root mean square over frequencies of 10 log10(a / b), in decibels (Gray and Markel 1976, eq. 4).

    It is 0 for equal spectra, and 6.02 where one is of signals twice as loud.

    Raises:
      ValueError: spectra of other lengths, or without power at a frequency, of which nothing can be said.
    """
    if a.shape != b.shape or min(a.min(), b.min()) <= 0.0:
        raise ValueError(
            f"spectra of {a.size} and {b.size} frequencies, the least powers {a.min():.3g} and {b.min():.3g}; they "
            "must be of equally many, and positive"
        )
    return float(np.sqrt(np.mean(np.square(10.0 * np.log10(a / b)))))


def band_distance(a: Float[np.ndarray, " f"], b: Float[np.ndarray, " f"]) -> float:
    """Half the sum over frequencies of the differences of two spectra, each divided by its own sum.

    It is the share of power that lies elsewhere: 0 where power lies alike, however loud, and 1 where it nowhere meets.
    """
    return float(0.5 * np.abs(a / a.sum() - b / b.sum()).sum())
