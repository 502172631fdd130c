"""The state cut over the devices (FSDP), for models whose weights, average and moments are too many for each of them.

Every device keeps 1/n of every large leaf of the weights, their average and Adam's two moments (ZeRO stage 3:
Rajbhandari et al. 2020, arXiv:1910.02054), and `jit` over a mesh makes the step that one device would run into one of
all (GSPMD: Xu et al. 2021, arXiv:2105.04663): its batch is the global one, each device holding its examples.

Left to itself XLA takes the cut of a kernel for a wish to cut channels: a small NCSN++ over eight devices then gathered
29 MB a step, activations mostly, where its large weights are 2.1 MB. So before the network the weights are gathered,
as in ZeRO, and behind it their gradients are summed and cut again. Inside it nothing is said.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from models.materialize import network_jit
from training.calls import Call, several
from training.draws import AXIS
from training.state import TrainState
from training.step import Batch, Gradient, TrainStep

SMALL = 2**14  # numbers; cutting a leaf of fewer saves nothing that one would notice


@dataclass(frozen=True)
class Sharded:
    """`Devices` that share one state.

    Between steps a device needs 16 / n bytes a parameter; within one also the gathered weights, 4, and what is not yet
    cut of the gradient, up to 4. The weights are gathered once a step and stay until the backward pass has used them.
    """

    devices: tuple[jax.Device, ...]
    axis_size = 1
    joint = True

    def sharding(self, shape: tuple[int, ...]) -> NamedSharding:
        """How a leaf of the state lies: cut along its largest axis that the devices divide; whole if small or none."""
        n = len(self.devices)
        axes = [i for i, length in enumerate(shape) if length % n == 0]
        if not axes or np.prod(shape) < SMALL:
            return self._along()
        return self._along(max(axes, key=lambda i: (shape[i], i)))

    def place(self, state: TrainState) -> TrainState:
        """Each device's part of every leaf, which all processes have whole in their own memory."""

        def place(leaf: Any) -> Array:
            held = np.asarray(leaf)
            return jax.make_array_from_callback(held.shape, self.sharding(held.shape), lambda part: held[part].copy())

        return jax.tree.map(place, state)

    def split(self, batch: Batch, steps: int) -> Batch:
        """Arrays [steps, b, ...] of this process -> global arrays, every device holding its own examples."""
        return jax.tree.map(lambda array: jax.make_array_from_process_local_data(self._along(1), array), batch)

    def spread(self, losses: Callable[..., Any]) -> Callable[..., Any]:
        """The losses with the weights gathered and the examples' axis cut; ``(variables, batch, ...)`` as before."""

        def spread(variables: dict, batch: Any, *rest: Any) -> Any:
            return losses(jax.tree.map(self._gather, variables), self._cut(batch), *rest)

        return spread

    def compile_steps(self, train_step: TrainStep, steps: int, state: TrainState) -> Call:
        """``(state, batches, key) -> (state, metrics [k] of k steps each)``; the state is donated, lying as before."""
        lies, whole = jax.tree.map(lambda leaf: self.sharding(leaf.shape), state), self._along()
        kinds = {
            "state": lies,
            "gradient": Gradient(whole, lies.params, lies.history),
            "batches": self._along(1),
            "metrics": whole,
            "whole": whole,
        }

        def compile_(function: Callable[..., Any], takes: Sequence[str], gives: Sequence[str]) -> Any:
            return network_jit(
                function,
                in_shardings=tuple(kinds[kind] for kind in takes),
                out_shardings=tuple(kinds[kind] for kind in gives),
                donate_argnums=(0,) if "state" in gives else (),
            )

        return several(train_step, steps, compile_)

    def whole(self, tree: Any) -> Any:
        """The same: global arrays are ordinary ones, to programs that all processes run."""
        return tree

    def jit(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``(variables, batch, key) -> [b, ...]``, the examples cut where the devices divide them, the result whole.

        The batch is the same NumPy arrays in every process.
        """

        def run(variables: dict, batch: Any, key_data: Array) -> Any:
            return self._cut(self.spread(function)(variables, batch, jax.random.wrap_key_data(key_data)))

        call = network_jit(run, out_shardings=self._along())
        return lambda variables, batch, key: call(variables, batch, np.asarray(jax.random.key_data(key)))

    def _along(self, axis: int | None = None) -> NamedSharding:
        """Cut along one axis, or whole on every device."""
        spec = () if axis is None else (*[None] * axis, AXIS)
        return NamedSharding(Mesh(np.array(self.devices), (AXIS,)), PartitionSpec(*spec))

    def _gather(self, leaf: Array) -> Array:
        """The leaf whole on every device; its gradient, which every device has a part of, summed and cut like it."""

        def whole(leaf: Array) -> Array:
            return jax.lax.with_sharding_constraint(leaf, self._along())

        def summed(_: None, gradient: Array) -> tuple[Array]:
            return (jax.lax.with_sharding_constraint(gradient, self.sharding(gradient.shape)),)

        gathered = jax.custom_vjp(whole)
        gathered.defvjp(lambda leaf: (whole(leaf), None), summed)
        return gathered(leaf)

    def _cut(self, tree: Any) -> Any:
        """Arrays [b, ...] cut over their examples where the devices divide them."""

        def cut(array: Array) -> Array:
            divided = array.ndim and array.shape[0] % len(self.devices) == 0
            return jax.lax.with_sharding_constraint(array, self._along(0)) if divided else array

        return jax.tree.map(cut, tree)
