"""FID, KID, Inception Score, precision and recall on fixed matrices, against torch-fidelity, pytorch-fid, SciPy."""

import json
from pathlib import Path

import numpy as np
import pytest

from metrics import kid as kids
from metrics import precision_recall as manifolds
from metrics.fid import Accumulator, frechet_distance, moments
from metrics.inception_score import inception_score
from metrics.kid import kid, squared_mmd
from metrics.precision_recall import precision_recall, squared_radii

FOLDER = Path(__file__).parents[1] / "reference" / "metrics"
KNOWN = json.loads((FOLDER / "metrics.json").read_text())
with np.load(FOLDER / "feature_matrices.npz") as archive:
    ARRAYS = dict(archive)


@pytest.mark.parametrize("case", KNOWN["fid"])
def test_fid(case: str) -> None:
    """Relative 1e-6; singular covariances (40 vectors of 64 numbers) and equal sets absolute 1e-6."""
    a, b = (moments(ARRAYS[name]) for name in case.split("_")[:2])
    scale = {"abs": 1e-6} if "singular" in case or case == "f1_f1" else {"rel": 1e-6}
    assert frechet_distance(a, b) == pytest.approx(KNOWN["fid"][case]["exact"], **scale)
    assert frechet_distance(b, a) == pytest.approx(KNOWN["fid"][case]["exact"], **scale)


def test_null_directions_leave_no_rounding() -> None:
    """40 vectors span 39 directions: without the others the distance is as exact as the low-rank form itself."""
    for case in ("f3_f4_singular", "f1_f3_singular", "f3_f3_singular"):
        a, b = (moments(ARRAYS[name]) for name in case.split("_")[:2])
        assert frechet_distance(a, b) == pytest.approx(KNOWN["fid"][case]["exact"], abs=1e-10)


@pytest.mark.parametrize("name", ["f1", "f2"])
def test_statistics(name: str) -> None:
    found = moments(ARRAYS[name])
    np.testing.assert_allclose(found.mean, ARRAYS[f"mu_{name}"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.covariance, ARRAYS[f"sigma_{name}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", [[500], [1] * 500, [3, 0, 490, 7]])
def test_moments_do_not_depend_on_the_batches(sizes: list[int]) -> None:
    """Nor on a mean of ten thousand deviations, where a float64 sum of squares errs by 1e-8."""
    vectors = ARRAYS["f1"].astype(np.float64)
    shifted = (vectors - vectors.mean(0)) / vectors.std(0) + 1e4
    accumulator = Accumulator()
    for start, size in zip(np.cumsum([0, *sizes[:-1]]), sizes, strict=True):
        accumulator.update(shifted[start : start + size])
    found, centred = accumulator.moments(), shifted - shifted.mean(0)
    covariance = (centred - centred.mean(0)).T @ (centred - centred.mean(0)) / 499  # two passes
    assert found.count == 500
    np.testing.assert_allclose(found.mean, shifted.mean(0), rtol=1e-14)
    np.testing.assert_allclose(found.covariance, covariance, rtol=0, atol=1e-10)


def test_examples_of_another_size_are_refused() -> None:
    accumulator = Accumulator()
    accumulator.update(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="4 numbers after examples of 3"):
        accumulator.update(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="vectors of 3 and of 4"):
        frechet_distance(moments(np.eye(3)), moments(np.eye(4)))


@pytest.mark.parametrize("block", [2048, 64])
def test_kid_of_whole_sets(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(kids, "BLOCK", block)
    f1, f2, known = ARRAYS["f1"], ARRAYS["f2"], KNOWN["kid"]
    assert squared_mmd(f1, f2) == pytest.approx(known["full_mmd"], abs=1e-8)
    assert squared_mmd(f1, f2, "biased") == pytest.approx(known["full_mmd_biased"], abs=1e-8)
    assert squared_mmd(f1, f2, "u_statistic") == pytest.approx(known["full_mmd_u_statistic"], abs=1e-8)
    assert squared_mmd(f1, f1) == pytest.approx(known["full_mmd_same_set"], abs=1e-8)


def test_kid_of_given_subsets() -> None:
    f1, f2, known = ARRAYS["f1"], ARRAYS["f2"], KNOWN["kid"]
    found = kid(f1, f2, indices=(ARRAYS["kid_subset_index_1"], ARRAYS["kid_subset_index_2"]))
    np.testing.assert_allclose(found["each"], ARRAYS["kid_subset_mmd"], rtol=0, atol=1e-8)
    assert found["mean"] == pytest.approx(known["subset_mmd_mean"], abs=1e-8)
    assert found["std"] == pytest.approx(known["subset_mmd_std"], abs=1e-8)
    assert (found["subsets"], found["size"]) == (20, 100)
    theirs = kid(f1, f2, indices=(ARRAYS["kid_rng2020_index_1"], ARRAYS["kid_rng2020_index_2"]))
    np.testing.assert_allclose(theirs["each"], ARRAYS["kid_rng2020_mmd"], rtol=0, atol=1e-8)
    known = known["torch_fidelity_rng2020"]
    assert theirs["mean"] == pytest.approx(known["kernel_inception_distance_mean"], abs=1e-8)
    assert theirs["std"] == pytest.approx(known["kernel_inception_distance_std"], abs=1e-8)


def test_kid_draws_by_its_seed() -> None:
    """Distinct rows within a subset: all 500 of them give the unbiased value of the sets, whatever the seed."""
    f1, f2 = ARRAYS["f1"], ARRAYS["f2"]
    assert kid(f1, f2, subsets=2)["each"] == pytest.approx([KNOWN["kid"]["full_mmd"]] * 2, abs=1e-8)
    first, again, other = (kid(f1, f2, subsets=3, size=100, seed=seed)["each"] for seed in (0, 0, 1))
    assert first == again and first != other and len(set(first)) == 3


def test_kid_refuses() -> None:
    f1, f3 = ARRAYS["f1"], ARRAYS["f3"]
    with pytest.raises(ValueError, match="'other' is not known; known are unbiased, biased, u_statistic"):
        squared_mmd(f1, f3, "other")
    with pytest.raises(ValueError, match="500 and 40"):
        squared_mmd(f1, f3, "u_statistic")
    with pytest.raises(ValueError, match="at least 2"):
        squared_mmd(f1, f3[:1])


@pytest.mark.parametrize("splits", [1, 5, 7, 10])
def test_inception_score(splits: int) -> None:
    found, known = inception_score(ARRAYS["isc_logits"], splits=splits), KNOWN["isc"][f"splits{splits}"]
    assert found["mean"] == pytest.approx(known["inception_score_mean"], abs=1e-8)
    assert found["std"] == pytest.approx(known["inception_score_std"], abs=1e-8)


def test_inception_score_in_a_given_order() -> None:
    found = inception_score(ARRAYS["isc_logits"][ARRAYS["isc_rng2020_permutation"]])
    known = KNOWN["isc"]["splits10_shuffled_rng2020"]
    assert found["mean"] == pytest.approx(known["inception_score_mean"], abs=1e-8)
    assert found["std"] == pytest.approx(known["inception_score_std"], abs=1e-8)


def test_inception_score_of_certain_and_of_equal_predictions() -> None:
    """Its limits: the number of classes, without an overflow or log 0, and 1."""
    assert inception_score(np.eye(5) * 2000, splits=1)["mean"] == pytest.approx(5)
    assert inception_score(np.ones((20, 5)), splits=2)["mean"] == pytest.approx(1)
    with pytest.raises(ValueError, match="splits is 10"):
        inception_score(np.ones((9, 5)))


@pytest.mark.parametrize("block", [2048, 64])
@pytest.mark.parametrize("case", KNOWN["prc"])
def test_precision_and_recall(monkeypatch: pytest.MonkeyPatch, case: str, block: int) -> None:
    monkeypatch.setattr(manifolds, "BLOCK", block)
    generated, _, real = case.partition("/")[0].removesuffix("_real").split("_")
    found = precision_recall(ARRAYS[generated], ARRAYS[real], k=int(case[-1]))
    known = KNOWN["prc"][case]
    assert found.precision == pytest.approx(known["precision"], abs=1e-6)
    assert found.recall == pytest.approx(known["recall"], abs=1e-6)


@pytest.mark.parametrize("block", [2048, 64, 3])
def test_radii(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(manifolds, "BLOCK", block)
    np.testing.assert_allclose(np.sqrt(squared_radii(ARRAYS["f2"], 3)), ARRAYS["f2_radius_k3"], rtol=1e-10)


def test_repeated_points_are_inside_their_own_balls() -> None:
    """Four copies of each: all radii are 0 at k = 3, where the rounding of |x|^2 + |y|^2 - 2 x.y must not decide."""
    copies = np.repeat(ARRAYS["f1"], 4, axis=0)
    assert squared_radii(copies, 3).max() == 0
    assert precision_recall(ARRAYS["f1"], copies) == (1.0, 1.0)
    with pytest.raises(ValueError, match="k is 3; of 3 features"):
        squared_radii(ARRAYS["f1"][:3], 3)
