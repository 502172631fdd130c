"""Two commands in one working folder: who writes the same is refused and told who is at work; who reads is not."""

import errno
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ml_collections import ConfigDict

import main
from configs.vp import toy_mixture8_mlp
from experiment import Refusal, lock
from tests.experiment.command import contents
from training import loop

HOLD = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"


def _config() -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    config.training.batch_size, config.model.width, config.model.depth = 8, 4, 1
    return config


def test_a_second_training_is_refused_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second comes while the first trains; the first goes on, and leaves no lock behind."""
    folder, lines = tmp_path / "run", []

    def training(_: Any, workdir: Any, *__: Any) -> int:
        if lines:
            pytest.fail("two trainings in one folder")
        workdir.begin(_config())
        before = contents(folder)
        lines.append("")
        with pytest.raises(Refusal) as refusal:
            main.run("train", _config(), str(folder))
        lines.append(str(refusal.value))
        assert contents(folder) == before
        return 0

    monkeypatch.setattr(loop, "train", training)
    main.run("train", _config(), str(folder))
    assert f"{folder}: --mode=train, process {os.getpid()} on {socket.gethostname()} since 20" in lines[1]
    assert "another --workdir" in lines[1] and "\n" not in lines[1]
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def _line(mode: str, folder: Path) -> str:
    """What a mode is refused with in a folder without a run."""
    with pytest.raises(Refusal) as refusal:
        main.run(mode, _config(), str(folder), str(folder / "none.pth"))
    return str(refusal.value)


@pytest.mark.parametrize(
    ("part", "excluded", "free"),
    [
        ("training", ["train", "import"], ["evaluate", "compare", "reproduce", "sample", "edit", "export"]),
        ("evaluation", ["evaluate", "compare", "reproduce", "stats"], ["import", "sample", "edit", "export"]),
    ],
)
def test_writers_of_the_same_exclude_each_other_and_nobody_else(
    part: str, excluded: list[str], free: list[str], tmp_path: Path
) -> None:
    with lock.held(tmp_path, part, "x"):
        for mode in excluded:
            assert "is writing there" in _line(mode, tmp_path), mode
        for mode in free:
            assert "is writing there" not in _line(mode, tmp_path), mode
    for mode in set(excluded) - {"train"}:
        assert "is writing there" not in _line(mode, tmp_path), mode
    assert not list(tmp_path.iterdir())


def test_a_refused_command_leaves_no_folder(tmp_path: Path) -> None:
    config = _config()
    config.training.batch_size = 0
    with pytest.raises(Refusal, match="batch_size"):
        main.run("train", config, str(tmp_path / "a" / "b" / "run"))
    assert not list(tmp_path.iterdir())


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    """Another process holds the system's lock; after its kill the folder is free at once, though the file remains."""
    file = tmp_path / ".training.lock"
    file.write_text(json.dumps(_holder(pid=0)))
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "\n"
    with pytest.raises(ValueError, match=r"--mode=train, process 0 on .* since yesterday, is writing there"):
        _take(tmp_path)
    process.kill()
    process.communicate()
    _take(tmp_path)
    assert not file.exists()


def _holder(**changed: Any) -> dict[str, Any]:
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "began": lock._began(os.getpid()), "mode": "train"}
    return holder | {"since": "yesterday"} | changed


def _take(folder: Path) -> None:
    with lock.held(folder, "training", "train"):
        pass


def _gone() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def _none(*_: Any) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.parametrize(
    ("changed", "at_work"),
    [
        (dict, True),
        (lambda: {"pid": _gone()}, False),
        (lambda: {"began": "1"}, False),  # another process has the number now
        (lambda: {"host": "elsewhere"}, False),  # its date stands still
    ],
    ids=["at work", "ended", "number used again", "of another machine"],
)
def test_where_the_system_has_no_locks_the_file_decides(
    changed: Callable[[], dict], at_work: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock.fcntl, "flock", _none)
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.0)
    (tmp_path / ".training.lock").write_text(json.dumps(_holder(**changed())))
    if at_work:
        with pytest.raises(ValueError, match="since yesterday, is writing there"):
            _take(tmp_path)
    else:
        _take(tmp_path)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("locks", [True, False], ids=["locks of this machine alone", "no locks"])
def test_another_machine_at_work_renews_the_date(locks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not locks:
        monkeypatch.setattr(lock.fcntl, "flock", _none)
    file, ended = tmp_path / ".training.lock", threading.Event()
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)
    file.write_text(json.dumps(_holder(host="elsewhere")))
    with file.open() as opened:
        other = threading.Thread(target=lock._beat, args=(opened.fileno(), ended))
        other.start()
        with pytest.raises(ValueError, match="on elsewhere since yesterday, is writing there"):
            _take(tmp_path)
        ended.set()
        other.join()


def test_of_two_that_come_at_once_without_locks_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock.fcntl, "flock", _none)
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.0)
    write = lock._write

    def both(descriptor: int, own: dict) -> None:
        write(descriptor, own)
        write(descriptor, _holder(pid=1))

    monkeypatch.setattr(lock, "_write", both)
    with pytest.raises(ValueError, match=r"process 1 on .* since yesterday, is writing there"):
        _take(tmp_path)


def test_a_half_written_lock_holds_nobody(tmp_path: Path) -> None:
    (tmp_path / ".training.lock").write_text('{"host": "els')
    _take(tmp_path)
    assert not list(tmp_path.iterdir())
