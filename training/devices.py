"""The devices of a run, in the two ways in which they hold its state: each of them all of it, or together one."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from models.materialize import network_jit
from training.draws import AXIS, with_places
from training.examples import Batch
from training.fsdp import Fsdp
from training.programs import Call, several_steps
from training.state import TrainState
from training.step import TrainStep


@dataclass(frozen=True)
class Pmap:
    """Each device holds a copy of the state and its share of the batch: `jax.pmap` with averaged gradients.

    A device needs room for 16 bytes a parameter (weights, average, two moments) and for the gradient.
    """

    devices: tuple[jax.Device, ...]
    joint = False

    @property
    def axis_size(self) -> int:
        """Every device computes the losses of its share, and all average their gradients."""
        return len(self.devices)

    def place(self, state: TrainState) -> TrainState:
        """Put a copy of every leaf on each local device, along a leading axis [local devices]."""
        held = self._local()
        lies = NamedSharding(Mesh(np.array(held), (AXIS,)), PartitionSpec(AXIS))
        copies = jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf), (len(held), *np.shape(leaf))), state)
        return jax.device_put(copies, lies)

    def split(self, batch: Batch, micro_batches: int = 1) -> Batch:
        """Cut arrays [steps, b, ...] of this process into [local devices, steps, micro-batches, b / both, ...]."""
        n = len(self._local())

        def split(array: np.ndarray) -> np.ndarray:
            cut = array.reshape(len(array), micro_batches, n, -1, *array.shape[2:])
            return np.ascontiguousarray(np.moveaxis(cut, 2, 0))

        return jax.tree.map(split, with_places(batch))

    def spread(self, losses: Callable[..., Any]) -> Callable[..., Any]:
        """Return the losses as they are, since each device has its own weights and examples."""
        return losses

    def compile_steps(self, train_step: TrainStep, steps: int, state: TrainState) -> Call:
        """Return ``(state, batches, key) -> (state, metrics)``, each of the metrics [local devices, k] of k steps."""

        def compile_(function: Callable[..., Any], takes: Sequence[str], gives: Sequence[str]) -> Any:
            axes = tuple(None if kind == "whole" else 0 for kind in takes)
            donated = (0,) if takes[0] in gives else ()
            return jax.pmap(function, axis_name=AXIS, in_axes=axes, donate_argnums=donated, devices=self.devices)

        return several_steps(train_step, steps, compile_)

    def whole(self, tree: Any) -> Any:
        """Return the first local device's copy, from that device alone: indexing would run a program on all."""
        return jax.tree.map(lambda leaf: leaf.addressable_data(0)[0], tree)

    def jit(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile the function for the first local device."""
        return network_jit(function)

    def _local(self) -> list[jax.Device]:
        return [device for device in self.devices if device.process_index == jax.process_index()]


Devices = Pmap | Fsdp
"""The devices know where a run's state, its batches and its programs lie on them.

A state that leaves the devices has no trace of their number: any other devices may continue the run. `axis_size` is how
many devices compute their own losses, as `batch_scores` and `make_train_step` are told; where they are `joint`, every
process has to take part in what is computed with a `whole` state.
"""

DEVICES: dict[str, type[Devices]] = {"pmap": Pmap, "fsdp": Fsdp}


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
