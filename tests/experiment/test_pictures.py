"""Samples as pictures: their size, order and enlargement."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoencoders.grey_levels import GreyLevels
from configs.vp import digits_classes
from experiment.build import build
from experiment.grids import _lines
from experiment.pictures import (
    Facts,
    caption,
    captioned_grid,
    facts_of,
    file_name,
    image_grid,
    save_array,
    save_decoded,
)

FACTS = {
    "dataset": "digits",
    "method": "heun",
    "evaluations": 19.0,
    "class": 3,
    "seed": 0,
    "checkpoint": 7,
    "guide": "a b",
}


def _save(path: Path, x: np.ndarray, codec: GreyLevels, facts: Facts) -> None:
    save_decoded(path, np.asarray(codec.decode(x)), codec, facts)


def test_a_grid_holds_every_image_once_in_reading_order() -> None:
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1).repeat(40, 1).repeat(32, 2)
    grid = image_grid(images, columns=3)
    assert grid.shape == (2 * 42 + 2, 3 * 34 + 2, 1)
    for i, (top, left) in enumerate([(2, 2), (2, 36), (2, 70), (44, 2), (44, 36)]):
        assert (grid[top : top + 40, left : left + 32] == i).all()
    assert (grid[44:, 70:] == 255).all()  # the empty place
    with pytest.raises(ValueError, match="uint8 images, and these are float64"):
        image_grid(images / 255.0)  # bytes of them would be black


def test_each_image_has_its_own_text_below_it() -> None:
    images = np.full((3, 16, 16, 3), 90, np.uint8)
    grid = captioned_grid(images, ["short", "a text that takes far more than a single line of them", ""], columns=3)
    assert grid.shape[1:] == (3 * 114 + 2, 3)
    for left, written in ((2, True), (116, True), (230, False)):
        assert (grid[2:114, left : left + 112] == 90).all()
        assert (grid[114:, left : left + 112] < 200).any() == written
    assert (grid[130:, 2:114] == 255).all() and (grid[130:, 116:228] < 200).any()
    assert captioned_grid(images[..., :1], ["a"] * 3).shape[2] == 1
    with pytest.raises(ValueError, match="3 of uint8 with 2 texts"):
        captioned_grid(images, ["a", "b"])


def test_words_are_broken_only_where_they_are_longer_than_a_line() -> None:
    assert _lines("two or three  words, unbreakably", 11, len) == ["two or", "three", "words,", "unbreakably"]
    assert _lines("an extraordinarily long", 8, len) == ["an", "extraord", "inarily", "long"]
    assert _lines("", 8, len) == [] and _lines("abc", 0, len) == ["a", "b", "c"]


def test_small_images_are_enlarged_and_all_levels_shown(tmp_path: Path) -> None:
    """8x8 digits at four times their size; 17 levels over 0..255."""
    x = np.linspace(0, 1, 17, endpoint=False)[None, :, None, None].repeat(9, 0)[:, :16].reshape(9, 4, 4, 1)
    x = np.kron(x, np.ones((1, 2, 2, 1))) + 1 / 34
    _save(tmp_path / "new" / "grid.png", x, GreyLevels(17, False, "uniform"), {})
    picture = np.asarray(Image.open(tmp_path / "new" / "grid.png"))
    assert picture.shape == (3 * 34 + 2, 3 * 34 + 2)
    assert picture[2, 2] == 0 and picture[33, 33] == round(15 * 255 / 16)


def test_colour_and_points(tmp_path: Path) -> None:
    _save(tmp_path / "colour.png", np.zeros((2, 32, 32, 3)), GreyLevels(256, True, "uniform"), {})
    assert Image.open(tmp_path / "colour.png").size == (2 * 34 + 2, 34 + 2)
    points = np.random.default_rng(0).normal(size=(50, 2))
    _save(tmp_path / "points.png", points, GreyLevels(None, False, "none", modality="vector"), FACTS)
    with Image.open(tmp_path / "points.png") as picture:
        assert picture.size == (500, 500) and picture.info["method"] == "heun" and picture.info["class"] == "3"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_has_a_caption_below_it_and_the_file_carries_every_fact(channels: int, tmp_path: Path) -> None:
    x, codec = np.full((4, 64, 64, channels), 0.5), GreyLevels(256, False, "none")
    _save(tmp_path / "bare.png", x, codec, {})
    _save(tmp_path / "told.png", x, codec, FACTS)
    bare, told = Image.open(tmp_path / "bare.png"), Image.open(tmp_path / "told.png")
    assert {name: told.info[name] for name in FACTS} == {
        k: v if isinstance(v, str) else str(v) for k, v in FACTS.items()
    }
    assert (bare.width, told.width, told.mode) == (2 * 66 + 2, 240, bare.mode), "a few words a line, on white"
    np.testing.assert_array_equal(np.asarray(told)[: bare.height, : bare.width], np.asarray(bare))
    assert (np.asarray(told)[: bare.height, bare.width :] == 255).all()
    below = np.asarray(told.convert("L"))[bare.height :]
    assert below.min() < 64 and below.max() == 255  # black letters on white
    assert below[:, -1].min() == 255  # none is cut off at the right


def test_an_array_of_samples_says_what_it_holds(tmp_path: Path) -> None:
    save_array(tmp_path / "x.npz", {**FACTS, "levels": None}, samples=np.arange(3))
    with np.load(tmp_path / "x.npz", allow_pickle=False) as read:
        assert read["samples"].tolist() == [0, 1, 2]
        assert {name: read[name].item() for name in FACTS} == FACTS and read["levels"] == "none"
    assert [file.name for file in tmp_path.iterdir()] == ["x.npz"]


@pytest.mark.parametrize(
    ("sampling", "name", "told"),
    [
        ({}, "s", {"class": "each in turn", "guidance": None}),
        ({"label": 3}, "s_label_3", {"class": 3, "guidance": None}),
        ({"guidance": 2.0}, "s_guidance_2", {"class": "each in turn", "guidance": 2.0}),
        ({"label": 0, "guidance": 0.5}, "s_label_0_guidance_0.5", {"class": 0, "guidance": 0.5}),
    ],
)
def test_names_and_captions_tell_label_and_guidance_apart(sampling: dict, name: str, told: dict) -> None:
    config = digits_classes.get_config()
    config.sampling.update(method="heun", **sampling)
    experiment = build(config)
    assert file_name("s", experiment) == name
    facts = facts_of(experiment, "heun", step=7, seed=5, evaluations=19.0)
    assert {key: facts.get(key) for key in told} == told
    assert (facts["checkpoint"], facts["seed"], facts["levels"], facts["weights"]) == (7, 5, 17, "average")
    assert facts["evaluations"] == 19.0  # those that were spent, not those that were allowed
    line = caption(facts)
    assert f"class {told['class']}" in line and ("guidance" in line) == (told["guidance"] is not None)
