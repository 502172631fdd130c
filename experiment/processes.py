"""Several processes of one run: how they meet, who writes, what they hold together, waiting for each other."""

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiment.lost import HEARTBEAT_SECONDS, MEETING_SECONDS

AUTO = "auto"
LIMITS: dict[str, Any] = {"initialization_timeout": MEETING_SECONDS, "heartbeat_timeout_seconds": HEARTBEAT_SECONDS}
MAX_PORT = 65535


def join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Meet the other processes; nothing without a coordinator. To be called before JAX computes anything.

    `coordinator` is host:port of process 0, and `process` of `processes` this one; or "auto", where SLURM, Open MPI,
    Kubernetes or a TPU pod tells each process all three.

    Raises:
      ValueError: flags that do not belong together, "auto" where nothing tells, or a port that is taken.
    """
    given = [f"--{name}" for name, value in (("processes", processes), ("process", process)) if value is not None]
    if given and coordinator in (None, AUTO):
        mend = "leave it out" if coordinator else "give --coordinator=HOST:PORT, or none of them"
        raise ValueError(f"{' and '.join(given)} with --coordinator {coordinator or 'missing'}: {mend}")
    if coordinator is None:
        return
    if coordinator == AUTO:
        try:
            jax.distributed.initialize(**LIMITS)
        except ValueError as error:  # what is missing is the first thing that was looked for
            raise ValueError(
                "--coordinator=auto found no SLURM, Open MPI, Kubernetes or TPU pod around this process; start it "
                f"there (srun, mpirun), or give --coordinator=HOST:PORT --processes=N --process=I ({error})"
            ) from error
        return
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= MAX_PORT:
        raise ValueError(
            f"--coordinator is {coordinator!r}; needed is HOST:PORT of process 0, or {AUTO}; a port is 1 to {MAX_PORT}"
        )
    if processes is None or process is None or not 0 <= process < processes:
        raise ValueError(
            f"--coordinator={coordinator} with --processes={processes} --process={process}; needed are both, and "
            "0 <= process < processes"
        )
    try:
        jax.distributed.initialize(coordinator, processes, process, **LIMITS)
    except jax.errors.JaxRuntimeError as error:
        raise ValueError(
            f"--coordinator={coordinator}: process {process} of {processes} cannot join; needed is a free port on the "
            f"machine of process 0 ({error})"
        ) from error


def is_leader() -> bool:
    """Whether this is process 0, which writes reports."""
    return jax.process_index() == 0


def one_at_a_time() -> bool:
    """Whether a program has to end before the next begins.

    So it is with several virtual CPU devices: they share one pool of threads, and collectives of two programs can wait
    for each other until XLA aborts the process.
    """
    return jax.default_backend() == "cpu" and jax.local_device_count() > 1


def agreed(flag: bool) -> bool:
    """What process 0 says, on every process."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.broadcast_one_to_all(np.bool_(flag)))


def barrier(name: str) -> None:
    """Wait until every process is here; nothing with one process."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def to_host(tree: Any) -> Any:
    """The arrays as NumPy's; those cut over several processes are gathered, if all of them call this.

    Leaf by leaf: no device holds more than one of them whole.
    """

    def fetch(leaf: Any) -> np.ndarray:
        reached = not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated
        return np.asarray(leaf if reached else multihost_utils.process_allgather(leaf, tiled=True))

    return jax.tree.map(fetch, tree)
