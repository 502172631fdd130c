"""``--mode=edit``: pictures, or other examples, in, and a grid of results out.

Each row of the grid is a picture: itself, what is known of it, and `edit.count` results. The array beside it holds the
results as levels, [n, count, h, w, c]. Where another run enlarges them (`editing.stages`) they are of its size.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key
from tqdm import tqdm

from editing.gaps import UNKNOWN
from editing.stages import Stage, stages
from editing.steps import sampler_name
from editing.tasks import MEASURED, Inputs, inputs
from editing.telling import facts as of_edit
from editing.telling import method_of, pastes, texts_of, told_of
from experiment import Experiment, Failure, texts
from experiment.cascade import key_of_next
from experiment.pictures import aside, facts_of, file_name, save_array, save_decoded
from experiment.processes import barrier, is_leader
from experiment.progress import waiting
from experiment.showing import MODALITIES
from experiment.weights import kind, load_guided, load_upsampler
from experiment.workdir import Workdir, set_aside


def prepare(experiment: Experiment, workdir: Workdir) -> Callable[[], Path]:
    """The edit of every picture, `edit`, after pictures and weights are read and checked; nothing is compiled yet.

    Raises:
      ValueError: whatever of ``config.edit`` is not allowed, or does not go with the sampler.
      OSError: a file or a checkpoint that is not there.
    """
    read = inputs(experiment, experiment.config.edit)
    texts.warn_of_unused(experiment.prompts, len(read), "give edit.image as many, or raise edit.images")
    step, variables = load_guided(workdir, experiment)
    every = stages(experiment, variables | load_upsampler(experiment), read)
    return partial(edit, every, workdir, step)


def edit(every: Sequence[Stage], workdir: Workdir, step: int) -> Path:
    """Edit every picture in these stages and write the grid; the picture's path. Earlier files of the name stay.

    `step` is the training step of the first stage's weights.

    Raises:
      Failure: a result that is not finite.
    """
    experiment, last, began = every[0].experiment, every[-1], time.perf_counter()
    config, seed = experiment.config.edit, experiment.config.eval.seed
    made: list[Made] = []
    key = jax.random.key(seed)
    for stage in every:
        made.append(_made(stage, key, made[-1].levels if made else None))
        key = key_of_next(key)
    spent = sum(each.spent for each in made)
    path = workdir.path / "edits" / f"{file_name(f'{config.task}_step_{step}_seed_{seed}', experiment)}.png"
    if is_leader():
        _write(experiment, last, made, path, _facts(experiment, step, spent))
    barrier("edited")
    for stage, each in zip(every, made, strict=True):
        if each.broken:
            mend = stage.experiment.settings_of(sampler_name(stage.experiment)).remedy
            raise Failure(f"edit.task {config.task!r}: results of picture {each.broken[0]} are not finite; {mend}")
    print(_summary(last, made[-1].levels, spent, time.perf_counter() - began))
    return path


class Made(NamedTuple):
    """What a stage has made of the pictures.

    Attributes:
      x: results of the process, [n, count, ...].
      levels: the pictures that they are, [n, count, h, w, c].
      spent: the mean number of evaluations of each.
      broken: the numbers of the pictures of which a result is not finite.
    """

    x: np.ndarray
    levels: np.ndarray
    spent: float
    broken: list[int]


def _made(stage: Stage, key: Key[Array, ""], small: np.ndarray | None) -> Made:
    """What a stage makes of its pictures with this key, and of `small` results [n, count, ...] of the one before."""
    experiment, read, results, spent, broken = stage.experiment, stage.read, [], [], []
    task = f"{experiment.config.edit.task}{'' if small is None else ' at full size'}"
    for i in tqdm(range(len(read)), desc=task, unit="picture", disable=not is_leader()):
        one = [None if a is None else jnp.asarray(a[i : i + 1]) for a in (read.originals, read.y, read.others)]
        told = jax.tree.map(jnp.asarray, told_of(experiment, read, i, None if small is None else small[i]))
        with waiting("compiling the edit and its first picture" if i == 0 else f"picture {i + 1}"):
            found, evaluations = stage.apply(jax.random.fold_in(key, i), told, read.measurement_of(i), *one)
            broken += [] if np.isfinite(found).all() else [i]
        results.append(np.nan_to_num(found))
        spent.append(np.asarray(evaluations).mean())
    x = np.stack(results)
    levels = _pasted(experiment, read, np.asarray(experiment.codec.decode(x)))
    return Made(x, levels, float(np.mean(spent)), broken)


def _facts(experiment: Experiment, step: int, spent: float) -> dict[str, Any]:
    """What the results say of themselves: the sampler's facts, and what of ``config.edit`` the task depends on."""
    edit, config = experiment.config.edit, experiment.config.eval
    about = {"step": step, "seed": config.seed, "evaluations": spent, "weights": kind(experiment.config)}
    facts = facts_of(experiment, sampler_name(experiment), **about)
    if experiment.sampled_classes and experiment.settings.label < 0:
        facts["class"] = "none"
    measures = edit.task in MEASURED and not experiment.of_categories
    told = {"task": f"{edit.task} by {method_of(experiment)}" if measures else edit.task}
    return facts | of_edit(experiment) | told


def _write(experiment: Experiment, last: Stage, made: Sequence[Made], path: Path, facts: dict[str, Any]) -> None:
    """Write the grid and the array, with x in it if latents are kept, and what the last stage has enlarged.

    What was there before is set aside.
    """
    path.parent.mkdir(exist_ok=True)
    levels, read = made[-1].levels, last.read
    rows = np.stack([*_shown(last.experiment, read), *np.moveaxis(levels, 1, 0)], axis=1)
    shown, texts = rows.reshape(-1, *rows.shape[2:]), texts_of(experiment, len(read))
    below: list[str] = []
    if len(set(texts)) > 1:  # below each result its own; one for all stands in the caption
        given = rows.shape[1] - levels.shape[1]
        below = [text for each in texts for text in [""] * given + [each] * levels.shape[1]]
    placed, codec, rate = aside(path, last.experiment.codec), last.experiment.codec, experiment.source.rate
    save_decoded(placed, shown, codec, facts, columns=rows.shape[1], texts=below, rate=rate)
    beside = {"texts": np.array(texts)} if texts else {}
    beside |= {"latents": made[-1].x} if experiment.config.sampling.keep_latents else {}
    beside |= {"small": made[-2].levels} if len(made) > 1 else {}
    save_array(set_aside(path.with_suffix(".npz")), facts, results=levels, **beside)


def _shown(experiment: Experiment, read: Inputs) -> list[np.ndarray]:
    """The columns ahead of the results, levels [n, h, w, c]: the pictures, and what is known of them.

    Symbols have no middle that could stand where a mask hides; there a text has a number that is no symbol's.
    """
    alphabet = experiment.source.alphabet

    def decoded(column: np.ndarray) -> np.ndarray:
        return np.asarray(experiment.codec.pictures.decode(np.asarray(column)))

    columns = [] if read.pictures is None else [decoded(read.pictures)]
    if read.y is not None and alphabet:
        columns.append(np.where(read.y == UNKNOWN, len(alphabet), read.y))
    elif read.y is not None:
        columns.append(decoded(_known(experiment, read, read.y)))
    if read.other_pictures is not None:
        columns.append(decoded(read.other_pictures))
    return columns


def _known(experiment: Experiment, read: Inputs, y: np.ndarray) -> np.ndarray:
    """What was measured, as images: grey in every channel, small pixels enlarged, and mid-grey where a mask hides.

    Of data without levels 0 stands where a mask hides.
    """
    codec = experiment.codec.pictures
    if read.known is not None and read.pictures is not None:
        blank = np.float32(codec.centres().mean() if codec.levels else 0.0)
        return np.where(read.known[..., None], read.pictures, blank)
    height, width, channels = codec.shape
    larger = y.repeat(height // y.shape[1], axis=1).repeat(width // y.shape[2], axis=2)
    return np.repeat(larger, channels // y.shape[3], axis=3)


def _pasted(experiment: Experiment, read: Inputs, levels: np.ndarray) -> np.ndarray:
    """The results, levels [n, count, h, w, c], where they are to be those of the pictures wherever they are known."""
    if not pastes(experiment) or read.known is None or read.pictures is None:
        return levels
    truth = np.asarray(experiment.codec.pictures.decode(read.pictures))
    known = np.broadcast_to(read.known, truth.shape[:-1])[:, None, ..., None]
    return np.where(known, truth[:, None], levels)


def _summary(last: Stage, levels: np.ndarray, spent: float, seconds: float) -> str:
    """One line: what was made at which cost, and how far from the truth where that is known."""
    experiment, read, (n, count) = last.experiment, last.read, levels.shape[:2]
    words = MODALITIES[experiment.source.modality].words
    text = f"{experiment.config.edit.task}: {n} x {count} {words}, {spent:.0f} evaluations each, {seconds:.1f} s"
    if read.y is None or read.pictures is None or not experiment.source.levels:
        return text
    truth = experiment.codec.pictures.decode(read.pictures)[:, None].astype(np.float64)
    error = np.sqrt(np.mean((levels - truth) ** 2)) / (experiment.source.levels - 1)
    return f"{text}; root mean square distance from the originals {error:.3f} of the range of grey levels"
