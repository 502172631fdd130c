"""Samples as pictures: a grid of images, or a scatter of points."""

import math
from pathlib import Path

import numpy as np
from PIL import Image

from data.scaling import Scaler

MIN_SIDE = 32  # smaller images are enlarged, pixel by pixel, so that a person can see them


def image_grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """uint8 images [n, h, w, c] side by side with a line between: [H, W, c], white where the last row is short."""
    n, h, w, c = images.shape
    enlarge = max(1, math.ceil(MIN_SIDE / max(h, w)))
    images = images.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    step = images.shape[1] + 2, images.shape[2] + 2
    grid = np.full((rows * step[0] + 2, columns * step[1] + 2, c), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * step[0] + 2, (i % columns) * step[1] + 2
        grid[top : top + image.shape[0], left : left + image.shape[1]] = image
    return grid


def save_samples(path: Path, x: np.ndarray, scaler: Scaler) -> None:
    """Write encoded samples [n, h, w, c] as an image grid, or points [n, d] as a scatter of their first two axes."""
    save_decoded(path, scaler.decode(np.nan_to_num(np.asarray(x))), scaler)


def save_decoded(path: Path, examples: np.ndarray, scaler: Scaler, columns: int | None = None) -> None:
    """The same of grey levels, so many `columns` wide, or of points."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if examples.ndim == 4:
        grid = image_grid(scaler.stretch(examples), columns)
        Image.fromarray(grid[..., 0] if grid.shape[-1] == 1 else grid).save(path)
        return
    from matplotlib.figure import Figure  # slow to import, and images do not need it

    figure = Figure(figsize=(5, 5))
    axes = figure.add_subplot()
    axes.scatter(examples[:, 0], examples[:, min(1, examples.shape[1] - 1)], s=2)
    axes.set_aspect("equal")
    figure.savefig(path, dpi=100)
