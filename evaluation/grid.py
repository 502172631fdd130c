"""A hundred samples for eyes: `--mode=sample` writes them as a picture, with an array beside it."""

import jax
import numpy as np
from tqdm import tqdm

from evaluation.drawer import Drawer
from experiment import Experiment
from experiment.captions import facts_of, file_name
from experiment.pictures import save_array, save_samples
from experiment.processes import barrier, is_leader
from experiment.progress import waiting
from experiment.workdir import Workdir, set_aside

GRID_SAMPLES = 100


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
        save_samples(set_aside(picture), x, experiment.codec, facts)
        array = set_aside(picture.with_suffix(".npz"))
        save_array(array, facts, samples=experiment.codec.decode(x), **each)
    barrier("grid")
    seconds = sum(part.seconds for part in parts)
    print(f"{len(x)} samples of {method}, {spent.mean():.0f} evaluations each, {seconds:.1f} s")
    return str(picture)
