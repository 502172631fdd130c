"""Runs of text from the command line: what is drawn can be read, a report quotes it, and bad input is one line."""

import json
from pathlib import Path

import pytest

from tests.data.test_text import word_pieces
from tests.experiment.command import call

TINY = (
    "--config=configs/categorical/pydoc_masked.py",
    "--config.model.width=8",
    "--config.model.depth=1",
    "--config.model.num_heads=2",
    "--config.data.length=16",
    "--config.training.batch_size=8",
    "--config.training.log_freq=1",
    "--config.training.eval_freq=2",
    "--config.training.snapshot_freq=2",
    "--config.training.snapshot_freq_for_preemption=2",
    "--config.training.n_iters=2",
    "--config.optim.decay_steps=0",
    "--config.sampling.steps=4",
    "--config.sampling.count=4",
    "--config.eval.batch_size=8",
    "--config.eval.num_samples=8",
    "--config.eval.vlb_times=2",
)
WORDS = "the cat sat\nthe cat sat on the mat; " * 40


def text_of(folder: Path) -> tuple[str, ...]:
    """A data set of a text of one's own."""
    (folder / "mine.txt").write_text(WORDS)
    return "--config.data.dataset=text", f"--config.data.path={folder / 'mine.txt'}"


@pytest.mark.slow
@pytest.mark.parametrize("alphabet", ["characters", "pieces"])
def test_a_text_of_ones_own_is_learned_drawn_and_measured(
    alphabet: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    name = word_pieces(tmp_path) if alphabet == "pieces" else alphabet
    given = (*TINY, *text_of(tmp_path), f"--config.data.alphabet={name}", f"--workdir={tmp_path / 'run'}")
    printed = {}
    for mode in ("train", "sample", "evaluate"):
        code, printed[mode], err = call(capsys, f"--mode={mode}", *given)
        assert code == 0, (mode, err)
    (drawn,) = (tmp_path / "run" / "samples").glob("unmasking*.txt")
    assert printed["sample"].splitlines()[-2:] == [str(drawn.with_suffix(".png")), str(drawn)]
    assert [line for line in drawn.read_text().splitlines() if line.startswith("[")][:1] == ["[0]"]
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    row = report["samplers"]["unmasking"]["further"]
    assert 0.0 <= row["real_words"] <= 1.0 < row["bits_by_n_grams"] and len(row["quoted"]) == 3
    page = (tmp_path / "run" / "report.md").read_text()
    assert page == printed["evaluate"][: len(page)]
    table = page[page.index("### Texts") :]
    assert "| sampler | real words | bits by n grams |" in table and "The first samples of unmasking:" in table
    quoted = "\n".join(f"    {line}" for i, text in enumerate(row["quoted"]) for line in (f"[{i}]", *text.split("\n")))
    assert quoted in table
    (shown,) = (tmp_path / "run" / "evaluation").glob("step_*2/unmasking_seed_*.txt")
    assert shown.read_text().startswith(f"[0]\n{row['quoted'][0]}\n[1]\n{row['quoted'][1]}\n")
    unit = {"characters": "character", "pieces": "piece"}[alphabet]
    assert report["variational_bound"]["unit"] == f"bits/{unit}"


@pytest.mark.parametrize(
    ("content", "said"),
    [("Füße".encode("latin1"), "is not UTF-8"), (b"", "is empty"), (b"short", "is shorter than one chunk")],
)
def test_a_text_that_cannot_be_used_is_one_line_and_leaves_no_run(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    given = "--config.data.dataset=text", f"--config.data.path={tmp_path / 'a.txt'}", f"--workdir={tmp_path / 'run'}"
    code, _, err = call(capsys, "--mode=train", *TINY, *given)
    assert code == 2 and said in err and err.count("\n") == 1, err
    assert not (tmp_path / "run").exists()
