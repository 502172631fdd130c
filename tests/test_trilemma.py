"""The trilemma: its judge on sets of which the answers are known, its table, and a tiny run of it."""

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest

import data
from benchmarks.common import RESULTS
from benchmarks.trilemma import __main__ as trilemma
from benchmarks.trilemma import table
from benchmarks.trilemma.families import FAMILIES
from benchmarks.trilemma.judge import Judge
from data.source import take
from experiment import build
from experiment.sampling import Drawn

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(200)


def test_real_digits_are_perfect_and_one_digit_again_and_again_is_not_diverse(judge: Judge) -> None:
    own = judge.of(np.rint(judge.real_half * judge.top).reshape(-1, 8, 8, 1))
    assert own["distance"] == pytest.approx(0.0, abs=1e-6)
    assert own["precision"] == own["recall"] == own["coverage"] == 1.0
    assert 3.2 < own["entropy"] <= np.log2(10) and judge.real["classifier_accuracy"] > 0.95
    one = judge.of(np.repeat(np.rint(judge.real_half[:1] * judge.top), 200, axis=0).reshape(-1, 8, 8, 1))
    assert one["precision"] == 1.0 and one["entropy"] == 0.0
    assert one["coverage"] < 0.1 and one["distance"] > 10 * judge.floor


def test_an_outlier_covers_nothing_though_its_ball_holds_everything(judge: Judge) -> None:
    """Recall counts real digits in balls of samples, and coverage samples in balls of real digits."""
    far = np.full((200, 8, 8, 1), 100.0) + 200.0 * np.random.default_rng(0).normal(size=(200, 8, 8, 1))
    found = judge.of(far)
    assert found["coverage"] == found["precision"] == 0.0


def test_noise_is_of_no_quality(judge: Judge) -> None:
    found = judge.of(np.random.default_rng(0).integers(0, 17, (200, 8, 8, 1)))
    assert found["precision"] < 0.05 and found["distance"] > 10 * judge.floor


def record() -> dict:
    def row(family: str, seed: int, distance: float, seconds: float) -> dict:
        numbers = dict.fromkeys(table.NUMBERS, 0.5) | {"distance": distance, "seconds_a_sample": seconds}
        bits = {"bits_per_dim": None} if family == "GAN" else {}
        return {"family": family, "way": "so", "seed": seed, **numbers, **bits}

    rows = [row("GAN", 0, 1.0, 1e-3), row("GAN", 1, 3.0, 1e-3), row("VAE", 0, 0.1, 3e-2), row("VAE", 1, 0.1, 3e-2)]
    real = {"distance": 0.1, "precision": 1.0, "recall": 1.0, "coverage": 1.0, "entropy": 3.3}
    return {
        "training_seconds": 1.0, "samples": 2, "seeds": [0, 1], "rows": rows, "summary": table.summary(rows),
        "real": real, "floor": 0.1, "environment": {"device": "a device"},
    }  # fmt: skip


def test_the_table_has_means_and_spreads_and_the_triangle_its_corners(tmp_path: Path) -> None:
    found = record()
    assert found["summary"][0]["distance"] == (2.0, pytest.approx(2**0.5))
    text = table.markdown(found)
    assert "| GAN | so | 20.00 ± 14.14 | 0.50 ± 0.00 |" in text and text.count("| 0.500 ± 0.000 |") == 1
    corners = table.corners(found)
    assert corners["GAN", "so"] == pytest.approx((0.05, 0.5, 1.0))
    assert corners["VAE", "so"] == pytest.approx((1.0, 0.5, 1.0 - np.log10(30) / 3))
    for name in ("recall", "coverage"):  # the lower of both counts
        assert table.corners(found | {"real": found["real"] | {name: 2.0}})["VAE", "so"][1] == pytest.approx(0.25)
    table.picture(tmp_path / "a.png", found)
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_real_digits_are_never_samples_of_their_own_yardstick(judge: Judge) -> None:
    """The halves are disjoint, and neither has a test digit."""
    source = data.create("digits")
    tests = take(source.test, np.arange(len(source.test)))["image"].reshape(-1, 64) / judge.top
    halves = [{row.tobytes() for row in half} for half in (judge.real_half, judge.other_half, tests)]
    assert len(halves[0] & halves[1]) == len(halves[0] & halves[2]) == len(halves[1] & halves[2]) == 0


@pytest.mark.slow
def test_families_are_trained_drawn_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one stage and of two, with a bound, with a likelihood and with neither."""
    monkeypatch.setattr(trilemma, "PROBE", 4)
    names = "GAN", "consistency", "categorical"
    given = ["--seconds=0.1", "--seeds", "0", "--samples=20", f"--folder={tmp_path}", f"--out={tmp_path / 'out.json'}"]
    given += ["--families", *names]
    trilemma.main(given)
    found = json.loads((tmp_path / "out.json").read_text())
    ways = [(family.name, way.name) for family in FAMILIES if family.name in names for way in family.ways]
    assert [(row["family"], row["way"]) for row in found["rows"]] == ways
    assert all(np.isfinite(row["distance"]) and row["seconds_a_sample"] > 0 for row in found["rows"])
    for row in found["rows"]:
        family = next(each for each in FAMILIES if each.name == row["family"])
        assert (row["bits_per_dim"] is not None) == bool(family.bits)
    assert (tmp_path / "out.png").exists() and "| real digits |" in (tmp_path / "out.md").read_text()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*_steps.json")}
    trilemma.main(given)  # which goes on where it stopped
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*_steps.json")}
    with pytest.raises(SystemExit, match=r"was timed with another seconds \(0.1, now 2.0\)"):
        trilemma.main([each.replace("0.1", "2") for each in given])


@pytest.mark.parametrize("what", ["seconds", "config", "device", "versions"])
def test_steps_that_were_timed_are_those_of_the_same_training(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, config = FAMILIES[0].stages[0], FAMILIES[0].stages[0].config({})
    monkeypatch.setattr(trilemma, "environment", lambda: {"device": "a", "versions": "b"})

    def train(mode: str, config: object, path: str) -> None:
        Path(path).mkdir()
        (Path(path) / "metrics.jsonl").write_text('{"step": 30, "images_per_second": 1280.0}\n')

    monkeypatch.setattr(trilemma.command, "run", train)
    given = {"config": config, "folder": tmp_path / "run", "seconds": 60.0}
    assert trilemma.steps_of(stage, **given) == trilemma.steps_of(stage, **given) == 600
    config.training.begin_with = "runs/of_another_seed"  # is each seed's own, and no other config
    assert trilemma.steps_of(stage, **given) == 600
    if what == "seconds":
        given["seconds"] = 61.0
    elif what == "config":
        given["config"] = FAMILIES[1].stages[0].config({})
    else:
        monkeypatch.setattr(trilemma, "environment", lambda: {"device": "a", "versions": "b"} | {what: "c"})
    with pytest.raises(SystemExit, match=f"timed with another {what}"):
        trilemma.steps_of(stage, **given)


def test_seconds_are_shared_out_among_all_that_are_carried() -> None:
    assert [trilemma.carried(n, 375) for n in (718, 750, 10, 375)] == [750, 750, 10, 375]


def test_the_seconds_of_a_sample_are_those_of_the_median_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow draw is drawn once; a fast one until its draws fill some seconds, of which one outlier changes nothing."""
    asked: list[int] = []

    def draw(key: object, count: int, seconds: list[float]) -> Drawn:
        asked.append(count)
        return Drawn(np.full(count, len(asked)), np.ones(count), seconds[len(asked) - 1])

    monkeypatch.setattr(trilemma, "TIMED", 5.0)
    samples, seconds = trilemma.timed(functools.partial(draw, seconds=[6.0]), 10, 4, 0)
    assert asked == [10] and samples.x[0] == 1 and seconds == 0.5
    asked.clear()
    samples, seconds = trilemma.timed(functools.partial(draw, seconds=[1.2, 2.4, 1.2, 1.2]), 10, 4, 0)
    assert asked == [10] * 4 and samples.x[0] == 1 and seconds == pytest.approx(0.1)


def test_the_readme_has_the_table_that_was_measured() -> None:
    measured = json.loads((RESULTS / "trilemma_digits.json").read_text())
    assert measured["summary"] == json.loads(json.dumps(table.summary(measured["rows"])))
    assert len(measured["seeds"]) == 3 and all(row["seeds"] == 3 for row in measured["summary"])
    ways = [[family.name, way.name] for family in FAMILIES for way in family.ways]
    assert [[row["family"], row["way"]] for row in measured["summary"]] == ways
    lines = [line for line in table.markdown(measured).splitlines() if line.startswith("|")]
    assert "\n".join(lines) in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--seconds=-1"], "--seconds is -1.0; it must be above 0"),
        (["--seconds=nan"], "--seconds is nan"),
        (["--seeds", "0", "0"], r"--seeds are \[0, 0\]; each must be 0 or more, and given once"),
        (["--seeds", "-1"], "--seeds are"),
    ],
)
def test_numbers_that_mean_nothing_are_refused_before_anything_is_trained(
    given: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        trilemma.main([*given, f"--folder={tmp_path / 'runs'}"])
    assert re.search(told, capsys.readouterr().err) and not (tmp_path / "runs").exists()


def test_every_stage_has_a_config_that_can_be_built() -> None:
    """All but those of latents, whose autoencoder must be there."""
    for family in FAMILIES:
        for stage in family.stages:
            config = stage.config({"diffusion": Path("runs/diffusion"), "autoencoder": Path("runs/autoencoder")})
            config.training.begin_with = ""
            if family.name == "latent diffusion" and stage.name == "run":
                assert config.data.codec == "runs/autoencoder"
            else:
                assert build(trilemma.scaled(stage, config, 10)).config.training.n_iters == 10
        assert sum(stage.share for stage in family.stages) == 1.0
