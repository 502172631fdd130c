"""Periodic mixtures of tones: signals whose spectrum is known, and which may begin anywhere in their period."""

import numpy as np

from data.source import Arrays, Source

NOTES = (4, 5, 6, 8)
"""Whole periods of the four notes' fundamentals in a signal: a major chord and its octave."""
HARMONICS = 4  # of each note, the k-th of them with an amplitude of 1 / k that of the fundamental
DEVIATION = 0.05  # of the white noise without which such signals would have no density
RATE = 8000  # samples a second, for whoever listens to them
LEAST = 2 * max(NOTES) * HARMONICS  # samples, below which the highest harmonic would be mirrored


def tones(*, length: int = 128, train_length: int = 20_000, test_length: int = 1_000) -> Source:
    """Signals float32 [length, 1] of one note each: mean 0, variance 1; the note is the label.

    Note i is sum_k a_k cos(2 pi k NOTES[i] t / length + phase_k) with phases of its own, uniform and independent, and
    white noise of `DEVIATION`. Turned around by any number of samples, a signal is as likely. Its expected power is
    `power(length, i)`. The lengths of the sets are virtual: signal i is the same whatever they are.

    Raises:
      ValueError: `length` is too short for the highest harmonic.
    """
    if length < LEAST:
        raise ValueError(f"tones: data.length is {length}; the highest harmonic takes {LEAST} samples at least")
    train, test = (_drawn(seed, count, length) for seed, count in ((0, train_length), (1, test_length)))
    names = tuple(f"{note} periods" for note in NOTES)
    return Source("tones", train, test, (length, 1), None, len(NOTES), names, modality="signal", rate=RATE)


def amplitudes() -> np.ndarray:
    """The amplitude a_k of each harmonic, float64 [HARMONICS]: with the noise the variance is 1."""
    shares = 1.0 / np.arange(1, HARMONICS + 1)
    return shares * np.sqrt((1.0 - DEVIATION**2) / (0.5 * np.sum(shares**2)))


def power(length: int, note: int) -> np.ndarray:
    """The expected |X_f|^2 / length of a note's discrete Fourier transform, at 0 to length // 2 periods."""
    expected = np.full(length // 2 + 1, DEVIATION**2)
    expected[NOTES[note] * np.arange(1, HARMONICS + 1)] += length * np.square(amplitudes()) / 4.0
    return expected


def _drawn(seed: int, count: int, length: int) -> Arrays:
    """So many signals, row by row, so that signal i does not depend on how many follow."""
    rng = np.random.default_rng([seed, length])
    drawn = rng.random((count, 1 + HARMONICS))
    label = (drawn[:, 0] * len(NOTES)).astype(np.int32)
    noise = DEVIATION * np.random.default_rng([seed, length, 1]).standard_normal((count, length), np.float32)
    periods, time = np.asarray(NOTES)[label], np.arange(length) / length
    for k, amplitude in enumerate(amplitudes(), start=1):
        angles = 2 * np.pi * (k * periods[:, None] * time + drawn[:, k : k + 1])
        noise += (amplitude * np.cos(angles)).astype(np.float32)
    return Arrays({"image": noise[..., None], "label": label})
