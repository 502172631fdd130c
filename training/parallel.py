"""A train step on all devices: `pmap` with averaged gradients, several steps a call, the state donated."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from training.draws import AXIS
from training.state import TrainState
from training.step import Batch, TrainStep


def replicate(tree: Any) -> Any:
    """A copy of every leaf on each local device: leading axis [local devices]."""
    n = jax.local_device_count()
    return jax.pmap(lambda tree: tree, axis_name=AXIS)(
        jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf), (n, *np.shape(leaf))), tree)
    )


def unreplicate(tree: Any) -> Any:
    """The first local device's copy, taken from that device alone: indexing would run a program on all of them."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0)[0], tree)


def split_batch(batch: Batch, steps: int) -> Batch:
    """Arrays [steps, b, ...] of this process -> [local devices, steps, b / devices, ...]."""
    n = jax.local_device_count()

    def split(array: np.ndarray) -> np.ndarray:
        shape = (steps, n, array.shape[1] // n, *array.shape[2:])
        return np.ascontiguousarray(np.moveaxis(array.reshape(shape), 1, 0))

    return jax.tree.map(split, batch)


def compile_steps(
    train_step: TrainStep, steps: int
) -> Callable[[TrainState, Batch, Array], tuple[TrainState, dict[str, Array]]]:
    """``(replicated state, arrays [devices, steps, b, ...], key) -> (state, metrics [devices, steps])``.

    The state is donated.

    The steps of a call are one ``lax.scan`` on GPU and TPU. On CPU they follow one another: XLA's kernel gradients are
    25 to 100 times slower inside any loop, even one of a single turn.
    """

    def run(state: TrainState, batches: Batch, key_data: Array) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.wrap_key_data(key_data)
        if jax.default_backend() != "cpu":
            return jax.lax.scan(lambda state, batch: train_step(state, batch, key), state, batches)
        metrics = []
        for i in range(steps):
            state, values = train_step(state, {name: array[i] for name, array in batches.items()}, key)
            metrics.append(values)
        return state, jax.tree.map(lambda *values: jnp.stack(values), *metrics)

    call = jax.pmap(run, axis_name=AXIS, in_axes=(0, 0, None), donate_argnums=(0,))
    return lambda state, batches, key: call(state, batches, jax.random.key_data(key))


def check_batch_size(batch_size: int) -> None:
    """ValueError unless the global batch divides evenly over all devices of all processes."""
    devices = jax.device_count()
    if batch_size < 1 or batch_size % devices:
        mend = max(devices, batch_size // devices * devices)
        raise ValueError(f"training.batch_size is {batch_size}, not a multiple of the {devices} devices; try {mend}")


def host_mean(values: Array) -> np.ndarray:
    """Per-step metrics of the first device as float64; all devices hold the same averages."""
    return np.asarray(values.addressable_data(0)[0], np.float64)
