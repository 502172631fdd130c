"""Several optimisation steps as one call of the devices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from training.state import TrainState
from training.step import Batch, TrainStep


def several(
    train_step: TrainStep, steps: int
) -> Callable[[TrainState, Batch, Array], tuple[TrainState, dict[str, Array]]]:
    """``(state, arrays [steps, b, ...], a key's data) -> (state, metrics [steps])``.

    One ``lax.scan`` on GPU and TPU. On CPU the steps follow one another: XLA's kernel gradients are 25 to 100 times
    slower inside any loop, even one of a single turn.
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

    return run
