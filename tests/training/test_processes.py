"""Two processes on one machine train like one, by pmap and by fsdp; how they meet."""

import json
import socket
from pathlib import Path

import jax
import numpy as np
import pytest

from checkpoints.store import Store
from experiment.processes import join
from tests.experiment.command import run, start

ARGUMENTS = (
    "--mode=train",
    "--config=configs/vp/toy_mixture8_mlp.py",
    "--config.model.width=128",  # of whose kernels fsdp cuts two
    "--config.model.depth=1",
    "--config.training.batch_size=16",
    "--config.training.n_iters=6",
    "--config.training.snapshot_freq=6",
    "--config.training.snapshot_freq_for_preemption=3",
    "--config.training.log_freq=1",
    "--config.training.eval_freq=3",
    "--config.sampling.steps=3",
    "--config.optim.lr=0.01",
    "--config.optim.warmup=1",
)
FSDP = "--config.training.parallelism=fsdp"


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process with one device leaves."""
    folder = tmp_path_factory.mktemp("one")
    code, _, err = run(*ARGUMENTS, f"--workdir={folder}")
    assert code == 0, err
    return folder


def _same(one: Path, other: Path, steps: list[int]) -> None:
    """Losses of every step and test losses; parameters and average at the end; a picture."""
    trees, numbers = [], []
    for folder in (one, other):
        with Store(folder / "checkpoints", read_only=True) as store:
            assert store.steps() == steps
            trees.append(store.restore()[1])
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        numbers.append([[line[name] for line in lines if name in line] for name in ("loss", "test_loss")])
        assert [path.name for path in (folder / "samples").iterdir()] == ["step_00000006.png"]
    assert list(map(len, numbers[0])) == [6, 2]  # process 0 alone writes it
    for a, b in zip(*numbers, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5)
    for part in ("params", "ema"):
        a, b = (np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree[part])]) for tree in trees)
        assert np.linalg.norm(a - b) < 1e-5 * np.linalg.norm(a)
    assert max(np.abs(v).max() for k, v in trees[0]["params"].items() if k.endswith("bias")) == pytest.approx(
        0.03, abs=0.03
    )  # biases start at 0: it did move


def _run_two(*arguments: str) -> None:
    """A run of two processes, two devices each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"--coordinator=127.0.0.1:{free.getsockname()[1]}"
    processes = [start(*arguments, address, "--processes=2", f"--process={i}", devices=2) for i in (0, 1)]
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), (FSDP,)], ids=["pmap", "fsdp"])
def test_two_processes_give_the_parameters_of_one(one: Path, options: tuple, tmp_path: Path) -> None:
    _run_two(*ARGUMENTS, *options, f"--workdir={tmp_path}")
    _same(one, tmp_path, [3, 6])


@pytest.mark.slow
def test_two_processes_draw_the_pairs_of_one(one: Path, tmp_path: Path) -> None:
    """Pairs of the flow of a run, which the last batch does not fill, and the training on them."""
    of_pairs = (
        "--config.training.loss=flow_matching",
        "--config.training.coupling=reflow",
        f"--config.training.teacher={one}",
        "--config.training.reflow_pairs=90",
        "--config.training.reflow_evaluations=5",
    )
    alone, together = tmp_path / "alone", tmp_path / "together"
    code, _, err = run(*ARGUMENTS, *of_pairs, f"--workdir={alone}")
    assert code == 0, err
    _run_two(*ARGUMENTS, *of_pairs, f"--workdir={together}")
    drawn = sorted(file.name for file in (alone / "reflow").iterdir())
    assert drawn == sorted(file.name for file in (together / "reflow").iterdir()) and len(drawn) == 3
    for name in (name for name in drawn if name.endswith(".npy")):  # six steps of training end at hundreds
        a, b = (np.load(folder / "reflow" / name) for folder in (together, alone))
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())
    _same(alone, together, [3, 6])


@pytest.mark.slow
@pytest.mark.parametrize("then", [(1, FSDP), (4, FSDP), (4, "--config.training.parallelism=pmap")])
def test_a_run_goes_on_on_another_number_of_devices(one: Path, then: tuple, tmp_path: Path) -> None:
    """Begun by fsdp on eight, in processes that know nothing of each other but the folder."""
    for devices, option, last in ((8, FSDP, 3), (*then, 6)):
        arguments = [argument for argument in ARGUMENTS if "n_iters" not in argument]
        last_step = f"--config.training.n_iters={last}"
        code, _, err = run(*arguments, option, last_step, f"--workdir={tmp_path}", devices=devices)
        assert code == 0, err
    (tmp_path / "samples" / "step_00000003.png").unlink()  # the end of the first
    _same(one, tmp_path, [3, 6])


@pytest.mark.parametrize(
    ("coordinator", "processes", "process", "complaint"),
    [
        (None, 2, None, r"--processes with --coordinator missing: give --coordinator=HOST:PORT"),
        (None, 2, 0, r"--processes and --process with --coordinator missing"),
        ("auto", None, 1, r"--process with --coordinator auto: leave it out"),
        ("somewhere", 2, 0, r"--coordinator is 'somewhere'; needed is HOST:PORT"),
        ("somewhere:", 2, 0, r"needed is HOST:PORT"),
        ("somewhere:1234", None, 0, r"--processes=None --process=0; needed are both"),
        ("somewhere:1234", 2, 2, r"--processes=2 --process=2.*0 <= process < processes"),
    ],
)
def test_flags_that_do_not_belong_together_are_refused(
    coordinator: str | None, processes: int | None, process: int | None, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        join(coordinator, processes, process)


def test_auto_where_nothing_tells_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def initialize(*arguments: object, **_: object) -> None:
        assert not arguments
        raise ValueError("coordinator_address should be defined.")  # as JAX does there

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(ValueError, match=r"--coordinator=auto found no SLURM.*srun"):
        join("auto", None, None)


def test_a_port_that_is_taken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def initialize(*_: object, **__: object) -> None:
        raise jax.errors.JaxRuntimeError("UNKNOWN: Failed to start RPC server")  # as with a port that is taken

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(ValueError, match=r"somewhere:1234: process 0 of 2 cannot join.*free port.*RPC server"):
        join("somewhere:1234", 2, 0)


def test_flags_reach_jax_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *arguments, **_: calls.append(arguments))
    join(None, None, None)
    join("auto", None, None)
    join("somewhere:1234", 4, 3)
    assert calls == [(), ("somewhere:1234", 4, 3)]
