"""What a training step costs beyond its gradient, and what pmap and several steps a call change.

python -m benchmarks.train_step --config=configs/vp/digits.py --batch_size=128

Baseline: loss and gradient of the whole batch on one device, no dropout, no optimiser, no moving average. Against it
the whole step: under plain jit on one device, and under pmap over all local devices, one step a call and several.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import experiment_of, parser, record, speedups, spread, timed_in_turn
from data.source import take
from training import optimizer, parallel
from training.objective import Objective
from training.state import TrainState
from training.step import batch_losses, make_train_step

BASELINE = "gradient alone"


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run, print, write the JSON and return it."""
    flags = parser(__doc__.splitlines()[0], batch_size=128)
    flags.add_argument("--steps_per_call", type=int, default=2, help="of the contender with several (CPU unrolls them)")
    options = flags.parse_args(arguments)
    parallel.check_batch_size(options.batch_size)
    over = parallel.create("pmap")
    experiment, variables, weights = experiment_of(options)
    config, k, devices = experiment.config, options.steps_per_call, jax.local_device_count()
    objective = Objective(experiment.sde, reduce_mean=config.training.reduce_mean)
    adam = optimizer.create(**config.optim)
    key = jax.random.key(1)
    index = np.arange(k * options.batch_size) % len(experiment.source.train)
    examples = take(experiment.source.train, index)
    batches = {
        name: examples[name].reshape(k, options.batch_size, *examples[name].shape[1:])
        for name in experiment.batch_fields
    }

    def losses_over(axis_size: int):
        return batch_losses(
            objective,
            experiment.network,
            experiment.scaler,
            prediction=config.model.prediction,
            noise_label=config.model.noise_label,
            random_flips=config.data.random_flip,
            num_classes=experiment.num_classes,
            label_dropout=config.training.label_dropout,
            axis_size=axis_size,
        )

    def train_step(axis_size: int):
        ema = partial(optimizer.ema_decay, config.model.ema_rate, warmup=config.model.ema_warmup)
        return make_train_step(losses_over(axis_size), adam, ema=ema, axis_size=axis_size)

    def mean_loss(params: dict, batch: dict) -> jax.Array:
        return jnp.mean(losses_over(1)({"params": params, "fixed": variables["fixed"]}, batch, key, False))

    gradient, first = jax.jit(jax.value_and_grad(mean_loss)), {name: jnp.asarray(a[0]) for name, a in batches.items()}

    def stepping(run, state, batch):
        """A call that goes on from the state of the one before: the state is donated."""
        held = [state]

        def call():
            held[0], metrics = run(held[0], batch, key)
            return held[0], metrics

        return call

    def new_state() -> TrainState:
        return TrainState.create(jax.tree.map(jnp.array, variables), adam)

    def pmapped(steps: int):
        state = new_state()
        run = over.compile_steps(train_step(devices), steps, state)
        return stepping(run, over.place(state), over.split({name: a[:steps] for name, a in batches.items()}, steps))

    contenders = {
        BASELINE: lambda: gradient(variables["params"], first),
        "jit": stepping(jax.jit(train_step(1), donate_argnums=0), new_state(), first),
        "pmap": pmapped(1),
        f"pmap, {k} steps a call": pmapped(k),
    }
    steps = {name: k if name.endswith("a call") else 1 for name in contenders}
    seconds = timed_in_turn(contenders, options.repeats)
    rows = {}
    for name, values in seconds.items():
        rate = steps[name] / float(np.median(values))
        rows[name] = {
            "steps_per_second": rate,
            "images_per_second": rate * options.batch_size,
            "seconds_per_step": spread(np.array(values) / steps[name]),
        }
    return record("train_step", options, weights, BASELINE, rows, speedups(seconds, BASELINE, steps))


if __name__ == "__main__":
    main()
