"""The FID of each archived checkpoint while a run trains, of fewer samples than a published one has."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import logging

from data.fingerprint import of_file
from evaluation import features, ingredients, quality
from evaluation.stats import load_statistics
from experiment import Experiment, Failure, rules
from experiment.sampling import Drawer, key_of
from metrics.fid import frechet_distance
from metrics.inception import InceptionV3
from metrics.sample_set import Reference


class SnapshotFid:
    """The FID of `training.snapshot_fid_samples` samples of the config's sampler, which are always of the same noise.

    So checkpoints of one run compare with less noise than their number of samples suggests; such an FID is biased
    upwards, and no published one of 50,000.
    """

    def __init__(self, experiment: Experiment, inception: InceptionV3, reference: Reference):
        config = experiment.config
        self._experiment, self._inception, self._reference = experiment, inception, reference
        self._count = config.training.snapshot_fid_samples
        self._key = key_of(config.eval.seed, "snapshot_fid")
        self._size = min(config.eval.batch_size, self._count)
        self.about: dict[str, Any] = {
            "samples": self._count,
            "batch_size": self._size,
            "inception_sha256": inception.sha256,
            "resize": inception.resize,
            "reference_sha256": of_file(config.eval.reference_stats),
            **ingredients.of_sampler(experiment.settings),
            **ingredients.of_key(self._key),
        }

    def __call__(self, variables: dict[str, Any]) -> float | None:
        """The FID of these weights; None, with a warning, where a sample is not finite."""
        experiment, batch = self._experiment, self._experiment.config.eval.inception_batch_size
        drawer = Drawer(experiment, variables, experiment.settings.method, self._size)

        def chunks() -> Iterator[np.ndarray]:
            for i in range(math.ceil(self._count / self._size)):
                levels = drawer.fetch(drawer.start(self._key, i)).x
                yield np.asarray(experiment.codec.stretch(levels[: self._count - i * self._size]))

        try:
            found = features.extract(self._inception, chunks(), self._count, batch_size=batch, desc="snapshot FID")
        except Failure as failure:
            logging.warning("no FID of this snapshot: %s", failure)
            return None
        return frechet_distance(self._reference.pool, found.pool_moments)


def prepare(experiment: Experiment) -> SnapshotFid | None:
    """The measure of a training's snapshots, or None where `training.snapshot_fid_samples` is 0.

    Raises:
      ValueError: the count is 1 or below 0, `eval.inception` or `eval.reference_stats` is missing or no such file, the
        data are no images, the network is a classifier, or several processes train.
      OSError: a file is not there.
    """
    config = experiment.config
    if not config.training.snapshot_fid_samples:
        return None
    rules.check(rules.of_snapshot_fid(experiment))
    inception = quality.load_inception(experiment, needed=True)
    assert inception
    return SnapshotFid(experiment, inception, load_statistics(config.eval.reference_stats, inception))
