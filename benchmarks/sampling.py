"""A whole sampler in one compiled scan against a Python loop of compiled steps, and against its network calls alone.

python -m benchmarks.sampling --config=configs/vp/digits.py --method=euler_maruyama --steps=50

Scan and loop draw the same samples, which is checked. "bare network" is the jitted network call and nothing else, as
many times as the sampler evaluates it, on the same inputs, none waited for before the last is dispatched. A sampler's
`overhead` is its time over that of the same round, less 1: the median of the rounds. Data need not be there.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

import samplers
from benchmarks.common import experiment_of, parser, record, speedups, spread, timed_in_turn
from models.materialize import network_jit
from samplers import grids

BASELINE, SCAN, NETWORK = "python loop of jitted steps", "one scan", "bare network"


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run, print, write the JSON and return it."""
    flags = parser(__doc__.splitlines()[0], batch_size=16)
    flags.add_argument("--method", default="euler_maruyama", choices=tuple(samplers.PREDICTORS), help="the sampler")
    flags.add_argument("--steps", type=int, default=50, help="grid steps")
    options = flags.parse_args(arguments)
    experiment, variables, weights = experiment_of(options, needs_data=False)
    key = jax.random.key(1)
    sde = experiment.process(variables)
    z = sde.prior_sample(jax.random.key(2), (options.batch_size, *experiment.codec.shape))
    times = jnp.asarray(grids.create(sde, "uniform", options.steps, experiment.settings.t_min), z.dtype)
    told = experiment.condition(experiment.told(0, options.batch_size))

    def stepper(variables: dict) -> samplers.Stepper:
        return samplers.PREDICTORS[options.method](sde, experiment.predict_fn(variables, condition=told))

    @network_jit
    def scan(variables: dict, z: jax.Array) -> jax.Array:
        return samplers.sample(stepper(variables), key, z, times).x

    @network_jit
    def step(variables: dict, i: jax.Array, state: samplers.State, t: jax.Array, s: jax.Array) -> samplers.State:
        return stepper(variables).step(jax.random.fold_in(key, i), state, t, s)

    host_times = np.asarray(times)

    def loop() -> jax.Array:
        state = stepper(variables).init(z)
        for i in range(options.steps):
            state = step(variables, i, state, host_times[i], host_times[i + 1])
        return state.x

    evaluations = options.steps * stepper(variables).evaluations
    network = network_jit(experiment.network.apply, experiment.network.dtype)
    level = jnp.ones(options.batch_size, z.dtype)

    def bare() -> list[jax.Array]:
        return [network(variables, z, level, told) for _ in range(evaluations)]

    contenders = {BASELINE: loop, SCAN: lambda: scan(variables, z), NETWORK: bare}
    difference = float(jnp.max(jnp.abs(loop() - scan(variables, z))) / jnp.max(jnp.abs(loop())))
    if not difference < 1e-2:
        raise RuntimeError(f"scan and loop disagree by {difference:.1e} of the largest value")
    seconds = timed_in_turn(contenders, options.repeats)
    rows = {}
    for name, values in seconds.items():
        median = float(np.median(values))
        rows[name] = {
            "evaluations_per_second": evaluations / median,
            "images_per_second": options.batch_size / median,
            "milliseconds_per_evaluation": 1e3 * median / evaluations,
            "overhead": float(np.median(np.array(values) / np.array(seconds[NETWORK]) - 1.0)),
            "seconds": spread(values),
        }
    del rows[NETWORK]["overhead"]
    rows[SCAN]["largest_relative_difference"] = difference
    return record("sampling", options, weights, BASELINE, rows, speedups(seconds, BASELINE))


if __name__ == "__main__":
    main()
