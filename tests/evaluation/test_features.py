"""Every image counts once, whatever the batches; the published file is read without PyTorch."""

import hashlib
import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tqdm import tqdm

from checkpoints import torch_file
from data.fingerprint import of_file
from evaluation import features
from evaluation.features import PUBLISHED, WEIGHTS, extract, load_inception
from metrics.fid import moments
from metrics.inception import Features, fold
from tests import torch_writer
from tests.metrics.inception_weights import tensors

IMAGES = np.random.default_rng(0).integers(0, 256, (101, 4, 4, 3)).astype(np.uint8)


class Network:
    """Stands in for Inception: pixels as features; remembers the batches it got."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, images: np.ndarray) -> Features:
        self.shapes.append(images.shape)
        flat = images.reshape(len(images), -1).astype(np.float32)
        return Features(flat, flat[:, :5] / 100, flat[:, ::2])


def _chunks(sizes: list[int]) -> Iterator[np.ndarray]:
    ends = np.cumsum(sizes)
    return (IMAGES[end - size : end] for end, size in zip(ends, sizes, strict=True))


@pytest.mark.parametrize("sizes", [None, [101], [1] * 101, [40, 0, 60, 1]], ids=str)
@pytest.mark.parametrize("batch_size", [16, 20, 200])
def test_no_image_is_left_over_and_none_counts_twice(sizes: list[int] | None, batch_size: int) -> None:
    """101 of them, on eight devices: batches of one size that eight divides, filled up, and nothing of it remains."""
    network = Network()
    found = extract(network, _chunks(sizes) if sizes else IMAGES, 101, batch_size=batch_size)
    size = -(-batch_size // 8) * 8
    assert network.shapes == [(size, 4, 4, 3)] * -(-101 // size)
    flat = IMAGES.reshape(101, -1)
    np.testing.assert_array_equal(found.pool, flat)
    assert found.pool.dtype == np.float32 and found.logits.shape == (101, 5)
    for mine, vectors in ((found.pool_moments, flat), (found.spatial_moments, flat[:, ::2])):
        assert mine.count == 101
        np.testing.assert_allclose(mine.mean, vectors.mean(0), rtol=1e-12)
        np.testing.assert_allclose(mine.covariance, moments(vectors).covariance, rtol=1e-10, atol=1e-9)


def test_some_vectors_are_kept_and_all_images_counted() -> None:
    keep = np.array([0, 15, 16, 17, 99, 100])
    found = extract(Network(), IMAGES, 101, batch_size=16, keep=keep)
    np.testing.assert_array_equal(found.pool, IMAGES[keep].reshape(6, -1))
    assert len(found.logits) == 6 and found.pool_moments.count == 101 and found.spatial_moments.count == 101


@pytest.mark.parametrize("announced", [100, 102])
@pytest.mark.parametrize("bar", [True, False])
def test_the_number_of_images_is_checked(announced: int, bar: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a progress bar or, as with TQDM_DISABLE=1 in the environment, without."""
    monkeypatch.setattr(features, "tqdm", partial(tqdm, disable=not bar))
    assert extract(Network(), IMAGES, 101, batch_size=16).pool_moments.count == 101
    with pytest.raises(ValueError, match="announced"):
        extract(Network(), IMAGES, announced, batch_size=16)


def test_features_of_floats_are_those_of_their_bytes() -> None:
    """Streamed in chunks, with a little beyond the range; without being told the range nothing is computed."""
    network = Network()
    known = extract(network, IMAGES, 101, batch_size=16)
    for low, high in ((0, 1), (-1, 1)):
        floats = low + (high - low) * (IMAGES / 255.0)
        floats[IMAGES == 0] -= 0.1
        floats[IMAGES == 255] += 0.1
        chunks = (floats[i : i + 13] for i in range(0, 101, 13))
        found = extract(network, chunks, 101, batch_size=16, value_range=(low, high))
        np.testing.assert_array_equal(found.pool, known.pool)
        calls = len(network.shapes)
        with pytest.raises(ValueError, match="give value_range"):
            extract(network, floats, 101, batch_size=16)
        assert len(network.shapes) == calls


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A file in the form of the published one, and what is in it."""
    path, values = tmp_path / "pt_inception.pth", tensors()
    torch_writer.save(path, values)
    return path, values


def test_the_published_file(published: tuple[Path, dict[str, np.ndarray]]) -> None:
    path, values = published
    known = hashlib.sha256(path.read_bytes()).hexdigest()
    network = load_inception(str(path), "tf1", known)
    assert network.sha256 == known and network.resize == "tf1"
    known = fold(values)
    assert network.weights.keys() == known.keys()
    for name in ("Conv2d_1a_3x3.kernel", "Mixed_6d.branch7x7_2.kernel", "Mixed_7c.branch_pool.bias", "fc.kernel"):
        np.testing.assert_array_equal(network.weights[name], known[name])


def test_no_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"eval.inception is empty.*pt_inception-2015-12-05-6726825d\.pth"):
        load_inception("")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_inception(str(tmp_path / "nowhere.pth"))
    (tmp_path / "other.pth").write_bytes(pickle.dumps([1, 2], 2))
    with pytest.raises(ValueError, match=r"other\.pth holds a list"):
        load_inception(str(tmp_path / "other.pth"), expected=of_file(tmp_path / "other.pth"))


def test_another_file_than_the_published_one_is_taken_only_on_purpose(
    published: tuple[Path, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One changed weight, in a file whose tensors all have the right names and shapes; it is refused uninterpreted."""
    path, _ = published
    found = of_file(path)
    monkeypatch.setattr(torch_file, "load", lambda file: pytest.fail("it was read"))
    assert WEIGHTS.removesuffix(".pth").endswith(PUBLISHED[:8])
    with pytest.raises(ValueError, match=f"SHA-256 is {found}; that of {WEIGHTS} is {PUBLISHED}.*inception_sha256 to"):
        load_inception(str(path))
    with pytest.raises(ValueError, match=f"SHA-256 is {found}, and eval.inception_sha256 {'0' * 64}"):
        load_inception(str(path), expected="0" * 64)
    monkeypatch.undo()
    assert load_inception(str(path), expected=found.upper()).sha256 == found
