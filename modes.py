"""What each mode checks, and then does: config and folder in, a function that runs out.

Everything that can be refused is refused while the function is made; making it compiles and writes nothing. `import`
alone does its work at once, since reading the file is its check.
"""

from collections.abc import Callable
from pathlib import Path

import jax
from ml_collections import ConfigDict

import evaluation.run
from checkpoints import diffusers
from evaluation import quality, reproduce, samples, stats
from experiment import build
from experiment.build import network_of
from experiment.importing import import_weights
from experiment.weights import load
from experiment.workdir import Workdir
from training import loop

Act = Callable[[], object]


def train(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """From the newest checkpoint, or the beginning, to `training.n_iters`."""
    workdir.check(config, training=True)
    experiment = build(config)
    evaluation.run.check(experiment, likelihood=False)
    start = loop.prepare(experiment, workdir)
    return lambda: loop.train(experiment, workdir, start)


def sample(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """A grid of samples of `sampling.method`."""
    workdir.check(config, training=False)
    experiment = build(config)
    evaluation.run.check(experiment, likelihood=False)
    with workdir.store(read_only=True) as store:
        step, variables = load(store, experiment.network, ema=config.eval.ema, step=config.eval.checkpoint or None)
    return lambda: print(samples.draw_grid(experiment, workdir, step, variables))


def evaluate(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """bits/dim, samples, FID: report.md."""
    workdir.check(config, training=False)
    experiment = build(config)
    evaluation.run.check(experiment, likelihood=True)
    plan = evaluation.run.prepare(experiment, workdir)

    def act() -> None:
        if evaluation.run.evaluate(experiment, workdir, plan):
            print((workdir.path / "report.md").read_text())

    return act


def reproduce_(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """The published numbers of a config beside ours: reproduction.md."""
    workdir.check(config, training=False)
    experiment = build(config)
    evaluation.run.check(experiment, likelihood=True)
    reproduce.check(experiment)
    plan = evaluation.run.prepare(experiment, workdir)

    def act() -> None:
        for report in evaluation.run.evaluate(experiment, workdir, plan):
            print(reproduce.write(experiment, workdir, report))

    return act


def stats_(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """Inception statistics of a data set, for `eval.reference_stats`; needs no run."""
    experiment = build(config)
    stats.check(experiment)
    inception = quality.load_inception(experiment, needed=True)

    def act() -> None:
        if jax.process_index() == 0:
            print(stats.compute_statistics(experiment, workdir, inception))

    return act


def import_(config: ConfigDict, workdir: Workdir, checkpoint: str | None) -> Act:
    """A published checkpoint becomes a run."""
    if not checkpoint:
        raise ValueError("missing --checkpoint; --mode=import needs the published file or folder to read")
    step = import_weights(config, Path(checkpoint), workdir)
    return lambda: print(f"{workdir.path}: step {step} of {checkpoint}")


def export(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """The weights as a folder of diffusers: config.json and safetensors, in WORKDIR/diffusers_step_N."""
    workdir.check(config, training=False)
    network = network_of(config)
    diffusers.config_of(network)  # one that has no counterpart there is refused
    with workdir.store(read_only=True) as store:
        step, variables = load(store, network, ema=config.eval.ema, step=config.eval.checkpoint or None)
    folder = workdir.path / f"diffusers_step_{step}"
    if folder.exists():
        raise FileExistsError(f"{folder} exists; move it away, nothing is overwritten")

    def act() -> None:
        diffusers.write(folder, network, variables)
        print(folder)

    return act


MODES: dict[str, Callable[[ConfigDict, Workdir, str | None], Act]] = {
    "train": train,
    "sample": sample,
    "evaluate": evaluate,
    "reproduce": reproduce_,
    "stats": stats_,
    "import": import_,
    "export": export,
}
