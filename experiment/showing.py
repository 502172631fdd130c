"""What the axes of an example are, and how people see or hear it: one table, by the modality of the data.

A data set says its modality (`data.Source.modality`), and so does the codec of its stored data. A new one is a line in
MODALITIES.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from autoencoders import Codec
from experiment import written
from experiment.grids import MIN_SIDE, image_grid

WIDTH, HEIGHT = 192, 48  # pixels of a signal's waveform, and of its spectrogram below it
QUIET = 60.0  # decibels below the loudest, from which on a spectrogram is white
SIDE = 65  # pixels of a set of points, each of which is a square of 3; an odd number has a middle
PAUSE = 0.1  # seconds between two signals of a player
BLACK, GREY, FRAME, WHITE = 0, 160, 224, 255


@dataclass(frozen=True)
class Modality:
    """One kind of data.

    Attributes:
      words: what examples are called.
      axes: what the axes of an example mean, in their order.
      panels: (decoded examples [n, ...], codec) -> a picture of each, uint8 [n, height, width, 1 or 3]; None: all stand
        in one scatter.
      suffix: of the file beside the picture in which examples move or sound; "": there is none.
      play: (file, decoded examples, codec, rate) writes that file.
      timed: whether that file needs to know how many samples or frames there are a second.
      has_mean: whether the numbers of a place mean the same in every example, so that these have a mean.
      pixels: the place of the height among the axes, behind which the width follows; None where there are no pixels.
    """

    words: str
    axes: tuple[str, ...]
    panels: Callable[[np.ndarray, Codec], np.ndarray] | None
    suffix: str = ""
    play: Callable[[BinaryIO, np.ndarray, Codec, float], None] | None = None
    pixels: int | None = None
    timed: bool = True
    has_mean: bool = True

    @property
    def is_picture(self) -> bool:
        """Whether an example is one picture."""
        return self.pixels == 0

    def __str__(self) -> str:
        return f"{self.words} ({', '.join(self.axes)})"


def _pictures(examples: np.ndarray, codec: Codec) -> np.ndarray:
    return np.asarray(codec.stretch(examples))


def _levels(examples: np.ndarray, codec: Codec) -> np.ndarray:
    """Clips or volumes as uint8; those without levels over the range that all of them have."""
    if codec.pictures.levels is not None:
        return np.asarray(codec.stretch(examples))
    low, high = np.min(examples), np.max(examples)
    return np.rint(255.0 * (examples - low) / max(high - low, 1e-12)).astype(np.uint8)


def _strips(examples: np.ndarray, codec: Codec) -> np.ndarray:
    """The frames, or slices, of each beside each other, a grey line between them: [n, h, frames (w + 1) - 1, c]."""
    frames = _levels(examples, codec)
    enlarge = max(1, math.ceil(MIN_SIDE / max(frames.shape[2:4])))
    frames = frames.repeat(enlarge, axis=2).repeat(enlarge, axis=3)
    lined = np.pad(frames, [(0, 0)] * 3 + [(0, 1), (0, 0)], constant_values=GREY)
    n, count, height, width, channels = lined.shape
    return lined.transpose(0, 2, 1, 3, 4).reshape(n, height, count * width, channels)[:, :, :-1]


def _moving(file: BinaryIO, examples: np.ndarray, codec: Codec, rate: float) -> None:
    """The grid of all examples, frame after frame, as an animated WebP without loss that begins again at its end."""
    frames = _levels(examples, codec)
    grids = [image_grid(frames[:, t]) for t in range(frames.shape[1])]
    shown = [Image.fromarray(grid.repeat(3 // grid.shape[-1], axis=-1)) for grid in grids]
    whole = io.BytesIO()  # Pillow asks for a file that it may read again
    shown[0].save(
        whole, "WEBP", save_all=True, append_images=shown[1:], lossless=True, duration=round(1000 / rate), loop=0
    )
    file.write(whole.getvalue())


def _waves(examples: np.ndarray, codec: Codec) -> np.ndarray:
    """The waveform of each signal with its spectrogram below it, channel after channel: [n, h, w, 1].

    All of them share one scale, so that a loud one looks loud. A column of the waveform goes from the least to the
    largest of the samples that it stands for; the spectrogram is dark where it is loud.
    """
    peak = max(float(np.abs(examples).max()), 1e-12)
    rows = []
    for channel in np.moveaxis(examples, -1, 0):
        rows += [_waveform(channel / peak), _spectrogram(channel)]
    return np.concatenate(rows, axis=1)[..., None]


def _waveform(x: np.ndarray) -> np.ndarray:
    """Signals [n, length] in [-1, 1] as uint8 [n, HEIGHT, WIDTH]."""
    ends = np.linspace(0, x.shape[1], WIDTH + 1)
    first, last = np.floor(ends[:-1]).astype(int), np.ceil(ends[1:]).astype(int)
    each = [x[:, a : min(b + 1, x.shape[1])] for a, b in zip(first, last, strict=True)]
    low, high = (np.stack([reduce(part, axis=1) for part in each], axis=1) for reduce in (np.min, np.max))
    row = np.arange(HEIGHT)[None, :, None]
    top, bottom = (np.rint((1.0 - of) / 2.0 * (HEIGHT - 1))[:, None] for of in (high, low))
    return np.where((row >= top) & (row <= bottom), BLACK, WHITE).astype(np.uint8)


def _spectrogram(x: np.ndarray) -> np.ndarray:
    """The loudness of signals [n, length] over time and frequency, low ones below, as uint8 [n, HEIGHT, WIDTH]."""
    size = min(x.shape[1], 2 ** round(math.log2(x.shape[1]) / 2 + 2.5))  # as fine in time as in frequency, about
    starts = np.arange(0, x.shape[1] - size + 1, max(1, size // 4))
    windows = np.stack([x[:, start : start + size] for start in starts], axis=1) * np.hanning(size + 1)[:-1]
    loudness = 20.0 * np.log10(np.maximum(np.abs(np.fft.rfft(windows, axis=-1)), 1e-12))
    shade = np.clip((loudness.max() - loudness) / QUIET, 0.0, 1.0) * WHITE
    times = np.minimum(np.arange(WIDTH) * len(starts) // WIDTH, len(starts) - 1)
    pitches = np.arange(HEIGHT)[::-1] * shade.shape[2] // HEIGHT
    return np.rint(shade[:, times][:, :, pitches]).astype(np.uint8).swapaxes(1, 2)


def _sound(file: BinaryIO, examples: np.ndarray, codec: Codec, rate: float) -> None:
    """All signals, one after another, as a wav file of floats whose loudest sample is 0.9."""
    from scipy.io import wavfile  # slow to import, and few need it

    pause = np.zeros((len(examples), round(PAUSE * rate), examples.shape[2]), np.float32)
    samples = np.concatenate([examples.astype(np.float32), pause], axis=1).reshape(-1, examples.shape[2])
    whole = io.BytesIO()  # SciPy seeks in it
    wavfile.write(whole, round(rate), (0.9 / max(np.abs(samples).max(), 1e-12) * samples).astype(np.float32))
    file.write(whole.getvalue())


def _scatters(examples: np.ndarray, codec: Codec) -> np.ndarray:
    """The points of each set by their first two coordinates, [n, SIDE, SIDE, 1]; a third one is a shade of grey.

    All sets share one square, which leaves out the outermost thousandth of all points. Points with a NaN are absent.
    """
    plane = examples[..., :2] if examples.shape[-1] > 1 else np.concatenate([examples, 0 * examples], axis=-1)
    example, point = np.nonzero(~np.isnan(examples).any(axis=-1))
    plane = plane[example, point]
    low, high = np.quantile(plane, (0.0005, 0.9995), axis=0)
    middle, half = (low + high) / 2, max(float((high - low).max()) / 2, 1e-12)
    reach = SIDE // 2 - 2  # pixels from the middle to a point at the border
    places = SIDE // 2 + np.clip(np.rint((plane - middle) / half * reach), -reach, reach).astype(int)
    shade: Any = BLACK
    if examples.shape[-1] > 2:
        depth = examples[example, point, 2]
        shade = GREY * (depth - depth.min()) / max(np.ptp(depth), 1e-12)
    shown = np.full((len(examples), SIDE, SIDE, 1), FRAME, np.uint8)
    shown[:, 1:-1, 1:-1] = WHITE
    for right in (-1, 0, 1):
        for up in (-1, 0, 1):
            row, column = SIDE - 1 - places[:, 1] - up, places[:, 0] + right
            shown[example, row, column, 0] = shade
    return shown


MODALITIES: dict[str, Modality] = {
    "vector": Modality("vectors", ("coordinates",), None),
    "image": Modality("images", ("height", "width", "channels"), _pictures, pixels=0),
    "signal": Modality("signals", ("length", "channels"), _waves, ".wav", _sound),
    "clip": Modality("clips", ("frames", "height", "width", "channels"), _strips, ".webp", _moving, pixels=1),
    "volume": Modality("volumes", ("depth", "height", "width", "channels"), _strips, ".webp", _moving, pixels=1),
    "point_set": Modality("point sets", ("points", "coordinates"), _scatters, has_mean=False),
    "text": Modality("texts", ("symbols",), written.pictured, ".txt", written.write, timed=False, has_mean=False),
}
