"""Devices of which each holds a copy of the whole state: `jax.pmap` with averaged gradients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from models.materialize import network_jit
from training.draws import AXIS, with_places
from training.examples import Batch
from training.programs import Call, several_steps
from training.state import TrainState
from training.step import TrainStep


@dataclass(frozen=True)
class Pmap:
    """`training.devices.Devices` that hold a copy of the state each, and their share of the batch.

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
            steps, _, *rest = array.shape
            return np.ascontiguousarray(np.moveaxis(array.reshape(steps, micro_batches, n, -1, *rest), 2, 0))

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
