"""A run that trains a map from a teacher and is continued ends, bit for bit, as one of one piece."""

from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import main
from experiment import Refusal
from tests.training.test_teacher import config_of, saved

OPTIONS = {
    "continuous_consistency": {"tangent_warmup": 3},
    "progressive_distillation": {"distilled_steps": 2, "weight": "truncated_snr"},
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("maps") / "teacher")
    main.run("train", config_of(2), folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("loss", OPTIONS)
def test_a_continued_run_is_that_of_one_piece(loss: str, teacher: str, tmp_path: Path) -> None:
    """Weights, average, Adam's moments, and what the loss has learnt of its errors."""

    def config(n_iters: int) -> ConfigDict:
        made = config_of(n_iters, loss=loss, teacher=teacher, **OPTIONS[loss])
        made.model.preconditioning = "trigflow"
        return made

    main.run("train", config(4), str(tmp_path / "whole"))
    main.run("train", config(2), str(tmp_path / "parts"))
    main.run("train", config(4), str(tmp_path / "parts"))
    whole, parts = (saved(tmp_path / name, 4) for name in ("whole", "parts"))
    jax.tree.map(np.testing.assert_array_equal, whole, parts)
    assert whole["step"] == 4 and all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(whole))
    if "history" in whole:
        assert whole["history"]["updates"] == 4 and np.all(whole["history"]["weights"] != 0.0)


def test_another_preconditioning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        Refusal, match=r"'continuous_consistency' and model.preconditioning 'none'; set it to 'trigflow'"
    ):
        main.prepare("train", config_of(2, loss="continuous_consistency"), str(tmp_path / "run"))
