"""Reflow: pairs of noise and data that a teacher's flow joins, drawn once before training and kept in the run's folder.

A flow that is trained on them goes straighter (Liu et al. 2022, arXiv:2209.03003, sec. 2.1). The folder is there whole
or not at all, and is used again only where all that the pairs depend on is the same (`about`). Pair j is a function of
the seed and j alone, whatever number of devices and processes draws it; the arrays lie on the disk and are mapped into
memory. They are records like any other, so that a run over them is resumed exactly.
"""

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import samplers
from data import Arrays, Source
from experiment import Experiment, mapped
from experiment.errors import Failure
from experiment.sampling import Drawer, key_of
from experiment.workdir import Workdir
from training.examples import NOISE
from training.teacher import Teacher

FOLDER = "reflow"


def check(experiment: Experiment, teacher: Teacher) -> None:
    """Refuse, with a ValueError, a teacher or a sampler of it that cannot give the pairs of a training."""
    settings = _settings(experiment)
    samplers.create(teacher.experiment.sde, lambda x, t: x, settings)
    missing = set(experiment.conditioner.fields).difference(teacher.experiment.told(0, 1))
    if missing:
        raise ValueError(
            f"training.coupling is 'reflow', the network is told of {', '.join(sorted(missing))}, and the run in "
            f"training.teacher ({experiment.config.training.teacher!r}) draws samples without; take one that is told "
            "the same, or a network without (model.label_dim=0)"
        )


def about(experiment: Experiment, teacher: Teacher) -> dict[str, Any]:
    """Return all that the pairs depend on, as JSON: the teacher, how its flow is followed, the seed, and how many."""
    settings, config = _settings(experiment), teacher.experiment.config
    found = {
        "weights": teacher.digest,
        "model": config.model.to_dict(),
        "sde": config.sde.to_dict(),
        "sampler": {"method": settings.method, **settings.used()},
        "seed": experiment.config.seed,
        "train": experiment.config.training.reflow_pairs,
        "test": len(experiment.encoded.test),
    }
    return json.loads(json.dumps(found))


def source(experiment: Experiment, teacher: Teacher, workdir: Workdir) -> Source:
    """Return the pairs in place of the experiment's data: x in the codec's field, the noise, and what is told of them.

    Behind ``training.reflow_pairs`` of them there are as many to test with as the data set has. They are drawn where
    the run's folder does not hold them.

    Raises:
      Failure: a sample of the teacher is not finite.
    """
    wanted = about(experiment, teacher)
    total = wanted["train"] + wanted["test"]
    pairs = mapped.arrays(workdir.path / FOLDER, wanted, total, lambda: _batches(experiment, teacher, total))
    train, test = (
        Arrays({name: array[rows] for name, array in pairs.items()})
        for rows in (slice(0, wanted["train"]), slice(wanted["train"], None))
    )
    return dataclasses.replace(experiment.encoded, train=train, test=test)


def _settings(experiment: Experiment) -> samplers.Settings:
    config = experiment.config.training
    return samplers.Settings(method=config.reflow_sampler, evaluations=config.reflow_evaluations)


def _batches(experiment: Experiment, teacher: Teacher, total: int) -> mapped.Batches:
    """Return the batches of pairs."""
    config, shape = experiment.config.training, experiment.codec.shape
    drawing = dataclasses.replace(teacher.experiment, settings=_settings(experiment))
    size = config.batch_size // jax.process_count()
    drawer = Drawer(drawing, teacher.variables, config.reflow_sampler, size)
    sde, key = drawing.process(teacher.variables), key_of(experiment.config.seed, FOLDER)

    @jax.jit
    def noise(places: jax.Array) -> jax.Array:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, places)
        return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)

    def pairs(own: int) -> dict[str, np.ndarray]:
        eps, told = noise(own + jnp.arange(size)), drawing.told(own, size)
        _, drawn = drawer.follow(key, sde.prior_std * eps, told=told)
        batch = {experiment.codec.field: np.asarray(drawn.x), NOISE: np.asarray(eps), **told}
        if not np.isfinite(batch[experiment.codec.field]).all():
            raise Failure(
                f"samples of training.teacher by {config.reflow_sampler} are not finite; raise "
                "training.reflow_evaluations, or take another training.reflow_sampler"
            )
        return batch

    return mapped.batches(total, size, "pairs of the teacher's flow", pairs)
