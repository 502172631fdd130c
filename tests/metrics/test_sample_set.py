"""All metrics of a set together, what they are called, and several seeds; on the reference's matrices."""

import json
from pathlib import Path

import numpy as np
import pytest

from metrics.fid import moments
from metrics.sample_set import Extracted, Reference, describe, label, of_set, summarise

FOLDER = Path(__file__).parents[1] / "reference" / "metrics"
KNOWN = json.loads((FOLDER / "metrics.json").read_text())
with np.load(FOLDER / "feature_matrices.npz") as archive:
    ARRAYS = dict(archive)
ABOUT = {"inception_sha256": "abc", "resize": "pytorch", "dataset": "f2"}


def _samples(name: str = "f1") -> Extracted:
    pool = ARRAYS[name]
    return Extracted(pool, ARRAYS["isc_logits"][: len(pool)], moments(pool), moments(ARRAYS["f3"]))


def _reference(features: np.ndarray | None = ARRAYS["f2"]) -> Reference:
    return Reference(moments(ARRAYS["f2"]), moments(ARRAYS["f4"]), features, ABOUT)


@pytest.fixture(scope="module")
def result() -> dict:
    return of_set(_reference(), _samples(), kid_subsets=3, kid_size=500)


def test_every_metric_is_the_references(result: dict) -> None:
    """sFID is the distance of the spatial moments: here of f3 and f4."""
    assert result["fid"] == pytest.approx(KNOWN["fid"]["f1_f2"]["exact"], rel=1e-6)
    assert result["sfid"] == pytest.approx(KNOWN["fid"]["f3_f4_singular"]["exact"], abs=1e-6)
    assert result["kid"] == pytest.approx(
        {"mean": KNOWN["kid"]["full_mmd"], "std": 0, "subsets": 3, "size": 500}, abs=1e-8
    )
    assert result["inception_score"]["mean"] == pytest.approx(
        KNOWN["isc"]["splits10"]["inception_score_mean"], abs=1e-8
    )
    known = KNOWN["prc"]["f1_gen_f2_real/k3"]
    assert (result["precision"], result["recall"]) == pytest.approx((known["precision"], known["recall"]), abs=1e-6)
    assert (result["count"], result["precision_recall_count"]) == (500, 500)
    assert result["reference"] == {**ABOUT, "count": 500}
    json.dumps(result)


def test_precision_and_recall_take_equally_many() -> None:
    """f3 (40) against 40 of f2, a choice of the seed; f3 against itself, whose 40 are all there, is covered."""
    found = [of_set(_reference(), _samples("f3"), kid_subsets=1, seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] and found[0]["precision_recall_count"] == 40 and found[0]["kid"]["size"] == 40
    assert found[0]["recall"] != found[2]["recall"]
    same = of_set(_reference(ARRAYS["f3"]), _samples("f3"), kid_subsets=1)
    assert (same["precision"], same["recall"]) == (1, 1)


def test_a_public_file_allows_fid_and_inception_score_alone() -> None:
    found = of_set(Reference(moments(ARRAYS["f2"])._replace(count=0), None, None, ABOUT), _samples())
    assert found["fid"] == pytest.approx(KNOWN["fid"]["f1_f2"]["exact"], rel=1e-6)
    assert found["inception_score"]["mean"] > 1 and found["precision_recall_count"] == 0
    assert [found[name] for name in ("sfid", "kid", "precision", "recall")] == [None] * 4
    assert len(describe(found)) == 2 and len(describe(summarise([found] * 2))) == 2


def test_labels() -> None:
    assert label("FID", 50_000) == "FID-50k"
    assert label("FID", 60_000) == "FID-60000"
    assert label("KID", 49_999) == "KID-49999 (not comparable to published KID-50k)"


def test_every_value_is_printed_with_its_label(result: dict) -> None:
    """Alone and over seeds, precision and recall with their own count."""
    assert result["label"] == "FID-500 (not comparable to published FID-50k)"
    for lines in (describe(result), describe(summarise([result, result]))):
        assert len(lines) == 6
        assert all("-500 (not comparable to published " in line for line in lines)
    full = {**result, "count": 50_000}
    assert describe(full)[0].startswith("FID-50k: 2.9065") and describe(full)[-1].startswith("recall-500 (not")


def test_several_seeds(result: dict) -> None:
    others = [{**result, "fid": result["fid"] + more, "kid": {**result["kid"], "mean": more}} for more in (0.5, 1.0)]
    found = summarise([others[0], result, others[1]])
    fid = result["fid"]
    assert found["fid"].pop("values") == pytest.approx([fid + 0.5, fid, fid + 1.0])
    assert found["fid"] == pytest.approx({"min": fid, "mean": fid + 0.5, "spread": 1.0})
    assert found["kid"]["spread"] == pytest.approx(1.0 - result["kid"]["mean"])
    assert found["recall"]["spread"] == 0 and found["seeds"] == 3 and found["label"] == result["label"]
    assert describe(found)[0].endswith("minimum 2.9065, mean 3.4065, spread 1.0000 of 3 seeds")
    with pytest.raises(ValueError, match=r"different count.*\[500, 499\]"):
        summarise([result, {**result, "count": 499}])
    with pytest.raises(ValueError, match="no results"):
        summarise([])


def test_too_few_samples_are_refused() -> None:
    few = _samples()._replace(pool=ARRAYS["f1"][:9])
    with pytest.raises(ValueError, match="9 samples; 10 splits and k = 3 need 10"):
        of_set(_reference(), few)
