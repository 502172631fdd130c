"""What a training tells its numbers to: each keeps them, goes on with them, and may fail without the training."""

import json
import logging
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import main
from configs.vp import toy_mixture8_mlp
from experiment import Refusal
from experiment.ranges import TRACKERS as NAMES
from limits import Text
from training import trackers
from training.trackers import TRACKERS, Tracked, Tracker, Trackers
from training.trackers.jsonl import JsonLines
from training.trackers.tensorboard import TensorBoard

STAND_IN = {
    "wandb": """
import json, pathlib
LOG = pathlib.Path(__file__).with_name("told.jsonl")
def tell(*what):
    LOG.open("a").write(json.dumps(what) + "\\n")
class Image:
    def __init__(self, path): self.path = path
class Run:
    def log(self, values, step): tell("log", {k: getattr(v, "path", v) for k, v in values.items()}, step)
    def finish(self): tell("finish")
def init(**given):
    tell("init", given)
    return Run()
""",
    "mlflow/__init__.py": "",
    "mlflow/entities.py": """
import collections
Metric = collections.namedtuple("Metric", "key value timestamp step")
Param = collections.namedtuple("Param", "key value")
""",
    "mlflow/tracking.py": """
import json, pathlib, types
LOG = pathlib.Path(__file__).parents[1] / "told.jsonl"
class MlflowClient:
    def __init__(self, **given): self("client", given)
    def __call__(self, *what): LOG.open("a").write(json.dumps(what) + "\\n")
    def get_experiment_by_name(self, name): return None
    def create_experiment(self, name): return "e7"
    def create_run(self, experiment, run_name):
        self("run", experiment, run_name)
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r1"))
    def log_batch(self, run, metrics=(), params=()):
        self("batch", run, [(m.key, m.value, m.step) for m in metrics], [tuple(p) for p in params])
    def update_run(self, run, status): self("update", run, status)
    def log_artifact(self, run, path, folder): self("artifact", run, path, folder)
    def set_terminated(self, run): self("end", run)
""",
}
"""Packages that write down what they are told, with the functions of those that they stand for."""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the packages that stand for others, ahead of all that are installed."""
    folder = tmp_path / "packages"
    (folder / "mlflow").mkdir(parents=True)
    for name, text in STAND_IN.items():
        (folder / (name if name.endswith(".py") else f"{name}.py")).write_text(text)

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("wandb", "mlflow")]:
            del sys.modules[name]

    forget()
    monkeypatch.syspath_prepend(folder)
    yield folder
    forget()


def told(packages: Path) -> list[list[Any]]:
    """All that the packages were told."""
    return [json.loads(line) for line in (packages / "told.jsonl").read_text().splitlines()]


def picture(folder: Path) -> Path:
    """A small picture."""
    path = folder / "grid.png"
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(path)
    return path


def stored(content: bytes) -> Iterator[bytes]:
    """The records of a file of TensorFlow's: a length of 8 bytes, a checksum of 4, the record, another checksum."""
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        yield content[12 : 12 + length]
        content = content[16 + length :]


def test_lines_that_are_damaged_are_taken_back(tmp_path: Path) -> None:
    file, sound = tmp_path / "metrics.jsonl", b'{"step": 1, "loss": 0.5}\n'
    file.write_bytes(sound + b'{"step": 9}\n{"step": "two"}\n{"step": null}\n[1]\n3\n\xff\xfe\n\n{"step": 2')
    tracker = JsonLines(Tracked(tmp_path, 2, {}))
    tracker.write(3, {"loss": 0.25})
    tracker.close()
    assert file.read_bytes() == sound + b'{"step": 3, "loss": 0.25}\n'


def test_tensorboard_has_numbers_pictures_and_where_a_run_goes_on(tmp_path: Path) -> None:
    """Also where it begins again at 0, as it does where it was killed before its first checkpoint."""
    from tensorboardX.proto import event_pb2

    folder = tmp_path / "tensorboard"
    begins = []
    for number, start in enumerate((0, 5, 0)):
        tracker = TensorBoard(Tracked(tmp_path, start, {}))
        tracker.write(start + 1, {"loss": 0.5})
        tracker.picture(start + 1, picture(tmp_path))
        tracker.close()
        (file,) = folder.glob("events.*")  # whose name is that of the second
        events = [event_pb2.Event.FromString(each) for each in stored(file.read_bytes())]
        begins.append([each.step for each in events if each.session_log.status == event_pb2.SessionLog.START])
        loss, samples = (each for each in events if each.summary.value)
        assert loss.step == samples.step == start + 1
        assert (loss.summary.value[0].tag, loss.summary.value[0].simple_value) == ("loss", 0.5)
        assert samples.summary.value[0].image.encoded_image_string.startswith(b"\x89PNG")
        file.rename(folder / f"{number}.{file.name}")
    assert begins == [[], [6], [1]]


def test_weights_and_biases_is_told_and_knows_the_run_again(packages: Path, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    folder.mkdir()
    for start in (0, 4):
        tracker = TRACKERS["wandb"](Tracked(folder, start, {"seed": 3}), project="scores")
        tracker.write(start + 1, {"loss": 0.5})
        tracker.picture(start + 1, Path("grid.png"))
        tracker.close()
    first, *_, last = (line for line in told(packages) if line[0] == "init")
    assert first == last and first[1]["id"] and first[1]["config"] == {"seed": 3}
    assert (first[1]["project"], first[1]["name"], first[1]["dir"]) == ("scores", "digits", str(folder))
    logged = [line[1:] for line in told(packages) if line[0] == "log"]
    assert logged == [[v, s] for s in (1, 5) for v in ({"loss": 0.5}, {"samples": "grid.png"})]
    assert [line[0] for line in told(packages)].count("finish") == 2


def test_mlflow_is_told_and_knows_the_run_again(packages: Path, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "trackers.json").write_text("{damaged")
    config = {"seed": 3, "model": {f"option_{i}": (i, "x" * 600) for i in range(120)}}
    for start in (0, 4):
        tracker = TRACKERS["mlflow"](Tracked(folder, start, config), uri="somewhere")
        tracker.write(start + 1, {"loss": 0.5})
        tracker.picture(start + 1, Path("grid.png"))
        tracker.close()
    lines = told(packages)
    assert [line for line in lines if line[0] == "run"] == [["run", "e7", "digits"]]
    params = [line[3] for line in lines if line[0] == "batch" and line[3]]
    assert [len(each) for each in params] == [100, 21]
    found = dict(map(tuple, (pair for each in params for pair in each)))
    assert (
        found["seed"] == "3" and found["model.option_7"].startswith('[7, "xx') and len(found["model.option_7"]) == 500
    )
    metrics = [line[1:3] for line in lines if line[0] == "batch" and line[2]]
    assert metrics == [["r1", [["loss", 0.5, step]]] for step in (1, 5)]
    assert [line[0] for line in lines].count("end") == 2


@pytest.mark.slow
def test_weights_and_biases_itself_takes_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is installed: without a network, into a folder of its own within the run's."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracker = TRACKERS["wandb"](Tracked(tmp_path, 0, {"seed": 3}))
    tracker.write(1, {"loss": 0.5})
    tracker.picture(1, picture(tmp_path))
    tracker.close()
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert list(folder.glob("*.wandb")) and list(folder.rglob("samples_*.png"))


@pytest.mark.slow
def test_mlflow_itself_takes_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is installed: into a folder, from which it is read again."""
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = tmp_path / "digits"
    folder.mkdir()
    for start in (0, 1):
        run = Tracked(folder, start, {"seed": 3, "model": {"ch_mult": (1, 2)}})
        tracker = TRACKERS["mlflow"](run, uri=str(tmp_path / "runs"))
        tracker.write(start + 1, {"loss": 0.5 + start})
        tracker.picture(start + 1, picture(tmp_path))
        tracker.close()
    client = tracking.MlflowClient(tracking_uri=str(tmp_path / "runs"))
    (found,) = client.search_runs([client.get_experiment_by_name("jax-score-sde").experiment_id])
    assert found.info.status == "FINISHED" and found.info.run_name == "digits"
    assert found.data.params == {"seed": "3", "model.ch_mult": "[1, 2]"}
    assert [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, "loss")] == [(1, 0.5), (2, 1.5)]
    assert [each.path for each in client.list_artifacts(found.info.run_id, "samples")] == ["samples/grid.png"]


class Failing(Tracker):
    """It raises where it is told to."""

    def __init__(self, run: Tracked, at: Annotated[str, Text()] = "", *, calls: list[str]):
        self._at, self._calls = at, calls
        self._do("make")

    def _do(self, what: str) -> None:
        self._calls.append(what)
        if what == self._at:
            raise RuntimeError(f"no {what}\nfor you")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._do("write")

    def picture(self, step: int, path: Path) -> None:
        self._do("picture")

    def close(self) -> None:
        self._do("close")


@pytest.mark.parametrize("at", ["make", "write", "picture", "close"])
def test_one_that_raises_is_dropped_with_one_line(at: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run, failing, sound = Tracked(tmp_path, 0, {}), list[str](), list[str]()
    with caplog.at_level(logging.WARNING):
        both = Trackers({"bad": lambda: Failing(run, at, calls=failing), "good": lambda: Failing(run, calls=sound)})
        for step in (1, 2):
            both.write(step, {"loss": 1.0})
            both.picture(step, tmp_path / "grid.png")
        both.close()
    assert sound == ["make", *2 * ["write", "picture"], "close"]
    assert failing == sound[: sound.index(at) + 1]
    (record,) = caplog.records
    assert record.getMessage() == (
        f"the tracker 'bad' is left out from here on, and the training goes on: RuntimeError: no {at} for you"
    )


@pytest.mark.parametrize(
    ("name", "package", "pip"), [("wandb", "wandb", "wandb"), ("mlflow", "mlflow", "mlflow-skinny")]
)
def test_one_whose_package_is_not_installed_is_left_out(
    name: str, package: str, pip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With one line that says how to install it, and the others work; a folder of the package's name is no package."""
    for each in [each for each in sys.modules if each.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, each)
    (tmp_path / "packages" / package).mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "packages")])
    config = small(trackers=(name, "jsonl"))
    config.training.tracker_options = {name: {}}
    trackers.check(config)
    with caplog.at_level(logging.WARNING):
        told = trackers.create(config, tmp_path, 0)
        told.write(1, {"loss": 0.5})
        told.close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "loss": 0.5}\n'
    (record,) = caplog.records
    assert record.getMessage() == (
        f"the tracker {name!r} is left out from here on, and the training goes on: ModuleNotFoundError: its package "
        f"{package} is not installed; pip install {pip}"
    )


def small(**fields: Any) -> ConfigDict:
    """A training of two steps of a small perceptron."""
    config = toy_mixture8_mlp.get_config()
    config.model.update(width=8, depth=1)
    config.training.update(batch_size=8, n_iters=2, eval_freq=0, log_freq=1, snapshot_freq=2, snapshot_sampling=False)
    config.training.update(snapshot_freq_for_preemption=1)
    config.training.update(fields)
    return config


@pytest.mark.slow
def test_a_training_goes_on_without_a_tracker_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And its trackers and their options may change from one start to the next."""
    calls: list[str] = []

    class Mute(Failing):
        def __init__(self, run: Tracked, at: Annotated[str, Text()] = ""):
            super().__init__(run, at, calls=calls)

    monkeypatch.setitem(TRACKERS, "mlflow", Mute)
    with caplog.at_level(logging.WARNING):
        config = small(trackers=("mlflow", "jsonl"))
        config.training.tracker_options = {"mlflow": {"at": "write"}}
        main.run("train", config, str(tmp_path / "run"))
    assert calls == ["make", "write"] and sum("'mlflow' is left out" in r.getMessage() for r in caplog.records) == 1
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    assert not (tmp_path / "run" / "tensorboard").exists()
    main.run("train", small(trackers=("jsonl", "tensorboard"), n_iters=4), str(tmp_path / "run"))
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 4
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"trackers": ("jsonl", "tensorbord")}, ["training.trackers is ('jsonl', 'tensorbord')", "known are jsonl, "]),
        ({"trackers": ("jsonl", "jsonl")}, ["training.trackers", "each given once"]),
        ({"tracker_options": {"wandb": {}}}, ["tracker_options has 'wandb'", "training.trackers are jsonl, tensorb"]),
        ({"tracker_options": {"wandbb": {}}}, ["tracker in training.tracker_options 'wandbb' (did you mean 'wandb'?)"]),
        ({"trackers": ("wandb",), "tracker_options": {"wandb": {"projekt": "x"}}}, ["'projekt' of 'wandb'", "project"]),
        ({"trackers": ("wandb",), "tracker_options": {"wandb": {"project": 3}}}, ["of wandb: project is 3", "a text"]),
        ({"tracker_options": {"jsonl": {"file": "x"}}}, ["'file' of 'jsonl'; known are none"]),
    ],
)
def test_what_cannot_be_told_is_refused(
    fields: dict[str, Any], named: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, before anything compiles or is written, whether the tracker's package is installed or not."""
    monkeypatch.setattr(trackers, "_is_installed", lambda package: False)
    config = small()
    config.training.update({name: value for name, value in fields.items() if name == "trackers"})
    config.training.tracker_options = fields.get("tracker_options", {})
    with pytest.raises(Refusal) as refusal:
        main.run("train", config, str(tmp_path / "run"))
    assert "\n" not in str(refusal.value)
    for part in named:
        assert part in str(refusal.value)
    assert not (tmp_path / "run").exists()


def test_the_names_of_the_config_are_those_of_the_table() -> None:
    assert tuple(TRACKERS) == NAMES
