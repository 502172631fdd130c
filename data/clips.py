"""A folder of animated pictures (GIF, WebP, PNG), cut into clips of one length."""

from pathlib import Path

import numpy as np

from data import files
from data.fingerprint import of_facts, of_files
from data.images import fitted
from data.source import Example, Source, Unreadable

SUFFIXES = (".gif", ".webp", ".png", ".apng")


def clips(
    *, path: str, frames: int, size: int, channels: int = 3, rate: float = 8.0, test_fraction: float = 0.1
) -> Source:
    """Clips uint8 [frames, size, size, channels] of the animated pictures below `path`.

    A picture is cut into as many clips as it holds whole, one after another; its rest is left out. Of each frame the
    central square is taken and resized (`data.images.fitted`).

    Args:
      path: the folder; files in it, not clips, are held out (`data.files.split`).
      frames, size, channels: of a clip; one channel is grey, three are RGB.
      rate: frames a second at which samples are shown; times between frames are not looked at.
      test_fraction: the share of files to test on.

    Raises:
      ValueError: a file with fewer frames than a clip, or that is no picture; it is named.
    """
    if channels not in (1, 3):
        raise ValueError(f"clips: data.channels is {channels}; it must be 1 (grey) or 3 (RGB)")
    train, test = (
        Clips(found, (frames, size, size, channels)) for found in files.split("clips", path, SUFFIXES, test_fraction)
    )
    return Source("clips", train, test, train.shape, 256, modality="clip", rate=rate)


class Clips:
    """Records of animated pictures, each cut into clips of that shape, decoded when they are asked for."""

    def __init__(self, found: list[Path], shape: tuple[int, int, int, int]):
        self.files, self.shape = found, shape
        counts = [self._frames_of(file) // shape[0] for file in found]
        self.places = [(number, i * shape[0]) for number, count in enumerate(counts) for i in range(count)]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Example:
        from PIL import Image

        number, first = self.places[index]
        frames, size, _, channels = self.shape
        found = []
        try:
            with Image.open(self.files[number]) as picture:
                for frame in range(first, first + frames):
                    picture.seek(frame)
                    pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
                    found.append(fitted(pixels.reshape(*pixels.shape[:2], channels), size))
        except Exception as error:  # Pillow's decoders raise nearly anything at damaged files
            raise Unreadable(f"cannot read the clip {self.files[number]}: {error}") from error
        return {"image": np.stack(found)}

    def fingerprint(self) -> str:
        """It is that of the files' content in their order, and of the shape they are read to."""
        return of_facts(["clips", self.shape, of_files(self.files, "the clips")])

    def _frames_of(self, file: Path) -> int:
        """How many frames a file has, as far as its header says."""
        from PIL import Image

        try:
            with Image.open(file) as picture:
                count = getattr(picture, "n_frames", 1)
        except Exception as error:  # as above
            raise ValueError(f"clips: {file} cannot be read as a picture: {error}") from error
        if count < self.shape[0]:
            raise ValueError(
                f"clips: {file} has {count} frame(s), and data.frames is {self.shape[0]}; leave it out, or lower "
                "data.frames"
            )
        return count
