"""What guidance costs: a sampler's step guided by one pass of twice the batch, against the same step unguided.

python -m benchmarks.guidance --config=configs/vp/digits_classes.py

`times the unguided step` of the doubled pass is to be at most 2.1; two passes one after the other are beside it, and an
interval of noise levels, which costs twice the pass inside it alone.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

import samplers
from benchmarks.common import experiment_of, parser, record, speedups, spread, timed_in_turn
from samplers import grids
from samplers.guidance import autoguidance, classifier_free

BASELINE = "unguided"


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run, print, write the JSON and return it."""
    flags = parser(__doc__.splitlines()[0], batch_size=64)
    flags.set_defaults(config="configs/vp/digits_classes.py")
    flags.add_argument("--steps", type=int, default=10, help="grid steps")
    options = flags.parse_args(arguments)
    experiment, variables, weights = experiment_of(options)
    if not experiment.num_classes:
        raise ValueError(f"--config {options.config}: its network takes no classes (model.label_dim)")
    sde, key = experiment.process(variables), jax.random.key(1)
    z = sde.prior_sample(jax.random.key(2), (options.batch_size, *experiment.codec.shape))
    labels = jnp.arange(options.batch_size) % experiment.num_classes
    told = experiment.condition({"label": labels})
    none = experiment.conditioner.none(told)
    times = grids.create(sde, "log_snr", options.steps, experiment.settings.t_min)
    middle = float(sde.sigma(jnp.asarray(times[len(times) // 2])) / sde.alpha(jnp.asarray(times[len(times) // 2])))

    def score(variables: dict) -> Callable:
        return lambda x, t, condition: experiment.predict_fn(variables, condition=condition)(x, t)

    def alone(variables: dict, condition: dict) -> Callable:
        return lambda x, t: score(variables)(x, t, condition)

    def free(**interval: float) -> Callable[[dict], Callable]:
        return lambda variables: classifier_free(sde, score(variables), told, none, 2.0, **interval)

    guided = {
        BASELINE: lambda variables: alone(variables, told),
        "doubled pass": free(),
        "doubled pass, half the levels": free(high=middle),
        "two passes": lambda variables: autoguidance(sde, alone(variables, told), alone(variables, none), 2.0),
    }

    def drawn(follow: Callable[[dict], Callable]) -> Callable[[], jax.Array]:
        run = jax.jit(lambda variables, z: samplers.sample(samplers.ddim(sde, follow(variables)), key, z, times).x)
        return lambda: run(variables, z)

    contenders = {name: drawn(follow) for name, follow in guided.items()}
    difference = float(jnp.max(jnp.abs(contenders["doubled pass"]() - contenders["two passes"]())))
    if not difference < 1e-2:
        raise RuntimeError(f"one doubled pass and two passes disagree by {difference:.1e}")
    seconds = timed_in_turn(contenders, options.repeats)
    base = np.array(seconds[BASELINE])
    rows = {
        name: {"times_the_unguided_step": float(np.median(np.array(values) / base)), "seconds": spread(values)}
        for name, values in seconds.items()
    }
    return record("guidance", options, weights, BASELINE, rows, speedups(seconds, BASELINE))


if __name__ == "__main__":
    main()
