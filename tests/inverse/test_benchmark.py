"""The benchmark of the methods writes what it promises, at a tiny size."""

import json
from pathlib import Path

import pytest

from benchmarks import inverse as benchmark


@pytest.mark.slow
def test_the_benchmark_writes_its_record(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "record.json"
    options = ["--methods", "posterior", "replacement", "--sdes", "vp", "--steps", "4", "--samples", "64"]
    benchmark.main([*options, f"--out={out}"])
    found = json.loads(out.read_text())
    assert {"jax", "jaxlib", "python"} <= found["environment"]["versions"].keys()
    assert set(found["errors"]["mask"]["vp"]) == {"posterior", "replacement"}
    assert set(found["errors"]["matrix"]["vp"]) == {"posterior"}  # the other takes exact measurements only
    assert found["errors"]["mask"]["vp"]["posterior"]["evaluations"] == 5
    assert found["expected_of_exact_samples"]["mask"] == {"mean_error": 0.125, "covariance_error": 0.25}
    assert "| posterior |" in capsys.readouterr().out
