"""A page of points in the plane: how they spread, the score that leads them back, and their ways."""

import jax
import jax.numpy as jnp
import numpy as np

from data.source import take
from experiment import Experiment, Run
from models.materialize import network_jit
from sde_lib import AffineSDE
from sde_lib.prediction import along
from visualize import methods, noising, payload
from visualize.paths import Walker
from visualize.size import fitting

REACH = 3.0
"""How many deviations of the noise the plane shows, beyond the farthest of the data."""
RULE = (
    "Coordinates are float32, as they were computed. An arrow points along the score at its tail; it grows with sigma "
    "times the score, up to the space between two arrows."
)
"""What the page says of its numbers."""


def shows(experiment: Experiment) -> bool:
    """Whether examples are points of the plane, noised by a Gaussian."""
    return not experiment.of_categories and experiment.source.shape == (2,) == experiment.codec.shape


def of_run(run: Run) -> payload.Payload:
    """The page's payload: points noised by three schedules with the score there, and the ways of several samplers.

    Coordinates are float32 as the processes and the samplers compute them. The score of another schedule than the
    run's is that of the same network, at the points that have the same noise (`sde_lib.prediction.along`).
    """
    experiment, asked = run.experiment, run.config.visualize
    settings = methods.chosen(experiment)
    of_points, of_arrows = 8 * asked.points, 8 * asked.arrows**2  # bytes: two float32 each
    each_state = 2 * of_points + of_arrows  # the state, the guess, and the score
    percents, states = fitting(asked, place=3 * (of_points + of_arrows), state=each_state * len(settings))
    walker = Walker(run, asked.points, states)
    paths = [walker.follow(each) for each in settings]
    records = experiment.source.test
    x0 = np.asarray(take(records, np.arange(min(asked.points, len(records))))["image"], np.float32)
    eps = np.asarray(payload.unit_noise(experiment, x0.shape))
    schedules = noising.gaussian_schedules(run.config, run.sde)
    farthest = float(np.quantile(np.abs(x0), 0.999)) * 1.1
    parts = []
    for schedule in schedules:
        found = noising.coefficients(schedule.process, percents / 100.0)
        half = _half(found, farthest)
        x = noising.noised(schedule.process, jnp.asarray(x0), jnp.asarray(eps), percents / 100.0)
        field = _field(run, schedule.process, percents / 100.0, half, asked.arrows)
        parts.append(payload.schedule_part(schedule, found, frames=x[:, None], half=half.tolist(), field=field))
    walked = []
    for path in paths:
        found = noising.coefficients(path.process, path.times)
        half = _half(found, farthest)
        field = _field(run, path.process, path.times, half, asked.arrows)
        ways = {"states": path.states[:, None].astype(np.float32), "guesses": path.guesses[:, None].astype(np.float32)}
        walked.append(payload.path_part(path, found, half=half.tolist(), field=field, **ways))
    return {
        **payload.header(run, "plane", 1, ["all points"], percents),
        "rule": RULE,
        "data": x0[None],
        "noise": None,
        "arrows": asked.arrows,
        "half_of_data": farthest,
        "schedules": parts,
        "starts": ["all points"],
        "paths": walked,
    }


def _half(found: noising.Coefficients, farthest: float) -> np.ndarray:
    """Half the side of the square that is shown at each time."""
    return np.hypot(found.alpha * farthest, REACH * found.sigma)


def lattice(arrows: int) -> np.ndarray:
    """The places of the arrows in the square from -1 to 1, [arrows^2, 2], row by row from below, float32."""
    side = ((np.arange(arrows) + 0.5) / arrows * 2.0 - 1.0).astype(np.float32)
    return np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)


def _field(run: Run, process: AffineSDE, times: np.ndarray, half: np.ndarray, arrows: int) -> np.ndarray:
    """The score along a process at the places of the arrows, at each time, [times, arrows^2, 2].

    In place of t = 0, where the score may have no bound, it is that at ``process.t_min``.
    """
    predict, experiment = along(process, run.prediction), run.experiment

    def score(x: jax.Array, t: jax.Array) -> jax.Array:
        return predict.score(x, jnp.full(len(x), t))

    ask, found = network_jit(score, experiment.network.dtype), []
    for t, h in zip(times, half, strict=True):
        found.append(np.asarray(ask(jnp.asarray(h * lattice(arrows), jnp.float32), jnp.float32(max(t, process.t_min)))))
    return np.nan_to_num(np.stack(found)).astype(np.float32)
