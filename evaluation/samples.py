"""Samples of a checkpoint, in rounds on disk, and a grid of them for eyes."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from evaluation import ingredients
from evaluation.devices import on_devices, on_each, one_ahead
from evaluation.rounds import Rounds
from experiment import Experiment, Failure
from experiment.captions import facts_of, file_name
from experiment.pictures import save_array, save_samples
from experiment.processes import barrier, is_leader
from experiment.progress import waiting
from experiment.sampling import sampler
from experiment.workdir import Workdir, set_aside
from models.materialize import network_jit

GRID_SAMPLES = 100


class Drawn(NamedTuple):
    """What one call of a compiled sampler gave: encoded x [b, ...], evaluations [b], seconds without compiling.

    The seconds are from the call, or the end of the call before where that was later, to the host's seeing the samples
    on the device: those of all calls add up to the time they took, whatever the host did meanwhile.
    """

    x: np.ndarray
    evaluations: np.ndarray
    seconds: float


class Drawer:
    """The sampler of one method, compiled once: batch i of a key is the same whoever draws it."""

    def __init__(self, experiment: Experiment, variables: dict, method: str, batch_size: int):
        self.variables, self.method = on_each(variables, batch_size), method
        shape, sde = (batch_size, *experiment.source.shape), experiment.process(variables)
        self._start = jax.jit(lambda key: experiment.sde.prior_sample(key, shape))
        self._sampler = network_jit(lambda v, key, z, labels: sampler(experiment, v, method, sde, labels)(key, z))
        self._labels = lambda i: experiment.labels(i * batch_size, batch_size)
        self._remedy = experiment.settings_of(method).remedy
        self._compiled, self._free = None, 0.0

    def draw(self, key: jax.Array, i: int) -> Drawn:
        """Batch i."""
        return self.fetch(self.start(key, i))

    def start(self, key: jax.Array, i: int) -> tuple[float, Any]:
        """Begin batch i, for `fetch`; the host need not wait for it, and the next may begin before it is fetched."""
        key_prior, key_path = jax.random.split(jax.random.fold_in(key, i))
        z = on_devices(self._start(key_prior))
        arguments = self.variables, key_path, z, jax.tree.map(on_devices, self._labels(i))
        if self._compiled is None:
            with waiting(f"compiling {self.method}"):
                self._compiled = self._sampler.lower(*arguments).compile()
        return time.perf_counter(), self._compiled(*arguments)

    def fetch(self, started: tuple[float, Any]) -> Drawn:
        """The batch begun, in the order of the beginnings.

        Raises:
          Failure: a sample that is not finite.
        """
        began, out = started
        jax.block_until_ready(out)
        ended = time.perf_counter()
        seconds, self._free = ended - max(began, self._free), ended
        x = np.asarray(out.x)
        if not np.isfinite(x).all():
            raise Failure(f"samples of {self.method} are not finite; {self._remedy}")
        return Drawn(x, np.asarray(out.evaluations), seconds)


def draw_rounds(
    experiment: Experiment, variables: dict, method: str, key: jax.Array, folder: Path, about: dict[str, Any]
) -> Rounds:
    """`eval.num_samples` decoded samples in rounds of `eval.batch_size`; those that are there are not drawn again.

    A round holds samples [b, ...] (grey levels as uint8), evaluations [b] and seconds [b], the time of the whole round.
    A round is fetched, decoded and written while the devices draw the next.
    `about` says which weights these are. Returns when every process has done its share.

    Raises:
      Failure: a sample that is not finite.
    """
    config = experiment.config.eval
    known = {**about, **ingredients.of_sampler(experiment.settings_of(method)), **ingredients.of_key(key)}
    size = min(config.batch_size, config.num_samples)
    rounds = Rounds(folder, known, config.num_samples, size)
    missing = rounds.missing()
    drawer = Drawer(experiment, variables, method, size)
    with rounds.progress(missing, method) as progress:
        for i, started in one_ahead(lambda i: drawer.start(key, i), missing):
            drawn = drawer.fetch(started)
            rounds.write(
                i,
                samples=experiment.scaler.decode(drawn.x)[: rounds.real(i)],
                evaluations=drawn.evaluations[: rounds.real(i)],
                seconds=np.full(rounds.real(i), drawn.seconds),
            )
            progress.update(rounds.real(i))
    barrier("samples")
    return rounds


def draw_grid(experiment: Experiment, workdir: Workdir, step: int, variables: dict) -> str:
    """Draw 100 samples with ``sampling.method``, `eval.batch_size` at once, into a picture and an array beside it.

    Returns the picture's path. The names hold the step, the method and the seed, and class and guidance where they were
    chosen; earlier files are set aside. Both files say how the samples were drawn (`experiment.captions`). The array
    also holds the evaluations and, where there are classes, the label of each sample.
    """
    method, seed = experiment.settings.method, experiment.config.eval.seed
    size = min(GRID_SAMPLES, experiment.config.eval.batch_size)
    drawer = Drawer(experiment, variables, method, size)
    parts, batches = [], -(-GRID_SAMPLES // size)
    for i in tqdm(range(batches), desc=method, unit="batch", disable=batches == 1 or not is_leader()):
        started = drawer.start(jax.random.key(seed), i)
        with waiting(f"drawing {size} samples with {method}"):
            parts.append(drawer.fetch(started))
    x, spent = (np.concatenate([getattr(part, name) for part in parts])[:GRID_SAMPLES] for name in ("x", "evaluations"))
    name = file_name(f"{method}_step_{step}_seed_{seed}", experiment)
    picture = workdir.path / "samples" / f"{name}.png"
    if is_leader():
        averaged = experiment.config.eval.ema
        facts = facts_of(experiment, method, step=step, seed=seed, evaluations=spent.mean(), averaged=averaged)
        labels = experiment.labels(0, GRID_SAMPLES)
        each = {"evaluations_each": spent} | ({} if labels is None else {"labels": labels})
        save_samples(set_aside(picture), x, experiment.scaler, facts)
        array = set_aside(picture.with_suffix(".npz"))
        save_array(array, facts, samples=experiment.scaler.decode(x), **each)
    barrier("grid")
    seconds = sum(part.seconds for part in parts)
    print(f"{len(x)} samples of {method}, {spent.mean():.0f} evaluations each, {seconds:.1f} s")
    return str(picture)
