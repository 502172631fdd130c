"""Texts to fill in: what a file with gaps says, what a mask leaves known, and what is refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.categorical import pydoc_masked
from configs.vp import digits
from editing import gaps, tasks
from evaluation import entries, quality
from experiment import Experiment, build, rules
from experiment.workdir import Workdir


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    config = pydoc_masked.get_config()
    with config.unlocked():
        config.model.update(width=8, depth=1, num_heads=2)
        config.data.length = 12
    return build(config)


def edit(experiment: Experiment, **fields: Any) -> Any:
    config = experiment.config.edit.copy_and_resolve_references()
    config.update(fields)
    return config


def test_a_text_of_ones_own_is_known_but_for_its_gaps_and_what_follows_it(
    experiment: Experiment, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("_a def__\n")
    read = tasks.inputs(experiment, edit(experiment, image=str(tmp_path / "a.txt"), mask="_"))
    expected = [-1, *experiment.source.alphabet.encode("a def"), *[-1] * 6]
    np.testing.assert_array_equal(read.y, [expected])
    assert read.pictures is None and len(read) == 1
    read = tasks.inputs(experiment, edit(experiment, image=str(tmp_path / "a.txt"), mask="first"))  # '_' is a symbol
    expected = [*experiment.source.alphabet.encode("_a def"), *[-1] * 6]
    np.testing.assert_array_equal(read.y, [expected])


def test_what_a_mask_names_is_known_of_the_test_set(experiment: Experiment) -> None:
    truth = experiment.source.test[np.arange(2)]["image"]
    for mask, places in (("first", range(6)), ("last", range(6, 12)), ("ends", (0, 1, 2, 9, 10, 11))):
        read = tasks.inputs(experiment, edit(experiment, mask=mask, images=2))
        known = np.isin(np.arange(12), places)
        np.testing.assert_array_equal(read.y, np.where(known, truth, gaps.UNKNOWN))
        np.testing.assert_array_equal(read.originals, truth)


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        ("a text that is too long", {"mask": "_"}, "has 23 characters, and the texts of this run 12"),
        ("no gaps here", {"mask": "_"}, "has no sign '_', and nothing of it is to be filled in"),
        ("an \u4e16", {"mask": "_"}, "which is none of the .* of the vocabulary"),
        ("g_ps", {"mask": "_", "task": "vary"}, "'vary' noises a whole text, .* has gaps"),
        ("g_ps", {"mask": "_", "inpaint_strength": 0.5}, "begins with the text noised, .* has gaps"),
        ("a text", {"mask": "upper"}, "of texts it is one of first, last, ends"),
        (None, {"mask": "_"}, "stands for unknown symbols of a text of one's own, and edit.image is ''"),
    ],
)
def test_a_text_that_cannot_be_edited_is_refused_in_one_line(
    experiment: Experiment, tmp_path: Path, text: str | None, fields: dict, message: str
) -> None:
    (tmp_path / "a.txt").write_text(text or "")
    with pytest.raises(ValueError, match=message) as refusal:
        tasks.inputs(experiment, edit(experiment, image=str(tmp_path / "a.txt") if text else "", **fields))
    assert "\n" not in str(refusal.value)


def test_texts_have_no_frechet_distance(experiment: Experiment) -> None:
    """The numbers of symbols are in no order; the twelve of an example would not be too many."""
    assert quality.distance(experiment, Workdir("nowhere")) is None


def test_what_asks_for_a_score_is_refused_in_one_line(experiment: Experiment) -> None:
    config = experiment.config.copy_and_resolve_references()
    for mode, fields, message in (
        ("edit", {"task": "interpolate"}, "take inpaint or vary"),
        ("edit", {"method": "dps"}, "leave them 'auto' and 0"),
        ("edit", {"noise": 0.1}, "leave them 'auto' and 0"),
        ("reproduce", {}, "--mode=train, sample, evaluate, compare and edit"),
        ("export", {}, "--mode=train, sample, evaluate, compare and edit"),
    ):
        config.edit = edit(experiment, **fields)
        with pytest.raises(ValueError, match=message) as refusal:
            rules.check(rules.of_images(config, mode))
        assert "\n" not in str(refusal.value)
    for mode in ("edit", "compare"):
        rules.check(rules.of_images(experiment.config, mode))


def test_each_run_is_compared_by_the_samplers_of_its_own_noise(experiment: Experiment) -> None:
    asked, gaussian = experiment.config.eval.copy_and_resolve_references(), build(digits.get_config())
    asked.update(compare=("ddim/quadratic", "maskgit", "unmasking"), compare_evaluations=(20, 10))
    found = [(entry.name, entry.budget, entry.settings.steps) for entry in entries.of_run(experiment, asked)]
    assert found == [(name, n, n) for name in ("maskgit", "unmasking") for n in (10, 20)]
    assert [entry.name for entry in entries.of_run(gaussian, asked)] == ["ddim/quadratic"] * 2
    for run, compare, message in (
        (experiment, ("ddim",), r"eval.compare is \('ddim',\), none of which draws of .*; name some of categorical"),
        (gaussian, ("maskgit",), "none of which draws of .*; name some of samplers of Gaussian noise"),
        (experiment, ("unmasking/karras",), "name the method alone"),
        (experiment, ("unmaskin",), "eval.compare has 'unmaskin'"),
    ):
        asked.compare = compare
        with pytest.raises(ValueError, match=message):
            entries.of_run(run, asked)
    asked.compare_reference = "unmasking"
    with pytest.raises(ValueError, match="over categories, and the process of this run is one of Gaussian noise"):
        entries.yardstick(gaussian, asked)
