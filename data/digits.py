"""The 1797 handwritten digits of scikit-learn: a real image dataset that needs no download."""

import gzip

import numpy as np

from data.scikit_learn import packaged
from data.source import Arrays, Source


def digits() -> Source:
    """8x8x1 digits of 17 grey levels with labels; a fixed permutation gives 1500 to train on, 297 to test."""
    with gzip.open(packaged("data", "digits.csv.gz"), "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.float32)  # 64 grey levels and the label
    images, labels = rows[:, :64].reshape(-1, 8, 8, 1).astype(np.uint8), rows[:, 64]
    order = np.random.default_rng(0).permutation(len(images))

    def split(rows: np.ndarray) -> Arrays:
        return Arrays({"image": images[rows], "label": labels[rows].astype(np.int32)})

    train, test, classes = split(order[:1500]), split(order[1500:]), tuple("0123456789")
    return Source("digits", train, test, shape=(8, 8, 1), levels=17, num_classes=10, class_names=classes)
