"""Log-likelihood: drift and divergence in one forward-mode pass, against a network call and a reverse-mode one.

python -m benchmarks.likelihood --config=configs/vp/digits.py --batch_size=8

All solve the same ODE, by Dormand-Prince 5(4) at the same tolerances with the same probes, on the device:

  forward, per sample   evaluation.likelihood: one jvp gives both; each example has its own steps
  reverse, per sample   baseline: the drift, then a vjp for the divergence (XLA may share their forward passes)
  forward, whole batch  one jvp; one error norm over the batch, so one step size for all (as published)
  reverse, whole batch  a drift call and a vjp (as published, but on the device)

The divergences of both modes are checked against each other at one time. The nats of untrained networks need not agree
closely: their flow is rough, and what rounding changes in a step's length grows along it. Compare trained ones.
"""

from collections.abc import Callable, Sequence

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import experiment_of, parser, record, speedups, spread, timed_in_turn
from data.source import take
from evaluation.likelihood import log_likelihood
from samplers.ode import EVALUATIONS_PER_STEP, EVALUATIONS_TO_START, FIRST_STEP, draw_probes
from sde_lib import AffineSDE

BASELINE = "reverse, per sample"


def forward(velocity: Callable, t: jax.Array, x: jax.Array, probe: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Velocity [b, ...] and probe . J probe [b] in one forward-mode pass."""
    v, along = jax.jvp(lambda x: velocity(x, t), (x,), (probe,))
    return v, jnp.sum((probe * along).reshape(len(x), -1), axis=1)


def reverse(velocity: Callable, t: jax.Array, x: jax.Array, probe: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same from two calls: the velocity, and the gradient of probe . velocity."""
    gradient = jax.grad(lambda x: jnp.sum(probe * velocity(x, t)))(x)
    return velocity(x, t), jnp.sum((probe * gradient).reshape(len(x), -1), axis=1)


def solve(field: Callable, x: jax.Array, sde: AffineSDE, tolerance: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """End points, integrated divergence [b] and evaluations of one batch under one error norm.

    In u = t^p, as `solve_flow` does, so that the contenders differ in what their names say and nothing else.
    """
    power = 1.0 / sde.noise_exponent

    def in_u(u: jax.Array, state: tuple[jax.Array, jax.Array], _: None) -> tuple[jax.Array, jax.Array]:
        u = jnp.asarray(u, x.dtype)
        return jax.tree.map(lambda d: power * u ** (power - 1.0) * d, field(u**power, state[0]))

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(in_u),
        diffrax.Dopri5(),
        t0=sde.t_min**sde.noise_exponent,
        t1=1.0,
        dt0=FIRST_STEP,
        y0=(x, jnp.zeros(len(x), x.dtype)),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        adjoint=diffrax.ForwardMode(),
    )
    end, delta = jax.tree.map(lambda a: a[0], solution.ys)
    return end, delta, solution.stats["num_steps"] * EVALUATIONS_PER_STEP + EVALUATIONS_TO_START


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run, print, write the JSON and return it."""
    flags = parser(__doc__.splitlines()[0], batch_size=8)
    flags.add_argument("--tolerance", type=float, default=1e-3, help="relative and absolute")
    options = flags.parse_args(arguments)
    experiment, variables, weights = experiment_of(options)
    sde, tolerance = experiment.process(variables), options.tolerance
    images = take(experiment.source.test, np.arange(options.batch_size) % len(experiment.source.test))["image"]
    dequantize, probe_keys = (jax.random.split(jax.random.key(i), options.batch_size) for i in (1, 2))
    x = jnp.asarray(experiment.scaler.encode(images, dequantize))
    probes = draw_probes(probe_keys, x)[:, 0]

    def own(variables: dict, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        score = experiment.score_fn(variables)
        result = log_likelihood(sde, score, x, probe_keys, rtol=tolerance, atol=tolerance)
        return result.nats, result.evaluations

    def alternative(divergence: Callable, per_sample: bool) -> Callable:
        def run(variables: dict, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            score = experiment.score_fn(variables)

            def velocity(x: jax.Array, t: jax.Array) -> jax.Array:
                return sde.flow_velocity(x, t, score(x, jnp.full(len(x), t, x.dtype)))

            def one(x: jax.Array, probe: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
                return solve(lambda t, x: divergence(velocity, t, x, probe), x, sde, tolerance)

            if per_sample:
                end, delta, spent = jax.vmap(one)(x[:, None], probes[:, None])
                end, delta = end[:, 0], delta[:, 0]
            else:
                end, delta, spent = one(x, probes)
            return sde.prior_log_prob(end) + delta, spent

        return run

    @jax.jit
    def fields(variables: dict, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        score, t = experiment.score_fn(variables), jnp.full((), 0.5, x.dtype)
        velocity = lambda x, t: sde.flow_velocity(x, t, score(x, jnp.full(len(x), t, x.dtype)))  # noqa: E731
        return forward(velocity, t, x, probes)[1], reverse(velocity, t, x, probes)[1]

    def check_fields(variables: dict, x: jax.Array) -> float:
        one, other = (np.asarray(divergence) for divergence in fields(variables, x))
        difference = float(np.abs(one - other).max() / np.abs(other).max())
        if not difference < 1e-3:
            raise RuntimeError(f"forward and reverse mode disagree: divergences {one} and {other}")
        return difference

    functions = {
        BASELINE: jax.jit(alternative(reverse, True)),
        "forward, per sample": jax.jit(own),
        "reverse, whole batch": jax.jit(alternative(reverse, False)),
        "forward, whole batch": jax.jit(alternative(forward, False)),
    }
    results = {name: jax.device_get(run(variables, x)) for name, run in functions.items()}
    nats = {name: np.asarray(values, np.float64) for name, (values, _) in results.items()}
    difference = check_fields(variables, x)
    seconds = timed_in_turn({name: lambda f=f: f(variables, x) for name, f in functions.items()}, options.repeats)
    rows = {
        name: {
            "seconds_per_image": float(np.median(values)) / options.batch_size,
            "evaluations_mean": float(np.mean(results[name][1])),
            "evaluations_max": int(np.max(results[name][1])),
            "nats_mean": float(nats[name].mean()),
            "seconds": spread(values),
        }
        for name, values in seconds.items()
    }
    rows["forward, per sample"]["largest_relative_divergence_difference"] = difference
    return record("likelihood", options, weights, BASELINE, rows, speedups(seconds, BASELINE))


if __name__ == "__main__":
    main()
