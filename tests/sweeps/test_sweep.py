"""A sweep does each point once, goes on where it was killed, tells what failed, and takes no folder of another."""

import errno
import itertools
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest
from ml_collections import ConfigDict
from PIL import Image

import interruption
import main
import sweeps
from checkpoints.store import CheckpointNotSaved
from configs.vp import toy_mixture8_mlp
from experiment import Failure, Refusal
from experiment.lock import Held, held
from experiment.workdir import Workdir
from sweeps import numbers, table
from sweeps.table import Result, best, markdown, picture
from tests.experiment.command import contents, run, start

VALUES = ("optim.lr=1e-3,3e-3", "model.width=8,16")


def small(*values: str, **fields: Any) -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    config.model.update(width=8, depth=1)
    config.training.update(batch_size=8, n_iters=4, eval_freq=2, log_freq=1, snapshot_freq=4, snapshot_sampling=False)
    config.training.snapshot_freq_for_preemption = 1
    config.optim.decay_steps = 0
    config.sampling.update(method="heun", evaluations=3)
    config.eval.update(samplers=("heun",), num_samples=40, batch_size=40, bpd_max_examples=4, rtol=0.1, atol=0.1)
    config.sweep.axes = values or VALUES
    config.update_from_flattened_dict(fields)
    return config


class Standing:
    """What stands for training and evaluation: it writes their files, and may be told to act at its n-th call."""

    def __init__(self, **at: Callable[[], None]):
        self.done: list[tuple[str, str]] = []
        self._at = {int(name[1:]): act for name, act in at.items()}

    def check(self, config: ConfigDict, folder: Path) -> None:
        assert not folder.exists()

    def perform(self, mode: str, config: ConfigDict, folder: Path) -> None:
        self.done.append((mode, folder.name))
        self._at.get(len(self.done), lambda: None)()
        folder.mkdir(exist_ok=True)
        if mode == "train":
            (folder / "config.json").write_text("{}")
            lines = ({"step": step, "loss": config.optim.lr * config.model.width / step} for step in (1, 2))
            (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        else:
            part = {"mean": 2.0 * config.optim.lr, "standard_error": 0.25, "evaluations": {"mean": 9.0}}
            row = {"evaluations": {"mean": 3.0}, "frechet_distance": float(config.model.width)}
            report = {"bits_per_dim": part, "samplers": {"heun": row}, "checkpoint": {"step": 2}}
            (folder / "report.json").write_text(json.dumps(report))


def swept(folder: Path, config: ConfigDict, standing: Standing) -> Standing:
    sweeps.prepare(config, Workdir(folder), standing.check, standing.perform)()
    return standing


def results(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled programs of other tests stay, and plots are drawn in one test alone."""
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    monkeypatch.setattr(table, "picture", lambda path, results: path.write_bytes(b"plot"))


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    swept(tmp_path / "sweep", small(), Standing())
    return tmp_path / "sweep"


def test_every_point_is_trained_and_evaluated_and_is_in_the_table(finished: Path) -> None:
    found = results(finished)
    names = ["0_lr=1e-3_width=8", "1_lr=1e-3_width=16", "2_lr=3e-3_width=8", "3_lr=3e-3_width=16"]
    assert [each["run"] for each in found] == names
    assert {path.name for path in finished.iterdir() if path.is_dir()} == set(names)
    last = found[3]
    assert last["values"] == {"optim.lr": "3e-3", "model.width": "16"} and last["state"] == "finished"
    assert last["numbers"]["bits_per_dim"] == {"value": 6e-3, "error": 0.25}
    assert last["numbers"]["loss"] == {"value": pytest.approx(0.024), "error": None}
    assert last["numbers"]["Frechet distance heun"]["value"] == 16.0
    text = (finished / "results.md").read_text()
    assert "4 of 4 runs finished" in text and "0.0060 +- 0.2500" in text
    assert text.count("**8**") == 2 and text.count("**0.0020 +- 0.2500**") == 2


def test_the_plot_is_drawn_along_numbers_and_names(tmp_path: Path) -> None:
    """Also where a point has no numbers, and of axes that are no numbers."""
    for values in (VALUES, ("model.name=a,b", "seed=1")):
        axes = [axis.split("=") for axis in values]
        combinations = itertools.product(*([(name, text) for text in texts.split(",")] for name, texts in axes))
        chosen = [sweeps.points.Point(i, dict(each), f"{i}", small()) for i, each in enumerate(combinations)]
        rows = [Result(point, {"loss": (1.0, 0.1), "bits": (2.0, None)}, "finished") for point in chosen]
        rows[-1] = Result(chosen[-1], None, "failed")
        picture(tmp_path / "plot.png", rows)
        with Image.open(tmp_path / "plot.png") as image:
            assert image.size[0] > image.size[1] > 300


def test_what_is_finished_is_not_done_again(finished: Path) -> None:
    before = contents(finished)
    assert swept(finished, small(), Standing()).done == []
    after = contents(finished)
    assert {name: part[0] for name, part in before.items()} == {name: part[0] for name, part in after.items()}


INGREDIENTS: dict[str, Callable[[Path], object]] = {
    "no numbers": lambda point: (point / "numbers.json").unlink(),
    "cut": lambda point: (point / "numbers.json").write_text((point / "numbers.json").read_text()[:-20]),
    "another config": lambda point: _change(point, lambda found: found["about"].update(config="0" * 64)),
    "other modes": lambda point: _change(point, lambda found: found["about"].update(modes=["train"])),
    "no number": lambda point: _change(point, lambda found: found["numbers"].update(loss=["x", None])),
}


def _change(point: Path, change: Callable[[dict], object]) -> None:
    found = json.loads((point / "numbers.json").read_text())
    change(found)
    (point / "numbers.json").write_text(json.dumps(found))


@pytest.mark.parametrize("ingredient", INGREDIENTS)
def test_numbers_of_something_else_do_not_count(ingredient: str, finished: Path) -> None:
    point = finished / results(finished)[2]["run"]
    INGREDIENTS[ingredient](point)
    assert swept(finished, small(), Standing()).done == [("train", point.name), ("evaluate", point.name)]
    assert results(finished)[2]["state"] == "finished"


def test_numbers_are_kept_for_the_same_config_and_modes_alone(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n')
    found = numbers.keep(tmp_path, small(), ("train",))
    assert found == numbers.kept(tmp_path, small(), ("train",)) == {"loss": (0.5, None)}
    assert numbers.kept(tmp_path, small(), ("train", "evaluate")) is None
    assert numbers.kept(tmp_path, small(**{"eval.seed": 1}), ("train",)) is None
    assert numbers.kept(tmp_path / "none", small(), ("train",)) is None


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (small("optim.lr=1e-3,3e-3", "model.width=8,32"), ["sweep.axes", "8,16", "8,32"]),
        (small("optim.lr=1e-3,3e-3"), ["sweep.axes"]),
        (small(**{"sweep.modes": ("train",)}), ["sweep.modes", "['train', 'evaluate']", "['train']"]),
        (small(**{"training.batch_size": 16}), ["training.batch_size (saved 8, now 16)"]),
        (small(**{"eval.seed": 5}), ["eval.seed (saved 0, now 5)"]),
        (small(**{"seed": 5}), ["seed (saved 42, now 5)"]),
    ],
    ids=["values", "axes", "modes", "training", "eval", "seed"],
)
def test_a_folder_of_another_sweep_is_refused(config: ConfigDict, named: list[str], finished: Path) -> None:
    before, standing = contents(finished), Standing()
    with pytest.raises(ValueError, match="use another --workdir") as error:
        swept(finished, config, standing)
    assert "\n" not in str(error.value) and standing.done == [] and contents(finished) == before
    for part in named:
        assert part in str(error.value)


def test_a_folder_of_a_run_or_a_damaged_sweep_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds a run, and a sweep has a folder of its own"):
        swept(finished / results(finished)[0]["run"], small(), Standing())
    for text in ("", "[]", '{"axes": 3}'):
        (finished / "sweep.json").write_text(text)
        with pytest.raises(ValueError, match=r"sweep\.json (is empty|is damaged)"):
            swept(finished, small(), Standing())


def test_a_sweep_that_is_killed_goes_on(tmp_path: Path) -> None:
    """Killed in the evaluation of the second point: of that one the training is asked again, and has nothing to do."""

    def die() -> None:
        raise KeyboardInterrupt

    first = Standing(_4=die)
    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path / "sweep", small(), first)
    assert [each["state"] for each in results(tmp_path / "sweep")] == ["finished", *3 * ["not finished"]]
    second = swept(tmp_path / "sweep", small(), Standing())
    assert second.done[:2] == first.done[2:] and len(second.done) == 6
    assert [each["state"] for each in results(tmp_path / "sweep")] == 4 * ["finished"]


def test_a_training_that_a_signal_stopped_ends_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standing = Standing(_3=lambda: monkeypatch.setattr(interruption, "received", signal.SIGTERM))
    assert len(swept(tmp_path / "sweep", small(), standing).done) == 3
    assert results(tmp_path / "sweep")[1]["state"] == "not finished"


def test_points_that_fail_are_told_and_tried_again(tmp_path: Path) -> None:
    def diverge() -> None:
        raise Failure("loss not finite at step 3;\nlower optim.lr")

    def full() -> None:
        raise MemoryError("5 GB")

    with pytest.raises(Failure, match=r"2 of 4 points.* optim\.lr=1e-3, model\.width=8: failed: loss not f") as error:
        swept(tmp_path / "sweep", small(), Standing(_1=diverge, _2=full))
    assert "\n" not in str(error.value)
    states = [each["state"] for each in results(tmp_path / "sweep")]
    assert states == ["failed: loss not finite at step 3; lower optim.lr", "failed: out of memory", *2 * ["finished"]]
    again = swept(tmp_path / "sweep", small(), Standing()).done
    assert [name for _, name in again] == [each["run"] for each in results(tmp_path / "sweep")[:2] for _ in range(2)]


def test_a_point_that_cannot_be_written_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")

    def unsaved() -> None:
        raise CheckpointNotSaved("the checkpoint of step 4 is not saved")

    with pytest.raises(Failure, match="2 of 4 points"):
        swept(tmp_path / "sweep", small(), Standing(_1=full, _2=unsaved))
    states = [each["state"] for each in results(tmp_path / "sweep")]
    assert states[0] == "failed: [Errno 28] No space left on device: 'metrics.jsonl'"
    assert states[1:] == ["failed: the checkpoint of step 4 is not saved", *2 * ["finished"]]


def test_a_point_at_which_another_command_works_is_passed_over(tmp_path: Path) -> None:
    def taken() -> None:
        raise Held("another command is writing there")

    standing = swept(tmp_path / "sweep", small(), Standing(_1=taken))
    assert len(standing.done) == 7
    assert [each["state"] for each in results(tmp_path / "sweep")] == ["not finished", *3 * ["finished"]]
    one = tmp_path / "one"
    with held(one, "training", "train", create=True), pytest.raises(Held), held(one, "training", "train"):
        pytest.fail("it was locked twice")


def test_a_point_that_cannot_be_trained_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    """By what each mode checks itself; nothing is written."""
    for values, named in (
        (("training.batch_size=8,7",), ["the point training.batch_size=7 of the sweep: training.batch_size is 7"]),
        (("optim.lr=1e-3,-1.0",), ["optim.lr=-1.0", "it must be a number above 0"]),
        (("sampling.method=heun,huen",), ["'huen'", "heun"]),
    ):
        with pytest.raises(Refusal) as refusal:
            main.run("sweep", small(*values), str(tmp_path / "sweep"))
        assert "\n" not in str(refusal.value) and not (tmp_path / "sweep").exists()
        for part in named:
            assert part in str(refusal.value)
    with pytest.raises(Refusal, match="of which --mode=sweep makes runs"):
        main.run("train", small(), str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("modes", "named"),
    [
        (("train", "smaple"), ["sweep.modes is ('train', 'smaple')", "known are train, evaluate"]),
        ((), ["sweep.modes is ()", "at least 1"]),
        (("train", "train"), ["sweep.modes is ('train', 'train')", "each given once"]),
        (
            ("evaluate",),
            ["sweep.modes is ('evaluate',)", "optim.lr=1e-3, model.width=8 has no run yet", "with 'train'"],
        ),
        (("evaluate", "train"), ["has no run yet"]),
    ],
)
def test_modes_are_refused_before_the_first_point(modes: tuple[str, ...], named: list[str], tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refusal:
        main.run("sweep", small(**{"sweep.modes": modes}), str(tmp_path / "sweep"))
    assert "\n" not in str(refusal.value) and not (tmp_path / "sweep").exists()
    for part in named:
        assert part in str(refusal.value)


def test_points_that_were_trained_before_may_be_evaluated_alone(tmp_path: Path) -> None:
    config = small("optim.lr=1e-3,3e-3", **{"sweep.modes": ("evaluate",)})
    for name in ("0_lr=1e-3", "1_lr=3e-3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    standing = swept(tmp_path, config, Standing())
    assert standing.done == [("evaluate", "0_lr=1e-3"), ("evaluate", "1_lr=3e-3")]


def test_best_is_lowest_or_of_an_accuracy_highest(finished: Path) -> None:
    config = small()
    points = [sweeps.points.Point(i, {"seed": str(i)}, f"{i}", config) for i in range(3)]
    found = [{"loss": (1.0 + i, None), "accuracy": (0.5 + 0.1 * i, None)} for i in range(2)]
    rows = [Result(point, each, "finished") for point, each in zip(points, found, strict=False)]
    rows.append(Result(points[2], None, "failed: a | b"))
    assert best(rows, "loss") == 1.0 and best(rows, "accuracy") == 0.6
    text = markdown(Path("runs/s"), rows)
    for row in ("| 0 | **1** | 0.5 | 0 |", "| 1 | 2 | **0.6** | 1 |", "| 2 |  |  | 2: failed: a / b |"):
        assert row in text


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_without_a_config(tmp_path: Path) -> None:
    """Killed while it trains its second point; what goes on ends with the numbers of one that was not killed."""
    folder, whole = tmp_path / "sweep", tmp_path / "whole"
    fields = {"model": "width=8 depth=1", "optim": "decay_steps=0", "sweep": "axes=optim.lr=1e-3,3e-3"}
    fields["training"] = "batch_size=8 n_iters=300 eval_freq=0 log_freq=1 snapshot_freq=300 snapshot_sampling=False"
    fields["eval"] = "rtol=0.1 atol=0.1 enable_sampling=False bpd_max_examples=4"
    few = [f"--config.{section}.{each}" for section, given in fields.items() for each in given.split()]
    few.append("--config.training.snapshot_freq_for_preemption=50")
    given = ("--mode=sweep", "--config=configs/vp/toy_mixture8_mlp.py", *few)
    process = start(*given, f"--workdir={folder}", cache=tmp_path / "cache")
    second = folder / "1_lr=3e-3" / "metrics.jsonl"
    while process.poll() is None and not (second.exists() and len(second.read_text().splitlines()) > 60):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert (folder / "0_lr=1e-3" / "numbers.json").exists() and not (folder / "1_lr=3e-3" / "numbers.json").exists()
    code, out, err = run("--mode=sweep", f"--workdir={folder}", cache=tmp_path / "cache")
    assert code == 0 and "2 of 2 runs finished" in out, err
    code, _, err = run(*given, f"--workdir={whole}", cache=tmp_path / "cache")
    assert code == 0, err
    assert [e["numbers"] for e in results(folder)] == [e["numbers"] for e in results(whole)]
    code, _, err = run("--mode=sweep", f"--workdir={folder}", "--config.sweep.axes=optim.lr=1e-3,1e-2")
    assert code == 2 and "sweep.axes" in err and err.startswith("error: ")
