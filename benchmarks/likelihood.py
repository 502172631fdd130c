"""Log-likelihood on the device in one forward-mode pass, against a host loop of separate drift and divergence calls.

python -m benchmarks.likelihood --config=configs/vp/digits.py --workdir=runs/digits --tolerance=1e-5

All solve the same ODE by Dormand-Prince 5(4) with SciPy's step control, at the same tolerances with the same probes:

  host loop             baseline, as in the 2021 code: SciPy's RK45 in t from t_min to 1 over the batch flattened to one
                        float64 vector; each evaluation is a compiled drift call and a compiled call of its divergence
                        by reverse mode, and a way to the host and back
  forward, queue        metrics.likelihood: one jvp gives both; each example has its own steps, `batch_size` of them
                        at a time, a finished one making room for the next of `queue` batches
  forward, per sample   the same a batch at a time, which lasts as long as its slowest example

and with --reverse

  reverse, per sample   the drift, then a vjp for the divergence (XLA may share their forward passes)

`evaluations` times `seconds_per_evaluation` of an image is its time, so a ratio of times is the product of the ratios
of those two. The log-densities of host loop and queue must agree to what their steps may err at the tolerance, and the
divergences of both modes at one time. Nats of untrained networks need not agree closely: their flow is rough, and what
rounding changes in a step's length grows along it. Compare trained ones.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate

from benchmarks.common import experiment_of, parser, record, speedups, spread, timed_in_turn
from data.source import take
from experiment.progress import waiting
from metrics.likelihood import log_likelihood
from models.materialize import network_jit
from samplers.adaptive import EVALUATIONS_TO_START, STAGES, solve_each
from samplers.ode import draw_probes
from sde_lib import AffineSDE
from sde_lib.base import expand

BASELINE, QUEUE, BATCH, REVERSE = "host loop", "forward, queue", "forward, per sample", "reverse, per sample"
MARGIN = 4.0  # errors of early steps grow along the flow


def forward(velocity: Callable, t: jax.Array, x: jax.Array, probe: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Velocity [b, ...] and probe . J probe [b] in one forward-mode pass."""
    v, along = jax.jvp(lambda x: velocity(x, t), (x,), (probe,))
    return v, jnp.sum((probe * along).reshape(len(x), -1), axis=1)


def reverse(velocity: Callable, t: jax.Array, x: jax.Array, probe: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same from two calls: the velocity, and the gradient of probe . velocity."""
    gradient = jax.grad(lambda x: jnp.sum(probe * velocity(x, t)))(x)
    return velocity(x, t), jnp.sum((probe * gradient).reshape(len(x), -1), axis=1)


def solve_reverse(
    velocity: Callable, x: jax.Array, probes: jax.Array, sde: AffineSDE, tolerance: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """End points, integrated divergence [b] and evaluations [b], the divergence by reverse mode.

    In u = t^p, as `solve_flow` does, so that the contenders differ in what their names say and nothing else.
    """
    power = 1.0 / sde.noise_exponent

    def in_u(u: jax.Array, state: tuple[jax.Array, jax.Array], probe: jax.Array) -> tuple[jax.Array, jax.Array]:
        moved, change = reverse(velocity, u**power, state[0], probe)
        stretch = power * u ** (power - 1.0)
        return expand(stretch, moved) * moved, stretch * change

    start, limits = sde.t_min**sde.noise_exponent, {"rtol": tolerance, "atol": tolerance, "max_steps": 4096}
    solution = solve_each(in_u, (x, jnp.zeros(len(x), x.dtype)), probes, start, 1.0, slots=len(x), **limits)
    return *solution.y, solution.steps * STAGES + EVALUATIONS_TO_START


def host_loop(
    velocity: Callable, sde: AffineSDE, x: jax.Array, probes: jax.Array, tolerance: float
) -> Callable[[], tuple[np.ndarray, int]]:
    """The baseline as a function of nothing: nats [b] and evaluations of the batch. ``velocity(x, t)``, jitted here."""
    n, shape = len(x), x.shape
    drift = network_jit(velocity)
    divergence = network_jit(
        lambda x, t: jnp.sum((probes * jax.grad(lambda x: jnp.sum(probes * velocity(x, t)))(x)).reshape(n, -1), axis=1)
    )

    def field(t: float, state: np.ndarray) -> np.ndarray:
        point, time = jnp.asarray(state[:-n].reshape(shape), x.dtype), jnp.asarray(t, x.dtype)
        moved, change = drift(point, time), divergence(point, time)
        return np.concatenate([np.asarray(a, np.float64).ravel() for a in (moved, change)])

    def run() -> tuple[np.ndarray, int]:
        state = np.concatenate([np.asarray(x, np.float64).ravel(), np.zeros(n)])
        found = scipy.integrate.solve_ivp(field, (sde.t_min, 1.0), state, rtol=tolerance, atol=tolerance, method="RK45")
        if not found.success:
            raise RuntimeError(f"host loop: {found.message}")
        end = jnp.asarray(found.y[:-n, -1].reshape(shape), x.dtype)
        return np.asarray(sde.prior_log_prob(end)) + found.y[-n:, -1], found.nfev

    return run


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run, print, write the JSON and return it."""
    flags = parser(__doc__.splitlines()[0], batch_size=8)
    flags.add_argument("--tolerance", type=float, default=1e-5, help="relative and absolute")
    flags.add_argument("--queue", type=int, default=4, help="batches in the queue, of which one is in flight")
    flags.add_argument("--reverse", action="store_true", help="also the divergence by reverse mode on the device")
    options = flags.parse_args(arguments)
    experiment, variables, weights = experiment_of(options)
    sde, tolerance = experiment.process(variables), options.tolerance
    size, total = options.batch_size, options.batch_size * options.queue
    images = take(experiment.source.test, np.arange(total) % len(experiment.source.test))["image"]
    dequantize, probe_keys = (jax.random.split(jax.random.key(i), total) for i in (1, 2))
    everything = jnp.asarray(experiment.codec.encode(images, dequantize))
    x, probes = everything[:size], draw_probes(probe_keys, everything)[:size, 0]

    def own(variables: dict, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        predict = experiment.predict_fn(variables)
        keys = probe_keys[: len(x)]
        result = log_likelihood(sde, predict, x, keys, slots=size, rtol=tolerance, atol=tolerance)
        return result.nats, result.evaluations

    def velocity_of(variables: dict) -> Callable[[jax.Array, jax.Array], jax.Array]:
        """``(x [b, ...], t) -> velocity``, at one time for all or at one each."""
        predict = experiment.predict_fn(variables)

        def velocity(x: jax.Array, t: jax.Array) -> jax.Array:
            x0, eps, _ = predict(x, jnp.broadcast_to(t, len(x)))
            return sde.velocity(x0, eps, t)

        return velocity

    def by_reverse_mode(variables: dict, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        end, delta, spent = solve_reverse(velocity_of(variables), x, probes, sde, tolerance)
        return sde.prior_log_prob(end) + delta, spent

    @jax.jit
    def fields(variables: dict, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        velocity, t = velocity_of(variables), jnp.full((), 0.5, x.dtype)
        return forward(velocity, t, x, probes)[1], reverse(velocity, t, x, probes)[1]

    def check_fields(variables: dict, x: jax.Array) -> float:
        one, other = (np.asarray(divergence) for divergence in fields(variables, x))
        difference = float(np.abs(one - other).max() / np.abs(other).max())
        if not difference < 1e-3:
            raise RuntimeError(f"forward and reverse mode disagree: divergences {one} and {other}")
        return difference

    baseline = host_loop(velocity_of(variables), sde, x, probes, tolerance)
    batch, queue = (network_jit(own) for _ in range(2))
    functions = {BASELINE: baseline, QUEUE: lambda: queue(variables, everything), BATCH: lambda: batch(variables, x)}
    if options.reverse:
        compiled = network_jit(by_reverse_mode)
        functions[REVERSE] = lambda: compiled(variables, x)
    results = {}
    for name, run in functions.items():
        with waiting(f"compiling and solving, {name}"):
            results[name] = jax.device_get(run())
    nats = {name: np.asarray(values, np.float64)[:size] for name, (values, _) in results.items()}
    apart = check_nats(nats, results[BASELINE][1], x, sde, tolerance)
    divergences = check_fields(variables, x)
    seconds = timed_in_turn(functions, options.repeats)
    images_of = {name: total if name == QUEUE else size for name in functions}
    rows = {}
    for name, values in seconds.items():
        each, spent = float(np.median(values)) / images_of[name], float(np.mean(results[name][1]))
        rows[name] = {
            "seconds_per_image": each,
            "evaluations_mean": spent,
            "evaluations_max": int(np.max(results[name][1])),
            "seconds_per_evaluation": each / spent,
            "nats_mean": float(nats[name].mean()),
            "seconds": spread(values),
        }
    base = rows[BASELINE]
    for name in rows.keys() - {BASELINE}:
        rows[name]["times_fewer_evaluations"] = base["evaluations_mean"] / rows[name]["evaluations_mean"]
        cost = rows[name]["seconds_per_evaluation"]
        rows[name]["times_cheaper_evaluation_of_an_image"] = base["seconds_per_evaluation"] / cost
    rows[QUEUE] |= {"largest_difference_in_nats": apart, "largest_relative_divergence_difference": divergences}
    return record("likelihood", options, weights, BASELINE, rows, speedups(seconds, BASELINE, images_of))


def check_nats(nats: dict[str, np.ndarray], evaluations: int, x: jax.Array, sde: AffineSDE, tolerance: float) -> float:
    """The largest difference between queue and host loop; RuntimeError where both methods' steps cannot explain it.

    A step may err by tolerance (1 + |integral|); there are two solutions of about as many steps.
    """
    change = float(np.abs(nats[BASELINE]).max()) + float(jnp.abs(sde.prior_log_prob(x)).max())
    allowed = MARGIN * 2.0 * evaluations / STAGES * tolerance * (1.0 + change)
    apart = float(np.abs(nats[QUEUE] - nats[BASELINE]).max())
    if not apart <= allowed:
        raise RuntimeError(
            f"queue and host loop differ by {apart:.2g} nats, at this tolerance allowed is {allowed:.2g}"
        )
    return apart


if __name__ == "__main__":
    main()
