"""Samplers compared, of one run or several: the same noise, errors that are those of the flow, files that say so."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import main
import samplers
from configs.vp import toy_mixture8_mlp
from evaluation import compare, comparison, contenders, entries, quality
from experiment import Refusal, build, load
from experiment.weights import load_run
from experiment.workdir import Workdir
from metrics.fid import frechet_distance, moments
from samplers import Settings
from samplers.create import stepper_of
from samplers.shared import least, loop, spending, table
from sde_lib import VP
from tests.experiment.command import contents
from tests.oracles import compiled, planar

FILES = ("comparison.md", "comparison.csv", "comparison.json", "comparison.png")


def _config() -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    config.model.update(width=8, depth=1)
    config.training.update(batch_size=8, n_iters=2, log_freq=1, eval_freq=0, snapshot_sampling=False)
    config.training.update(snapshot_freq=2, snapshot_freq_for_preemption=1)
    config.eval.update(num_samples=24, batch_size=16, compare_evaluations=(2, 12), compare_reference_evaluations=30)
    config.eval.compare = ("euler_maruyama/uniform", "ddim/quadratic", "heun/karras")
    return config


def _run(mode: str, folder: Path, **fields: Any) -> None:
    config = _config()
    config.eval.update(fields)
    jax.config.update("jax_disable_most_optimizations", True)
    main.run(mode, config, str(folder))
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare") / "run"
    for mode in ("train", "compare"):
        _run(mode, folder)
    return folder


def test_the_files_hold_every_entry(workdir: Path) -> None:
    """Heun's method takes no step with two evaluations and one for data; the rest are spent to the last that fits."""
    result = json.loads((workdir / "comparison.json").read_text())
    found = {(row["sampler"], row["budget"]): row for row in result["rows"]}
    assert {name: row["evaluations"] for name, row in found.items()} == {
        **{("euler_maruyama/uniform", n): n for n in (2, 12)},
        **{("ddim/quadratic", n): n for n in (2, 12)},
        ("heun/karras", 12): 11,
    }
    assert result["reference"]["evaluations"] == 30 and result["reference"]["ratio"] == 1.0
    for row in found.values():
        assert row["ratio"] == pytest.approx(row["quality"] / result["reference"]["quality"])
        assert row["floors"] == pytest.approx(row["quality"] / result["floor"]) and row["seconds_per_sample"] > 0
        assert (row["flow_error"] is None) == row["sampler"].startswith("euler_maruyama")
    assert found["ddim/quadratic", 12]["flow_error"] < found["ddim/quadratic", 2]["flow_error"]
    places = (workdir / "comparison" / "step_00000002" / "heun_karras_12").glob("round_*.npz")
    squared = np.concatenate([np.load(place)["squared_error"] for place in places])
    assert len(squared) == 24
    assert found["heun/karras", 12]["flow_error"] == pytest.approx(np.median(np.sqrt(squared)), rel=1e-6)
    with (workdir / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 and {row["sampler"] for row in rows} == set(_config().eval.compare)
    text = (workdir / "comparison.md").read_text()
    for words in ("12 evaluations: **", "heun/karras", "30 evaluations", "24 samples", f"]({comparison.PICTURE})"):
        assert words in text
    assert (workdir / comparison.PICTURE).read_bytes().startswith(b"\x89PNG")


def test_an_entry_is_what_its_sampler_draws_and_its_error_the_distance_to_the_flow(workdir: Path) -> None:
    """Both drawn here by `samplers.create`, from the same noise."""
    config = _config()
    experiment = build(config)
    _, variables = load_run(Workdir(workdir), experiment.network, config)
    key_prior, key = jax.random.split(jax.random.fold_in(jax.random.key(config.eval.seed), 0))
    z, score = experiment.sde.prior_sample(key_prior, (16, 2)), experiment.predict_fn(variables)

    def drawn(**changed: Any) -> np.ndarray:
        settings = Settings(**{**config.sampling.to_dict(), "grid": "uniform", **changed})
        return np.asarray(compiled(samplers.create(experiment.sde, score, settings))(key, z).x)

    def round_of(name: str) -> dict[str, np.ndarray]:
        return dict(np.load(workdir / "comparison" / "step_00000002" / name / "round_00000.npz"))

    flow = drawn(method="ode", rtol=1e-5, atol=1e-5)
    ddim = drawn(method="ddim", grid="quadratic", evaluations=2)
    found = round_of("ddim_quadratic_2")
    np.testing.assert_allclose(found["samples"], ddim, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["squared_error"], np.mean((ddim - flow) ** 2, axis=1), rtol=1e-2, atol=1e-5)
    maruyama = drawn(method="euler_maruyama", steps=11)
    np.testing.assert_allclose(round_of("euler_maruyama_uniform_12")["samples"], maruyama, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_grids_whose_rows_differ_are_compared_in_one_list(tmp_path: Path) -> None:
    """Levels picked of a chain, exact kernels, and the chain's own kernels: three programs of one method."""
    config = _config()
    config.sampling.update(discretization=24, denoise="mean")
    config.eval.update(num_samples=16, batch_size=16, compare_evaluations=(12,), compare_reference_evaluations=24)
    config.eval.compare = ("ancestral/uniform", "ancestral/respaced")
    config.eval.compare_reference = "ancestral/published"
    jax.config.update("jax_disable_most_optimizations", True)
    for mode in ("train", "compare"):
        main.run(mode, config, str(tmp_path / "run"))
    jax.config.update("jax_disable_most_optimizations", False)
    result = json.loads((tmp_path / "run" / "comparison.json").read_text())
    kernels = {row["sampler"]: row["settings"]["discretization"] for row in (result["reference"], *result["rows"])}
    assert kernels == {"ancestral/published": 24, "ancestral/uniform": 0, "ancestral/respaced": 24}
    experiment = build(config)
    _, variables = load_run(Workdir(tmp_path / "run"), experiment.network, config)
    key_prior, key = jax.random.split(jax.random.fold_in(jax.random.key(config.eval.seed), 0))
    z, score = experiment.sde.prior_sample(key_prior, (16, 2)), experiment.predict_fn(variables)
    changed = {"method": "ancestral", "grid": "respaced", "steps": 12}
    alone = samplers.create(experiment.sde, score, Settings(**(config.sampling.to_dict() | changed)))
    place = tmp_path / "run" / "comparison" / "step_00000002" / "ancestral_respaced_12" / "round_00000.npz"
    np.testing.assert_allclose(np.load(place)["samples"], compiled(alone)(key, z).x, rtol=1e-4, atol=1e-4)


def test_a_killed_comparison_draws_only_what_is_missing(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And finds the same; the seconds of what is drawn again are new."""
    before = json.loads((workdir / "comparison.json").read_text())
    lost = workdir / "comparison" / "step_00000002" / "ddim_quadratic_12" / "round_00001.npz"
    lost.unlink()
    for name in FILES:
        (workdir / name).unlink()
    calls: list[str] = []
    run = compare._Draws._run
    monkeypatch.setattr(
        compare._Draws, "_run", lambda self, name, *rest, **more: calls.append(name) or run(self, name, *rest, **more)
    )
    _run("compare", workdir)
    assert calls == ["ddim"] and lost.exists()
    after = json.loads((workdir / "comparison.json").read_text())
    for result in (before, after):
        for row in result["rows"]:
            del row["seconds_per_sample"]
    assert after == before


@pytest.mark.slow
def test_seconds_of_another_machine_are_not_taken_over(
    workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flow, of which no seconds are told, is kept."""
    folder, calls, here = tmp_path / "moved", [], compare.environment()
    shutil.copytree(workdir, folder)
    run = compare._Draws._run
    monkeypatch.setattr(
        compare._Draws, "_run", lambda self, name, *rest, **more: calls.append(name) or run(self, name, *rest, **more)
    )
    _run("compare", folder)
    assert not calls
    monkeypatch.setattr(compare, "environment", lambda: {**here, "device": "8 x another (gpu)"})
    _run("compare", folder, compare=("ddim/quadratic",))
    assert set(calls) == {"euler_maruyama", "ddim"}
    assert json.loads((folder / "comparison.json").read_text())["environment"]["device"] == "8 x another (gpu)"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"compare": ("ddmi",)}, ["eval.compare", "'ddmi'", "dpmpp_2m"]),
        ({"compare": ("ddim/quadratik",)}, ["'ddim/quadratik'", "quadratic", "karras"]),
        ({"compare": ("ode",)}, ["'ode'", "tolerances"]),
        ({"compare": ("ddim", "ddim")}, ["eval.compare", "each given once"]),
        ({"compare": ("flow_heun/published",)}, ["'flow_heun/published'", "t = 0"]),
        ({"compare": ("ddim/trailing",)}, ["'trailing'", "chain"]),
        ({"compare_evaluations": ()}, ["eval.compare_evaluations"]),
        ({"compare": ("heun",), "compare_evaluations": (1, 2)}, ["(1, 2)", "'heun'", "3"]),
        ({"compare_reference": "euler_maryama"}, ["eval.compare_reference", "euler_maruyama"]),
        ({"compare_reference_evaluations": 1}, ["1 evaluations", "2"]),
        ({"enable_sampling": False}, ["eval.enable_sampling"]),
    ],
)
def test_wrong_entries_are_refused(change: dict, named: list[str], workdir: Path) -> None:
    config = _config()
    config.eval.update(change)
    with pytest.raises(Refusal) as refusal:
        main.run("compare", config, str(workdir))
    for word in named:
        assert word in str(refusal.value)


def test_what_an_entry_asks_for_the_network_must_know() -> None:
    """Whatever the samplers are that the run's own config names."""
    config = _config()
    config.sampling.variance, config.eval.compare = "learned_range", ("ancestral",)
    with pytest.raises(ValueError, match=r"sampling\.variance is 'learned_range'.*predicts none"):
        entries.of_run(build(config), config.eval)


@pytest.fixture(scope="module")
def several(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A copy of the compared run, compared with a map too; and the map, which is told where jumps end."""
    folder = tmp_path_factory.mktemp("several")
    first, second = folder / "first", folder / "map"
    shutil.copytree(workdir, first)
    config = _config()
    config.model.update(width=4)
    with config.unlocked():
        config.model.told_end = True
    config.sde = ConfigDict({"name": "flow"})
    config.model.prediction, config.training.loss = "velocity", "flow_matching"
    config.eval.samplers = ("jump", "renoise")
    jax.config.update("jax_disable_most_optimizations", True)
    main.run("train", config, str(second))
    jax.config.update("jax_disable_most_optimizations", False)
    return first, second


ASKED = {"compare_maps_evaluations": (1, 3)}


def test_runs_are_compared_in_one_table(several: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Solvers of the first at their numbers, jumps of the map at theirs; all is kept with the first, in its own place.

    What the first has of its own comparison is used. The map's samples are those of its own network and process,
    measured against the data of the first.
    """
    first, second = several
    before, calls, run = contents(second), [], compare._Draws._run
    monkeypatch.setattr(
        compare._Draws, "_run", lambda self, name, *rest, **more: calls.append(name) or run(self, name, *rest, **more)
    )
    _run("compare", first, compare_runs=(str(second),), **ASKED)
    assert contents(second) == before
    assert sorted(set(calls)) == ["jump", "renoise"] and len(calls) == 2 * 2 * 2  # samplers, numbers, rounds
    result = json.loads((first / "comparison.json").read_text())
    found = {(row["run"], row["sampler"], row["budget"]): row for row in result["rows"]}
    alone = {("first", name, n) for name in _config().eval.compare for n in (2, 12)} - {("first", "heun/karras", 2)}
    assert found.keys() == alone | {("map", name, n) for name in ("jump", "renoise") for n in (1, 3)}
    assert result["runs"]["map"]["sde"]["name"] == "flow" and result["runs"]["map"]["flow_evaluations"] is None
    assert {row["evaluations"] for key, row in found.items() if key[0] == "map"} == {1, 3}
    assert all(row["flow_error"] is None for key, row in found.items() if key[0] == "map")
    own = load(second)
    key_prior, key = jax.random.split(jax.random.fold_in(jax.random.key(_config().eval.seed), 0))
    for name, n in (("jump", 1), ("renoise", 3)):
        settings = Settings(**_config().sampling.to_dict() | {"method": name, "evaluations": n})
        z = own.sde.prior_sample(key_prior, (16, 2))
        model = own.experiment.predict_fn(own.variables)
        drawn = compiled(samplers.create(own.sde, model, settings))(key, z).x
        kept = [np.load(first / f"comparison/map/step_00000002/{name}_{n}/round_{i:05d}.npz") for i in (0, 1)]
        np.testing.assert_allclose(kept[0]["samples"], drawn, rtol=1e-4, atol=1e-4)
        ours = moments(np.concatenate([each["samples"] for each in kept]))
        distances = [frechet_distance(ours, half) for half in quality.PixelDistance(build(_config()), 24).halves]
        row = found["map", name, n]
        assert row["quality"] == pytest.approx(np.mean(distances), rel=1e-6)
        assert row["ratio"] == pytest.approx(row["quality"] / result["reference"]["quality"])
    text = (first / "comparison.md").read_text()
    assert "- map: flow, step 2" in text and "- 1 evaluation: **" in text and "| 3 | map | renoise | 3 |" in text


@pytest.mark.slow
def test_maps_alone_have_neither_yardstick_nor_flow(several: tuple[Path, Path], tmp_path: Path) -> None:
    """And one whose config names a solver as well is compared as both."""
    folder = tmp_path / "alone"
    shutil.copytree(several[1], folder)
    config = Workdir(folder).config()
    config.eval.compare_maps_evaluations = (1,)
    jax.config.update("jax_disable_most_optimizations", True)
    main.run("compare", config, str(folder))
    jax.config.update("jax_disable_most_optimizations", False)
    result = json.loads((folder / "comparison.json").read_text())
    assert result["reference"] is None and all(row["ratio"] is None for row in result["rows"])
    assert {(row["sampler"], row["budget"]) for row in result["rows"]} == {("jump", 1), ("renoise", 1)}
    text = (folder / "comparison.md").read_text()
    assert "yardstick" not in text and "Flow error" not in text and "/ floor" in text
    config.eval.samplers = ("jump", "heun")
    both = entries.of_run(build(config), config.eval)
    assert {entry.name for entry in both} == {"jump", "renoise", *config.eval.compare}
    assert [entry.budget for entry in both if entry.name == "jump"] == [1]
    exact = {entry.name for entry in both if entries.deterministic(entry.settings)}
    assert exact == {"jump", "ddim/quadratic", "heun/karras"}


def test_a_grid_of_one_length_gives_way_at_other_numbers() -> None:
    """Unless the entry itself asks for it."""
    config = _config()
    config.sampling.update(method="jump", grid="given", grid_noise=(0.5,), evaluations=2)
    config.eval.update(samplers=("jump",), compare_maps=("jump",))
    found = entries.of_run(build(config), config.eval)
    assert {entry.budget: entry.settings.grid for entry in found} == {1: "uniform", 2: "given", 4: "uniform"}
    config.eval.compare_maps = ("jump/given",)
    with pytest.raises(ValueError, match="needed are 1"):
        entries.of_run(build(config), config.eval)


def _records(folder: Path, **changes: Any) -> None:
    """Change the record of a run's data."""
    file = folder / "inputs.json"
    file.write_text(json.dumps({"data": json.loads(file.read_text())["data"] | changes}))


def _saved(folder: Path, section: str, **fields: Any) -> None:
    """Change the config of a run in its folder."""
    config = json.loads((folder / "config.json").read_text())
    config[section] |= fields
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda run: (run / "config.json").unlink(), ["holds no run"]),
        (lambda run: shutil.rmtree(run / "checkpoints"), ["no checkpoint"]),
        (lambda run: _records(run, train={"examples": 7, "fingerprint": "00"}), ["train set", "7 and 100000 examples"]),
        (lambda run: _records(run, test={"examples": 7, "fingerprint": "00"}), ["test set"]),
        (lambda run: _records(run, classes=["one"]), ["names of classes"]),
        (lambda run: ((run / "inputs.json").unlink(), _saved(run, "data", train_length=500)), ["train_length"]),
        (lambda run: _saved(run, "model", name="noisy_classifier"), ["classifier"]),
    ],
    ids=["none", "untrained", "train", "test", "names", "options", "classifier"],
)
def test_runs_that_cannot_be_compared_are_refused(
    change: Any, named: list[str], several: tuple[Path, Path], tmp_path: Path
) -> None:
    first, other = several[0], tmp_path / "other"
    shutil.copytree(several[1], other)
    change(other)
    config = _config()
    config.eval.update(compare_runs=(str(other),), **ASKED)
    with pytest.raises(Refusal) as refusal:
        main.prepare("compare", config, str(first))
    for word in [str(other), *named]:
        assert word in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"shape": (3,)}, r"its examples are \(3,\), and those of .*first \(2,\)"),
        ({"levels": 256}, "256 grey levels, and those of .*first None"),
        ({"label_dim": 5}, "told of 5 classes, and .*first of 8"),
    ],
    ids=["shape", "levels", "classes"],
)
def test_data_of_another_kind_are_refused(fields: dict, named: str, several: tuple[Path, Path]) -> None:
    """The runs must agree in the source's shape and levels, and in the classes that their networks are told of."""
    ours, theirs = build(_config()), build(_config())
    for each, classes in ((ours, 8), (theirs, fields.get("label_dim", 8))):
        with each.config.unlocked():
            each.config.model.label_dim = classes
    fields = {name: value for name, value in fields.items() if name != "label_dim"}
    theirs = dataclasses.replace(theirs, source=dataclasses.replace(theirs.source, **fields))
    here, there = (Workdir(folder) for folder in several)
    with pytest.raises(ValueError, match=named):
        contenders._check_data(ours, here, theirs, there)


def test_a_run_is_compared_once_and_runs_of_one_name_are_told_apart(several: tuple[Path, Path], tmp_path: Path) -> None:
    first, config = several[0], _config()
    config.eval.update(compare_runs=(f"{first.parent}/./{first.name}",), **ASKED)
    with pytest.raises(Refusal, match="each once"):
        main.prepare("compare", config, str(first))
    config.eval.update(compare_runs=(str(several[1]),), compare_maps=("jmp",))
    with pytest.raises(Refusal, match=f"compare_runs has '{several[1]}': eval.compare_maps has 'jmp'.*renoise"):
        main.prepare("compare", config, str(first))
    config.eval.compare_maps = ("jump",)
    shutil.copytree(several[1], tmp_path / "map")
    config.eval.compare_runs = (str(several[1]), str(tmp_path / "map"))
    found = contenders.of_config(build(config), Workdir(first))
    assert [run.name for run in found] == ["first", str(several[1]), str(tmp_path / "map")]
    assert len({run.kept for run in found}) == 3


@pytest.mark.parametrize("denoise", ["tweedie", pytest.param("mean", marks=pytest.mark.slow)])
def test_every_method_spends_what_it_may_and_the_shared_loop_is_its_sampler(denoise: str) -> None:
    """Any settings of at most n evaluations, to within one step; those of noisy methods draw the same noise."""
    sde, score = VP(), planar().score(VP())
    for method in ("pc", "ancestral", "flow_heun", "dpmpp_3m", "dpmpp_3s", "dpm_2", "dpmpp_sde", "jump", "renoise"):
        base = Settings(method, denoise=denoise)
        needed, to_data = least(sde, base), denoise == "tweedie" and method not in samplers.MAPS
        settings = spending(sde, base, 14)
        rows = table(sde, stepper_of(sde, score, settings), settings, 40)
        assert 14 - (needed - to_data) < rows.evaluations <= 14, method
        if method in samplers.MAPS:
            assert needed == 1 and spending(sde, base, 1).evaluations == 1
        if method in ("pc", "dpmpp_sde", "renoise"):
            z = jax.random.normal(jax.random.key(0), (4, 2))
            of_all = compiled(samplers.create(sde, score, settings))(jax.random.key(1), z)
            assert of_all.evaluations.max() == rows.evaluations
            shared = compiled(loop(sde, score, settings))(jax.random.key(1), z, rows)
            np.testing.assert_allclose(shared, of_all.x, rtol=1e-4, atol=1e-5)


def test_the_best_of_each_budget_is_said_and_marked() -> None:
    """Distances are compared across runs, and flow errors within each."""
    rows = [
        {"run": run, "sampler": name, "budget": n, "quality": quality, "flow_error": error}
        for run, name, n, quality, error in (
            ("one", "a", 5, 3.0, 0.5),
            ("two", "b", 5, 2.0, None),
            ("one", "a", 9, 1.0, 0.2),
            ("one", "b", 9, 4.0, None),
            ("two", "a", 9, 3.0, 0.1),
        )
    ]
    leading = {n: (row["run"], row["sampler"]) for n, row in comparison.best(rows, "quality").items()}
    assert leading == {5: ("two", "b"), 9: ("one", "a")}
    near = comparison.nearest({"runs": ["one", "two"], "rows": rows})
    assert {key: row["flow_error"] for key, row in near.items()} == {("one", 5): 0.5, ("one", 9): 0.2, ("two", 9): 0.1}
