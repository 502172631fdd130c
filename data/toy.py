"""Two-dimensional point clouds, for looking at what a sampler does."""

from collections.abc import Callable

import numpy as np

from data.source import Arrays, Source


def toy(shape: str, *, train_length: int = 100_000, test_length: int = 10_000) -> Source:
    """Points float32 [2] of the given shape, mean zero, the variance averaged over both axes about one.

    A point's label is its Gaussian of mixture8 or its moon; the other shapes have none.
    """
    draw = SHAPES[shape]

    def split(seed: int, length: int) -> Arrays:
        points, *label = draw(np.random.default_rng(seed), length)
        labels = {"label": label[0].astype(np.int32)} if label else {}
        return Arrays({"image": points.astype(np.float32), **labels})

    classes = {"mixture8": 8, "moons": 2}.get(shape, 0)
    train, test = split(0, train_length), split(1, test_length)
    return Source(f"toy_{shape}", train, test, (2,), None, classes, modality="vector")


def mixture8(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Eight equal Gaussians of standard deviation 0.1 on a circle; the variance is exactly one."""
    component = rng.integers(8, size=n)
    angle = 2 * np.pi * component / 8
    radius = np.sqrt(2 * (1 - 0.1**2))
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1) + 0.1 * rng.standard_normal((n, 2)), component


def checkerboard(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Uniform on the dark squares of a 4 x 4 board of side 2 sqrt(3); the variance is exactly one."""
    column, row = rng.integers(4, size=n), rng.integers(2, size=n)
    corner = np.stack([column, 2 * row + column % 2], 1)
    return (np.sqrt(3) * ((corner + rng.random((n, 2))) / 2 - 1),)


def moons(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Two interleaved half circles, noise 0.05 before scaling."""
    angle, inner = np.pi * rng.random(n), rng.integers(2, size=n)
    x = np.where(inner, 1 - np.cos(angle), np.cos(angle)) - 0.5
    y = np.where(inner, 0.5 - np.sin(angle), np.sin(angle)) - 0.25
    return (np.stack([x, y], 1) + 0.05 * rng.standard_normal((n, 2))) / 0.705, inner


def swiss_roll(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """The spiral t (cos t, sin t) for t in [1.5 pi, 4.5 pi], noise 0.3 before scaling."""
    t = np.pi * rng.uniform(1.5, 4.5, n)
    spiral = np.stack([t * np.cos(t) - 2, t * np.sin(t) - 2 / (3 * np.pi)], 1)
    return ((spiral + 0.3 * rng.standard_normal((n, 2))) / 6.8,)


SHAPES: dict[str, Callable[[np.random.Generator, int], tuple[np.ndarray, ...]]] = {
    "checkerboard": checkerboard,
    "mixture8": mixture8,
    "moons": moons,
    "swiss_roll": swiss_roll,
}
