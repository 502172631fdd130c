"""Compiled programs on disk: the second start of a run, and another run beside it, compile nothing that is there.

JAX keeps a program by everything that it depends on, so that a wrong one is never taken. Any number of processes share
a folder: what one finds half-written it compiles itself, and says so. What JAX does not do is done here, when a run
starts: half-written programs of a process that was killed go (JAX would neither replace nor read them), and so do the
longest unused beyond a total size.
"""

import os
import time
import zlib
from pathlib import Path

import jax
from absl import logging

from experiment.processes import barrier, is_leader

FOLDER = ".jax_cache"
LIMIT = 2 * 2**30
MIN_SECONDS = "jax_persistent_cache_min_compile_time_secs"


def enable(beside: Path, *, limit: int = LIMIT) -> None:
    """Keep what is compiled from now on in the folder .jax_cache beside the folder of the run.

    Nothing is done where JAX was told a folder (JAX_COMPILATION_CACHE_DIR), was told to keep nothing
    (JAX_ENABLE_COMPILATION_CACHE=false), or may not write there. Small programs are kept too, unless
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS says otherwise: a run of the digits has a hundred, and compiling them
    takes a third of its second start.
    """
    folder = _folder(beside, limit)
    barrier("compiled programs")  # of several processes either all find a program, or none: they compile together
    if folder is None:
        return
    if MIN_SECONDS.upper() not in os.environ:
        jax.config.update(MIN_SECONDS, 0.0)
    jax.config.update("jax_compilation_cache_dir", str(folder))


def _folder(beside: Path, limit: int) -> Path | None:
    """The folder, there and swept; None where nothing is to be kept, or JAX was told where."""
    if jax.config.jax_compilation_cache_dir is not None or not jax.config.jax_enable_compilation_cache:
        return None
    folder = beside.absolute().parent / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder} may not be written to")
        if is_leader():
            sweep(folder, limit)
    except OSError as error:
        logging.info("compiled programs are not kept: %s", error)
        return None
    return folder


def sweep(folder: Path, limit: int) -> None:
    """Remove half-written programs, then the longest unused ones until at most `limit` bytes are left.

    Each is read once only: those older than the last sweep were whole then. One that another process is writing may go
    as well; that process will not mind.
    """
    checked, began = folder / ".checked", time.time_ns()
    since = checked.stat().st_mtime_ns if checked.exists() else 0
    kept: list[tuple[float, int, Path]] = []
    for entry in folder.glob("*.program"):  # what this code once kept beside JAX's, and now takes room only
        entry.unlink(missing_ok=True)
    for entry in folder.glob("*-cache"):
        try:
            stat = entry.stat()
            if stat.st_mtime_ns >= since and not _whole(entry.read_bytes()):
                entry.unlink(missing_ok=True)
            else:
                kept.append((max(stat.st_atime, stat.st_mtime), stat.st_size, entry))
        except FileNotFoundError:  # swept by another process meanwhile
            continue
    checked.touch()
    os.utime(checked, ns=(began, began))
    total = sum(size for _, size, _ in kept)
    for _, size, entry in sorted(kept):
        if total <= limit:
            break
        entry.unlink(missing_ok=True)
        total -= size


def _whole(data: bytes) -> bool:
    """Whether a program compressed by zlib has its end; of another compression (zstandard, where installed): True."""
    if data[:1] not in (b"", b"\x78"):
        return True
    stream = zlib.decompressobj()
    try:
        stream.decompress(data)
    except zlib.error:
        return False
    return stream.eof
