"""An evaluation killed at random rounds, or shared by two processes, ends with the report of an undisturbed one."""

import json
import random
import shutil
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest

import main
from configs.vp import toy_mixture8_mlp
from tests.experiment.command import run, start

FIELDS = {
    "model.width": 8,
    "model.depth": 1,
    "training.batch_size": 16,
    "training.n_iters": 2,
    "training.eval_freq": 0,
    "training.log_freq": 1,
    "training.snapshot_freq": 1,
    "training.snapshot_freq_for_preemption": 1,
    "training.snapshot_sampling": False,
    "sampling.steps": 30,
    "sampling.flow_steps": 10,
    "eval.end_step": 2,
    "eval.batch_size": 16,
    "eval.seeds": 2,
    "eval.num_samples": 300,
    "eval.samplers": ("flow_heun", "euler_maruyama"),
    "eval.bpd_max_examples": 100,
    "eval.bpd_repeats": 2,
    "eval.rtol": 1e-2,
    "eval.atol": 1e-2,
}
ROUNDS = 2 * (2 * 7 + 2 * 2 * 19)  # of two checkpoints: two repeats of bits/dim, two seeds of two samplers


def _evaluate(folder: Path) -> tuple[str, ...]:
    fields = (f"--config.{name}={value}" for name, value in FIELDS.items())
    return ("--mode=evaluate", "--config=configs/vp/toy_mixture8_mlp.py", *fields, f"--workdir={folder}")


def _reports(folder: Path) -> dict[str, str]:
    assert not list(folder.rglob("report.1.*"))
    paths = [*folder.rglob("report.*"), folder / "evaluation" / "checkpoints.md"]
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


pytestmark = pytest.mark.slow  # a killed training, and rounds of a killed evaluation, are tested every day


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = toy_mixture8_mlp.get_config()
    config.update_from_flattened_dict(FIELDS)
    folder = tmp_path_factory.mktemp("killed") / "run"
    main.run("train", config, str(folder))
    return folder


@pytest.fixture(scope="module")
def undisturbed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """The reports of an evaluation left alone, and the cache of its programs."""
    folder, cache = shutil.copytree(trained, trained.parent / "undisturbed"), tmp_path_factory.mktemp("cache")
    code, out, err = run(*_evaluate(folder), cache=cache)
    assert code == 0 and "bits/dim" in out, err
    assert len(list(folder.rglob("round_*.npz"))) == ROUNDS
    reports = _reports(folder)
    assert {"report.json", "evaluation/step_00000001/report.md", "evaluation/checkpoints.md"} < reports.keys()
    report = json.loads(reports["report.json"])
    assert report["bits_per_dim"]["unit"] == "bits/dim (differential)" and report["bits_per_dim"]["levels"] is None
    with np.load(folder / "evaluation" / "step_00000002" / "flow_heun_seed_0" / "round_00000.npz") as drawn:
        assert drawn["samples"].shape == (16, 2)
    assert report["seeds"] == 2 and len(report["samplers"]["flow_heun"]["frechet_distances"]) == 2
    return reports, cache


def test_a_killed_evaluation_ends_with_the_same_report(trained: Path, undisturbed: tuple[dict, Path]) -> None:
    reports, cache = undisturbed
    folder = shutil.copytree(trained, trained.parent / "killed")
    draw, done, kills = random.Random(3), 0, 0
    while True:
        process = start(*_evaluate(folder), cache=cache)
        target = done + draw.randrange(2, ROUNDS // 2)
        while process.poll() is None and (done := len(list(folder.rglob("round_*.npz")))) < target:
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, err = process.communicate(timeout=300)
        if process.returncode != -signal.SIGKILL:
            break
    assert process.returncode == 0, err
    assert kills >= 2, "it was killed in the middle, more than once"
    assert _reports(folder) == reports


@pytest.mark.slow
def test_two_processes_share_an_evaluation(trained: Path, undisturbed: tuple[dict, Path]) -> None:
    reports, cache = undisturbed
    folder = shutil.copytree(trained, trained.parent / "two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"--coordinator=127.0.0.1:{free.getsockname()[1]}"
    processes = [start(*_evaluate(folder), address, "--processes=2", f"--process={i}", cache=cache) for i in (0, 1)]
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    for name, text in _reports(folder).items():
        if name.endswith(".json"):
            one, two = json.loads(reports[name]), json.loads(text)
            assert two.pop("environment")["processes"] == 2 and one.pop("environment")["processes"] == 1
            assert one == two
    assert _reports(folder)["evaluation/checkpoints.md"] == reports["evaluation/checkpoints.md"]
