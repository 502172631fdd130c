"""Compiled programs are kept beside the run: found again, swept of halves and of what is too much."""

import json
import os
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
    assert not any("arning" in text for text in said)
    records = [map(json.loads, (tmp_path / name / "metrics.jsonl").open()) for name in ("first", "second", "third")]
    losses = [[record["loss"] for record in run] for run in records]
    assert len(losses[0]) == 2 and losses[1] == losses[2] == losses[0]
