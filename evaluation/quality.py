"""What samples are compared with: the pixels of the data themselves, or statistics of Inception features."""

from typing import NamedTuple

import numpy as np

from data.source import Records, take
from evaluation import features, stats
from evaluation.rounds import Rounds
from experiment import Experiment
from experiment.processes import is_leader
from experiment.workdir import Workdir
from metrics import sample_set
from metrics.fid import frechet_distance
from metrics.inception import InceptionV3
from metrics.moments import Accumulator, Moments

MAX_PIXELS = 4096  # numbers an example: a covariance of more is larger than what it is good for
CHUNK = 1000


class PixelDistance:
    """The Frechet distance over pixels in [0, 1], or over the numbers of continuous data: no FID, but with a floor.

    Samples are compared with two disjoint random halves of the training set, each of `count` examples if there are as
    many; half against half is the floor.
    """

    def __init__(self, experiment: Experiment, count: int):
        train, self.levels, self.field = experiment.source.train, experiment.source.levels, experiment.codec.field
        self.count = min(count, len(train) // 2)
        order = np.random.default_rng(0).permutation(len(train))[: 2 * self.count]
        self._halves = [self._moments_at(train, np.sort(half)) for half in np.split(order, 2)]
        self.floor = frechet_distance(*self._halves)

    def of(self, rounds: Rounds) -> float:
        """The mean of the distances of the samples in rounds to both halves."""
        accumulator = Accumulator()
        for round_ in rounds:
            accumulator.update(self._unit(round_["samples"]))
        of_samples = accumulator.moments()
        return float(np.mean([frechet_distance(of_samples, half) for half in self._halves]))

    def _moments_at(self, train: Records, places: np.ndarray) -> Moments:
        accumulator = Accumulator()
        for first in range(0, len(places), CHUNK):
            accumulator.update(self._unit(take(train, places[first : first + CHUNK])[self.field]))
        return accumulator.moments()

    def _unit(self, images: np.ndarray) -> np.ndarray:
        """Stored levels as numbers in [0, 1]; continuous data as they are."""
        return images if self.levels is None else images.astype(np.float64) / (self.levels - 1)


class Against(NamedTuple):
    """What samples are compared with: pixels of the data, on process 0 alone, or statistics of Inception features."""

    pixels: PixelDistance | None
    inception: InceptionV3 | None
    reference: sample_set.Reference | None


def against(experiment: Experiment, workdir: Workdir, inception: InceptionV3 | None) -> Against:
    """Inception's statistics where there is the network; else pixels, where a covariance of them fits in memory.

    They are read, or computed, once.
    """
    if inception:
        return Against(None, inception, reference(experiment, workdir, inception))
    config = experiment.config.eval
    fits = config.enable_sampling and np.prod(experiment.source.shape) <= MAX_PIXELS
    return Against(PixelDistance(experiment, config.num_samples) if fits and is_leader() else None, None, None)


def reference(experiment: Experiment, workdir: Workdir, inception: InceptionV3) -> sample_set.Reference:
    """`eval.reference_stats`, or else the statistics of the config's own data, computed once into the folder.

    Raises:
      ValueError: the statistics were made with another network or resize.
      OSError: there is no such file.
    """
    config = experiment.config.eval
    if config.reference_stats:
        return stats.load_statistics(config.reference_stats, inception)
    path = stats.path_of(experiment, workdir, inception)
    if not stats.is_current(path, experiment, inception):
        stats.compute_statistics(experiment, workdir, inception)
    return stats.load_statistics(path, inception)


def load_inception(experiment: Experiment, *, needed: bool = False) -> InceptionV3 | None:
    """The network of `eval.inception`; None where the config names none, unless it is needed.

    Raises:
      ValueError: the file is not the network, or the data are no images.
      OSError: there is no such file.
    """
    config = experiment.config.eval
    if not config.inception and not needed:
        return None
    (stats.check_images if config.reference_stats and not needed else stats.check)(experiment)
    return features.load_inception(config.inception, config.inception_resize, config.inception_sha256)
