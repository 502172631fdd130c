"""The steps whose checkpoints an evaluation takes: one, or a range, whose checkpoints may still be to come."""

import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from checkpoints.store import Store

POLL_SECONDS = 10.0


def steps_to_evaluate(
    store: Store, config: ConfigDict, archived: int, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[int]:
    """Yield the steps in ascending order: `eval.checkpoint` (-1: the newest), or those of a range.

    A range takes the steps that `archived` divides and `eval.end_step`, not the rolling ones, which a training deletes
    again. It waits up to `eval.wait_minutes` for each, until that of `eval.end_step` was there. Process 0 looks
    and tells the others.

    Raises:
      FileNotFoundError: the range holds no checkpoint.
    """
    if not config.end_step:
        yield config.checkpoint
        return
    seen = config.begin_step - 1
    found = False
    while True:
        waited = 0.0
        while (step := _agreed(_next(store, seen, config.end_step, archived))) < 0:
            if seen >= config.end_step or waited >= 60 * config.wait_minutes:
                if not found:
                    raise FileNotFoundError(
                        f"no archived checkpoint of steps {config.begin_step} to {config.end_step} in "
                        f"{store.directory}; there are {store.steps()}"
                    )
                return
            if not waited:
                logging.info("waiting for a checkpoint after step %d", seen)
            sleep(POLL_SECONDS)
            waited += POLL_SECONDS
        yield step
        seen, found = step, True


def _next(store: Store, after: int, end: int, archived: int) -> int:
    kept = (step for step in store.steps() if step % archived == 0 or step == end)
    return min((step for step in kept if after < step <= end), default=-1)


def _agreed(step: int) -> int:
    if jax.process_count() == 1:
        return step
    return int(multihost_utils.broadcast_one_to_all(np.int64(step)))
