"""The judge of the trilemma: what samples of digits are worth, and how many kinds of digits there are among them."""

import functools
from typing import Any

import numpy as np
from sklearn.svm import SVC

import data
from data.source import take
from metrics.fid import frechet_distance, moments
from metrics.precision_recall import covered, squared_radii

K = 3
"""The neighbour whose distance is the radius of a ball (Kynkaanniemi et al. 2019, arXiv:1904.06991)."""


class Judge:
    """Samples against one half of the training digits, by their pixels in [0, 1]; the other half is the yardstick.

    Args: count: digits of each half, and samples.
    """

    def __init__(self, count: int):
        source = data.create("digits")
        if not 2 <= 2 * count <= len(source.train):
            raise SystemExit(f"error: --samples is {count}; half of the training digits are {len(source.train) // 2}")
        chosen = take(source.train, np.random.default_rng(0).permutation(len(source.train))[: 2 * count])
        self.top = source.levels - 1 if source.levels else 1
        pixels, labels = self._pixels(chosen["image"]), chosen["label"]
        self.real_half, self.other_half = pixels[:count], pixels[count:]
        self.classifier = SVC(C=10.0, gamma="scale").fit(pixels, labels)
        tested = take(source.test, np.arange(len(source.test)))
        self.accuracy = float(np.mean(self.classifier.predict(self._pixels(tested["image"])) == tested["label"]))

    def of(self, samples: np.ndarray) -> dict[str, float]:
        """What samples [n, 8, 8, 1], whole levels, are worth.

        distance: the Frechet distance over pixels. precision: the share of samples in a ball of a real digit. recall:
        the share of real digits in a ball of a sample. coverage: the share of real digits whose ball holds a sample
        (Naeem et al. 2020, arXiv:2002.09797), which one outlier among the samples cannot raise. entropy: of the classes
        that a support vector machine sees in the samples, in bits; log2(10) where all are as frequent.
        """
        return self._of(self._pixels(samples))

    @functools.cached_property
    def real(self) -> dict[str, Any]:
        """The same of the other half of the digits, and how often the classifier is right on the test digits."""
        return {**self._of(self.other_half), "classifier_accuracy": self.accuracy}

    @property
    def floor(self) -> float:
        """The Frechet distance of real digits from real ones."""
        return self.real["distance"]

    def _pixels(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(images, np.float64).reshape(len(images), -1) / self.top

    def _of(self, pixels: np.ndarray) -> dict[str, float]:
        real = self.real_half
        radii, balls = squared_radii(pixels, K), squared_radii(real, K)
        precise, recalled = covered(pixels, real, radii, balls)
        found = np.bincount(self.classifier.predict(pixels).astype(int), minlength=10) / len(pixels)
        return {
            "distance": frechet_distance(moments(pixels), moments(real)),
            "precision": float(precise.mean()),
            "recall": float(recalled.mean()),
            "coverage": _coverage(pixels, real, balls),
            "entropy": float(-sum(p * np.log2(p) for p in found if p > 0)),
        }


def _coverage(pixels: np.ndarray, real: np.ndarray, balls: np.ndarray) -> float:
    """The share of real points in whose own ball a sample lies."""
    squared = np.square(real[:, None] - pixels[None]).sum(axis=2)
    return float((squared.min(axis=1) <= balls).mean())
