"""A page of categories: pictures whose pixels are masked or replaced, and texts whose symbols are."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data.alphabet import Alphabet
from experiment import Experiment, Run
from experiment.sampling import key_of
from visualize import methods, noising, payload
from visualize.paths import Walker
from visualize.size import fitting

SHOWN = ("image", "text")
"""The modalities whose categories are shown."""


def shows(experiment: Experiment) -> bool:
    """Whether examples are pictures or texts over categories."""
    return experiment.of_categories and experiment.codec.pictures.modality in SHOWN


def of_run(run: Run) -> payload.Payload:
    """The page's payload: examples whose categories are lost by three schedules, and the ways of several samplers.

    Categories are embedded as they are; a mask is the number behind the last of them.
    """
    experiment, asked = run.experiment, run.config.visualize
    settings = methods.chosen(experiment)
    process: Any = experiment.sde
    codec: Any = experiment.codec
    kind = np.uint8 if process.states <= 256 else np.uint16
    size = asked.count * int(np.prod(codec.shape)) * np.dtype(kind).itemsize
    percents, states = fitting(asked, place=3 * size, state=3 * size * len(settings))
    walker = Walker(run, asked.count, states)
    paths = [walker.follow_categories(each) for each in settings]
    records, labels = payload.examples(experiment, asked.count)
    x0 = jnp.asarray(codec.encode(records[codec.field]))
    key, parts = key_of(run.config.eval.seed, "visualize"), []
    for schedule in noising.categorical_schedules(run.config, process):
        times = noising.on_levels(schedule.process, percents / 100.0)
        x = noising.replaced(schedule.process, key, x0, times)
        parts.append(payload.schedule_part(schedule, noising.kept(schedule.process, times), frames=x.astype(kind)))
    walked = []
    for path in paths:
        found = noising.kept(process, path.times)
        assert path.confidence is not None  # which paths over categories have
        ways = {"states": path.states.astype(kind), "guesses": path.guesses.astype(kind)}
        sure = np.rint(255.0 * path.confidence).astype(np.uint8)
        walked.append(payload.path_part(path, found, **ways, confidence=sure))
    is_text = codec.modality == "text"
    if is_text:
        labels = [_begun(codec.alphabet.decode(symbols)) for symbols in np.asarray(x0)]
    every = [np.asarray(x0), *(part["frames"] for part in parts), *(part["states"] for part in walked)]
    every += [part["guesses"] for part in walked]
    return {
        **payload.header(run, "text" if is_text else "pictures", len(x0), labels, percents),
        "rule": "Numbers of categories are embedded as they are." if is_text else _rule(process.categories),
        "data": np.asarray(x0).astype(kind),
        "noise": None,
        "mask": process.mask,
        "palette": None if is_text else _palette(codec),
        "symbols": _symbols(codec.alphabet, every) if is_text else None,
        "unit": codec.alphabet.unit if is_text else None,
        "schedules": parts,
        "starts": payload.start_labels(experiment, asked.count),
        "paths": walked,
    }


def _begun(text: str) -> str:
    """The beginning of a text, in one line."""
    words = " ".join(text.split())
    return words if len(words) <= 22 else f"{words[:21]}…"


def _rule(categories: int) -> str:
    return f"A pixel of category k has the byte round(255 k / {categories - 1}); one that is masked is coloured."


def _palette(codec: Any) -> list[int]:
    """The byte with which each category is shown."""
    every = np.arange(codec.num_categories).astype(np.uint8)
    return [int(byte) for byte in np.asarray(codec.stretch(every))]


def _symbols(alphabet: Alphabet, arrays: Sequence[np.ndarray]) -> dict[str, str]:
    """What the symbols stand for that occur in these arrays, by their numbers; the mask is none of them."""
    found = np.unique(np.concatenate([np.unique(np.asarray(jax.device_get(array))) for array in arrays]))
    return {str(n): alphabet.decode(np.array([n])) for n in found if n < len(alphabet)}
