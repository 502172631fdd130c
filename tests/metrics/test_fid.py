"""The Frechet distance against SciPy's matrix root and closed forms, singular covariances included."""

import numpy as np
import pytest
import scipy.linalg

from metrics.fid import Moments, frechet_distance, moments


def _gaussian(seed: int, d: int, rank: int) -> Moments:
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(d, rank))
    return Moments(rng.normal(size=d), factor @ factor.T / rank, 1000)


@pytest.mark.parametrize("seed", range(3))
def test_distance_is_that_of_scipys_root(seed: int) -> None:
    a, b = _gaussian(seed, 6, 8), _gaussian(seed + 10, 6, 8)
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance)
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance + b.covariance - 2 * np.real(root))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-10)


def test_closed_form_of_commuting_covariances() -> None:
    """|mu - nu|^2 + sum (sqrt(a_i) - sqrt(b_i))^2 in any common basis, with zeros among the variances."""
    rng = np.random.default_rng(0)
    basis = scipy.linalg.qr(rng.normal(size=(5, 5)))[0]
    va, vb = np.array([4.0, 1.0, 0.0, 0.0, 2.0]), np.array([1.0, 9.0, 0.25, 0.0, 0.0])
    a = Moments(np.zeros(5), basis * va @ basis.T, 9)
    b = Moments(np.full(5, 0.5), basis * vb @ basis.T, 9)
    expected = 5 * 0.25 + np.sum((np.sqrt(va) - np.sqrt(vb)) ** 2)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("rank", [1, 3])
def test_singular_covariances_are_at_no_distance_from_themselves(rank: int) -> None:
    a = _gaussian(3, 8, rank)
    assert abs(frechet_distance(a, a)) < 1e-6
    moved = a._replace(mean=a.mean + 1.0)
    assert frechet_distance(a, moved) == pytest.approx(8.0, abs=1e-6)


def test_distance_of_few_examples_and_constant_pixels() -> None:
    """Fewer examples than pixels, some pixels constant, as in digits: finite, symmetric, never below zero."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 17, (40, 8, 8, 1)).astype(np.float64)
    images[:, 0] = 0.0
    a, b = moments(images[:20]), moments(images[20:])
    assert frechet_distance(a, b) > 0 and frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_moments_are_unbiased_and_float64() -> None:
    images = np.random.default_rng(2).normal(3.0, 2.0, (50, 2, 2, 1)).astype(np.float32)
    found, flat = moments(images), images.reshape(50, 4).astype(np.float64)
    centred = flat - flat.mean(0)
    np.testing.assert_allclose(found.mean, flat.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, centred.T @ centred / 49, rtol=1e-10)
    assert found.covariance.dtype == np.float64 and found.count == 50
    assert moments(np.arange(4.0)[:, None]).covariance.shape == (1, 1)


def test_too_few_and_broken_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="1 examples"):
        moments(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="1 of 3 examples are not finite"):
        moments(np.array([[1.0], [np.nan], [2.0]]))
