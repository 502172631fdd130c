"""What every page holds, whatever the data: the run, its schedules, and the ways of its samplers, as plain parts.

An array in a payload is a NumPy array, which `visualize.page` packs; everything else is what JSON knows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from data.source import take
from experiment import Experiment, Run
from experiment.sampling import key_of
from experiment.showing import MODALITIES
from experiment.weights import kind
from visualize.noising import Coefficients, Schedule
from visualize.paths import SamplerPath, told_of

Payload = dict[str, Any]


def header(run: Run, view: str, n: int, labels: Sequence[str], percents: np.ndarray) -> Payload:
    """The run in words, and what is asked for everywhere on the page.

    Args:
      run: the run.
      view: how the page shows an example: a name of VIEWS in visualizer.js.
      n: how many examples there are to choose from.
      labels: what each of them is called.
      percents: the places of the slider.
    """
    experiment = run.experiment
    config, modality = experiment.config, MODALITIES[experiment.codec.pictures.modality]
    process = ", ".join(f"{name} {_short(value)}" for name, value in config.sde.items() if name != "name")
    return {
        "view": view,
        "title": experiment.source.name,
        "words": modality.words,
        "count": n,
        "labels": list(labels),
        "percents": percents.tolist(),
        "seed": config.eval.seed,
        "facts": [
            ["data", f"{experiment.source.name}, {modality.words} {_shape(experiment.source.shape)}"],
            ["process", f"{config.sde.name} ({process})"],
            ["network", f"{config.model.name}, {_parameters(run):,} weights"],
            ["checkpoint", f"step {run.step}, {kind(config)}"],
            ["seed", str(config.eval.seed)],
        ],
        "categorical": experiment.of_categories,
    }


def schedule_part(schedule: Schedule, found: Coefficients, **frames: Any) -> Payload:
    """One schedule: its name, what it says at each place, and its frames."""
    return {"name": schedule.name, "own": schedule.own, **_numbers(found), **frames}


def path_part(path: SamplerPath, found: Coefficients, **frames: Any) -> Payload:
    """The way of one sampler: its name, its times and costs, what its process says at each state, and its frames."""
    used = path.settings.used()
    told = [f"{name} {used[name]}" for name in ("predictor", "corrector", "steps", "grid") if name in used]
    return {
        "name": path.settings.method,
        "about": ", ".join(told),
        "evaluations": path.evaluations,
        "spent": path.spent.tolist(),
        "step": path.steps.tolist(),
        "t": [float(f"{t:.7g}") for t in path.times],
        **_numbers(found),
        **frames,
    }


def start_labels(experiment: Experiment, n: int) -> list[str]:
    """What each starting point is called, with what is drawn of it where that is something."""
    return [f"start {i + 1}" + (f": {said}" if said else "") for i, said in enumerate(told_of(experiment, n))]


def examples(experiment: Experiment, n: int) -> tuple[Mapping[str, Any], list[str]]:
    """Records of the test set to be noised, and what each is called: of each class in turn where there are classes.

    There are fewer than n where the test set has fewer.
    """
    records = experiment.source.test
    labels = take(records, np.arange(min(len(records), 10 * n))).get("label") if experiment.source.num_classes else None
    chosen = np.arange(min(n, len(records))) if labels is None else _in_turn(np.asarray(labels), n)
    found, names = take(records, chosen), experiment.source.class_names
    if "label" not in found:
        return found, [f"example {i + 1}" for i in range(len(chosen))]
    return found, [str(names[i]) if i < len(names) else f"class {i}" for i in found["label"]]


def unit_noise(experiment: Experiment, shape: Sequence[int]) -> jax.Array:
    """The noise of the page, which all schedules share: standard normal, by the seed of ``eval.seed``."""
    return jax.random.normal(key_of(experiment.config.eval.seed, "visualize"), tuple(shape), np.float32)


def _in_turn(labels: np.ndarray, n: int) -> np.ndarray:
    """The places of n examples, of every class in turn; the second one of a class is its next."""
    of_each = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    order = [places[turn] for turn in range(max(map(len, of_each))) for places in of_each if turn < len(places)]
    return np.array(order[:n])


def _numbers(found: Coefficients) -> Payload:
    return {name: [float(f"{value:.7g}") for value in values] for name, values in found._asdict().items()}


def _short(value: Any) -> str:
    """A value in words, of a long one its beginning: a chain may be given by all of its steps."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:36]} ..."


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _parameters(run: Run) -> int:
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(run.variables["params"]))
