"""The table of checkpoints is written from reports of earlier evaluations, whatever has become of them."""

import json
from pathlib import Path

import pytest

from evaluation import report


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b'{"checkpoint": {"step": 20',
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        b'{"checkpoint": 3}',
        b'{"checkpoint": {}}',
    ],
)
def test_a_damaged_report_is_named_and_left_out_of_the_table(
    damage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step, bits in ((10, 2.5), (20, 2.25), (30, 2.125)):
        folder = tmp_path / f"step_{step:08d}"
        folder.mkdir()
        sound = {"checkpoint": {"step": step}, "bits_per_dim": {"mean": bits}, "seeds": 1}
        (folder / "report.json").write_text(json.dumps(sound))
    file = tmp_path / "step_00000020" / "report.json"
    file.write_bytes(damage)
    rows = report.table(tmp_path).splitlines()[2:]
    assert [row.split("|")[1:3] for row in rows] == [[" 10 ", " 2.5000 "], [" 30 ", " 2.1250 "]]
    (said,) = [record.getMessage() for record in caplog.records]
    assert str(file) in said and "left out" in said and "\n" not in said


def test_an_earlier_report_that_is_no_text_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(b"\xff\xfe")
    (tmp_path / "report.md").write_text("")
    about = {"checkpoint": {"step": 1, "ema": False}, "seed": 0, "seeds": 1, "sde": {}, "dataset": "digits"}
    about |= {"environment": report.environment(), "levels": 17}
    report.write(tmp_path, about)
    assert (tmp_path / "report.1.json").read_bytes() == b"\xff\xfe"
    assert json.loads((tmp_path / "report.json").read_text())["dataset"] == "digits"


def test_the_table_has_what_was_measured_alike(tmp_path: Path) -> None:
    """A number of another solver setting, seed or tolerance would be compared with what it does not compare with."""
    changes = (
        {},
        {"seed": 1},
        {"num_samples": 50},
        {"samplers": {"heun": {"settings": {"evaluations": 10}, "frechet_distance": 1.0}}},
        {"bits_per_dim": {"mean": 2.0, "rtol": 1e-3, "evaluations": {"mean": 3}}},
        {"bits_per_dim": {"mean": 3.0, "rtol": 1e-5, "evaluations": {"mean": 4}}},
    )
    sampled = {"heun": {"settings": {"evaluations": 20}, "frechet_distance": 0.5}}
    for step, change in enumerate(changes):
        folder = tmp_path / f"step_{step:08d}"
        folder.mkdir()
        bits = {"mean": 2.5, "rtol": 1e-5, "evaluations": {"mean": 3}}
        made = {"checkpoint": {"step": step}, "seed": 0, "seeds": 1, "num_samples": 20, "levels": None, "data": {}}
        made |= {"bits_per_dim": bits, "samplers": sampled, **change}
        (folder / "report.json").write_text(json.dumps(made))
    newest = json.loads((tmp_path / "step_00000000" / "report.json").read_text())
    rows = [row.split("|")[1:4] for row in report.table(tmp_path, like=newest).splitlines()[2:]]
    found = [[cell.strip().partition(" ")[0] for cell in row] for row in rows]
    distance = "0.5000"
    assert found == [
        ["0", "2.5000", distance],
        ["2", "2.5000", ""],
        ["3", "2.5000", ""],
        ["4", "", distance],
        ["5", "3.0000", distance],
    ]
