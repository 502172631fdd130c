"""The devices of a run: what a training run asks of them, and the two ways in which they hold its state."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax

from training.examples import Batch
from training.fsdp import Fsdp
from training.pmap import Pmap
from training.programs import Call
from training.state import TrainState
from training.step import TrainStep


class Devices(Protocol):
    """The devices of a run, which know where its state, its batches and its programs lie on them.

    A state that leaves the devices has no trace of their number: any other devices may continue the run.
    """

    @property
    def axis_size(self) -> int:
        """The number of devices that compute their own losses: what `batch_scores` and `make_train_step` are told."""

    @property
    def joint(self) -> bool:
        """Whether every process has to take part in what is computed with a `whole` state."""

    def place(self, state: TrainState) -> TrainState:
        """Put a state of host arrays, which are equal in all processes, on the devices."""

    def split(self, batch: Batch, micro_batches: int = 1) -> Batch:
        """Put this process's examples of several batches, arrays [steps, b, ...], on its devices, with their places."""

    def spread(self, losses: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``losses(variables, batch, ...)`` in the form that `make_train_step` takes on these devices."""

    def compile_steps(self, train_step: TrainStep, steps: int, state: TrainState) -> Call:
        """Return ``(state, batches, key) -> (state, metrics)`` for states placed like this one; see `Call`."""

    def whole(self, tree: Any) -> Any:
        """Return a placed state, or metrics, as arrays of their own shapes; see `joint`."""

    def jit(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile ``function(variables, batch, key) -> arrays [b, ...]`` for `whole` variables."""


DEVICES: dict[str, Callable[[tuple[jax.Device, ...]], Devices]] = {"pmap": Pmap, "fsdp": Fsdp}


def create(parallelism: str, devices: Sequence[jax.Device] | None = None) -> Devices:
    """Return the devices, by default all of all processes, in the way that ``training.parallelism`` names.

    With "pmap" each device holds the whole state, with "fsdp" they share it. The devices come in the order of their
    processes, because the parts of a batch do so.

    Raises:
      ValueError: the name is not known.
    """
    if parallelism not in DEVICES:
        raise ValueError(f"training.parallelism is {parallelism!r}; allowed are {', '.join(DEVICES)}")
    by_process = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return DEVICES[parallelism](tuple(devices or by_process))


def on_host() -> contextlib.AbstractContextManager:
    """Return a context in which arrays are made in the host's memory: no single device may have room for a state."""
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # JAX_PLATFORMS names the accelerator alone
        return contextlib.nullcontext()


def check_batch_size(batch_size: int, micro_batches: int = 1) -> None:
    """Raise ValueError unless the global batch divides evenly over all devices of all processes and micro-batches."""
    devices = jax.device_count()
    parts = devices * micro_batches
    if batch_size < 1 or batch_size % parts:
        mend = max(parts, batch_size // parts * parts)
        times = f" times training.accumulate {micro_batches}" if micro_batches > 1 else ""
        raise ValueError(
            f"training.batch_size is {batch_size}, not a multiple of the {devices} devices{times}; try {mend}"
        )
