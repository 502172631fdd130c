"""One writer at a time for each part of a working folder: a second command is refused, and told who is at work.

The lock is the operating system's (flock), which goes with the process that holds it, on a file that says who that
is. Some shared folders have no such locks, or have them for one machine alone. There the file decides: its holder
renews its date every few seconds, and a lock of another machine whose date stands still is taken over. Readers need no
lock.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import logging

from experiment.processes import agreed, is_leader

BEAT_SECONDS = 5.0  # between two renewals of the date
PATIENCE_SECONDS = 20.0  # for which the date of another machine's lock is watched
FACTS = ("host", "pid", "began", "mode", "since")  # what a lock says of its holder
SETTLE_SECONDS = 1.0  # after which two that took a lock at once, without the system's help, agree who has it


class Held(ValueError):
    """Another command holds the lock."""


@contextlib.contextmanager
def held(folder: Path, part: str, mode: str, *, create: bool = False) -> Iterator[None]:
    """Hold the lock of a part ("training", "evaluation") of the folder, for `mode`; process 0 does it for all.

    With `create` the folder is made first, and goes again if it is still empty at the end; without it, where there is
    no folder, nothing is held: there is no run to work on.

    Raises:
      Held: another command holds it; on the others than process 0 a ValueError says that process 0 was refused.
      OSError: the folder cannot be written.
    """
    stack, complaint = contextlib.ExitStack(), None
    if is_leader():
        try:
            if create:
                stack.enter_context(_made(folder))
            if create or folder.is_dir():
                stack.enter_context(_locked(folder / f".{part}.lock", mode))
        except (OSError, ValueError) as error:
            stack.close()
            complaint = error
    if agreed(complaint is not None):
        raise complaint or ValueError(f"process 0 may not write to {folder}; its own line says why")
    with stack:
        yield


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make the folder and those above it; those of them that nobody has used go again."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for path in missing:
            with contextlib.suppress(OSError):  # not empty, or never made
                path.rmdir()


@contextlib.contextmanager
def _locked(file: Path, mode: str) -> Iterator[None]:
    descriptor, by_system = _open(file)
    try:
        other = _read(descriptor)
        if other and _at_work(other, file, by_system):
            raise Held(_refusal(file.parent, other))
        since = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        own = dict(zip(FACTS, (socket.gethostname(), os.getpid(), _began(os.getpid()), mode, since), strict=True))
        _write(descriptor, own)
        if not by_system:
            time.sleep(SETTLE_SECONDS)
            if (found := _read(descriptor)) != own:
                raise Held(_refusal(file.parent, found or {}))
    except BaseException as error:
        if isinstance(error, OSError):  # it could not be written
            file.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(descriptor, ended), name="lock", daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        file.unlink(missing_ok=True)  # while it is still held: who opens it meanwhile looks again
        os.close(descriptor)


def _open(file: Path) -> tuple[int, bool]:
    """A descriptor of the lock file, and whether the system has locked it; Held where another process has."""
    while True:
        descriptor, by_system = os.open(file, os.O_RDWR | os.O_CREAT, 0o666), True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = _read(descriptor)
            os.close(descriptor)
            raise Held(_refusal(file.parent, other or {})) from None
        except OSError:  # a file system without such locks
            by_system = False
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(file), os.fstat(descriptor)):
                return descriptor, by_system
        os.close(descriptor)  # its holder has just ended and removed it


def _at_work(other: dict[str, Any], file: Path, by_system: bool) -> bool:
    """Whether the command that wrote the file still runs, the system's lock having been free or missing."""
    if other["host"] == socket.gethostname():
        return not by_system and _began(other["pid"]) == other["began"] is not None
    logging.info("a lock of %s, process %d, lies here; looking whether it is at work", other["host"], other["pid"])
    renewed = _date(file)
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        time.sleep(PATIENCE_SECONDS / 20)
        if _date(file) != renewed:
            return True
    logging.info("it has ended without a word; its lock is taken over")
    return False


def _date(file: Path) -> int:
    """When the file was changed last, as its server knows: a file that is opened anew is asked for."""
    with file.open("rb") as opened:
        return os.fstat(opened.fileno()).st_mtime_ns


def _began(pid: int) -> str | None:
    """When a process of this machine began, in ticks since the machine did; None where there is none of this number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:  # it is another user's
        pass
    return "unknown"


def _beat(descriptor: int, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):  # a folder that is away for a while
            os.utime(descriptor)


def _read(descriptor: int) -> dict[str, Any] | None:
    """Who holds the lock; None of a file that nobody has finished writing."""
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return {name: found[name] for name in FACTS}
    except (ValueError, KeyError, TypeError):
        return None


def _write(descriptor: int, own: dict[str, Any]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, (json.dumps(own) + "\n").encode(), 0)


def _refusal(folder: Path, other: dict[str, Any]) -> str:
    who = "another command"
    if other:
        who = f"--mode={other['mode']}, process {other['pid']} on {other['host']} since {other['since']},"
    return f"{folder}: {who} is writing there; wait until it has ended, stop it, or give another --workdir"
