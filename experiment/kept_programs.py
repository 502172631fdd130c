"""The programs of a training, kept by all they were traced from: a second start neither traces nor compiles them.

JAX's cache (`experiment.compilation_cache`) finds a program by its text. A large network's takes as long to trace as
to load, and only then can loading begin. These are found as a compiler cache's direct mode finds an object file: by
the run's facts, by the file of every loaded module (place, size, time of its last change), by the devices, the
variables of the environment that JAX and XLA read, and JAX's settings. What differs in one of these is not found, is
traced and compiled, and then kept beside the other. They are loaded by threads of their own.

Not kept is what JAX's cache had (XLA on CPU does not write out whole what it has read), what calls Python or LAPACK
(which another process would not find), and anything at all where a module's file is younger than this process.
"""

import hashlib
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import logging
from jax.experimental.serialize_executable import deserialize_and_load, serialize
from jax.stages import Compiled, Lowered

from experiment.errors import Failure

SUFFIX = ".program"
READ = ("JAX_", "XLA_", "FLAX_", "NVIDIA_", "CUDA_", "TF_", "LIBTPU_", "TPU_", "OMP_")
HIT = "/jax/compilation_cache/cache_hits"
BEGAN = time.time_ns() - 10_000_000_000  # ten seconds for what was imported before this
NOT_OF_A_PROGRAM = ("jax_compilation_cache_", "jax_persistent_cache_", "jax_log", "jax_debug_log")


_hits = threading.local()


def _count(event: str, **_: Any) -> None:
    _hits.count = getattr(_hits, "count", 0) + (event == HIT)


jax.monitoring.register_event_listener(_count)


class Program(NamedTuple):
    """One that runs, and whether it was compiled here and now."""

    run: Compiled
    new: bool


def compiled(lowered: Lowered, **options: Any) -> Program:
    """``lowered.compile(**options)``; by any thread."""
    before = getattr(_hits, "count", 0)
    run = lowered.compile(**options)
    return Program(run, getattr(_hits, "count", 0) == before)


class KeptPrograms:
    """Those of one run in one folder, found by `facts`; without a folder nothing is kept, and nothing found.

    The folder is trusted: a program is code, and the file of one a pickle. Programs of several processes are not kept.
    """

    def __init__(self, folder: Path | None = None, facts: Any = None):
        self._loading: dict[str, Future] = {}
        made = made_from(facts) if folder is not None and jax.process_count() == 1 else None
        self._folder = folder if made is not None else None
        if self._folder is None:
            return
        self._prefix = f"{made}-"
        files = sorted(self._folder.glob(f"{self._prefix}*{SUFFIX}"))
        if files:
            pool = ThreadPoolExecutor(len(files))
            self._loading = {file.name: pool.submit(_load, file) for file in files}
            pool.shutdown(wait=False)

    def get(self, *names: str) -> list[Callable[..., Any]] | None:
        """All of them, or None. One whose first call fails goes, with those beside it, and ends the run (`Failure`)."""
        loading = [self._loading.get(self._name(name)) for name in names] if self._loading else [None]
        found = [each and each.result() for each in loading]
        return None if None in found else [self._tried(run) for run in found]

    def _tried(self, run: Compiled) -> Callable[..., Any]:
        ran: list[bool] = []

        def call(*arguments: Any) -> Any:
            if ran:
                return run(*arguments)
            try:
                result = jax.block_until_ready(run(*arguments))
            except jax.errors.JaxRuntimeError as error:
                for name in self._loading:
                    (self._folder / name).unlink(missing_ok=True)
                raise Failure(
                    "a kept program of the training step does not run here; the kept ones are removed, start again "
                    f"({str(error).splitlines()[0]})"
                ) from error
            ran.append(True)
            return result

        return call

    def keep(self, **programs: Program) -> None:
        """All of them for the next start, or none; what cannot be written is not kept."""
        if self._folder is None or not all(program.new for program in programs.values()):
            return
        for name, program in programs.items():
            file = self._folder / self._name(name)
            temporary = file.with_name(f".{file.name}.{os.getpid()}")
            try:
                if "lapack_" in program.run.as_text():
                    raise ValueError("it calls LAPACK")
                temporary.write_bytes(pickle.dumps(serialize(program.run)))
                os.replace(temporary, file)
            except Exception as error:  # a full disk, a call of Python
                logging.info("the program %r is not kept: %s", name, error)
                temporary.unlink(missing_ok=True)

    def _name(self, name: str) -> str:
        return f"{self._prefix}{name}{SUFFIX}"


def _load(file: Path) -> Compiled | None:
    try:
        os.utime(file)  # the longest unused are swept first
        return deserialize_and_load(*pickle.loads(file.read_bytes()))
    except Exception as error:  # damaged, swept meanwhile
        logging.info("a kept program is compiled again: %s", error)
        return None


def made_from(facts: Any) -> str | None:
    """A digest of the facts, and of all that a program of this process is made from beside them.

    None where a module's file has changed since the process began: what was read is then not what is there.
    """
    files = _files()
    if files is None:
        return None
    client = jax.devices()[0].client
    settings = {name: value for name, value in jax.config.values.items() if not name.startswith(NOT_OF_A_PROGRAM)}
    said = [
        repr(facts),
        sys.version,
        client.platform,
        client.platform_version,
        *(f"{device.id} {device.device_kind}" for device in jax.devices()),
        *_cpu(),
        *(f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(READ)),
        *(f"{name}={value}" for name, value in sorted(settings.items())),
        *files,
    ]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:32]


def _files() -> list[str] | None:
    """The file of every loaded module; of one without (in an archive, removed) its name. None: one is too young."""
    found = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__dict__", {}).get("__file__")  # a lazy module's getattr would load it
        if not isinstance(file, str):
            continue
        try:
            stat = os.stat(file)
        except OSError:
            found.add(file)
            continue
        if stat.st_mtime_ns > BEGAN:
            logging.info("programs are not kept: %s was changed after the start", file)
            return None
        found.add(f"{file} {stat.st_size} {stat.st_mtime_ns}")
    return sorted(found)


def _cpu() -> list[str]:
    """What the processor can do, where the system says so: a program for another may end in an illegal instruction."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return sorted({line for line in lines if line.startswith(("flags", "Features"))})
