"""What is saved of a run, and that it is saved where the data end it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from checkpoints.store import Store
from data.source import Unreadable
from experiment import Experiment, Failure
from experiment.processes import to_host
from training.devices import Devices
from training.readings import diverged
from training.state import TrainState

Checkpoint = tuple[int, dict[str, Any], dict[str, Any]]
"""The arguments of `Store.save`: step, tree of arrays, metadata."""


def checkpoint_of(experiment: Experiment, devices: Devices, store: Store, placed: TrainState, step: int) -> Checkpoint:
    """Return what is saved of a step that is finished.

    Raises:
      Diverged: a number of it is not finite.
    """
    tree = to_host(devices.whole(placed).to_tree())
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)):  # the loss is from before
        raise diverged(f"weights not finite at step {step}", store)
    # Batch n is a pure function of (seed, n): the next batch's number is the data position.
    return step, tree, {"config": experiment.config.to_dict(), "next_batch": step}


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
