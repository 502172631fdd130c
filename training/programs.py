"""Several training steps as one call of the devices, and the programs that the call runs.

On GPU and TPU a call is one program, which is a `lax.scan` over its steps. On CPU a step is two programs, its gradient
and its update, which a call runs in turn. XLA's gradients of kernels are 25 to 100 times slower there inside any loop,
even inside one of a single turn, and the time to compile a program or to load a compiled one grows with the square of
its length, so that two programs start sooner than one.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from experiment.processes import one_at_a_time
from models.materialize import compiler_options
from training.examples import Batch
from training.state import TrainState
from training.step import Gradient, Metrics, TrainStep

Call = Callable[[TrainState, Batch, Key[Array, ""]], tuple[TrainState, list[Metrics]]]
"""A call donates the state that it is given. Its metrics are a list of entries, [..., k] each, of k steps in a row."""

Compile = Callable[[Callable[..., Any], Sequence[str], Sequence[str]], Any]
"""``(function, takes, gives)`` is jitted or pmapped over a run's devices; the first argument is donated to its like.

How each argument and each result lies there follows from its kind: "state", "gradient", "batches", "metrics", "whole".
"""


def several_steps(train_step: TrainStep, steps: int, compile_: Compile) -> Call:
    """Return ``(state, batches, key) -> (state, metrics)`` for batches [steps, micro-batches, b, ...].

    It is compiled at its first call. The gradients of a step's micro-batches are added up before its update.
    """
    return _in_turn(train_step, steps, compile_) if _on_cpu() else _scanned(train_step, compile_)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _sum(a: Gradient, b: Gradient) -> Gradient:
    return jax.tree.map(jnp.add, a, b)


def _scanned(train_step: TrainStep, compile_: Compile) -> Call:
    def scan(state: TrainState, batches: Batch, key_data: Array) -> tuple[TrainState, Metrics]:
        key = jax.random.wrap_key_data(key_data)

        def step(state: TrainState, micro_batches: Batch) -> tuple[TrainState, Metrics]:
            def gradient(batch: Batch) -> Gradient:
                return train_step.gradient(state, batch, key)

            total = gradient({name: array[0] for name, array in micro_batches.items()})
            if train_step.micro_batches > 1:
                rest = {name: array[1:] for name, array in micro_batches.items()}
                total, _ = jax.lax.scan(lambda total, batch: (_sum(total, gradient(batch)), None), total, rest)
            return train_step.update(state, total)

        return jax.lax.scan(step, state, batches)

    run = compile_(scan, ("state", "batches", "whole"), ("state", "metrics"))

    def call(state: TrainState, batches: Batch, key: Key[Array, ""]) -> tuple[TrainState, list[Metrics]]:
        state, metrics = run(state, batches, np.asarray(jax.random.key_data(key)))
        return state, [metrics]

    return call


def _in_turn(train_step: TrainStep, steps: int, compile_: Compile) -> Call:
    def gradient(state: TrainState, batches: Batch, i: Int[Array, " 2"], key_data: Array) -> tuple[Gradient]:
        batch = {name: array[i[0], i[1]] for name, array in batches.items()}
        return (train_step.gradient(state, batch, jax.random.wrap_key_data(key_data)),)

    def update(state: TrainState, gradient: Gradient) -> tuple[TrainState, Metrics]:
        state, metrics = train_step.update(state, gradient)
        return state, jax.tree.map(lambda value: value[None], metrics)

    differentiate = compile_(gradient, ("state", "batches", "whole", "whole"), ("gradient",))
    add = compile_(lambda a, b: (_sum(a, b),), ("gradient", "gradient"), ("gradient",))
    move = compile_(update, ("state", "gradient"), ("state", "metrics"))

    def prepare(*arguments: Any) -> tuple[Any, Any]:
        """Compile both side by side, with the options that pmap itself does not take.

        With several processes both stay as they are: what a pmap lowers to takes global shapes, which none of them has.
        """
        if jax.process_count() > 1:
            return differentiate, move
        options, lowered = compiler_options(), differentiate.lower(*arguments)
        with ThreadPoolExecutor(1) as other:
            first = other.submit(lowered.compile, compiler_options=options)
            second = move.lower(arguments[0], *lowered.out_info).compile(compiler_options=options)
            return first.result(), second

    programs: list[Any] = []

    def call(state: TrainState, batches: Batch, key: Key[Array, ""]) -> tuple[TrainState, list[Metrics]]:
        key_data, metrics = np.asarray(jax.random.key_data(key)), []
        for i in range(steps):
            total: tuple[Gradient, ...] = ()
            for m in range(train_step.micro_batches):
                arguments = state, batches, np.array([i, m], np.int32), key_data
                if not programs:
                    programs.extend(prepare(*arguments))
                found = programs[0](*arguments)
                total = add(*total, *found) if total else found
                if one_at_a_time():
                    jax.block_until_ready(total)
            state, values = programs[1](state, *total)
            metrics.append(values)
            if one_at_a_time() and i + 1 < steps:
                jax.block_until_ready(values)
        return state, metrics

    return call
