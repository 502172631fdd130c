"""Several processes of one run: which of them writes, and waiting for each other."""

import jax
from jax.experimental import multihost_utils


def is_leader() -> bool:
    """Whether this is process 0, which writes reports."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Wait until every process is here; nothing with one process."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
