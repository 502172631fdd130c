"""Compiled programs on disk: the second start of a run, and another run beside it, compile nothing that is there.

JAX keeps a program by everything that it depends on, so that a wrong one is never taken. Any number of processes share
a folder: what one finds half-written it compiles itself, and says so. What JAX does not do is done here, when a run
starts: half-written programs of a process that was killed go (JAX would neither replace nor read them), and so do the
longest unused beyond a total size.

A program is native code that this process runs. So a folder that another user could have written to is not used: one
that belongs to somebody else or may be written by others, or that lies in such a folder, where it could be replaced.
"""

import contextlib
import grp
import os
import pwd
import stat
import time
import zlib
from pathlib import Path
from typing import Any

import jax
from absl import logging

from experiment.processes import barrier, is_leader

FOLDER = ".jax_cache"
LIMIT = 2 * 2**30
MIN_SECONDS = "jax_persistent_cache_min_compile_time_secs"


def enable(beside: Path, *, limit: int = LIMIT) -> None:
    """Keep what is compiled from now on in the folder .jax_cache beside the folder of the run.

    Nothing is done where JAX was told to keep nothing (JAX_ENABLE_COMPILATION_CACHE=false), where this process may not
    write, and where others may (`writable_by_others`), which is said. Where JAX was told a folder
    (JAX_COMPILATION_CACHE_DIR) that one is used; that others may write there is said. Small programs are kept too,
    unless JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS says otherwise: a run of the digits has a hundred, and compiling
    them takes a third of its second start.
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
    config: Any = jax.config  # whose attributes have no types
    if not config.jax_enable_compilation_cache:
        return None
    if (told := config.jax_compilation_cache_dir) is not None:
        with contextlib.suppress(OSError):  # JAX will say that it cannot be read
            if is_leader() and "://" not in told and (why := writable_by_others(Path(told))):
                logging.warning("JAX_COMPILATION_CACHE_DIR is %s, whose programs are run here: %s", told, why)
        return None
    folder = beside.absolute().parent / FOLDER
    try:
        if why := writable_by_others(folder):
            if is_leader():
                mend = "make it yours alone (chown, chmod go-w), or name a folder in JAX_COMPILATION_CACHE_DIR"
                logging.warning("compiled programs are not kept: %s; %s", why, mend)
            return None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder} may not be written to")
        if is_leader():
            sweep(folder, limit)
    except OSError as error:
        logging.info("compiled programs are not kept: %s", error)
        return None
    return folder


def writable_by_others(folder: Path) -> str | None:
    """Why another user (root aside) could put a file into this folder, or another folder in its place; None: nobody.

    Looked at are the folder and all that it lies in, also behind links; what is not there yet nobody has written to.
    A folder with the sticky bit lets nobody replace what is another's, and a user's own group has no other member.
    """
    itself = folder.absolute(), Path(os.path.realpath(folder))
    for place in dict.fromkeys(place for each in itself for place in (each, *each.parents)):
        try:
            found = place.stat()
        except FileNotFoundError:
            continue
        if not _is_ours(found):
            return f"{place} belongs to {_user(found.st_uid)}"
        by_group = found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid)
        sticky = found.st_mode & stat.S_ISVTX and place not in itself
        if (by_group or found.st_mode & stat.S_IWOTH) and not sticky:
            return f"{place} may be written by others"
    return None


def _is_ours(found: os.stat_result) -> bool:
    """Whether a file is this user's, or root's, who may write everywhere."""
    return found.st_uid in (os.geteuid(), 0)


def _is_own_group(number: int) -> bool:
    """Whether it is the group that many systems make for each user, of the same name and without other members."""
    try:
        group, user = grp.getgrgid(number), _user(os.geteuid())
    except KeyError:
        return False
    return group.gr_name == user and set(group.gr_mem) <= {user}


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def sweep(folder: Path, limit: int) -> None:
    """Remove half-written programs and other users', then the longest unused ones until at most `limit` bytes are left.

    Each is read once only: those older than the last sweep were whole then. One that another process is writing may go
    as well; that process will not mind.
    """
    checked, began = folder / ".checked", time.time_ns()
    since = checked.stat().st_mtime_ns if checked.exists() else 0
    kept: list[tuple[float, int, Path]] = []
    for entry in folder.glob("*-cache"):
        try:
            found = entry.stat()
            if not _is_ours(found) or (found.st_mtime_ns >= since and not _whole(entry.read_bytes())):
                entry.unlink(missing_ok=True)
            else:
                kept.append((max(found.st_atime, found.st_mtime), found.st_size, entry))
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
