"""Crops of the two photographs in scikit-learn: natural colour images that need no download."""

from typing import Any

import numpy as np

from data.fingerprint import of_arrays, of_facts
from data.scikit_learn import packaged
from data.source import Example, Source
from limits import Sides, sides

TRAIN_WIDTH = 0.8  # the left part of each photograph is for training, the rest for testing


def photo_patches(*, size: Sides = 32, train_length: int = 50_000, test_length: int = 2_000) -> Source:
    """Random crops of `size`, one side or (height, width); no pixel of a photograph is in both train and test.

    The lengths are virtual: crop i is the same whatever they are. A `size` that does not fit is a ValueError.
    """
    from PIL import Image

    files = [packaged("images", name) for name in ("china.jpg", "flower.jpg")]
    photos = np.stack([np.asarray(Image.open(file)) for file in files])  # [2, 427, 640, 3]
    cut = int(TRAIN_WIDTH * photos.shape[2])
    (height, width), largest = sides(size), (photos.shape[1], photos.shape[2] - cut)
    if not (1 <= height <= largest[0] and 1 <= width <= largest[1]):
        raise ValueError(f"photo_patches: data.size is {size}; it must be at least 1 and fit into {largest}")
    train = Crops(photos[:, :, :cut], size, train_length, seed=0)
    test = Crops(photos[:, :, cut:], size, test_length, seed=1)
    return Source("photo_patches", train, test, shape=(height, width, 3), levels=256)


class Crops:
    """`length` random crops of photos [n, h, w, c]."""

    def __init__(self, photos: np.ndarray, size: Sides, length: int, seed: int):
        self.photos, self.size = photos, size
        windows = np.lib.stride_tricks.sliding_window_view(photos, sides(size), axis=(1, 2))
        self.windows = np.moveaxis(windows, 3, -1)  # [n, y, x, height, width, c], a view
        # Row i of a table drawn row by row does not depend on how many rows follow.
        table = np.random.default_rng(seed).random((length, 3))
        self.corners = (table * self.windows.shape[:3]).astype(np.int32)

    def __len__(self) -> int:
        return len(self.corners)

    def __getitem__(self, index: Any) -> Example:
        photo, y, x = np.moveaxis(self.corners[index], -1, 0)
        return {"image": np.ascontiguousarray(self.windows[photo, y, x])}

    take = __getitem__

    def fingerprint(self) -> str:
        """The fingerprint is that of the photographs, of where the crops lie in them and of their size."""
        return of_facts(["crops", self.size, of_arrays({"photos": self.photos, "corners": self.corners})])
