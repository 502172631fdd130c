"""Compiled programs are kept beside the run: found again, swept of halves and of what is too much."""

import grp
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from experiment import compilation_cache
from tests.experiment.command import start

PROGRAM = zlib.compress(os.urandom(1000))
TOY = (
    "--config=configs/vp/toy_mixture8_mlp.py",
    "--config.model.width=8",
    "--config.training.n_iters=2",
    "--config.training.eval_freq=0",
    "--config.training.log_freq=1",
    "--config.training.snapshot_freq=2",
    "--config.training.snapshot_freq_for_preemption=2",
    "--config.training.snapshot_sampling=False",
)


@pytest.fixture
def settings() -> Iterator[None]:
    """JAX's own are put back."""
    names = ("jax_compilation_cache_dir", "jax_enable_compilation_cache", compilation_cache.MIN_SECONDS)
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def _write(folder: Path, name: str, data: bytes = PROGRAM, used: float | None = None) -> Path:
    file = folder / f"{name}-cache"
    file.write_bytes(data)
    if used is not None:
        os.utime(file, (used, used))
    return file


def test_half_written_programs_go(tmp_path: Path) -> None:
    whole = _write(tmp_path, "jit_whole")
    halves = [_write(tmp_path, f"jit_{n}", PROGRAM[:n]) for n in (0, 1, 500, len(PROGRAM) - 1)]
    torn = _write(tmp_path, "jit_torn", PROGRAM[:300] + b"\0" * 300 + PROGRAM[600:])
    other = _write(tmp_path, "jit_zstd", b"\x28\xb5\x2f\xfd" + bytes(9))  # not ours to judge
    compilation_cache.sweep(tmp_path, 2**20)
    assert whole.exists() and other.exists()
    assert not any(half.exists() for half in [*halves, torn])


def test_a_program_is_read_at_the_first_sweep_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    monkeypatch.setattr(compilation_cache, "_whole", lambda data: not read.append(data))
    _write(tmp_path, "jit_old", used=1e9)
    compilation_cache.sweep(tmp_path, 2**20)
    compilation_cache.sweep(tmp_path, 2**20)
    assert read == [PROGRAM]
    _write(tmp_path, "jit_new")
    compilation_cache.sweep(tmp_path, 2**20)
    assert read == [PROGRAM] * 2


def test_what_is_too_much_goes_the_longest_unused_first(tmp_path: Path) -> None:
    files = [_write(tmp_path, f"jit_{i}", used=1e9 + used) for i, used in enumerate((30, 10, 40, 20))]
    (tmp_path / "notes.txt").write_text("not a program")
    compilation_cache.sweep(tmp_path, 2 * len(PROGRAM) + 10)
    assert [file.exists() for file in files] == [True, False, True, False]
    assert (tmp_path / "notes.txt").exists()
    compilation_cache.sweep(tmp_path, 0)
    assert not any(file.exists() for file in files)


def test_the_folder_lies_beside_the_run(tmp_path: Path, settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(compilation_cache.MIN_SECONDS.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    compilation_cache.enable(Path("runs/one"))
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "runs" / ".jax_cache")
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0.0


def test_what_jax_was_told_stands(tmp_path: Path, settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, that nothing is kept, how long what is kept must have taken."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    compilation_cache.enable(tmp_path / "run")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.enable(tmp_path / "run")
    assert jax.config.jax_compilation_cache_dir is None and not list(tmp_path.iterdir())
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update(compilation_cache.MIN_SECONDS, 7.0)
    monkeypatch.setenv(compilation_cache.MIN_SECONDS.upper(), "7")
    compilation_cache.enable(tmp_path / "run")
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 7.0


def test_a_folder_that_cannot_be_is_done_without(tmp_path: Path, settings: None) -> None:
    (tmp_path / "file").write_text("")
    compilation_cache.enable(tmp_path / "file" / "run")
    assert jax.config.jax_compilation_cache_dir is None


def _not_kept(parent: Path, caplog: pytest.LogCaptureFixture) -> str:
    """The one line that says why no programs are kept beside a run in this folder."""
    caplog.clear()
    compilation_cache.enable(parent / "run")
    assert jax.config.jax_compilation_cache_dir is None
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("compiled programs are not kept: ") and "JAX_COMPILATION_CACHE_DIR" in line
    return line


def test_a_folder_that_others_may_write_to_is_not_used(
    tmp_path: Path, settings: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A program is native code: whoever may write it, or replace the folder, runs what they like as this user."""
    caplog.set_level("WARNING", logger="absl")
    parent = tmp_path / "runs"
    folder = parent / compilation_cache.FOLDER
    folder.mkdir(parents=True)
    half = _write(folder, "jit_half", PROGRAM[:100])
    for mode in (0o777, 0o1777, 0o757):
        folder.chmod(mode)
        assert f"{folder} may be written by others" in _not_kept(parent, caplog)
    folder.chmod(0o700)
    parent.chmod(0o757)
    assert f"{parent} may be written by others" in _not_kept(parent, caplog)
    assert half.exists()  # nothing there is touched
    parent.chmod(0o1757)  # as /tmp: what lies there is its owner's
    caplog.clear()
    compilation_cache.enable(parent / "run")
    assert jax.config.jax_compilation_cache_dir == str(folder) and not caplog.records and not half.exists()


def test_a_link_is_followed_to_what_it_names(tmp_path: Path, settings: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", logger="absl")
    open_to_all, parent = tmp_path / "open", tmp_path / "runs"
    (open_to_all / "theirs").mkdir(parents=True)
    open_to_all.chmod(0o777)
    parent.mkdir()
    (parent / compilation_cache.FOLDER).symlink_to(open_to_all / "theirs")
    assert f"{open_to_all} may be written by others" in _not_kept(parent, caplog)


def _belongs_to_another(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        found = real(path, **options)
        if path != theirs:
            return found
        fields = list(found)
        fields[4] = 54321  # st_uid
        return os.stat_result(fields, {"st_mtime_ns": found.st_mtime_ns})

    monkeypatch.setattr(Path, "stat", stat)


def test_programs_of_another_user_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder may have been open to all before it was made one's own."""
    ours, theirs = _write(tmp_path, "jit_ours"), _write(tmp_path, "jit_theirs")
    _belongs_to_another(theirs, monkeypatch)
    compilation_cache.sweep(tmp_path, 2**20)
    assert ours.exists() and not theirs.exists()


@pytest.mark.parametrize("whose", ["the folder", "its parent"])
def test_a_folder_of_another_user_is_not_used(
    tmp_path: Path, settings: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    caplog.set_level("WARNING", logger="absl")
    parent = tmp_path / "runs"
    folder = parent / compilation_cache.FOLDER
    folder.mkdir(parents=True, mode=0o700)
    theirs = folder if whose == "the folder" else parent
    _belongs_to_another(theirs, monkeypatch)
    assert f"{theirs} belongs to user 54321" in _not_kept(parent, caplog)


def test_a_users_own_group_may_write(
    tmp_path: Path, settings: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each user has a group of the same name, umask is 002 and every folder may be written by it."""
    caplog.set_level("WARNING", logger="absl")
    parent = tmp_path / "runs"
    parent.mkdir()
    parent.chmod(0o775)
    me = compilation_cache._user(os.geteuid())
    for group in ((me, "x", 1, []), (me, "x", 1, [me])):
        monkeypatch.setattr("grp.getgrgid", lambda _, group=group: grp.struct_group(group))
        compilation_cache.enable(parent / "run")
        assert jax.config.jax_compilation_cache_dir == str(parent / compilation_cache.FOLDER) and not caplog.records
        jax.config.update("jax_compilation_cache_dir", None)
    for group in (("staff", "x", 1, []), (me, "x", 1, ["somebody"])):
        monkeypatch.setattr("grp.getgrgid", lambda _, group=group: grp.struct_group(group))
        assert f"{parent} may be written by others" in _not_kept(parent, caplog)


def test_a_new_folder_is_its_makers_alone(tmp_path: Path, settings: None) -> None:
    before = os.umask(0)
    try:
        compilation_cache.enable(tmp_path / "run")
    finally:
        os.umask(before)
    assert (tmp_path / compilation_cache.FOLDER).stat().st_mode & 0o777 == 0o700


def test_a_folder_that_jax_was_told_is_used_with_a_warning(
    tmp_path: Path, settings: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", logger="absl")
    own = tmp_path / "own"
    for mode, said in ((0o700, 0), (0o777, 1)):
        own.mkdir(exist_ok=True)
        own.chmod(mode)
        jax.config.update("jax_compilation_cache_dir", str(own))
        compilation_cache.enable(tmp_path / "run")
        assert jax.config.jax_compilation_cache_dir == str(own)
        assert [f"{own} may be written by others" in record.getMessage() for record in caplog.records] == [True] * said
    caplog.clear()
    jax.config.update("jax_compilation_cache_dir", "gs://bucket/programs")  # whose rights are not on this machine
    compilation_cache.enable(tmp_path / "run")
    assert not caplog.records


@pytest.mark.slow
def test_a_second_start_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another run beside the first; and a program that was cut off is compiled again, without a word."""
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / ".jax_cache"
    said, times = [], []
    for name in ("first", "second", "third"):
        process = start("--mode=train", f"--workdir={tmp_path / name}", *TOY)
        said.append(process.communicate(timeout=300)[1])
        assert process.returncode == 0, said[-1]
        times.append({file.name: file.stat().st_mtime_ns for file in folder.glob("*-cache")})
        largest = max(folder.glob("*-cache"), key=lambda file: file.stat().st_size)
        if name == "second":
            largest.write_bytes(largest.read_bytes()[:-100])
    assert len(times[0]) > 5 and times[1] == times[0]
    assert times[2].keys() == times[0].keys()
    assert [file for file in times[0] if times[2][file] != times[0][file]] == [largest.name]
    assert not any(re.search(r"\b[Ww]arning", text) for text in said)  # the doubts of a short run speak of learning
    records = [map(json.loads, (tmp_path / name / "metrics.jsonl").open()) for name in ("first", "second", "third")]
    losses = [[record["loss"] for record in run] for run in records]
    assert len(losses[0]) == 2 and losses[1] == losses[2] == losses[0]
