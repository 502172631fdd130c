"""Inception features in rounds on disk, and what is added up of them."""

from collections.abc import Callable

import numpy as np

from evaluation.features import gather, stream
from evaluation.rounds import Rounds
from metrics.inception import Features, InceptionV3
from metrics.sample_set import Extracted


def write_features(
    rounds: Rounds, inception: InceptionV3, images: Callable[[int], np.ndarray], batch_size: int, description: str
) -> None:
    """Fill the missing rounds of this process: features of `images(i)`, uint8 [b, h, w, c], `batch_size` at once.

    A round holds pool [b, 2048], logits [b, 1008] and spatial [b, 2023], float32: 20 kB an image.
    """
    missing = rounds.missing()
    with rounds.progress(missing, description) as progress:
        for i in missing:
            found = []
            for part, real in stream(inception, images(i), batch_size=batch_size):
                found.append(part)
                progress.update(real)
            pool, logits, spatial = (np.concatenate(values) for values in zip(*found, strict=True))
            rounds.write(i, pool=pool, logits=logits, spatial=spatial)


def extracted(rounds: Rounds, keep: np.ndarray | None = None) -> Extracted:
    """Moments of all rounds, one at a time in memory; vectors of all, or of the examples at `keep`, ascending."""
    return gather((Features(found["pool"], found["logits"], found["spatial"]) for found in rounds), keep)
