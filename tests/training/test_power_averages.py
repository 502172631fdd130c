"""Averages of any width, made of the snapshots of a real, small run: continued, begun late, and imported ones."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import experiment
import main
from configs.vp import toy_mixture8_mlp
from evaluation import contenders, ingredients
from experiment import Refusal, average_snapshots, build
from experiment.power_averages import PowerAverages
from experiment.weights import suffix
from experiment.workdir import Workdir

STEPS, HALF, EVERY = 48, 24, 2
KEPT = (0.05, 0.1)
TRACKED = (0.03, 0.08, 0.15)


def _config(n_iters: int = STEPS, stds: tuple[float, ...] = KEPT, **fields: Any) -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    config.model.update(width=8, depth=1)
    config.training.update(batch_size=8, n_iters=n_iters, log_freq=HALF, eval_freq=0, snapshot_sampling=False)
    config.training.update(snapshot_freq=HALF, snapshot_freq_for_preemption=HALF)
    config.training.update(ema_stds=stds, ema_snapshot_freq=EVERY)
    config.optim.update(warmup=10, lr=1e-2)
    config.eval.update(enable_bpd=False, samplers=("ddim",), num_samples=16, batch_size=16)
    config.sampling.update(evaluations=2)
    for name, value in fields.items():
        section, field = name.split("__")
        config[section][field] = value
    return config


def _train(folder: Path, *arguments: Any, **fields: Any) -> Path:
    main.run("train", _config(*arguments, **fields), str(folder))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _train(tmp_path_factory.mktemp("averages") / "run", STEPS, (*KEPT, *TRACKED))


def _tree(folder: Path, step: int | None = None) -> dict[str, Any]:
    with Workdir(folder).store(read_only=True) as store:
        return store.restore(None, step)[1]


def _row(params: dict[str, Any]) -> np.ndarray:
    return np.concatenate([np.ravel(params[name]) for name in sorted(params)]).astype(np.float64)


def _snapshots(folder: Path) -> list[Path]:
    return sorted((folder / average_snapshots.FOLDER).iterdir())


def _keep_two(path: Path, place: Path) -> None:
    """The snapshot as of a run of KEPT alone."""
    place.parent.mkdir(exist_ok=True)
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in arrays if name.split("/")[0] in map(str, KEPT)}
        np.savez(place, step=arrays["step"], begin=arrays["begin"], stds=np.array(KEPT), **kept)


def _weights(folder: Path, std: float = 0.0, checkpoint: int = -1) -> np.ndarray:
    return _row(experiment.load(folder, ema_std=std, checkpoint=checkpoint).variables["params"])


def _far(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def _same(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_width_that_was_tracked_is_its_reconstruction(run: Path, tmp_path: Path) -> None:
    """To 1e-3 of the weights' norm, which is closer than neighbouring widths.

    The step at HALF is that of an archived checkpoint, of which later snapshots say nothing.
    """
    for path in _snapshots(run):
        _keep_two(path, tmp_path / average_snapshots.FOLDER / path.name)
    for step in (STEPS, HALF):
        averages = _tree(run, step)["averages"]
        two = PowerAverages(averages["begin"], {std: averages["weights"][std] for std in map(str, KEPT)})
        rows = [_row(averages["weights"][str(std)]) for std in TRACKED]
        assert min(_far(rows[0], rows[1]), _far(rows[1], rows[2])) > 5e-3
        made = [_row(average_snapshots.reconstruct(Workdir(tmp_path), step, two, std)) for std in TRACKED]
        assert max(map(_far, made, rows)) < 1e-3
        assert _far(made[1], rows[1]) < 3e-4  # it lies between those that are kept
        for path in _snapshots(tmp_path)[step // EVERY :]:
            path.unlink()
        again = average_snapshots.reconstruct(Workdir(tmp_path), step, two, TRACKED[1])
        np.testing.assert_array_equal(_row(again), made[1])


def test_a_width_that_is_kept_is_that_of_the_checkpoint(run: Path) -> None:
    kept = _tree(run)["averages"]
    assert int(kept["begin"]) == 0 and set(kept["weights"]) == {str(std) for std in (*KEPT, *TRACKED)}
    for std in KEPT:
        assert _far(_weights(run, std), _row(kept["weights"][str(std)])) < 1e-6


def test_a_snapshot_says_what_it_is(run: Path) -> None:
    files = _snapshots(run)
    assert [file.name for file in files] == [f"step_{step:08d}.npz" for step in range(EVERY, STEPS + 1, EVERY)]
    with np.load(files[-1]) as arrays:
        assert int(arrays["step"]) == STEPS and int(arrays["begin"]) == 0 and set(arrays["stds"]) == {*KEPT, *TRACKED}
        for std, weights in _tree(run)["averages"]["weights"].items():
            for name, leaf in weights.items():
                np.testing.assert_array_equal(arrays[f"{std}/{name}"], leaf)


def _cut(run: Path, folder: Path) -> Path:
    """The run as if it had been killed behind HALF, but for what it had written: snapshots that are wrong now."""
    shutil.copytree(run, folder)
    shutil.rmtree(folder / "checkpoints" / str(STEPS))
    for path in _snapshots(folder):
        if int(path.stem.removeprefix("step_")) > HALF:
            shutil.copy(folder / average_snapshots.FOLDER / "step_00000002.npz", path)
    shutil.copy(path, path.with_name("step_00000031.npz"))
    return folder


@pytest.mark.slow
def test_a_run_that_goes_on_ends_bit_for_bit_with_the_same_snapshots(run: Path, tmp_path: Path) -> None:
    again = _cut(run, tmp_path / "again")
    _train(again, STEPS, (*KEPT, *TRACKED))
    _same(_tree(again), _tree(run))
    both = [_snapshots(folder) for folder in (run, again)]
    assert [path.name for path in both[0]] == [path.name for path in both[1]]
    for one, other in zip(*both, strict=True):
        assert one.read_bytes() == other.read_bytes() or _equal(one, other)
    np.testing.assert_array_equal(_weights(again, 0.08), _weights(run, 0.08))


def _equal(one: Path, other: Path) -> bool:
    with np.load(one) as a, np.load(other) as b:
        return set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_averages_that_begin_late(run: Path, tmp_path: Path) -> None:
    """In a run that had none, or other ones, their time begins at the step from which it goes on with them."""
    late = _train(tmp_path / "late", HALF, ())
    assert "averages" not in _tree(late) and not (late / average_snapshots.FOLDER).exists()
    with pytest.raises(ValueError, match=r"ema_std is 0\.08, and the checkpoint of step 24 .* has no power-function"):
        _weights(late, 0.08)
    _train(late, STEPS, KEPT)
    _same(_tree(late)["params"], _tree(run)["params"])
    np.testing.assert_array_equal(_row(_tree(late)["ema"]), _row(_tree(run)["ema"]))
    direct = _train(tmp_path / "direct", HALF, ())
    _train(direct, STEPS, (0.08,))
    tracked = _tree(direct)["averages"]
    assert int(tracked["begin"]) == HALF
    assert _far(_weights(late, 0.08), _row(tracked["weights"]["0.08"])) < 1e-3
    # Snapshots of averages that began elsewhere do not count: those of the whole run, put in its place.
    found = _weights(late, 0.08)
    for path in _snapshots(run):
        if not (late / average_snapshots.FOLDER / path.name).exists():
            shutil.copy(path, late / average_snapshots.FOLDER)
    shutil.copy(run / average_snapshots.FOLDER / "step_00000040.npz", late / average_snapshots.FOLDER)
    assert 0 < _far(_weights(late, 0.08), found) < 1e-3  # one snapshot less


@pytest.mark.slow
def test_an_imported_run_begins_its_averages_at_the_imported_step(run: Path, tmp_path: Path) -> None:
    folder, tree = tmp_path / "imported", _tree(run)
    config = _config(1048, ())
    Workdir(folder).begin(config)
    with Workdir(folder).store() as store:
        weights = {name: tree[name] for name in ("params", "ema", "fixed")}
        store.save(1000, {"step": np.int32(1000), **weights}, {"imported": {"file": "x"}, "config": config.to_dict()})
    with pytest.raises(ValueError, match="has no power-function averages"):
        _weights(folder, 0.05)
    _train(folder, 1048, (*KEPT, 0.08))
    kept = _tree(folder)["averages"]
    assert int(kept["begin"]) == 1000
    for path in _snapshots(folder):  # all but the checkpoint's own is of two widths
        _keep_two(path, path)
    assert _far(_weights(folder, 0.08), _row(kept["weights"]["0.08"])) < 1e-6
    assert _far(_weights(folder, 0.065), _row(kept["weights"]["0.05"])) > 1e-3


@pytest.mark.slow
def test_devices_that_share_a_state_keep_the_same_averages(run: Path, tmp_path: Path) -> None:
    shared = _train(tmp_path / "shared", STEPS, KEPT, training__parallelism="fsdp")
    assert _far(_weights(shared, 0.08), _weights(run, 0.08)) < 1e-4


@pytest.mark.parametrize(
    ("std", "named"),
    [
        (
            0.002,
            r"ema_std is 0\.002, and the averages of widths .* at 24 steps up to 48 miss it by \d\d%",
        ),
        (0.288, r"ema_std is 0\.288, and .* miss it by \d\d% \(at most 10%\); take a width nearer"),
        (0.3, r"ema_std is 0\.3; it must be a number of at least 0 and below 0\.288675"),
        (-0.1, r"ema_std is -0\.1; it must be a number"),
    ],
)
def test_widths_out_of_reach(std: float, named: str, run: Path) -> None:
    with pytest.raises(Refusal, match=named) as refusal:
        main.prepare("sample", _config(eval__ema_std=std), str(run))
    assert "\n" not in str(refusal.value)


def test_raw_weights_have_no_width(run: Path) -> None:
    with pytest.raises(Refusal, match=r"ema_std is 0\.08.* and eval\.ema False"):
        main.prepare("evaluate", _config(eval__ema_std=0.08, eval__ema=False), str(run))


def test_a_damaged_snapshot_is_named_and_can_be_moved_away(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    damaged = folder / average_snapshots.FOLDER / "step_00000046.npz"
    damaged.write_bytes(damaged.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"step_00000046\.npz is damaged, .*; move it away") as error:
        _weights(folder, 0.08)
    assert "\n" not in str(error.value)
    damaged.unlink()
    assert 0 < _far(_weights(folder, 0.08), _weights(run, 0.08)) < 1e-3


def test_a_call_of_several_steps_ends_at_each_snapshot(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"ema_snapshot_freq is 2 and training\.n_jitted_steps 3"):
        main.prepare("train", _config(training__n_jitted_steps=3), str(tmp_path / "run"))
    main.prepare("train", _config(STEPS, (), training__n_jitted_steps=3), str(tmp_path / "other"))


def test_the_width_decides_what_rounds_depend_on(run: Path) -> None:
    """The weights are among it, and nothing else of it changes."""
    about = {}
    for std in (0.0, 0.05, 0.08, 0.09):
        chosen = experiment.load(run, ema_std=std)
        about[std] = ingredients.of_weights(chosen.experiment, chosen.step, chosen.variables)
    assert len({each["weights"] for each in about.values()}) == 4
    for each in about.values():
        assert {name for name in each if each[name] != about[0.0][name]} <= {"weights"}


@pytest.mark.slow
def test_a_comparison_sweeps_widths(run: Path) -> None:
    """Each is a contender with weights, a name and rounds of its own; the widths of other runs are theirs."""
    config = _config(eval__compare_ema_stds=(0.0, 0.05, 0.08), eval__compare=("ddim",), eval__compare_evaluations=(2,))
    found = contenders.of_config(build(config), Workdir(run))
    assert [each.name for each in found] == [f"run, average{of}" for of in ("", " of width 0.05", " of width 0.08")]
    for each, std in zip(found, (0.0, 0.05, 0.08), strict=True):
        np.testing.assert_array_equal(_row(each.variables["params"]), _weights(run, std))
    assert {each.kept for each in found} == {run / "comparison"}
    assert [suffix(each.experiment.config) for each in found] == ["", "_std_0.05", "_std_0.08"]
    (plain,) = contenders.of_config(build(_config()), Workdir(run))
    assert plain.name == "run"
    with pytest.raises(ValueError, match=r"ema_std is 0\.05.* and eval\.ema False"):
        contenders.of_config(build(_config(eval__compare_ema_stds=(0.05,), eval__ema=False)), Workdir(run))


@pytest.fixture(scope="module")
def evaluated(run: Path) -> Path:
    for mode in ("evaluate", "sample"):
        main.run(mode, _config(eval__ema_std=0.08), str(run))
    return run


@pytest.mark.slow
def test_reports_and_pictures_say_the_width(evaluated: Path) -> None:
    text = (evaluated / "report.md").read_text()
    assert "power-function average (EMA) of width 0.08" in text
    assert (evaluated / "evaluation" / f"step_{STEPS:08d}_std_0.08" / "report.json").exists()
    (picture,) = (evaluated / "samples").glob("*_std_0.08_*.npz")
    assert str(np.load(picture)["weights"]) == "average of width 0.08"


@pytest.mark.slow
def test_rounds_are_not_used_for_another_width(evaluated: Path, tmp_path: Path) -> None:
    """Even where they lie in its place: the weights are among what they depend on."""
    folder = tmp_path / "run"
    shutil.copytree(evaluated, folder)
    place = folder / "evaluation"
    (place / f"step_{STEPS:08d}_std_0.08").rename(place / f"step_{STEPS:08d}_std_0.09")
    main.run("evaluate", _config(eval__ema_std=0.09), str(folder))
    rounds, aside = (place / f"step_{STEPS:08d}_std_0.09" / name for name in ("ddim_seed_0", "ddim_seed_0.1"))
    then, now = (json.loads((each / "about.json").read_text()) for each in (aside, rounds))
    assert {name for name in now if now[name] != then[name]} == {"weights"}
    files = [np.load(each / "round_00000.npz")["samples"] for each in (aside, rounds)]
    assert np.abs(files[0] - files[1]).max() > 1e-3


@pytest.mark.slow
def test_a_table_has_a_row_for_each_width(run: Path) -> None:
    fields = {"eval__compare": ("ddim",), "eval__compare_evaluations": (2,), "eval__compare_reference_evaluations": 4}
    main.run("compare", _config(eval__compare_ema_stds=(0.05, 0.08), **fields), str(run))
    result = json.loads((run / "comparison.json").read_text())
    widths = ["average of width 0.05", "average of width 0.08"]
    assert [row["run"] for row in result["rows"]] == [f"run, {width}" for width in widths]
    assert [facts["checkpoint"]["weights"] for facts in result["runs"].values()] == widths
    assert result["rows"][0]["quality"] != result["rows"][1]["quality"]
    assert all(f"weights: {width}" in (run / "comparison.md").read_text() for width in widths)
