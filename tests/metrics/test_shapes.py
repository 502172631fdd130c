"""Spectra and sets of points, against closed forms."""

import numpy as np
import pytest

from metrics.chamfer import chamfer, set_quality
from metrics.spectrum import band_distance, log_spectral_distance, power_spectrum


def test_power_lies_at_the_frequency_of_a_cosine_and_that_of_noise_everywhere() -> None:
    """A cosine of amplitude a has a^2 length / 4; noise of deviation s has s^2, here within 5 standard errors."""
    time = np.arange(32) / 32
    cosine = 3.0 * np.cos(2 * np.pi * 5 * time + 0.7)
    power = power_spectrum(np.stack([cosine, cosine / 3.0], axis=-1)[None])  # the mean of two channels
    np.testing.assert_allclose(power, np.where(np.arange(17) == 5, (9 + 1) / 2 * 32 / 4, 0.0), atol=1e-12)
    noise = power_spectrum(0.5 * np.random.default_rng(0).standard_normal((2000, 32, 1)))
    assert np.abs(noise / 0.25 - 1).max() < 5 * np.sqrt(2 / 2000)


def test_distances_of_spectra() -> None:
    a, b = np.array([1.0, 2.0, 4.0]), np.array([4.0, 2.0, 1.0])
    assert log_spectral_distance(a, a) == band_distance(a, a) == band_distance(a, 7 * a) == 0.0
    assert log_spectral_distance(a, 4 * a) == pytest.approx(20 * np.log10(2))  # twice as loud
    assert log_spectral_distance(a, b) == pytest.approx(10 * np.log10(4) * np.sqrt(2 / 3))
    assert band_distance(a, b) == pytest.approx(3 / 7)
    assert band_distance(np.array([1.0, 0.0]), np.array([0.0, 5.0])) == 1.0
    with pytest.raises(ValueError, match="2 and 2 frequencies, the least powers 0 and 1"):
        log_spectral_distance(np.array([1.0, 0.0]), np.ones(2))


def test_the_chamfer_distance_heeds_no_order_and_is_that_of_shifted_points() -> None:
    """Points far apart, moved by v: 2 |v|^2; a point more at distance r of its nearest adds r^2 over their number."""
    grid = 10.0 * np.stack(np.meshgrid(np.arange(3), np.arange(2)), axis=-1).reshape(1, 6, 2)
    moved, order = grid + np.array([3.0, 4.0]), np.random.default_rng(0).permutation(6)
    more = np.concatenate([grid, grid[:, :1] + np.array([0.0, 2.0])], axis=1)
    np.testing.assert_allclose(chamfer(np.concatenate([grid, moved]), grid[:, order]), [[0.0], [50.0]])
    np.testing.assert_allclose(chamfer(grid, more), [[4.0 / 7]])
    np.testing.assert_allclose(chamfer(more, grid), [[4.0 / 7]])
    # Points that are NaN are not there.
    fewer = np.concatenate([grid, moved])[:, order]
    fewer[1, 2:5] = np.nan
    whole = [chamfer(a[None, ~np.isnan(a[:, 0])], more) for a in fewer]
    np.testing.assert_allclose(chamfer(fewer, more), np.concatenate(whole))
    np.testing.assert_allclose(chamfer(more, fewer), np.concatenate(whole).T)


def test_the_quality_of_single_points_on_a_line() -> None:
    """The distance of two points is twice the square of what lies between them, so that all can be counted by hand."""
    real, drawn = (np.array(places, float).reshape(-1, 1, 1) for places in ((0, 10, 20, 30), (0, 1, -1, 2)))
    found = set_quality(drawn, real)
    assert found.coverage == 1 / 4  # the first is the nearest of all drawn ones
    assert found.matching_distance == 2 * (0 + 8**2 + 18**2 + 28**2) / 4
    assert found.nearest_neighbour == 3 / 8  # of 2, 20 and 30; what is as near to both kinds does not count


def test_copies_cover_one_set_and_real_sets_all() -> None:
    rng = np.random.default_rng(0)
    real = rng.standard_normal((40, 8, 2)) + 4 * rng.standard_normal((40, 1, 2))
    same = set_quality(real[:, rng.permutation(8)], real)
    assert (same.coverage, same.matching_distance) == (1.0, 0.0) and same.nearest_neighbour == 0.0  # each has its twin
    one = set_quality(np.repeat(real[:1] + 0.1, 40, axis=0), real)
    assert one.coverage == 1 / 40 and one.nearest_neighbour > 0.7
    far = set_quality(real + 1000.0, real)
    assert far.nearest_neighbour == 1.0 and far.matching_distance > 1e5
    # Two draws of one distribution: neighbours are of either kind, within 4 deviations of 80 fair coins.
    others = rng.standard_normal((40, 8, 2)) + 4 * rng.standard_normal((40, 1, 2))
    assert abs(set_quality(others, real).nearest_neighbour - 0.5) < 4 * 0.5 / np.sqrt(80)
    with pytest.raises(ValueError, match="1 drawn and 40 real sets"):
        set_quality(real[:1], real)
