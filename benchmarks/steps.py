"""Our training step in the forms that are timed, as `training.loop` builds it from a config."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiment import Experiment
from models.materialize import network_jit
from training import devices
from training.preparation import loss_of, optimizers_of, scores_of
from training.state import TrainState
from training.step import TrainStep, make_train_step

KEY = 1


@dataclass(frozen=True)
class Steps:
    """The steps of an experiment that begins with these variables, with batches of `size` examples."""

    experiment: Experiment
    variables: dict[str, Any]
    size: int

    def scores(self, parts: int) -> Callable[..., jax.Array]:
        """``(variables, batch, key, train, state) -> scores`` [b] by name."""
        return scores_of(self.experiment, loss_of(self.experiment), parts)

    def gradient(self, batch: dict[str, np.ndarray]) -> Callable[[], Any]:
        """Loss and gradient on one device: no dropout, no optimiser, no moving average."""

        def mean_loss(params: dict, batch: dict) -> jax.Array:
            variables = {"params": params, "fixed": self.variables["fixed"]}
            return jnp.mean(self.scores(1)(variables, batch, jax.random.key(KEY), False)["loss"])

        run = network_jit(jax.value_and_grad(mean_loss))
        batch = jax.device_put(batch)
        return lambda: run(self.variables["params"], batch)

    def plain(self, batch: dict[str, np.ndarray]) -> tuple[Callable[[], Any], int]:
        """A step under jit on one device, compiled here; and the bytes it needs, by the compiler's account."""
        state, batch, key = self._state(), jax.device_put(batch), jax.random.key(KEY)
        step = network_jit(self._train_step(1), donate_argnums=0)
        run = step.lower(state, batch, key).compile()
        needs = run.memory_analysis()
        held = needs.argument_size_in_bytes + needs.output_size_in_bytes - needs.alias_size_in_bytes
        call = _keeping(lambda state, batch: run(state, batch, key), state)
        return lambda: call(batch), held + needs.temp_size_in_bytes

    def pmapped(self, steps: int) -> Callable[[dict[str, np.ndarray]], Any]:
        """The call of the training loop: host batches [steps, b, ...] in, metrics out, over all local devices."""
        over, state = devices.create("pmap"), self._state()
        run = over.compile_steps(self._train_step(over.axis_size), steps, state)
        return _keeping(lambda state, batches: run(state, over.split(batches), jax.random.key(KEY)), over.place(state))

    def _train_step(self, axis_size: int) -> TrainStep:
        adam, ema = optimizers_of(self.experiment, self.size)
        options = {"ema": ema, "nan_to_num": self.experiment.config.training.nan_to_num, "axis_size": axis_size}
        return make_train_step(self.scores(axis_size), adam, **options)

    def _state(self) -> TrainState:
        state = loss_of(self.experiment).init()
        adam, _ = optimizers_of(self.experiment, self.size)
        return TrainState.create(jax.tree.map(jnp.array, self.variables), adam, state)


def _keeping(run: Callable, state: TrainState) -> Callable:
    """A call that goes on from the state of the one before, which is donated to it."""
    held = [state]

    def call(batch: dict) -> Any:
        held[0], metrics = run(held[0], batch)
        return metrics

    return call
