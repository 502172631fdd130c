"""EDM's augmentation: each label does what it says, to images whose transform is known in closed form."""

import functools

import jax
import numpy as np
import pytest

from data import geometry
from data.geometry import Transform
from tests.models.published_weights import compiled

SIZE = (40, 48)
# In pixels, how far the filter's centre of mass lies behind the tap that is taken for it: an image is transformed so
# much off its place, and then put back.
DELAY = (np.arange(12) @ geometry.SYM6 / np.sum(geometry.SYM6) - 5) / 2
ZERO = Transform(*[np.zeros(1, np.float32)] * 6, np.zeros((1, 2), np.float32))
apply = compiled(geometry.apply)


def _blob(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two smooth channels without any symmetry, of pixels from the centre: linear interpolation costs them 3e-3."""
    first = np.exp(-((x - 3.0) ** 2 / 48 + (y + 2.0) ** 2 / 32))
    return np.stack([first, np.exp(-((x + 4.0) ** 2 + (x + 4.0) * (y - 2.0) + (y - 2.0) ** 2) / 56)], -1)


def _pixels() -> tuple[np.ndarray, np.ndarray]:
    h, w = SIZE
    y, x = np.meshgrid(np.arange(h) - (h - 1) / 2, np.arange(w) - (w - 1) / 2, indexing="ij")
    return x, y


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _of(label: np.ndarray) -> Transform:
    """The transform that nine labels describe, read from their published meaning."""
    stretch = np.hypot(label[5], label[6])
    values = label[0], label[1], label[2], np.arctan2(label[4], label[3] + 1), stretch, np.arctan2(label[6], label[5])
    return Transform(*(np.float32([value]) for value in values), np.float32([label[7:]]))


LABELS = {
    "xflip": [1, 0, 0, 0, 0, 0, 0, 0, 0],
    "yflip": [0, 1, 0, 0, 0, 0, 0, 0, 0],
    "larger": [0, 0, 1.0, 0, 0, 0, 0, 0, 0],
    "smaller": [0, 0, -1.0, 0, 0, 0, 0, 0, 0],
    "turned": [0, 0, 0, np.cos(0.7) - 1, np.sin(0.7), 0, 0, 0, 0],
    "wider": [0, 0, 0, 0, 0, 1.2, 0, 0, 0],
    "wider along an axis": [0, 0, 0, 0, 0, 0.9 * np.cos(2.0), 0.9 * np.sin(2.0), 0, 0],
    "moved": [0, 0, 0, 0, 0, 0, 0, 0.6, -0.5],
    "all": [1, 1, 0.4, np.cos(1.9) - 1, np.sin(1.9), 0.5 * np.cos(-0.8), 0.5 * np.sin(-0.8), -0.3, 0.2],
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_say_what_was_done(name: str) -> None:
    """The output at p is the blob at the point that the labels' inverse transforms send p to; 4e-3 of its height.

    That point: shift back, stretch by 2^(-0.2 a) along an axis and 2^(0.2 a) across, turn, scale by 2^(-0.2 w), flip.
    """
    label = np.array(LABELS[name], float)
    x, y = _pixels()
    transform = _of(label)
    np.testing.assert_allclose(transform.labels()[0], label, atol=1e-6)
    found = np.asarray(apply(_blob(x, y)[None].astype(np.float32), transform))[0]
    w, turn, (a, phi) = (
        label[2],
        np.arctan2(label[4], label[3] + 1),
        (np.hypot(*label[5:7]), np.arctan2(*label[6:4:-1])),
    )
    moved = np.stack([x + DELAY - 0.125 * SIZE[1] * label[7], y + DELAY - 0.125 * SIZE[0] * label[8]])
    # For images y points down; their turn by an angle and the direction of an axis are as the labels count them.
    stretched = _rotation(-phi) @ np.diag([2 ** (-0.2 * a), 2 ** (0.2 * a)]) @ _rotation(phi)
    matrix = 2 ** (-0.2 * w) * _rotation(turn) @ stretched
    sx, sy = np.einsum("ij,jhw->ihw", matrix, moved) - DELAY
    expected = _blob(sx * (1 - 2 * label[0]), sy * (1 - 2 * label[1]))
    np.testing.assert_allclose(found[8:-8, 8:-8], expected[8:-8, 8:-8], atol=4e-3)


def _noise(count: int = 1, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, *size, 2)).astype(np.float32)


def test_zero_labels_are_the_image_and_flips_are_exact() -> None:
    x, one = _noise(), np.ones(1, np.float32)
    np.testing.assert_array_equal(apply(x, ZERO), x)
    assert not np.any(ZERO.labels())
    np.testing.assert_array_equal(apply(x, ZERO._replace(xflip=one)), x[:, :, ::-1])
    np.testing.assert_array_equal(apply(x, ZERO._replace(yflip=one)), x[:, ::-1])


@pytest.mark.parametrize(("right", "down"), [(1, 0), (-3, 2), (5, -7)])
def test_whole_pixels_shift_without_loss_and_the_border_reflects(right: int, down: int) -> None:
    """White noise, which any smoothing would show, against an indexed reflection; 1e-5."""
    h, w = SIZE
    x = _noise()
    shift = np.array([[right / (0.125 * w), down / (0.125 * h)]], np.float32)
    padded = np.pad(x, ((0, 0), (h - 1, h - 1), (w - 1, w - 1), (0, 0)), mode="reflect")
    expected = padded[:, h - 1 - down : 2 * h - 1 - down, w - 1 - right : 2 * w - 1 - right]
    np.testing.assert_allclose(apply(x, ZERO._replace(shift=shift)), expected, atol=1e-5)


@pytest.mark.slow
def test_how_often_and_how_far() -> None:
    """20 000 draws: each happens with its probability (5 standard errors), its size has the published deviation."""
    n, p = 20_000, 0.3
    draw = compiled(geometry.draw)
    t = draw(jax.random.split(jax.random.key(0), n), p)
    labels = np.asarray(t.labels())
    assert labels.shape == (n, geometry.LABELS)
    happened = {"xflip": (t.xflip, 0.5), "yflip": (t.yflip, p / 2), "scale": (t.scale, p), "angle": (t.angle, p)}
    happened |= {"stretch": (t.stretch, p), "shift": (t.shift[:, 0], p), "axis": (t.axis, 0.5)}
    for name, (values, share) in happened.items():
        assert abs(np.mean(np.asarray(values) != 0) - share) < 5 * np.sqrt(share * (1 - share) / n), name
    for values in (t.scale, t.stretch, t.shift[:, 0], t.shift[:, 1]):
        assert np.std(values[values != 0]) == pytest.approx(1.0, abs=0.05)
    for values in (t.angle, t.axis):
        values = np.asarray(values[values != 0])
        assert np.abs(values).max() <= np.pi + 1e-6 and values.std() == pytest.approx(np.pi / 3**0.5, abs=0.06)
    together = np.corrcoef([np.asarray(v != 0, float) for v, _ in happened.values()])
    assert np.abs(together - np.eye(len(together))).max() < 5 / np.sqrt(n)
    zero = np.asarray(draw(jax.random.split(jax.random.key(1), n), 0.0).labels())
    assert 0.4 < zero[:, 0].mean() < 0.6 and not np.any(zero[:, 1:])


def test_an_image_does_not_depend_on_the_others_of_its_batch() -> None:
    x, keys = _noise(8, (6, 6)), jax.random.split(jax.random.key(3), 8)
    augment = compiled(functools.partial(geometry.augment, probability=0.9))
    whole, labels = augment(keys, x)
    beside, its = augment(keys.at[:4].set(keys[4:]), np.concatenate([1.0 - x[:4], x[4:]]))
    np.testing.assert_array_equal(labels[4:], its[4:])
    np.testing.assert_array_equal(whole[4:], beside[4:])
    assert np.abs(whole[:4] - beside[:4]).max() > 0.1 and (labels[:4] != its[:4]).any()
    assert whole.dtype == np.float32 and np.abs(whole - x).max() > 0.1
