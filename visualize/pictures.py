"""A page of pictures: images, and all other data that `experiment.showing` draws as pictures."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from experiment import Experiment, Run
from experiment.showing import MODALITIES
from visualize import methods, noising, payload, tiles
from visualize.paths import Walker
from visualize.size import fitting
from visualize.tiles import Frames


def shows(experiment: Experiment) -> bool:
    """Whether the data are noised by a Gaussian, and have pictures."""
    return not experiment.of_categories and MODALITIES[experiment.codec.pictures.modality].panels is not None


def of_run(run: Run) -> payload.Payload:
    """The page's payload: pictures noised by three schedules, and the ways of several samplers."""
    experiment, asked = run.experiment, run.config.visualize
    settings = methods.chosen(experiment)
    size = asked.count * tiles.bytes_each(experiment, asked.side)
    percents, states = fitting(asked, place=3 * size, state=2 * size * len(settings))
    walker = Walker(run, asked.count, states)
    paths = [walker.follow(each) for each in settings]
    x0, labels, records = _data(experiment, asked.count, paths[0].states[-1])
    eps = np.asarray(payload.unit_noise(experiment, x0.shape))
    schedules = noising.gaussian_schedules(run.config, run.sde)
    said = [noising.coefficients(each.process, percents / 100.0) for each in schedules]
    along = [noising.coefficients(path.process, path.times) for path in paths]
    frames = [Frames(x0[None], np.ones(1), records)]
    for schedule, (alpha, sigma, _) in zip(schedules, said, strict=True):
        x = noising.noised(schedule.process, jnp.asarray(x0), jnp.asarray(eps), percents / 100.0)
        frames.append(Frames(x, tiles.spread(alpha, sigma), records))
    for path, (alpha, sigma, _) in zip(paths, along, strict=True):
        frames.append(Frames(path.states, tiles.spread(alpha, sigma), walker.told))
        frames.append(Frames(path.guesses, np.ones(len(path.times)), walker.told))
    (data, *pixels), rule = tiles.of(experiment, frames, asked.side)
    noised, walked = pixels[: len(schedules)], pixels[len(schedules) :]
    is_plain = experiment.codec.shape == experiment.codec.pictures.shape and data.shape[-1] == x0.shape[-1]
    shows_noise = is_plain and MODALITIES[experiment.codec.pictures.modality].is_picture
    return {
        **payload.header(run, "pictures", len(x0), labels, percents),
        "rule": rule,
        "data": data[0],
        "noise": tiles.of_noise(experiment, eps, asked.side) if shows_noise else None,
        "schedules": [
            payload.schedule_part(schedule, found, frames=of, scale=tiles.spread(*found[:2]).tolist())
            for schedule, found, of in zip(schedules, said, noised, strict=True)
        ],
        "starts": payload.start_labels(experiment, asked.count),
        "paths": [
            payload.path_part(path, found, states=walked[2 * i], guesses=walked[2 * i + 1])
            | {"scale": tiles.spread(*found[:2]).tolist()}
            for i, (path, found) in enumerate(zip(paths, along, strict=True))
        ],
    }


def _data(experiment: Experiment, n: int, drawn: np.ndarray) -> tuple[np.ndarray, list[str], dict]:
    """x of the examples to be noised, what they are called, and their records; where no data are there, of samples."""
    if not len(experiment.source.test):
        return drawn, [f"sample {i + 1}" for i in range(len(drawn))], {}
    records, labels = payload.examples(experiment, n)
    codec = experiment.codec
    pictures = dataclasses.replace(codec.pictures, dequantization="none")  # of whole levels, as they are stored
    x0 = codec.of_pictures(pictures.encode(records[codec.pictures.field]))
    return np.asarray(x0, np.float32), labels, {name: records[name] for name in ("present",) if name in records}
