"""The devices of a run: all of all processes, by pmap or by fsdp."""

import contextlib
from collections.abc import Callable, Sequence

import jax

from training.devices import Devices
from training.pmapped import Pmapped
from training.sharded import Sharded

PARALLELISMS: dict[str, Callable[[tuple[jax.Device, ...]], Devices]] = {"pmap": Pmapped, "fsdp": Sharded}


def create(parallelism: str, devices: Sequence[jax.Device] | None = None) -> Devices:
    """The devices, all of all processes unless said, under ``training.parallelism``.

    "pmap": each holds the whole state. "fsdp": they share it. The processes' batches come in the order of the
    processes, so their devices do too.

    Raises:
      ValueError: another name.
    """
    if parallelism not in PARALLELISMS:
        raise ValueError(f"training.parallelism is {parallelism!r}; allowed are {', '.join(PARALLELISMS)}")
    by_process = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return PARALLELISMS[parallelism](tuple(devices or by_process))


def on_host() -> contextlib.AbstractContextManager:
    """Where a state that no single device may have room for is drawn: in the host's memory."""
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # JAX_PLATFORMS names the accelerator alone
        return contextlib.nullcontext()


def check_batch_size(batch_size: int) -> None:
    """ValueError unless the global batch divides evenly over all devices of all processes."""
    devices = jax.device_count()
    if batch_size < 1 or batch_size % devices:
        mend = max(devices, batch_size // devices * devices)
        raise ValueError(f"training.batch_size is {batch_size}, not a multiple of the {devices} devices; try {mend}")
