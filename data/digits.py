"""The 1797 handwritten digits of scikit-learn: a real image dataset that needs no download."""

import numpy as np

from data.source import Arrays, Source


def digits() -> Source:
    """8x8x1 digits of 17 grey levels with labels; a fixed permutation gives 1500 to train on, 297 to test."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))

    def split(rows):
        return Arrays({"image": images[rows], "label": labels[rows].astype(np.int32)})

    return Source("digits", split(order[:1500]), split(order[1500:]), shape=(8, 8, 1), levels=17, num_classes=10)
