"""Precision and recall over pixels, beside the Frechet distance: of data themselves, and of samples far from them."""

from pathlib import Path

import numpy as np
import pytest

from configs.vp import digits
from data.source import take
from evaluation.quality import PixelDistance
from evaluation.rounds import Rounds
from experiment import build

COUNT = 200


def drawn(folder: Path, samples: np.ndarray) -> Rounds:
    return Rounds(folder, {}, len(samples), len(samples)).fill(
        "samples", lambda i: samples, lambda begun, examples: {"samples": begun[examples.start : examples.stop]}
    )


def test_samples_are_compared_with_both_halves(tmp_path: Path) -> None:
    distance = PixelDistance(build(digits.get_config()), COUNT)
    order = np.random.default_rng(0).permutation(1500)[: 2 * COUNT]
    half = take(distance.experiment.source.train, np.sort(order[:COUNT]))["image"]
    near = distance.facts_of_neighbours["neighbours"]
    assert (near["k"], near["count"]) == (3, COUNT) and near["precision"] > 0.2 and near["recall"] > 0.2
    found = distance.neighbours([drawn(tmp_path / "half", half)])
    assert found == pytest.approx({name: (1.0 + near[name]) / 2.0 for name in ("precision", "recall")})
    far = distance.neighbours([drawn(tmp_path / "far", np.full_like(half, 16))])
    assert far == {"precision": 0.0, "recall": 0.0}
    both = distance.neighbours([drawn(tmp_path / "half", half), drawn(tmp_path / "far", np.full_like(half, 16))])
    assert both == pytest.approx({name: value / 2.0 for name, value in found.items()})


def test_too_few_have_neither(tmp_path: Path) -> None:
    distance = PixelDistance(build(digits.get_config()), 3)
    assert (
        distance.facts_of_neighbours == {} == distance.neighbours([drawn(tmp_path, np.zeros((3, 8, 8, 1), np.uint8))])
    )
