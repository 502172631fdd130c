"""What the kept numbers of an evaluation depend on, as JSON: weights, network, process, data and sampler.

Rounds on disk are used again only where all of this is equal (`evaluation.rounds.Rounds`). Contents count, never names:
a data set that has moved keeps its rounds, and a changed picture or a file that was replaced under its name loses them.
So whole sections of the config are taken as they are, and nothing is picked out of them by hand.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from data.fingerprint import of_arrays, of_records
from experiment import Experiment, made, texts
from experiment.sampling import GUIDE
from experiment.weights import fingerprint
from experiment.workdir import MAY_CHANGE, MAY_MOVE
from samplers import Settings

FEEDING = (
    *("data.centered", "data.uniform_dequantization", "data.random_flip", "data.augment"),
    *("data.codec", "data.codec_checkpoint", "data.latent_scale", "data.latent_shift", "data.latent_cache"),
    *("data.latent_tile", "data.text_encoder", "data.clip_skip"),
)
"""Fields of the config that say how examples are fed to a network; they change no example."""
BY_CONTENT = ("guide", "guide_checkpoint")
"""Settings of a sampler that name weights, which count by what they are: see `of_weights`."""


def of_weights(experiment: Experiment, step: int, variables: dict[str, Any]) -> dict[str, Any]:
    """A run's weights and all that says what they mean; those of a guide lie among the variables and count with it."""
    config = experiment.config
    found = {"step": step, "ema": config.eval.ema, "weights": fingerprint(variables), **_of_model(experiment)}
    if experiment.guide and any(collection.startswith(GUIDE) for collection in variables):
        found["guide"] = _of_model(experiment.guide)
    return found


def _of_model(experiment: Experiment) -> dict[str, Any]:
    """What a network answers with given weights: its options, its process, the levels and the shape of its data."""
    return {
        "model": experiment.config.model.to_dict(),
        "num_scales": experiment.num_scales,
        "sde": plain(experiment.sde),
        "codec": plain(experiment.codec.about()),
    }


def of_examples(experiment: Experiment, split: str) -> dict[str, Any]:
    """A whole set of examples, however many of them are used: a picture more and all is computed again.

    The content is read once by each process, since each finds out for itself whether there is something to compute.
    """
    records = getattr(experiment.source, split)
    return {"split": split, **data_options(experiment), "fingerprint": of_records(records)}


def data_options(experiment: Experiment) -> dict[str, Any]:
    """The data set of a config and all that says which examples it has, but not where they lie."""
    return {
        name: value
        for name, value in experiment.config.data.to_dict().items()
        if f"data.{name}" not in (*FEEDING, *MAY_MOVE, *MAY_CHANGE)
    }


def of_sampler(settings: Settings) -> dict[str, Any]:
    """The method and every setting that changes its samples."""
    used = {name: value for name, value in settings.used().items() if name not in BY_CONTENT}
    return {"method": settings.method, "settings": used}


def of_texts(experiment: Experiment, count: int) -> dict[str, Any]:
    """The texts of which so many samples are drawn, and how they are read, by a guide too; nothing without any."""
    said, reader = experiment.texts(0, count), experiment.reader
    read = {f"{ahead}texts": texts.digest(said, each) for ahead, each in experiment.readers.items()}
    away = {"negative": texts.digest(experiment.negative, reader)} if reader and experiment.negative else {}
    return read | away


def of_drawn(experiment: Experiment, count: int) -> dict[str, Any]:
    """What so many samples depend on besides weights, sampler and key: what they are drawn of, and what enlarges them.

    An upsampler that is drawn with alone enlarges the test set, and sets of points have numbers of the training set's.
    """
    enlarges = bool(made.needed(experiment.conditioner).parts)
    of_data: dict[str, Any] = {"enlarged": of_examples(experiment, "test")} if enlarges else {}
    present = experiment.present(0, count)
    of_data |= {"present": of_arrays(present)} if present else {}
    return of_texts(experiment, count) | of_data | _of_upsampler(experiment, experiment.texts(0, count))


def _of_upsampler(experiment: Experiment, said: Sequence[str]) -> dict[str, Any]:
    """What enlarges samples of these texts, but for its weights, which `of_weights` has; nothing where nothing does."""
    upsampler = experiment.upsampler
    if upsampler is None:
        return {}
    found = _of_model(upsampler) | of_sampler(upsampler.settings_of(upsampler.settings.method))
    found |= {f"{ahead}texts": texts.digest(said, reader) for ahead, reader in upsampler.readers.items()}
    if upsampler.reader and upsampler.negative:
        found["negative"] = texts.digest(upsampler.negative, upsampler.reader)
    if upsampler.guide:
        found["guide"] = _of_model(upsampler.guide)
    return {"upsampler": found | _of_upsampler(upsampler, said)}


def of_key(key: jax.Array) -> dict[str, Any]:
    """A random key."""
    return {"key": np.asarray(jax.random.key_data(key)).tolist()}


def plain(value: Any) -> Any:
    """A process or another object of plain parts as JSON, long rows of numbers by their SHA-256."""
    if dataclasses.is_dataclass(value):
        named = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **named}
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    array = np.ascontiguousarray(value)
    if array.size <= 8:
        return array.tolist()
    return {"shape": list(array.shape), "sha256": hashlib.sha256(array.astype(np.float64).tobytes()).hexdigest()}
