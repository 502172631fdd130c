"""Several training steps as one call of the devices, and the programs that the call runs.

On GPU and TPU a call is one program, which is a `lax.scan` over its steps. On CPU each phase of a step is two programs,
its gradient and its update, which a call runs in turn. XLA's gradients of kernels are 25 to 100 times slower there
inside any loop, even inside one of a single turn, and the time to compile a program or to load a compiled one grows
with the square of its length, so that two programs start sooner than one.
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
from training.step import Gradient, Metrics, Phase, TrainStep

Call = Callable[[TrainState, Batch, Key[Array, ""]], tuple[TrainState, list[Metrics]]]
"""A call donates the state that it is given. Its metrics are a list of entries, [..., k] each, of k steps in a row."""

Compile = Callable[[Callable[..., Any], Sequence[str], Sequence[str]], Any]
"""``(function, takes, gives)`` is jitted or pmapped over a run's devices; the first argument is donated to its like.

How each argument and each result lies there follows from its kind: "state", "batches", "metrics", "whole", or the
`gradient_of` a phase.
"""


def gradient_of(phase: int) -> str:
    """Return the kind of the gradient of a step's phase number 0, 1, ..."""
    return f"gradient {phase}"


def several_steps(train_step: TrainStep, steps: int, compile_: Compile) -> Call:
    """Return ``(state, batches, key) -> (state, metrics)`` for batches [steps, micro-batches, b, ...].

    It is compiled at its first call. The gradients of a phase's micro-batches are added up before its update.
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
            metrics: Metrics = {}
            for phase in train_step.phases:
                state, found = phase.update(state, total(phase, state, micro_batches))
                metrics |= found
            return state, metrics

        def total(phase: Phase, state: TrainState, micro_batches: Batch) -> Gradient:
            def gradient(batch: Batch) -> Gradient:
                return phase.gradient(state, batch, key)

            first = gradient({name: array[0] for name, array in micro_batches.items()})
            if train_step.micro_batches == 1:
                return first
            rest = {name: array[1:] for name, array in micro_batches.items()}
            return jax.lax.scan(lambda found, batch: (_sum(found, gradient(batch)), None), first, rest)[0]

        return jax.lax.scan(step, state, batches)

    run = compile_(scan, ("state", "batches", "whole"), ("state", "metrics"))

    def call(state: TrainState, batches: Batch, key: Key[Array, ""]) -> tuple[TrainState, list[Metrics]]:
        state, metrics = run(state, batches, np.asarray(jax.random.key_data(key)))
        return state, [metrics]

    return call


def _in_turn(train_step: TrainStep, steps: int, compile_: Compile) -> Call:
    phases = [_InTurn(phase, compile_, gradient_of(i)) for i, phase in enumerate(train_step.phases)]

    def call(state: TrainState, batches: Batch, key: Key[Array, ""]) -> tuple[TrainState, list[Metrics]]:
        key_data, metrics = np.asarray(jax.random.key_data(key)), []
        for i in range(steps):
            found: Metrics = {}
            for phase in phases:
                total: tuple[Gradient, ...] = ()
                for m in range(train_step.micro_batches):
                    arguments = state, batches, np.array([i, m], np.int32), key_data
                    phase.prepare(*arguments)
                    given = phase.differentiate(*arguments)
                    total = phase.add(*total, *given) if total else given
                    if one_at_a_time():
                        jax.block_until_ready(total)
                state, values = phase.move(state, *total)
                found |= values
                if one_at_a_time() and (phase is not phases[-1] or i + 1 < steps):
                    jax.block_until_ready(values)
            metrics.append(found)
        return state, metrics

    return call


class _InTurn:
    """The programs of a phase: its gradient, the sum of two gradients, and its update."""

    def __init__(self, phase: Phase, compile_: Compile, kind: str):
        def gradient(state: TrainState, batches: Batch, i: Int[Array, " 2"], key_data: Array) -> tuple[Gradient]:
            batch = {name: array[i[0], i[1]] for name, array in batches.items()}
            return (phase.gradient(state, batch, jax.random.wrap_key_data(key_data)),)

        def update(state: TrainState, gradient: Gradient) -> tuple[TrainState, Metrics]:
            state, metrics = phase.update(state, gradient)
            return state, jax.tree.map(lambda value: value[None], metrics)

        self.differentiate = compile_(gradient, ("state", "batches", "whole", "whole"), (kind,))
        self.add = compile_(lambda a, b: (_sum(a, b),), (kind, kind), (kind,))
        self.move = compile_(update, ("state", kind), ("state", "metrics"))
        self._prepared = False

    def prepare(self, *arguments: Any) -> None:
        """Compile the gradient and the update side by side, once, with the options that pmap itself does not take.

        With several processes both stay as they are: what a pmap lowers to takes global shapes, which none of them has.
        """
        if self._prepared or jax.process_count() > 1:
            return
        options, lowered = compiler_options(), self.differentiate.lower(*arguments)
        with ThreadPoolExecutor(1) as other:
            first = other.submit(lowered.compile, compiler_options=options)
            self.move = self.move.lower(arguments[0], *lowered.out_info).compile(compiler_options=options)
            self.differentiate = first.result()
        self._prepared = True
