"""Each benchmark runs at a tiny size and writes what it promises; how fast anything is, is not tested."""

import json
import math
from pathlib import Path

import jax
import pytest

from benchmarks import digits_control, guidance, likelihood, sampling, solvers, train_step
from benchmarks.common import speedups, timed_in_turn
from configs.vp import digits_classes
from experiment import build
from experiment.workdir import Workdir

CONFIG = "configs/vp/toy_mixture8_mlp.py"
ROOT = Path(__file__).parents[1]
TINY = [f"--config={ROOT / CONFIG}", "--batch_size=8", "--repeats=2"]


@pytest.mark.parametrize(
    ("benchmark", "options", "figures"),
    [
        pytest.param(
            train_step,
            ["--steps_per_call=2"],
            {"steps_per_second", "images_per_second", "seconds_per_step"},
            id="train_step",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            sampling,
            ["--steps=3", "--method=flow_heun"],
            {"evaluations_per_second", "milliseconds_per_evaluation", "seconds"},
            id="sampling",
        ),
        pytest.param(
            likelihood,
            ["--tolerance=1e-4", "--queue=2", "--on_device"],
            {"seconds_per_image", "evaluations_mean", "nats_mean", "seconds"},
            id="likelihood",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            guidance,
            [f"--config={ROOT / 'configs/vp/digits_classes.py'}", "--steps=2"],
            {"times_the_unguided_step", "seconds"},
            id="guidance",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_benchmark_writes_its_record(benchmark, options: list[str], figures: set[str], tmp_path: Path) -> None:
    out = tmp_path / "results" / "record.json"
    benchmark.main([*TINY, *options, f"--out={out}"])
    found = json.loads(out.read_text())
    assert {"jax", "jaxlib", "python"} <= found["environment"]["versions"].keys()
    assert "cpu" in found["environment"]["device"].lower()
    assert found["arguments"]["batch_size"] == 8
    assert found["weights"] == "random, not trained"
    assert set(found["contenders"]) == {found["baseline"], *found["times_faster_than_baseline"]}
    assert len(found["contenders"]) >= 2
    for row in found["contenders"].values():
        assert figures <= row.keys()
        numbers = [v for f in figures for v in (row[f].values() if isinstance(row[f], dict) else [row[f]])]
        assert all(math.isfinite(v) and v != 0 for v in numbers)
    nats = [row["nats_mean"] for row in found["contenders"].values() if "nats_mean" in row]
    assert nats == pytest.approx(nats[:1] * len(nats), rel=1e-3)  # they solve the same ODE
    for ratio in found["times_faster_than_baseline"].values():
        assert 0 < ratio["min"] <= ratio["median"] <= ratio["max"] < math.inf


def test_a_ratio_is_of_equal_work_in_the_same_round() -> None:
    seconds = {"base": [1.0, 2.0, 4.0], "other": [1.0, 1.0, 1.0]}
    assert speedups(seconds, "base") == {"other": {"median": 2.0, "min": 1.0, "max": 4.0}}
    assert speedups(seconds, "base", {"base": 1, "other": 2})["other"]["median"] == 4.0


def test_contenders_alternate_after_one_warm_up_each() -> None:
    calls: list[str] = []
    seconds = timed_in_turn({name: lambda n=name: calls.append(n) for name in "ab"}, repeats=2)
    assert calls == list("ababab")
    assert [len(values) for values in seconds.values()] == [2, 2]


def test_a_missing_config_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"configs/nothing\.py"):
        sampling.main(["--config=configs/nothing.py"])


@pytest.mark.slow
def test_the_solvers_are_measured_on_the_mixtures(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Every grid, end and budget of one solver; where it is meant to be used, its error falls with every budget."""
    out = tmp_path / "solvers.json"
    solvers.main(["--solvers", "ipndm", "--processes", "VP cosine", "--powers", "7", f"--out={out}"])
    found = json.loads(out.read_text())
    grids = ("uniform", "quadratic", "log_snr", "karras 7")
    for mixture in solvers.MIXTURES:
        errors = found["errors"]["VP cosine"][mixture]["ipndm"]
        assert errors.keys() == {f"{grid} to {end}" for grid in grids for end in ("t_min", "data")}
        for end in ("t_min", "data"):
            assert list(errors[f"quadratic to {end}"]) == ["5", "10", "20", "50"]
            falling = list(errors[f"quadratic to {end}"].values())
            assert falling == sorted(falling, reverse=True) and 0.0 < falling[-1] < 1e-3
    assert [row["budget"] for row in found["best"]] == [row["budget"] for row in found["public"]] == [5, 10, 20, 50] * 2
    printed = capsys.readouterr().out
    for words in ("| gm2 | 5 evaluations", "| VP cosine, ipndm |", "| the best public run of each |", "dpm-solver"):
        assert words in printed


@pytest.mark.slow
def test_steered_digits_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an untrained run: every figure is there, known pixels are exact, and nothing is recognised."""
    config = digits_classes.get_config()
    config.sampling.evaluations = 3
    workdir = Workdir(tmp_path / "run")
    variables = build(config).network.init(jax.random.key(0))
    workdir.begin(config)
    with workdir.store() as store:
        store.save(1, {"ema": variables["params"], "fixed": variables["fixed"]})
    for name, value in {"SAMPLES": 40, "INPAINTED": 4, "SCALES": (1.0, 2.0), "METHODS": ("consistent",)}.items():
        monkeypatch.setattr(digits_control, name, value)
    monkeypatch.setattr(digits_control, "load_config", lambda _: config)
    digits_control.main([f"--workdir={workdir.path}", f"--out={tmp_path / 'found.json'}"])
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["judge_on_real_test_digits"] > 0.97
    assert [row["scale"] for row in found["classes"]] == [1.0, 2.0]
    assert all(row["recognised"] < 0.5 for row in found["classes"])
    assert [row["method"] for row in found["inpainting"]][2:] == ["consistent"] and found["inpainting"][2][
        "known_exact"
    ]
