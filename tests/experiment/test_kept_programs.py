"""A program is found again by all it was made from, and by nothing else; what cannot be loaded is compiled."""

import json
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiment import Failure, compilation_cache, kept_programs
from experiment.kept_programs import SUFFIX, KeptPrograms, Program, compiled, made_from
from tests.experiment.command import settle, start
from tests.experiment.test_compilation_cache import TOY


@pytest.fixture(scope="module", autouse=True)
def every_module_is_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Some are at the first program only, and they count."""
    KeptPrograms(tmp_path_factory.mktemp("first")).keep(one=_program())


@pytest.fixture(autouse=True)
def no_file_is_young(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short ago somebody edited one."""
    monkeypatch.setattr(kept_programs, "BEGAN", time.time_ns() + 10**12)


def _program(factor: float = 2.0) -> Program:
    run = jax.pmap(lambda tree, x: {"sum": tree["a"] + factor * x}, in_axes=(0, None), donate_argnums=0)
    return compiled(run.lower({"a": jnp.ones((jax.local_device_count(), 3))}, np.float32(1.0)))


def _arguments() -> tuple[dict, np.float32]:
    copy = jax.pmap(lambda a: a)
    return {"a": copy(np.arange(3.0 * jax.local_device_count(), dtype=np.float32).reshape(-1, 3))}, np.float32(4.0)


def test_a_kept_program_does_what_it_did_and_takes_its_argument(tmp_path: Path) -> None:
    kept = KeptPrograms(tmp_path, "facts")
    assert kept.get("one") is None
    program = _program()
    kept.keep(one=program, two=_program(3.0))
    again = KeptPrograms(tmp_path, "facts")
    one, two = again.get("one", "two")
    wanted, given = program.run(*_arguments())["sum"], _arguments()
    np.testing.assert_array_equal(one(*given)["sum"], wanted)
    assert given[0]["a"].is_deleted()
    np.testing.assert_array_equal(two(*_arguments())["sum"], wanted + 4.0)
    assert again.get("one", "three") is None
    assert KeptPrograms(tmp_path, "other facts").get("one") is None
    assert [file.suffix for file in tmp_path.iterdir()] == [SUFFIX] * 2  # no half is left


def test_without_a_folder_nothing_is_kept() -> None:
    kept = KeptPrograms()
    kept.keep(one=_program())
    assert kept.get("one") is None


def test_what_cannot_be_loaded_is_none(tmp_path: Path) -> None:
    KeptPrograms(tmp_path, "facts").keep(one=_program())
    file = next(tmp_path.iterdir())
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"\0" * 100):
        file.write_bytes(damaged)
        assert KeptPrograms(tmp_path, "facts").get("one") is None


def test_a_program_that_calls_python_is_not_kept(tmp_path: Path) -> None:
    """Its pointer would lead nowhere in another process."""

    def talk(x: jax.Array) -> jax.Array:
        jax.debug.print("{}", x.sum())
        return 2.0 * x

    KeptPrograms(tmp_path, "facts").keep(one=compiled(jax.jit(talk).lower(np.float32(1.0))))
    assert not list(tmp_path.iterdir())


def test_a_program_of_lapack_is_not_kept(tmp_path: Path) -> None:
    """A process that has not lowered such a call has no such function."""
    KeptPrograms(tmp_path, "facts").keep(one=compiled(jax.jit(jnp.linalg.qr).lower(jnp.eye(3))))
    assert not list(tmp_path.iterdir())


def test_what_jax_had_is_not_kept(tmp_path: Path) -> None:
    """XLA on CPU writes out but half of what it has read; with one such program none is kept."""
    names = ("jax_compilation_cache_dir", compilation_cache.MIN_SECONDS)
    before = {name: getattr(jax.config, name) for name in names}
    try:
        compilation_cache.enable(tmp_path / "run")
        folder = compilation_cache.own_folder()
        assert folder == tmp_path / compilation_cache.FOLDER
        first, second = _program(7.0), _program(7.0)
        assert first.new and not second.new
        kept = KeptPrograms(folder, "facts")
        kept.keep(one=_program(8.0), two=second)
        assert not list(folder.glob(f"*{SUFFIX}"))
        kept.keep(one=first)
        assert len(list(folder.glob(f"*{SUFFIX}"))) == 1
        jax.config.update("jax_compilation_cache_dir", str(tmp_path / "of_the_user" / compilation_cache.FOLDER))
        assert compilation_cache.own_folder() is None
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def test_nothing_is_kept_where_a_file_is_younger_than_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was imported may be older than what lies there."""
    file = _module(tmp_path, monkeypatch)
    os.utime(file, ns=(kept_programs.BEGAN + 1,) * 2)
    assert made_from("facts") is None
    kept = KeptPrograms(tmp_path, "facts")
    kept.keep(one=_program())
    assert kept.get("one") is None and [entry.name for entry in tmp_path.iterdir()] == [file.name]


def test_a_program_that_does_not_run_goes_and_the_next_start_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    KeptPrograms(tmp_path, "facts").keep(one=_program(), two=_program())

    def broken(*_: object) -> None:
        raise jax.errors.JaxRuntimeError("INTERNAL: function not found\nat some place")

    monkeypatch.setattr(kept_programs, "deserialize_and_load", lambda *_: broken)
    (one,) = KeptPrograms(tmp_path, "facts").get("one")
    with pytest.raises(Failure, match=r"removed, start again \(INTERNAL: function not found\)$"):
        one(*_arguments())
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_not_kept(tmp_path: Path) -> None:
    kept = KeptPrograms(tmp_path, "facts")
    kept.keep(one=Program(object(), True))
    assert not list(tmp_path.iterdir())
    tmp_path.rmdir()
    kept.keep(one=_program())
    assert not tmp_path.exists()


def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "a_module_of_the_user.py"
    file.write_text("x = 1\n")
    module = types.ModuleType(file.stem)
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, file.stem, module)
    return file


def _edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_module_of_the_user.py").write_text("x = 2\n")


def _touch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(tmp_path / "a_module_of_the_user.py", (1, 1))


def _variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", "") + " --xla_cpu_enable_fast_math=true")


def _setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jax.config.update("jax_default_matmul_precision", "float32")


@pytest.mark.parametrize("change", [_edit, _touch, _variable, _setting])
def test_a_change_of_code_or_settings_is_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable
) -> None:
    _module(tmp_path, monkeypatch)
    before = made_from(("config", 1))
    assert made_from(("config", 1)) == before != made_from(("config", 2))
    precision = jax.config.jax_default_matmul_precision
    try:
        change(tmp_path, monkeypatch)
        assert made_from(("config", 1)) != before
    finally:
        jax.config.update("jax_default_matmul_precision", precision)


def test_where_programs_are_kept_says_nothing_of_them(tmp_path: Path) -> None:
    before, told = made_from("facts"), jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path))
        assert made_from("facts") == before
    finally:
        jax.config.update("jax_compilation_cache_dir", told)


def test_sweeping_takes_the_longest_unused_and_what_was_being_written(tmp_path: Path) -> None:
    for i, name in enumerate(("old", "new")):
        (tmp_path / f"{name}{SUFFIX}").write_bytes(bytes(1000))
        os.utime(tmp_path / f"{name}{SUFFIX}", (1e9 + i, 1e9 + i))
    (tmp_path / f".half{SUFFIX}.123").write_bytes(bytes(1000))
    compilation_cache.sweep(tmp_path, 1500)
    assert [file.name for file in tmp_path.glob(f"*{SUFFIX}*")] == [f"new{SUFFIX}"]


@pytest.mark.slow
def test_every_start_trains_as_the_first_of_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two starts of each: one finds what was kept, one of another seed what JAX has, one of a wider network nothing."""
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"):
        monkeypatch.delenv(name, raising=False)
    settle()
    lines, kept = {}, {}
    for case, more in {"same": (), "seed": ("--config.seed=7",), "wide": ("--config.model.width=16",)}.items():
        for turn in (1, 2):
            workdir = tmp_path / f"{case}{turn}"
            process = start("--mode=train", f"--workdir={workdir}", *TOY, *more)
            said = process.communicate(timeout=300)[1]
            assert process.returncode == 0, said
            records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
            lines[case, turn] = [(record["loss"], record["grad_norm"]) for record in records]
            programs = (tmp_path / compilation_cache.FOLDER).glob(f"*{SUFFIX}")
            kept[case, turn] = {file.name: file.stat().st_ino for file in programs}  # written again: another inode
        assert lines[case, 1] == lines[case, 2]
    assert lines["same", 1] != lines["seed", 1] != lines["wide", 1]
    assert len(kept["same", 1]) == 2 and len(kept["wide", 1]) == 4
    assert kept["same", 1] == kept["same", 2] == kept["seed", 1] == kept["seed", 2]
    assert kept["wide", 1] == kept["wide", 2]
