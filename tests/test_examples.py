"""The programs of one page in examples/ run as they stand, at small sizes, and draw what they say."""

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_every_example_is_tested_and_is_one_page() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    tests = "".join(name for name in globals() if name.startswith("test_"))
    assert names and all(f"example_{name}_" in tests for name in names)
    assert all(len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 100 for name in names)


@pytest.mark.slow
def test_the_example_sample_draws_the_mixture_with_every_sampler(capsys: pytest.CaptureFixture) -> None:
    """500 points: the standard error of a share is 0.022 at most, and a twentieth of the deviation is 0.0075."""
    module = example("sample")
    found = module["main"](samples=500, steps=60)
    centres, shares = np.array(module["CENTRES"]), np.array(module["SHARES"])
    assert len(found) >= 4
    for name, x in found.items():
        distances = np.linalg.norm(np.array(x)[:, None] - centres, axis=2)
        drawn = np.bincount(distances.argmin(axis=1), minlength=len(shares)) / len(x)
        assert np.abs(drawn - shares).max() < 4 * 0.0224, name
        assert np.sqrt((distances.min(axis=1) ** 2).mean() / 2) == pytest.approx(module["STD"], abs=0.04), name
    printed = capsys.readouterr().out
    assert all(name in printed for name in found) and "#" in printed


@pytest.mark.slow
def test_the_example_first_picture_draws_digits(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The picture is there, and its digits are no noise: most pixels at the edges are empty, as in real ones."""
    drawn = example("first_picture")["main"](str(tmp_path / "digits.png"), samples=8, evaluations=10)
    assert drawn.shape == (8, 8, 8, 1) and drawn.dtype == np.uint8
    assert np.mean(drawn[:, :, 0] == 0) > 0.7 and np.mean(drawn) > 3
    assert (tmp_path / "digits.png").exists() and "8 digits" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "code", "said"), [("--help", 0, "digits.png"), ("d.txt", 2, "'d.txt' names another")]
)
def test_the_example_first_picture_takes_the_name_of_a_picture_alone(
    given: str, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["first_picture.py", given])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(EXAMPLES / "first_picture.py"), run_name="__main__")
    assert stop.value.code == code and said in "".join(capsys.readouterr()) and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_example_train_learns_and_draws() -> None:
    losses, drawn = example("train")["main"](steps=150, batch_size=64, samples=50)
    assert losses.shape == (150,) and drawn.shape == (50, 2)
    assert np.mean(losses[-30:]) < 0.8 * np.mean(losses[:10])
    assert np.isfinite(np.array(drawn)).all() and np.abs(np.array(drawn)).max() < 4.0


@pytest.mark.slow
def test_the_example_scenes_writes_a_grid_and_judges_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    found = example("scenes")["main"](str(tmp_path / "grid.png"), size=24, pictures=4, renderings=2, judged=1)
    assert found["ground"] == found["place"] == 1.0 and found["every"] > 0.85
    assert (tmp_path / "grid.png").exists() and "the judge is right about" in capsys.readouterr().out
