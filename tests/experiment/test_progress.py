"""What lasts says so, and what does not stays silent."""

import time

import pytest

from experiment.progress import waiting


def test_a_short_block_says_nothing(capsys: pytest.CaptureFixture) -> None:
    with waiting("compiling", first=5.0):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_long_one_says_that_it_goes_on_since_when_and_how_long_it_took(capsys: pytest.CaptureFixture) -> None:
    with waiting("compiling", first=0.05, again=0.05):
        time.sleep(0.4)
    out, err = capsys.readouterr()
    first, *middle, last = err.splitlines()
    assert out == "" and first == "compiling ..." and middle
    assert all(line.startswith("compiling: ") and line.endswith(" s so far") for line in middle)
    assert last.startswith("compiling took 0.") and float(last.split()[2]) >= 0.4


def test_an_error_passes_and_ends_the_telling(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(RuntimeError, match="planted"), waiting("reading", first=0.01):
        time.sleep(0.1)
        raise RuntimeError("planted")
    said = capsys.readouterr().err
    time.sleep(0.1)
    assert said.splitlines()[-1].startswith("reading took") and capsys.readouterr().err == ""
