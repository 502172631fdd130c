"""Recordings: a folder of wav files, read by SciPy and cut into signals of one length."""

import warnings
from pathlib import Path

import numpy as np

from data import files
from data.fingerprint import of_facts, of_files
from data.source import Example, Source, Unreadable


def sounds(
    *, path: str, length: int, rate: int, channels: int = 1, gain: float = 1.0, test_fraction: float = 0.1
) -> Source:
    """Signals float32 [length, channels] of the wav files below `path`: PCM of 8 to 32 bits, or floats.

    A file is cut into as many signals as it holds whole; its rest is left out. Samples lie in [-1, 1], times `gain`,
    which brings quiet recordings to a variance near one. With one channel, several are averaged.

    Args:
      path: the folder; files in it, not signals, are held out (`data.files.split`).
      length: samples of a signal.
      rate: samples a second, the same of all files: nothing is resampled.
      channels: of a signal.
      gain: what samples are multiplied by.
      test_fraction: the share of files to test on.

    Raises:
      ValueError: a file of another rate, of other channels, shorter than a signal, or that is no wav file; it is named.
    """
    train, test = (
        Signals(found, (length, channels), rate, gain)
        for found in files.split("sounds", path, (".wav", ".wave"), test_fraction)
    )
    return Source("sounds", train, test, (length, channels), None, modality="signal", rate=rate)


class Signals:
    """Records of wav files of one rate, each cut into signals of shape (length, channels), read when asked for."""

    def __init__(self, found: list[Path], shape: tuple[int, int], rate: int, gain: float):
        self.files, self.shape, self.rate, self.gain = found, shape, rate, gain
        counts = [len(self._samples(file)) // shape[0] for file in found]
        self.places = [(number, i * shape[0]) for number, count in enumerate(counts) for i in range(count)]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Example:
        number, first = self.places[index]
        try:
            samples = _as_floats(self._samples(self.files[number])[first : first + self.shape[0]])
        except (ValueError, OSError) as error:
            raise Unreadable(str(error)) from error
        samples = samples.mean(axis=1, keepdims=True) if self.shape[1] == 1 else samples
        return {"image": (self.gain * samples).astype(np.float32)}

    def fingerprint(self) -> str:
        """It is that of the files' content in their order, and of how they are cut and scaled."""
        return of_facts(["sounds", self.shape, self.rate, self.gain, of_files(self.files, "the recordings")])

    def _samples(self, file: Path) -> np.ndarray:
        """The samples [n, channels] of a file as they are stored, mapped into memory where that can be."""
        rate, samples = read(file)
        length, channels = self.shape
        if rate != self.rate:
            raise ValueError(
                f"sounds: {file} has {rate} samples a second, and data.rate is {self.rate}; resample it, or set "
                "data.rate"
            )
        if channels not in (1, samples.shape[1]):
            raise ValueError(
                f"sounds: {file} has {samples.shape[1]} channel(s), and data.channels is {channels}; set that to 1, "
                "for their mean, or leave the file out"
            )
        if len(samples) < length:
            raise ValueError(
                f"sounds: {file} has {len(samples)} samples, and data.length is {length}; leave it out, or lower "
                "data.length"
            )
        return samples


def read(file: Path) -> tuple[int, np.ndarray]:
    """The samples a second of a wav file, and its samples [n, channels] as they are stored.

    Raises:
      ValueError: it is no wav file, or one that SciPy does not read; the message names it.
    """
    from scipy.io import wavfile  # slow to import, and few need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of chunks that say nothing of the samples
            try:
                rate, samples = wavfile.read(file, mmap=True)
            except ValueError:  # of 24 bits, which no array has
                rate, samples = wavfile.read(file)
    except Exception as error:  # SciPy raises nearly anything at damaged files
        raise ValueError(f"sounds: {file} cannot be read as a wav file: {error}") from error
    return int(rate), samples.reshape(len(samples), -1)


def _as_floats(samples: np.ndarray) -> np.ndarray:
    """Stored samples in [-1, 1]: of 8 bits around 128, of more around 0, and floats as they are."""
    if np.issubdtype(samples.dtype, np.floating):
        return samples.astype(np.float64)
    if samples.dtype == np.uint8:
        return (samples - 128.0) / 128.0
    return samples / -float(np.iinfo(samples.dtype).min)
