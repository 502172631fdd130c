"""The grid of samples that a run draws of its averaged weights."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import samplers
from experiment import Experiment
from experiment.processes import to_host
from experiment.sampling import sampler
from experiment.schedule import PREFIX
from sde_lib import AffineSDE
from training.devices import Devices

SAMPLES = 64


def make_draw(experiment: Experiment, devices: Devices) -> Callable[[dict, jax.Array], tuple[np.ndarray, float]]:
    """Return ``(variables, key) -> samples, evaluations`` of the config's own sampler; `eval.batch_size` at once.

    The evaluations are the mean over the samples. The sampler is compiled once for each noise process: again at every
    picture where the noise schedule is learned.
    """
    size = min(SAMPLES, experiment.config.eval.batch_size)

    @functools.lru_cache(maxsize=1)
    def compiled(sde: AffineSDE) -> Callable[[dict, Any, jax.Array], tuple[jax.Array, jax.Array]]:
        def draw(variables: dict, told: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            drawn = samplers.draw(
                sampler(experiment, variables, experiment.settings.method, sde, told),
                sde,
                key,
                (size, *experiment.codec.shape),
            )
            return drawn.x, drawn.evaluations

        return devices.jit(draw)

    def grid(variables: dict, key: jax.Array) -> tuple[np.ndarray, float]:
        schedule = {name: value for name, value in variables["params"].items() if name.startswith(PREFIX)}
        draw = compiled(experiment.process({"params": to_host(schedule)}))  # a solver's tables are of plain numbers
        parts = [
            draw(variables, experiment.told(i * size, size), jax.random.fold_in(key, i))
            for i in range(-(-SAMPLES // size))
        ]
        x, spent = (np.concatenate([np.asarray(part) for part in column]) for column in zip(*parts, strict=True))
        return x[:SAMPLES], float(spent[:SAMPLES].mean())

    return grid
