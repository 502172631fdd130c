"""``--mode=edit``: pictures in, a grid of results out.

Each row of the grid is a picture: itself, what is known of it, and `edit.count` results. The array beside it holds the
results as levels, [n, count, h, w, c].
"""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import inverse
import samplers
import sde_lib
from conditions.labels import NO_CLASS
from editing.tasks import MEASURED, Inputs, inputs
from experiment import Experiment, Failure
from experiment.pictures import facts_of, file_name, save_array, save_decoded
from experiment.processes import barrier, is_leader
from experiment.progress import waiting
from experiment.sampling import guided
from experiment.weights import kind, load_guided
from experiment.workdir import Workdir, set_aside
from models.materialize import network_jit
from samplers import Samples
from sde_lib.prediction import Model


def prepare(experiment: Experiment, workdir: Workdir) -> Callable[[], Path]:
    """The edit of every picture, `edit`, after pictures and weights are read and checked; nothing is compiled yet.

    Raises:
      ValueError: whatever of ``config.edit`` is not allowed, or does not go with the sampler.
      OSError: a file or a checkpoint that is not there.
    """
    read = inputs(experiment, experiment.config.edit)
    step, variables = load_guided(workdir, experiment)
    return partial(edit, experiment, workdir, read, step, partial(_apply(experiment, variables, read), variables))


def edit(experiment: Experiment, workdir: Workdir, read: Inputs, step: int, apply: Callable) -> Path:
    """Edit every picture and write the grid; the picture's path. Earlier files of the name are set aside.

    Args:
      read: the pictures, and what is known of them.
      step: the training step of the weights.
      apply: (key, inputs of one picture) -> images [count, h, w, c] and the evaluations spent on each.

    Raises:
      Failure: a result that is not finite.
    """
    config, seed = experiment.config.edit, experiment.config.eval.seed
    began, results, spent, broken = time.perf_counter(), [], [], []
    for i in tqdm(range(len(read)), desc=config.task, unit="picture", disable=not is_leader()):
        one = [None if a is None else jnp.asarray(a[i : i + 1]) for a in (read.originals, read.y, read.others)]
        with waiting("compiling the edit and its first picture" if i == 0 else f"picture {i + 1}"):
            x, evaluations = apply(jax.random.fold_in(jax.random.key(seed), i), *one)
            broken += [] if np.isfinite(x).all() else [i]
        results.append(np.nan_to_num(x))
        spent.append(np.asarray(evaluations).mean())
    levels = _pasted(experiment, read, np.asarray(experiment.codec.decode(np.stack(results))))
    path = workdir.path / "edits" / f"{file_name(f'{config.task}_step_{step}_seed_{seed}', experiment)}.png"
    if is_leader():
        _write(experiment, read, levels, path, _facts(experiment, step, float(np.mean(spent))))
    barrier("edited")
    if broken:
        mend = experiment.settings_of(_method(experiment)).remedy
        raise Failure(f"edit.task {config.task!r}: results of picture {broken[0]} are not finite; {mend}")
    print(_summary(experiment, read, levels, float(np.mean(spent)), time.perf_counter() - began))
    return path


def _method(experiment: Experiment) -> str:
    """The sampler of the task: an interpolation follows the adaptive flow, whatever the config's method."""
    return "ode" if experiment.config.edit.task == "interpolate" else experiment.settings.method


def _facts(experiment: Experiment, step: int, spent: float) -> dict[str, Any]:
    """What the results say of themselves: the sampler's facts, and what of ``config.edit`` the task depends on."""
    edit, config = experiment.config.edit, experiment.config.eval
    about = {"step": step, "seed": config.seed, "evaluations": spent, "weights": kind(experiment.config)}
    facts = facts_of(experiment, _method(experiment), **about)
    if experiment.sampled_classes and experiment.settings.label < 0:
        facts["class"] = "none"
    own = {name: value for name, value in edit.items() if name not in ("task", "method")}
    told = {"task": f"{edit.task} by {edit.method}" if edit.task in MEASURED else edit.task}
    return facts | {f"edit.{name}": value for name, value in own.items()} | told


def _write(experiment: Experiment, read: Inputs, levels: np.ndarray, path: Path, facts: dict[str, Any]) -> None:
    """Write the grid and the array; what was there before is set aside."""
    path.parent.mkdir(exist_ok=True)
    rows = np.stack([*_shown(experiment, read), *np.moveaxis(levels, 1, 0)], axis=1)
    shown = rows.reshape(-1, *rows.shape[2:])
    save_decoded(set_aside(path), shown, experiment.codec, facts, columns=rows.shape[1])
    save_array(set_aside(path.with_suffix(".npz")), facts, results=levels)


def _check_label(experiment: Experiment) -> None:
    """ValueError where a class is needed and none is given."""
    settings, guide = experiment.settings, experiment.guide
    if settings.label >= 0 or not experiment.sampled_classes:
        return
    if experiment.num_classes and not experiment.config.training.label_dropout:
        raise ValueError("sampling.label is -1, and the network has never been without a class; give it one")
    if settings.guidance_scale != 1.0 and guide is None:
        raise ValueError(
            f"sampling.guidance is {settings.guidance}, and sampling.label -1: without a class there is nothing to be "
            "guided to; give it one"
        )
    if guide and guide.num_classes:
        raise ValueError("sampling.label is -1, and sampling.guide guides to a class; give it one")


def _apply(experiment: Experiment, variables: dict[str, Any], read: Inputs) -> Callable:
    """The compiled edit of one picture; making it once of another model refuses what does not go together."""
    config, sde, count = experiment.config.edit, experiment.process(variables), experiment.config.edit.count
    chosen = dataclasses.replace(experiment.settings, method=_method(experiment))
    settings = samplers.settled(sde, chosen, config.strength if config.task == "vary" else 1.0)
    noising = experiment.noising(variables, chain=settings.on_chain)
    _check_label(experiment)

    def model(variables: dict[str, Any]) -> sde_lib.PredictFn:
        def of_batch(x: jax.Array, t: jax.Array) -> sde_lib.Prediction:
            label = settings.label if settings.label >= 0 else NO_CLASS
            told = {"label": jnp.full(len(x), label)} if experiment.sampled_classes else {}
            return guided(experiment, variables, settings, sde, told)(x, t)

        return sde_lib.PredictFn(noising, of_batch)

    def measured(model: Model) -> Callable[..., Samples]:
        assert read.measurement  # every task of MEASURED has one
        known = inverse.METHODS.get(config.method)
        options = {name: config[name] for name in known.options if name in config} if known else {}
        arguments = settings, read.measurement, config.method
        sampler = inverse.create(sde, model, *arguments, process=noising, **options)

        def run(key: jax.Array, _: Any, y: jax.Array, __: Any) -> Samples:
            key_prior, key_path = jax.random.split(key)
            return sampler(key_path, sde.prior_sample(key_prior, (count, *experiment.codec.shape)), y)

        return run

    def varied(model: Model) -> Callable[..., Samples]:
        sampler = inverse.vary(sde, model, settings, config.strength, process=noising)
        return lambda key, x0, *_: sampler(key, jnp.repeat(x0, count, axis=0))

    def between(model: Model) -> Callable[..., Samples]:
        samplers.create(sde, model, settings)
        fractions, tolerances = np.linspace(0.0, 1.0, count).tolist(), {"rtol": settings.rtol, "atol": settings.atol}

        def run(_: Any, a: jax.Array, __: Any, b: jax.Array) -> Samples:
            found = inverse.interpolate(sde, model, a, b, fractions, **tolerances)
            return Samples(found.x[:, 0], found.evaluations)

        return run

    make = {"vary": varied, "interpolate": between}.get(config.task, measured)
    make(lambda x, t: x)
    return network_jit(lambda variables, key, *given: make(model(variables))(key, *given)[:2])


def _shown(experiment: Experiment, read: Inputs) -> list[np.ndarray]:
    """The columns ahead of the results, levels [n, h, w, c]: the pictures, and what is known of them."""
    columns = [] if read.pictures is None else [read.pictures]
    if read.y is not None:
        columns.append(_known(experiment, read, read.y))
    if read.other_pictures is not None:
        columns.append(read.other_pictures)
    return [np.asarray(experiment.codec.pictures.decode(np.asarray(column))) for column in columns]


def _known(experiment: Experiment, read: Inputs, y: np.ndarray) -> np.ndarray:
    """What was measured, as images: grey in every channel, small pixels enlarged, and mid-grey where a mask hides."""
    height, width, channels = experiment.source.shape
    if read.known is not None and read.pictures is not None:
        blank = np.float32(experiment.codec.pictures.centres().mean())
        return np.where(read.known[..., None], read.pictures, blank)
    larger = y.repeat(height // y.shape[1], axis=1).repeat(width // y.shape[2], axis=2)
    return np.repeat(larger, channels // y.shape[3], axis=3)


def _pasted(experiment: Experiment, read: Inputs, levels: np.ndarray) -> np.ndarray:
    """The results, levels [n, count, h, w, c], with ``edit.paste`` those of the pictures wherever they are known."""
    if not experiment.config.edit.paste or read.known is None or read.pictures is None:
        return levels
    truth = np.asarray(experiment.codec.pictures.decode(read.pictures))
    return np.where(read.known[..., None], truth[:, None], levels)


def _summary(experiment: Experiment, read: Inputs, levels: np.ndarray, spent: float, seconds: float) -> str:
    """One line: what was made at which cost, and how far from the truth where that is known."""
    n, count = levels.shape[:2]
    text = f"{experiment.config.edit.task}: {n} x {count} images, {spent:.0f} evaluations each, {seconds:.1f} s"
    if read.measurement is None or read.pictures is None or not experiment.source.levels:
        return text
    truth = experiment.codec.pictures.decode(read.pictures)[:, None].astype(np.float64)
    error = np.sqrt(np.mean((levels - truth) ** 2)) / (experiment.source.levels - 1)
    return f"{text}; root mean square distance from the originals {error:.3f} of the range of grey levels"
