"""What samples are compared with: the pixels of the data themselves, or statistics of Inception features."""

import functools
import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from data.fingerprint import of_file
from data.source import take
from evaluation import features, ingredients, stats
from evaluation.rounds import Rounds
from experiment import Experiment
from experiment.processes import is_leader
from experiment.showing import MODALITIES
from experiment.workdir import Workdir
from metrics import sample_set
from metrics.fid import Accumulator, Moments, frechet_distance
from metrics.inception import InceptionV3
from metrics.precision_recall import PrecisionRecall, precision_recall

MAX_PIXELS = 4096  # numbers an example: a covariance of more is larger than what it is good for
CHUNK = 1000
NEIGHBOUR = 3
"""Which nearest neighbour makes the radius of precision and recall."""


class PixelDistance:
    """The Frechet distance over pixels in [0, 1], or over the numbers of continuous data: no FID, but with a floor.

    Samples are compared with two disjoint random halves of the training set, each of `count` examples if there are as
    many; half against half is the floor. With ``eval.frechet_size`` images are averaged down to so many pixels a side.
    """

    def __init__(self, experiment: Experiment, count: int):
        self.experiment, self.levels = experiment, experiment.source.levels
        self.size = experiment.config.eval.frechet_size
        reduced = f" averaged down to {self.size}x{self.size}" if self.size else ""
        self.name = f"Frechet distance over {f'pixels{reduced}' if self.levels else 'coordinates'}"
        self.count = min(count, len(experiment.source.train) // 2)

    @functools.cached_property
    def halves(self) -> list[Moments]:
        """The moments of both halves."""
        train, field = self.experiment.source.train, self.experiment.codec.pictures.field
        found = []
        for half in np.split(self._order, 2):
            parts = np.split(np.sort(half), range(CHUNK, self.count, CHUNK))
            found.append(self._moments(take(train, places)[field] for places in parts))
        return found

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """What a report says of the distance, once for all samplers: its floor."""
        size = {"frechet_size": self.size} if self.size else {}
        return {"frechet_count": self.count, "frechet_floor": frechet_distance(*self.halves), **size}

    @property
    def floor(self) -> float:
        """The distance of real examples from real ones."""
        return self.facts["frechet_floor"]

    def judged(self, found: dict[str, Any]) -> dict[str, Any]:
        """What a comparison says of what `row` has found: the "quality", the less the better."""
        return {"quality": found["frechet_distance"]}

    def fingerprint(self) -> str:
        """The fingerprint of the data that are compared with."""
        return ingredients.of_examples(self.experiment, "train")["fingerprint"]

    def row(self, sets: list[Rounds]) -> dict[str, Any]:
        """What a report says of sets of samples of one sampler: the means of the distances to both halves."""
        if not is_leader():
            return {}
        of_sets = [self._moments(round_["samples"] for round_ in drawn) for drawn in sets]
        found = [float(np.mean([frechet_distance(of, half) for half in self.halves])) for of in of_sets]
        return {"frechet_distance": float(np.mean(found)), "frechet_distances": found}

    def neighbours(self, sets: list[Rounds]) -> dict[str, float]:
        """Precision and recall of sets of samples (`metrics.precision_recall`), the means over sets and both halves.

        Both depend on how many are compared: as many samples as `facts_of_neighbours` says. Too few have neither.
        """
        count = self._compared
        if not is_leader() or count <= NEIGHBOUR:
            return {}
        drawn = [self._points(of_set.column("samples", count)) for of_set in sets]
        found = [precision_recall(samples, half, k=NEIGHBOUR) for samples in drawn for half in self._halves_of_points]
        return {name: float(np.mean([getattr(each, name) for each in found])) for name in PrecisionRecall._fields}

    @functools.cached_property
    def facts_of_neighbours(self) -> dict[str, Any]:
        """What a report says of them once for all samplers: of how many, and what they are of half against half."""
        if self._compared <= NEIGHBOUR:
            return {}
        found = precision_recall(*self._halves_of_points, k=NEIGHBOUR)
        return {"neighbours": {"k": NEIGHBOUR, "count": self._compared, **found._asdict()}}

    @property
    def _compared(self) -> int:
        return min(self.count, self.experiment.config.eval.stats_features)

    @functools.cached_property
    def _halves_of_points(self) -> list[np.ndarray]:
        """The first of both halves as points [n, d]."""
        train, field = self.experiment.source.train, self.experiment.codec.pictures.field
        halves = np.split(self._order, 2)
        return [self._points(take(train, np.sort(half[: self._compared]))[field]) for half in halves]

    @property
    def _order(self) -> np.ndarray:
        """The places of the examples of both halves, one half behind the other."""
        return np.random.default_rng(0).permutation(len(self.experiment.source.train))[: 2 * self.count]

    def _points(self, examples: np.ndarray) -> np.ndarray:
        """Examples as points [n, d]."""
        return self._numbers(examples).reshape(len(examples), -1).astype(np.float32)

    def _numbers(self, images: np.ndarray) -> np.ndarray:
        """Stored levels as numbers in [0, 1], or continuous data as they are."""
        return images if self.levels is None else self._reduced(images) / (self.levels - 1)

    def _moments(self, parts: Iterable[np.ndarray]) -> Moments:
        """The moments of examples as numbers."""
        accumulator = Accumulator()
        for images in parts:
            accumulator.update(self._numbers(images))
        return accumulator.moments()

    def _reduced(self, images: np.ndarray) -> np.ndarray:
        """Means of squares of pixels, as many as are asked for, of each frame; the data themselves where none are."""
        if not self.size:
            return images.astype(np.float64)
        *before, height, width, channels = images.shape
        blocks = images.reshape(-1, self.size, height // self.size, self.size, width // self.size, channels)
        return blocks.mean(axis=(2, 4), dtype=np.float64).reshape(*before, self.size, self.size, channels)


class InceptionDistance:
    """FID and its family: the features of samples against statistics of those of real images."""

    name = "FID"
    facts: ClassVar[dict[str, Any]] = {}
    facts_of_neighbours: ClassVar[dict[str, Any]] = {}
    floor = None

    def __init__(self, experiment: Experiment, workdir: Workdir, inception: InceptionV3):
        self.experiment, self.workdir, self.inception = experiment, workdir, inception
        if path := experiment.config.eval.reference_stats:
            self.reference = stats.load_statistics(path, inception)

    @functools.cached_property
    def reference(self) -> sample_set.Reference:
        """`eval.reference_stats`, or else the statistics of the config's own data, computed once into the folder."""
        path = stats.path_of(self.experiment, self.workdir, self.inception)
        if found := stats.current(path, self.experiment, self.inception):
            return found
        return stats.load_statistics(
            stats.compute_statistics(self.experiment, self.workdir, self.inception), self.inception
        )

    def judged(self, found: dict[str, Any]) -> dict[str, Any]:
        """What a comparison says of what `row` has found: the "quality" is the FID, and the others stand beside it."""
        return {"inception": found["inception"], "quality": found["inception"]["fid"]}

    def fingerprint(self) -> str:
        """The fingerprint of the data that are compared with, or of the file of their statistics."""
        config = self.experiment.config.eval
        if config.reference_stats:
            return of_file(config.reference_stats)
        return ingredients.of_examples(self.experiment, config.stats_split)["fingerprint"]

    def row(self, sets: list[Rounds]) -> dict[str, Any]:
        """What a report says of sets of samples of one sampler: every metric, and its spread over several sets.

        All processes compute the features and the reference; the others than process 0 return nothing.
        """
        kept = [features.of_samples(self.experiment, drawn, self.inception) for drawn in sets]
        reference = self.reference
        if not is_leader():
            return {}
        found = [sample_set.of_set(reference, features.extracted(of)) for of in kept]
        return {"inception": found[0] if len(found) == 1 else sample_set.summarise(found)}

    def neighbours(self, sets: list[Rounds]) -> dict[str, float]:
        """Nothing beside `row`, which has precision and recall of features."""
        return {}


Distance = PixelDistance | InceptionDistance


def distance(experiment: Experiment, workdir: Workdir) -> Distance | None:
    """The distance of samples from data: by Inception where there is the network, else over pixels.

    It is None of examples without a mean, texts, whose symbols are numbered in no order, and sets of points, which
    stand in no order; and where a covariance of pixels does not fit in memory. Nothing is computed yet;
    `eval.reference_stats` is read.

    Raises:
      ValueError: as `load_inception` does, the statistics were made with another network or resize, or
        ``eval.frechet_size`` does not divide the images.
      OSError: a file is not there.
    """
    if inception := load_inception(experiment):
        return InceptionDistance(experiment, workdir, inception)
    size, shape = experiment.config.eval.frechet_size, experiment.source.shape
    modality, numbers = MODALITIES[experiment.source.modality], math.prod(shape)
    first = modality.pixels
    if size and (first is None or any(side % size for side in shape[first : first + 2])):
        raise ValueError(
            f"eval.frechet_size is {size}, and the examples of {experiment.source.name!r} are {shape}; it must divide "
            "both sides of images, or be 0: as they are"
        )
    if size and first is not None:
        numbers = numbers // math.prod(shape[first : first + 2]) * size**2
    if numbers > MAX_PIXELS or not modality.has_mean:
        return None
    return PixelDistance(experiment, experiment.config.eval.num_samples)


def load_inception(experiment: Experiment, *, needed: bool = False) -> InceptionV3 | None:
    """The network of `eval.inception`; None where the config names none, unless it is needed.

    Raises:
      ValueError: the file is not the network, or the data are no images.
      OSError: there is no such file.
    """
    config = experiment.config.eval
    if not config.inception and not needed:
        return None
    (stats.check_images if config.reference_stats else stats.check)(experiment)
    return features.load_inception(config.inception, config.inception_resize, config.inception_sha256)
