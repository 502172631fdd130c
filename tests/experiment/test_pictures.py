"""Samples as pictures: their size, order and enlargement."""

from pathlib import Path

import numpy as np
from PIL import Image

from data.scaling import Scaler
from experiment.pictures import image_grid, save_samples


def test_a_grid_holds_every_image_once_in_reading_order() -> None:
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1).repeat(40, 1).repeat(32, 2)
    grid = image_grid(images, columns=3)
    assert grid.shape == (2 * 42 + 2, 3 * 34 + 2, 1)
    for i, (top, left) in enumerate([(2, 2), (2, 36), (2, 70), (44, 2), (44, 36)]):
        assert (grid[top : top + 40, left : left + 32] == i).all()
    assert (grid[44:, 70:] == 255).all()  # the empty place


def test_small_images_are_enlarged_and_all_levels_shown(tmp_path: Path) -> None:
    """8x8 digits at four times their size; 17 levels over 0..255."""
    x = np.linspace(0, 1, 17, endpoint=False)[None, :, None, None].repeat(9, 0)[:, :16].reshape(9, 4, 4, 1)
    x = np.kron(x, np.ones((1, 2, 2, 1))) + 1 / 34
    save_samples(tmp_path / "new" / "grid.png", x, Scaler(17, False, "uniform"))
    picture = np.asarray(Image.open(tmp_path / "new" / "grid.png"))
    assert picture.shape == (3 * 34 + 2, 3 * 34 + 2)
    assert picture[2, 2] == 0 and picture[33, 33] == round(15 * 255 / 16)


def test_colour_and_points(tmp_path: Path) -> None:
    save_samples(tmp_path / "colour.png", np.zeros((2, 32, 32, 3)), Scaler(256, True, "uniform"))
    assert Image.open(tmp_path / "colour.png").size == (2 * 34 + 2, 34 + 2)
    save_samples(tmp_path / "points.png", np.random.default_rng(0).normal(size=(50, 2)), Scaler(None, False, "none"))
    assert Image.open(tmp_path / "points.png").size == (500, 500)
