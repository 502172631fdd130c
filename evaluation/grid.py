"""The files of `--mode=sample`: a hundred samples as a picture for eyes, with an array beside it."""

import numpy as np

from experiment import Experiment
from experiment.pictures import aside, beside, facts_of, file_name, save_array, save_decoded
from experiment.processes import barrier, is_leader
from experiment.sampling import Drawn
from experiment.weights import kind, suffix
from experiment.workdir import Workdir, set_aside

GRID_SAMPLES = 100


def save_grid(experiment: Experiment, workdir: Workdir, step: int, drawn: Drawn) -> str:
    """Write samples of ``sampling.method`` with the seed of ``eval.seed``; the picture's path, and its player's below.

    The names hold the step, the weights, the method and the seed, and class and guidance where they were chosen;
    earlier files are set aside. Both files say how the samples were drawn (`facts_of`), and from which file where
    they started at given points. The array also holds the evaluations, what each sample was drawn of, the class that
    "labels" has or the text of "texts", and with ``sampling.keep_latents`` the "latents": the x of the process, of
    which the samples are the decoded ones. Enlarged samples have those that they were made of beside them, "small",
    with "small_latents"; of several enlargements in a row "small_small" as well.
    """
    method, config, spent = experiment.settings.method, experiment.config.eval, drawn.evaluations
    name = file_name(f"{method}_step_{step}{suffix(experiment.config)}_seed_{config.seed}", experiment)
    picture = workdir.path / "samples" / f"{name}.png"
    if is_leader():
        about = {"step": step, "seed": config.seed, "evaluations": spent.mean(), "weights": kind(experiment.config)}
        facts, told = facts_of(experiment, method, **about), experiment.labels(0, len(drawn.x))
        start = experiment.config.sampling.start
        facts |= {"start": start} if start else {}
        texts = experiment.texts(0, len(drawn.x))
        finest = experiment.finest
        save_decoded(aside(picture, finest.codec), drawn.x, finest.codec, facts, texts=texts, rate=finest.source.rate)
        each = {"evaluations_each": spent, **{f"{field}s": values for field, values in told.items()}}
        each |= {"texts": np.array(texts)} if texts else {}
        each |= {} if drawn.latents is None else {"latents": drawn.latents}
        each |= _small(drawn)
        save_array(set_aside(picture.with_suffix(".npz")), facts, samples=drawn.x, **each)
    barrier("grid")
    print(f"{len(drawn.x)} samples of {method}, {spent.mean():.0f} evaluations each, {drawn.seconds:.1f} s")
    player = beside(picture, experiment.finest.codec)
    return f"{picture}\n{player}" if player and player.exists() else str(picture)


def _small(drawn: Drawn) -> dict[str, np.ndarray]:
    """The arrays of the samples of which these are enlargements."""
    small = drawn.small
    if small is None:
        return {}
    found = {"small": small.x} | ({} if small.latents is None else {"small_latents": small.latents})
    return found | {f"small_{name}": array for name, array in _small(small).items()}
