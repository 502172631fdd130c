"""What a run shows of its averaged weights on the way: the loss on the test set, a grid of samples, their FID.

An autoencoder shows images of the test set, each beside its reconstruction. One whose latents have a prior also shows
samples.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

import samplers
from conditions import marked
from data.pipeline import eval_batches
from data.source import take
from experiment import Experiment, made
from experiment.generators import prior_of
from experiment.pictures import facts_of, save_decoded
from experiment.processes import to_host
from experiment.progress import waiting
from experiment.sampling import sampler
from experiment.schedule import PREFIX
from experiment.workdir import Workdir
from sde_lib import AffineSDE
from training.best import Best, Measure
from training.devices import Devices
from training.losses.base import Loss
from training.preparation import fields_of, scores_of
from training.state import TrainState
from training.teacher import Teacher
from training.trackers import Trackers

SAMPLES = 64
COLUMNS = 8  # of a grid of reconstructions: four pairs a row


class Snapshots:
    """The evaluations that a run makes of itself; process 0 alone writes them down."""

    def __init__(
        self,
        experiment: Experiment,
        workdir: Workdir,
        loss: Loss,
        devices: Devices,
        measure: Measure | None,
        *,
        start: int,
        keys: tuple[jax.Array, jax.Array],
        teacher: Teacher | None = None,
    ):
        """Begin at the step `start`; the keys are those of the test set's noise and of the samples."""
        self._experiment, self._workdir, self._devices, self._measure = experiment, workdir, devices, measure
        self._fields = fields_of(experiment, loss)
        scores, (self._of_noise, self._of_samples) = scores_of(experiment, loss, 1, teacher), keys
        self._scores = devices.jit(lambda variables, batch, key: scores(variables, batch, key, False))
        self._compiled = functools.lru_cache(maxsize=1)(self._sampler_of)
        self._best = Best(workdir.path, measure.about, start) if measure else None

    @property
    def kept(self) -> list[int]:
        """The steps whose checkpoints must not be deleted: the archived ones, and that of the lowest FID."""
        return [*self._workdir.archived(), *(self._best.kept if self._best else ())]

    def take(
        self, step: int, placed: TrainState, told: Trackers | None, *, evaluate: bool, archive: bool, stopping: bool
    ) -> bool:
        """Show what is due of a state as it lies on the devices, and return whether anything was.

        `evaluate`: the test loss is due; `archive`: a checkpoint is kept for ever; `stopping`: a signal ends the run.
        """
        pictured = archive and self._experiment.config.training.snapshot_sampling and bool(self._pictures)
        measured = archive and self._measure is not None and not stopping
        takes_part = told is not None or self._devices.joint
        if not takes_part or not (evaluate or pictured or measured):
            return False
        variables = self._devices.whole({"params": placed.ema, "fixed": placed.fixed})
        if evaluate:
            others = {"teacher": placed.teacher, "perceptual": placed.perceptual}
            beside = {name: self._devices.whole(each) for name, each in others.items() if each is not None}
            with waiting("computing the loss on the test set"):
                means = self._test_means(variables | beside)
            if told:
                told.write(step, means)
        if pictured:
            for save in self._pictures:
                path = save(step, variables, writes=told is not None)
                if told:
                    told.picture(step, path)
        if measured and told and self._measure and self._best:
            fid = self._measure(to_host(variables))
            if fid is not None:
                told.write(step, {f"fid_{self._measure.about['samples']}": fid})
                lowest = self._best.add(step, fid)
                logging.info("step %d: FID %.4f%s", step, fid, ", the lowest so far" if lowest else "")
        return True

    @property
    def _pictures(self) -> list[Callable[..., Path]]:
        """What makes the pictures of a state: reconstructions of an autoencoder, samples of what draws them."""
        kinds = {self._save_reconstructions: self._experiment.compresses, self._save_samples: self._experiment.draws}
        return [save for save, suits in kinds.items() if suits]

    def _test_means(self, variables: dict[str, Any]) -> dict[str, float]:
        """The mean scores of the test set, with the same noise at every call."""
        experiment, test = self._experiment, self._experiment.encoded.test
        total: dict[str, float] = {}
        for i, batch in enumerate(eval_batches(test, batch_size=min(experiment.config.eval.batch_size, len(test)))):
            given = {name: batch[name] for name in self._fields}
            for name, values in self._scores(variables, given, jax.random.fold_in(self._of_noise, i)).items():
                kept = np.asarray(values, np.float64)[batch["counted"]]
                total[f"test_{name}"] = total.get(f"test_{name}", 0.0) + kept.sum()
        return {name: float(value / len(test)) for name, value in total.items()}

    def _save_reconstructions(self, step: int, variables: dict[str, Any], *, writes: bool) -> Path:
        """Write the first images of the test set, or else of the training set, each with its reconstruction behind it.

        They are those that the means of the posteriors give.
        """
        experiment = self._experiment
        codec, source = experiment.codec, experiment.source
        records = source.test if len(source.test) else source.train
        stored = take(records, np.arange(min(SAMPLES // 2, len(records))))[codec.field]
        with waiting(f"reconstructing {len(stored)} images"):
            x = np.asarray(self._reconstruct(variables, made.without_noise(codec, stored), self._of_samples))
        path = self._workdir.path / "samples" / f"reconstructions_{step:08d}.png"
        if writes:
            pairs = np.stack([stored, np.asarray(codec.decode(np.nan_to_num(x)))], axis=1)
            facts = {"dataset": experiment.config.data.dataset, "checkpoint": step, "weights": "average"}
            save_decoded(path, pairs.reshape(-1, *stored.shape[1:]), codec, facts, COLUMNS)
        return path

    @functools.cached_property
    def _reconstruct(self) -> Callable[..., Any]:
        """Compile ``(variables, x, key) -> reconstructions``; nothing is drawn by the key."""

        def reconstruct(variables: dict, x: jax.Array, key: jax.Array) -> jax.Array:
            return self._experiment.network.apply(variables, x, jnp.zeros(len(x)))

        return self._devices.jit(reconstruct)

    def _save_samples(self, step: int, variables: dict[str, Any], *, writes: bool) -> Path:
        """Write a grid of samples, and return where it lies."""
        experiment = self._experiment
        with waiting(f"drawing a grid of {SAMPLES} samples"):
            x, spent = self._draw(variables, jax.random.fold_in(self._of_samples, step))
        path = self._workdir.path / "samples" / f"step_{step:08d}.png"
        if writes:
            drawn = {"step": step, "seed": experiment.config.seed, "evaluations": spent}
            facts = facts_of(experiment, experiment.settings.method, **drawn)
            decoded = marked(np.asarray(experiment.codec.decode(np.nan_to_num(x))), experiment.present(0, len(x)))
            save_decoded(path, decoded, experiment.codec, facts, rate=experiment.source.rate)
        return path

    def _draw(self, variables: dict, key: jax.Array) -> tuple[np.ndarray, float]:
        """Return samples of the config's own sampler, `eval.batch_size` at once, and their mean evaluations."""
        experiment, size = self._experiment, min(SAMPLES, self._experiment.config.eval.batch_size)
        schedule = {name: value for name, value in variables["params"].items() if name.startswith(PREFIX)}
        draw = self._compiled(experiment.process({"params": to_host(schedule)}))  # a solver's tables are plain numbers
        parts = [
            draw(variables, experiment.told(i * size, size), jax.random.fold_in(key, i))
            for i in range(-(-SAMPLES // size))
        ]
        x, spent = (np.concatenate([np.asarray(part) for part in column]) for column in zip(*parts, strict=True))
        return x[:SAMPLES], float(spent[:SAMPLES].mean())

    def _sampler_of(self, sde: AffineSDE) -> Callable[[dict, Any, jax.Array], tuple[jax.Array, jax.Array]]:
        """Compile the sampler for one noise process: again at every picture where the noise schedule is learned."""
        experiment, n = self._experiment, min(SAMPLES, self._experiment.config.eval.batch_size)

        def draw(variables: dict, told: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            chosen = sampler(experiment, variables, experiment.settings.method, sde, told)
            if experiment.generates:
                key_prior, key_path = jax.random.split(key)
                drawn = chosen(key_path, prior_of(experiment, experiment.settings.method)(key_prior, n))
            else:
                drawn = samplers.draw(chosen, sde, key, (n, *experiment.codec.shape))
            return drawn.x, drawn.evaluations

        return self._devices.jit(draw)
