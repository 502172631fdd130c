"""Devices that share one state (fully sharded data parallelism), for models that are too large for each of them.

Every device keeps 1/n of every large leaf of the weights, their average and Adam's two moments (ZeRO stage 3:
Rajbhandari et al. 2020, arXiv:1910.02054), and `jit` over a mesh makes the step that one device would run into one of
all (GSPMD: Xu et al. 2021, arXiv:2105.04663): its batch is the global one, of which each device holds its examples.

Left to itself XLA takes the cut of a kernel for a wish to cut channels: a small NCSN++ over eight devices then gathered
29 MB a step, which were mostly activations, where its large weights are 2.1 MB. So the weights are gathered before the
network, as in ZeRO, and their gradients are summed and cut again behind it. Within the network nothing is prescribed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from models.materialize import network_jit
from training.draws import AXIS, with_places
from training.examples import Batch
from training.programs import Call, gradient_of, several_steps
from training.state import TrainState
from training.step import Gradient, TrainStep

SMALL = 2**14  # a leaf of fewer numbers is not cut: nobody would notice what that saves


@dataclass(frozen=True)
class Fsdp:
    """The devices share one state, of which each holds a part.

    Between steps each of n devices needs 16 / n bytes a parameter. Within a step it also needs 4 for the gathered
    weights, which stay until the backward pass has used them, and up to 4 for the part of the gradient that is not yet
    cut.
    """

    devices: tuple[jax.Device, ...]
    axis_size = 1
    joint = True

    def sharding(self, shape: tuple[int, ...]) -> NamedSharding:
        """Return how a leaf lies: cut along its largest axis that the devices divide; small ones whole."""
        axes = [i for i, length in enumerate(shape) if length % len(self.devices) == 0 and np.prod(shape) >= SMALL]
        return self._along(max(axes, key=lambda i: (shape[i], i), default=None))

    def place(self, state: TrainState) -> TrainState:
        """Give each device its part of every leaf; all processes have the whole leaves in their own memory."""

        def place(leaf: Any) -> Array:
            held = np.asarray(leaf)
            return jax.make_array_from_callback(held.shape, self.sharding(held.shape), lambda part: held[part].copy())

        return jax.tree.map(place, state)

    def split(self, batch: Batch, micro_batches: int = 1) -> Batch:
        """Make global arrays [steps, micro-batches, b / both, ...] of which each device holds its own examples."""

        def split(array: np.ndarray) -> Array:
            cut = array.reshape(len(array), micro_batches, -1, *array.shape[2:])
            return jax.make_array_from_process_local_data(self._along(2), cut)

        return jax.tree.map(split, with_places(batch))

    def spread(self, losses: Callable[..., Any]) -> Callable[..., Any]:
        """Return the losses ``(variables, batch, ...)`` with the weights gathered and the axis of the examples cut."""
        return lambda variables, batch, *rest: losses(jax.tree.map(self._gather, variables), self._cut(batch), *rest)

    def compile_steps(self, train_step: TrainStep, steps: int, state: TrainState) -> Call:
        """Return ``(state, batches, key) -> (state, metrics)``, each of the metrics [k] of k steps."""
        lies: Any = jax.tree.map(lambda leaf: self.sharding(leaf.shape), state)
        whole: Any = self._along()
        kinds = {"state": lies, "batches": self._along(2), "metrics": whole, "whole": whole}
        kinds |= {
            gradient_of(i): Gradient(whole, phase.trained(lies), whole) for i, phase in enumerate(train_step.phases)
        }

        def compile_(function: Callable[..., Any], takes: Sequence[str], gives: Sequence[str]) -> Any:
            given, found = (tuple(kinds[kind] for kind in which) for which in (takes, gives))
            donated = (0,) if takes[0] in gives else ()
            return network_jit(function, in_shardings=given, out_shardings=found, donate_argnums=donated)

        return several_steps(train_step, steps, compile_)

    def whole(self, tree: Any) -> Any:
        """Return the same tree: to a program that all processes run a global array is an ordinary one."""
        return tree

    def jit(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile ``(variables, batch, key) -> [b, ...]``: the examples are cut where possible, the result is whole.

        The batch consists of the same NumPy arrays in every process.
        """

        def run(variables: dict, batch: Any, key_data: Array) -> Any:
            return self._cut(self.spread(function)(variables, batch, jax.random.wrap_key_data(key_data)))

        call = network_jit(run, out_shardings=self._along())
        return lambda variables, batch, key: call(variables, batch, np.asarray(jax.random.key_data(key)))

    def _along(self, axis: int | None = None) -> NamedSharding:
        """Return the sharding that cuts one axis, or none."""
        spec = PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, AXIS)
        return NamedSharding(Mesh(np.array(self.devices), (AXIS,)), spec)

    def _gather(self, leaf: Array) -> Array:
        """Return the leaf whole on every device; the sum of the devices' gradients is cut as the leaf was."""

        def whole(leaf: Array) -> Array:
            return jax.lax.with_sharding_constraint(leaf, self._along())

        def summed(_: None, gradient: Array) -> tuple[Array]:
            return (jax.lax.with_sharding_constraint(gradient, self.sharding(gradient.shape)),)

        gathered = jax.custom_vjp(whole)
        gathered.defvjp(lambda leaf: (whole(leaf), None), summed)
        return gathered(leaf)

    def _cut(self, tree: Any) -> Any:
        """Cut arrays [b, ...] over their examples where the devices divide them."""

        def cut(array: Array) -> Array:
            divided = array.ndim and array.shape[0] % len(self.devices) == 0
            return jax.lax.with_sharding_constraint(array, self._along(0)) if divided else array

        return jax.tree.map(cut, tree)
