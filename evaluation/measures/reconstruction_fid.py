"""The Frechet distance of the test set and its reconstructions over Inception features: rFID."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from data.source import take
from evaluation import features, quality
from evaluation.measures.base import Columns, Measure
from evaluation.measures.reconstruction import reconstructed
from evaluation.rounds import Rounds
from experiment import Experiment
from experiment.processes import is_leader
from metrics.fid import frechet_distance


class ReconstructionFID(Measure):
    """rFID: the images of the test set against their own reconstructions, as many of each.

    The reconstructions are kept as images, and the features of both in rounds of their own.
    """

    name = "reconstruction_fid"
    folder = "reconstructed"
    what = "rFID"
    kinds = ("autoencoder", "vae")

    def __init__(self, experiment: Experiment):
        inception = quality.load_inception(experiment, needed=True)
        assert inception  # which is refused where there is none
        self._inception = inception
        super().__init__(experiment)

    def compute(self, variables: dict, batch: dict[str, jax.Array], keys: jax.Array) -> dict[str, jax.Array]:
        """The column samples, the reconstructions in grey levels 0 to 255."""
        return {"samples": reconstructed(self.experiment, variables, batch[self.experiment.codec.field])[1]}

    def report(self, variables: dict, key: jax.Array, folder: Path, weights: dict[str, Any]) -> dict[str, Any] | None:
        """Measure, in rounds in the folder, and return the part of the report on process 0, None on the others."""
        (drawn,) = self.filled(variables, key, folder, weights)
        experiment, codec, size = self.experiment, self.experiment.codec, self.experiment.config.eval
        about = {"inception_sha256": self._inception.sha256, "resize": self._inception.resize}

        def given(i: int) -> np.ndarray:
            records = take(experiment.source.test, np.array(drawn.examples(i)))
            return np.asarray(codec.stretch(records[codec.field]))

        kept = []
        for name, images in (("given", given), ("reconstructed", lambda i: drawn.read(i)["samples"])):
            rounds = Rounds(drawn.folder / f"inception_{name}", about, drawn.total, drawn.size)
            what = f"Inception ({name})"
            kept.append(features.fill(rounds, self._inception, images, size.inception_batch_size, what))
        if not is_leader():
            return None
        found = [features.extracted(rounds, np.zeros(0, int)) for rounds in kept]
        return {
            "rfid": frechet_distance(*(each.pool_moments for each in found)),
            "rsfid": frechet_distance(*(each.spatial_moments for each in found)),
            "examples": self.count,
            **about,
        }

    def numbers(self, columns: Columns, variables: dict) -> dict[str, Any]:
        """Nothing beside what `report` returns."""
        return {}

    @classmethod
    def rows(cls, part: dict[str, Any]) -> list[str]:
        """The section "rFID"."""
        return [
            "## rFID",
            "",
            f"**{part['rfid']:.3f}** (spatial features: {part['rsfid']:.3f}): the Frechet distance over Inception "
            f"features of {part['examples']} test images and their reconstructions, resized as {part['resize']!r}; "
            f"Inception SHA-256 {part['inception_sha256'][:8]}.",
            "",
        ]
