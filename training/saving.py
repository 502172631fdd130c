"""How a run ends early, and what it saves then: by a signal, by data that cannot be read, by numbers that are none."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils

import interruption
from checkpoints.store import Store
from data.source import Unreadable
from experiment import Failure

Checkpoint = tuple[int, dict[str, Any], dict[str, Any]]
"""The arguments of `Store.save`: step, tree of arrays, metadata."""


class Diverged(Failure):
    """The loss, its gradient or the weights are no longer numbers."""


def diverged(what: str, store: Store) -> Diverged:
    """Return the failure that says what is not finite, and which checkpoint is from before."""
    store.wait()
    kept = store.latest_step()
    last = f"the last good checkpoint is of step {kept}" if kept is not None else "no checkpoint had been saved yet"
    return Diverged(f"{what}; {last}; lower optim.lr or optim.grad_clip")


@contextlib.contextmanager
def saving_before_unreadable(store: Store, checkpoint: Callable[[], Checkpoint | None]) -> Iterator[None]:
    """Where an example cannot be read, save the last finished step and end the run with a Failure that names the file.

    `checkpoint` returns that step's, or None where no step was made. One of several processes cannot save alone: there
    the run goes on from what had been saved before.
    """
    try:
        yield
    except Unreadable as error:
        last = checkpoint() if jax.process_count() == 1 else None
        if last:
            store.save(*last)
        store.wait()
        kept = store.latest_step()
        saved = f"step {kept} is saved" if kept is not None else "no checkpoint had been saved yet"
        mend = "restore the file, and the same command continues; with other data, --config.data.changed=accept does"
        raise Failure(f"{error}; {saved}; {mend}") from error


class StopRequest(contextlib.ExitStack):
    """A context in which, once armed, the first SIGTERM or SIGINT is kept for `at` and a second one ends the run.

    With several processes JAX's own preemption service decides the step at which all of them stop for a SIGTERM.
    """

    _received: str | None = None
    _armed = False

    def arm(self) -> None:
        """From the first step on there is something to save; while it is compiled there is nothing to wait for."""
        if not self._armed and jax.process_count() == 1:
            self.enter_context(interruption.deferred(self._receive))
        self._armed = True

    def _receive(self, number: int) -> None:
        self._received = signal.Signals(number).name

    def at(self, step: int) -> str | None:
        """Return the signal to stop at this step for, if any; all processes get the same answer."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            interruption.note(signal.SIGTERM)
            self._received = "SIGTERM"
        return self._received
