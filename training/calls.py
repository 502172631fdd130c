"""Several optimisation steps as one call of the devices.

On GPU and TPU a call is one program, a `lax.scan` over its steps. On CPU a step is two, its gradient and its update,
and a call runs them in turn: XLA's kernel gradients are 25 to 100 times slower inside any loop, even one of a single
turn, and the time that XLA needs to compile a program, and to load a kept one, grows with the square of its length.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from experiment.processes import one_at_a_time
from models.materialize import compiler_options
from training.state import TrainState
from training.step import Batch, Gradient, Metrics, TrainStep

Call = Callable[[TrainState, Batch, Key[Array, ""]], tuple[TrainState, list[Metrics]]]
"""The state is donated; metrics [..., k] of k steps each, one after another."""

Compile = Callable[[Callable[..., Any], Sequence[str], Sequence[str]], Any]
"""``(function, takes, gives)``: jitted or pmapped over a run's devices; a state is donated where one is given back.

How each argument and result lies there is said by its kind: "state", "gradient", "batches", "metrics" or "whole".
"""


def several(train_step: TrainStep, steps: int, compile_: Compile) -> Call:
    """``(state, batches [steps, b, ...], key) -> (state, metrics)``; compiled at the first call."""
    return _in_turn(train_step, steps, compile_) if _on_cpu() else _scanned(train_step, compile_)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _at_first_call(jitted: list[Any], prepare: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """``(*arguments) -> programs``, prepared for the first arguments; of several processes as they are jitted.

    What a pmap lowers to takes global shapes, which no process has.
    """
    ready: list[Any] = []

    def programs(*arguments: Any) -> list[Any]:
        if not ready:
            ready.extend(jitted if jax.process_count() > 1 else prepare(*arguments))
        return ready

    return programs


def _scanned(train_step: TrainStep, compile_: Compile) -> Call:
    def scan(state: TrainState, batches: Batch, key_data: Array) -> tuple[TrainState, Metrics]:
        key = jax.random.wrap_key_data(key_data)
        return jax.lax.scan(lambda state, batch: train_step(state, batch, key), state, batches)

    jitted = compile_(scan, ("state", "batches", "whole"), ("state", "metrics"))

    programs = _at_first_call([jitted], lambda *arguments: [jitted.lower(*arguments).compile()])

    def call(state: TrainState, batches: Batch, key: Key[Array, ""]) -> tuple[TrainState, list[Metrics]]:
        arguments = state, batches, np.asarray(jax.random.key_data(key))
        (run,) = programs(*arguments)
        state, metrics = run(*arguments)
        return state, [metrics]

    return call


def _in_turn(train_step: TrainStep, steps: int, compile_: Compile) -> Call:
    def gradient(state: TrainState, batches: Batch, i: Int[Array, ""], key_data: Array) -> tuple[Gradient]:
        batch = {name: array[i] for name, array in batches.items()}
        return (train_step.gradient(state, batch, jax.random.wrap_key_data(key_data)),)

    def update(state: TrainState, gradient: Gradient) -> tuple[TrainState, Metrics]:
        state, metrics = train_step.update(state, gradient)
        return state, jax.tree.map(lambda value: value[None], metrics)

    jitted = [
        compile_(gradient, ("state", "batches", "whole", "whole"), ("gradient",)),
        compile_(update, ("state", "gradient"), ("state", "metrics")),
    ]

    def prepare(*arguments: Any) -> list[Any]:
        """Both, compiled side by side; pmap takes no options, what it lowers to does."""
        options, lowered = compiler_options(), jitted[0].lower(*arguments)
        with ThreadPoolExecutor(1) as other:
            first = other.submit(lowered.compile, compiler_options=options)
            second = jitted[1].lower(arguments[0], *lowered.out_info).compile(compiler_options=options)
            return [first.result(), second]

    programs = _at_first_call(jitted, prepare)

    def call(state: TrainState, batches: Batch, key: Key[Array, ""]) -> tuple[TrainState, list[Metrics]]:
        key_data, metrics = np.asarray(jax.random.key_data(key)), []
        for i in range(steps):
            arguments = state, batches, np.int32(i), key_data
            differentiate, move = programs(*arguments)
            found = differentiate(*arguments)
            if one_at_a_time():
                jax.block_until_ready(found)
            state, values = move(state, *found)
            metrics.append(values)
            if one_at_a_time() and i + 1 < steps:
                jax.block_until_ready(values)
        return state, metrics

    return call
