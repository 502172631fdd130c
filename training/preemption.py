"""SIGTERM and Ctrl-C ask a run to save and leave; several processes agree on the step."""

import contextlib
import signal
from types import TracebackType
from typing import Self

import jax
from jax.experimental import multihost_utils

import interruption


class StopRequest:
    """A context in which, once armed, the first SIGTERM or SIGINT is kept for `at` and a second one ends the run.

    With several processes JAX's own preemption service decides the step at which all of them stop for a SIGTERM.
    """

    def __init__(self) -> None:
        self._received: str | None = None
        self._stack = contextlib.ExitStack()
        self._armed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def arm(self) -> None:
        """From the first step on there is something to save; while it is compiled there is nothing to wait for."""
        if not self._armed and jax.process_count() == 1:
            self._stack.enter_context(interruption.deferred(self._receive))
        self._armed = True

    def _receive(self, number: int) -> None:
        self._received = signal.Signals(number).name

    def at(self, step: int) -> str | None:
        """The signal to stop at this step for, if any; all processes get the same answer."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            interruption.note(signal.SIGTERM)
            self._received = "SIGTERM"
        return self._received
