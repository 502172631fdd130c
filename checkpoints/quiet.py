"""What Orbax and TensorStore print beside the errors that they raise is left out: the store says each in one line.

One damaged file makes them log a warning or an error of every array, and print a traceback of every read that was in
flight when the first one failed.
"""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

LOGGERS = ("absl", "asyncio", "orbax", "tensorstore")
LIBRARIES = tuple(f"{os.sep}{name}{os.sep}" for name in ("orbax", "tensorstore"))

MARKS = ("tensorstore_spec=", "OCDBT database", "Event loop is closed")  # of errors that asyncio has kept the trace of


def quieten() -> None:
    """Filter their log records, and the exceptions that end in a hook of the interpreter; done once however often."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_is_news)
    for module, name in ((sys, "unraisablehook"), (threading, "excepthook")):
        hook = getattr(module, name)
        if not isinstance(hook, _Quiet):
            setattr(module, name, _Quiet(hook))


def cause(error: BaseException) -> str:
    """One line of an error, without the description of the array that TensorStore ends with."""
    text = " ".join(str(error).partition("[tensorstore_spec=")[0].split())
    return text or type(error).__name__


class _Quiet:
    """A hook of the interpreter that passes on what is not theirs."""

    def __init__(self, hook: Callable[[Any], None]):
        self.hook = hook

    def __call__(self, arguments: Any) -> None:
        if not _theirs(arguments.exc_value):
            self.hook(arguments)


def _is_news(record: logging.LogRecord) -> bool:
    """A logging filter."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    return not any(name in record.pathname for name in LIBRARIES) and not _theirs(error)


def _theirs(error: BaseException | None) -> bool:
    """Whether it was raised under these libraries, or tells a read that came late that nobody waits for it."""
    if error is None:
        return False
    if any(mark in str(error) for mark in MARKS):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    return any(name in frame.filename for frame in frames for name in LIBRARIES)
