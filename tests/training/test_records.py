"""metrics.jsonl of a run that was killed, or damaged since, goes on from the sound lines."""

from pathlib import Path

from training.records import Records


def test_lines_that_are_damaged_are_taken_back(tmp_path: Path) -> None:
    file, sound = tmp_path / "metrics.jsonl", b'{"step": 1, "loss": 0.5}\n'
    file.write_bytes(sound + b'{"step": 9}\n{"step": "two"}\n{"step": null}\n[1]\n3\n\xff\xfe\n\n{"step": 2')
    records = Records(tmp_path, 2)
    records.write(3, {"loss": 0.25})
    records.close()
    assert file.read_bytes() == sound + b'{"step": 3, "loss": 0.25}\n'
