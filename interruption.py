"""SIGINT (Ctrl-C) and SIGTERM end a command in one line within two seconds, wherever it is; a training saves first.

Python's handlers run in the main thread alone, between two instructions, and compiling in C++ takes minutes. So a
thread of its own reads the numbers of the signals from a pipe. The main thread is asked to leave by itself first, which
removes what is half written; after a moment the process ends whatever it is doing. The module imports the standard
library alone, so that it can be at work before anything else is imported.
"""

import contextlib
import logging
import os
import queue
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 1.2
ONE_WISH_SECONDS = 0.5  # `timeout` and some schedulers send a signal to a process and to its group

received: int | None = None  # the first signal, deferred or not
_installed = False
_deferred: Callable[[int], None] | None = None
_decisions: queue.SimpleQueue[bool] = queue.SimpleQueue()  # whether the signal ends the command
_ending = threading.Lock()


def install() -> None:
    """Take the signals over, for the rest of the process; to be called by a command that owns its process."""
    global _installed
    _installed = True
    incoming, outgoing = os.pipe()
    os.set_blocking(outgoing, False)
    signal.set_wakeup_fd(outgoing, warn_on_full_buffer=False)
    listen()
    threading.Thread(target=_watch, args=(incoming,), name="signals", daemon=True).start()


def listen() -> None:
    """Take the signals again, after JAX took SIGTERM for its processes."""
    if _installed:
        for number in SIGNALS:
            signal.signal(number, _handle)


@contextlib.contextmanager
def deferred(act: Callable[[int], None]) -> Iterator[None]:
    """Let the first signal call `act` with its number, and no more; a later second one ends the command.

    What comes within `ONE_WISH_SECONDS` of the first is the same wish: it is not meant to throw away what is saved.
    Without `install`, in a notebook, the second one acts as it did outside of the context.
    """
    global _deferred
    if _installed:
        _deferred = act
        try:
            yield
        finally:
            _deferred = None
        return
    previous = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def once(number: int, _: FrameType | None) -> None:
        restore()
        act(number)

    for number in SIGNALS:
        signal.signal(number, once)
    try:
        yield
    finally:
        restore()


def note(number: int) -> None:
    """A signal that JAX received and that has been acted on."""
    global received
    received = received or number


def exit_code(number: int) -> int:
    """As a shell reports a program that the signal has ended."""
    return 128 + number


def end() -> None:
    """End the process after a signal: one line, its exit code."""
    if not _ending.acquire(blocking=False):
        time.sleep(60)  # the other thread is at it
    number = received or signal.SIGINT
    say(f"error: ended by {signal.Signals(number).name}; what was saved before stays")
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(exit_code(number))


def say(line: str) -> None:
    """Write a line to stderr, below a progress bar where one is shown."""
    bars = getattr(getattr(sys.modules.get("tqdm"), "tqdm", None), "_instances", ())
    shown = any(not bar.disable for bar in list(bars))
    with contextlib.suppress(OSError):
        os.write(2, f"{chr(10) if shown else ''}{line}\n".encode())


def _handle(number: int, frame: FrameType | None) -> None:
    """In the main thread: do as the watching thread has decided."""
    with contextlib.suppress(queue.Empty):
        if _decisions.get(timeout=GRACE_SECONDS):
            if _importing(frame):
                end()  # an exception there, in the initialisation of a module in C++, ends in a segmentation fault
            raise KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _watch(incoming: int) -> None:
    global received, _deferred
    while True:
        number = os.read(incoming, 1)[0]
        if number not in SIGNALS:
            continue
        received = received or number
        act, _deferred = _deferred, None
        if act is None:
            break
        act(number)
        _decisions.put(False)
        time.sleep(ONE_WISH_SECONDS)
        while select.select([incoming], [], [], 0)[0]:
            if os.read(incoming, 1)[0] in SIGNALS:
                _decisions.put(False)
        if not select.select([incoming], [], [], GRACE_SECONDS - ONE_WISH_SECONDS)[0]:
            say(f"{signal.Signals(number).name}: this step is finished and saved; once more ends at once")
    _silence()
    _decisions.put(True)
    select.select([incoming], [], [], GRACE_SECONDS)
    end()


def _silence() -> None:
    """What breaks from now on breaks because it is being ended."""
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = threading.excepthook = lambda _: None
    sys.excepthook = lambda *_: end()
