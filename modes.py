"""What each mode checks, and then does: config and folder in, a function that runs out.

Everything that can be refused is refused while the function is made; making it compiles and writes nothing. `import`
alone does its work at once, since reading the file is its check.
"""

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
from ml_collections import ConfigDict

import editing
import evaluation.run
import sweeps
import visualize
from evaluation import compare, given, grid, quality, reproduce, snapshot_fid, stats
from evaluation import report as reports
from experiment import Experiment, build, exporting, fields, inputs, lock, pretrained, rules, texts, writing
from experiment.build import network_of, of_run
from experiment.config_files import canonical, expand
from experiment.importing import import_weights
from experiment.processes import barrier, is_leader
from experiment.run import of_config
from experiment.sizes import sized
from experiment.starting_points import starting_points
from experiment.weights import load_run, suffix
from experiment.workdir import Workdir
from models import AUTOENCODERS, CLASSIFIERS, MATCHERS
from training import loop, preparation
from training.best import FILE as BEST

Act = Callable[[], object]


def prepare(mode: str, config: ConfigDict, path: str, given: str | None = None) -> Act:
    """What `mode` will do, after everything is checked; of a mode that writes, holding the lock of what it writes.

    `given` is what the mode reads besides a run: the --checkpoint of import, the --samples of evaluate. `import` has
    done its work by then.

    Raises:
      ValueError: something that is asked for cannot be done; the message says what and how to mend it.
      Held: another command is at work in the folder.
      OSError: a file is not there, or the folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        config, workdir, part = canonical(config), Workdir(path), LOCKS.get(mode)
        fields.check(config)
        if mode in BEGIN or workdir.path.is_dir():
            writing.check(workdir.path, *PLACES[mode])
        if part:
            stack.enter_context(lock.held(workdir.path, part, mode, create=mode in BEGIN or bool(given)))
        act = MODES[mode](workdir.completed(config), workdir, given and expand(given))
        locked = stack.pop_all()

    def act_and_release() -> object:
        with locked:
            return act()

    return act_and_release


def train(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """From the newest checkpoint, or the beginning, to `training.n_iters`."""
    workdir.check(config, training=True)
    experiment = build(config)
    evaluation.run.check(experiment, likelihood=False)
    measure = snapshot_fid.prepare(experiment)
    prepared = preparation.prepare(experiment, workdir)

    def act() -> None:
        step = loop.train(experiment, workdir, prepared, measure)
        if is_leader() and step >= config.training.n_iters:  # one that was stopped has said how to go on
            print(_trained(experiment, workdir, step))

    return act


def sample(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """A grid of samples of `sampling.method`, from draws of the prior or from the points of `sampling.start`."""
    rules.check(rules.of_images(config, "sample"))
    run = of_config(config, workdir)
    rules.check(rules.of_told(run.experiment))
    start, draw, key = config.sampling.start, run.sampler(), jax.random.key(config.eval.seed)
    points = starting_points(start, run.experiment) if start else config.sampling.count
    drawn = points if isinstance(points, int) else len(points)
    texts.warn_of_unused(run.experiment.prompts, drawn, "raise sampling.count")
    return lambda: print(grid.save_grid(run.experiment, workdir, run.step, draw(key, points)))


def evaluate(config: ConfigDict, workdir: Workdir, pictures: str | None) -> Act:
    """bits/dim, samples, FID; accuracy; reconstructions; of --samples, which need no run, FID: report.md."""
    if pictures:
        return _evaluate_given(config, workdir, Path(pictures))
    experiment = _evaluable(config, workdir)
    measure = evaluation.run.prepare(experiment, workdir)

    def act() -> None:
        if measure():
            print((workdir.path / "report.md").read_text())

    return act


def _evaluate_given(config: ConfigDict, workdir: Workdir, pictures: Path) -> Act:
    """FID and its family of pictures that are there already."""
    if jax.process_count() > 1:
        raise ValueError(f"--samples are for one process, and {jax.process_count()} take part; start it alone")
    measure = given.prepare(config, pictures)

    def act() -> None:
        report = measure()
        workdir.path.mkdir(parents=True, exist_ok=True)
        reports.write(workdir.path, report, given.markdown(report))
        print((workdir.path / "report.md").read_text())

    return act


def edit(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """Inpainting, colourisation, super-resolution, variations, interpolation: a grid of pictures."""
    rules.check(rules.of_images(config, "edit"))
    experiment = sized(of_run(config, workdir, needs_data=not config.edit.image))
    draw = editing.prepare(experiment, workdir)
    return lambda: print(draw())


def compare_(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """Samplers against each other, of one run or several: comparison.md."""
    rules.check(rules.of_images(config, "compare"))
    experiment = _evaluable(config, workdir, likelihood=False)
    plan = compare.prepare(experiment, workdir)

    def act() -> None:
        if compare.compare(experiment, workdir, plan):
            print((workdir.path / "comparison.md").read_text())

    return act


def visualize_(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """One page for the browser: noise added step by step, and taken away by several samplers: visualizer.html."""
    rules.check(rules.of_images(config, "visualize"))
    draw = visualize.prepare(of_config(config, workdir), workdir)
    return lambda: print(draw())


def reproduce_(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """The published numbers of a config beside ours: reproduction.md."""
    rules.check(rules.of_images(config, "reproduce"))
    experiment = _evaluable(config, workdir)
    rules.check(rules.of_reproduction(experiment))
    measure = evaluation.run.prepare(experiment, workdir)

    def act() -> None:
        for report in measure():
            print(reproduce.write(experiment, workdir, report))

    return act


def stats_(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """Inception statistics of a data set, for `eval.reference_stats`; needs no run."""
    rules.check(rules.of_images(config, "stats"))
    experiment = build(config)
    stats.check(experiment)
    inception = quality.load_inception(experiment, needed=True)
    assert inception  # which is refused where there is none
    return lambda: print(stats.compute_statistics(experiment, workdir, inception))


def import_(config: ConfigDict, workdir: Workdir, checkpoint: str | None) -> Act:
    """A published checkpoint becomes a run."""
    if not checkpoint:
        raise ValueError("missing --checkpoint; --mode=import needs the published file or folder to read")
    rules.check(rules.of_generator(config, "import"))
    step = import_weights(config, pretrained.resolve(checkpoint), workdir)
    return lambda: print(f"{workdir.path}: step {step} of {checkpoint}")


def export(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """The weights as a folder of diffusers, with all that serves the network, in WORKDIR/diffusers_step_N."""
    workdir.check(config, training=False)
    inputs.check_files(config, workdir)
    rules.check(rules.of_images(config, "export"))
    network = network_of(config)
    write = exporting.writer(config, workdir, network)
    step, variables = load_run(workdir, network, config)
    folder = workdir.path / f"diffusers_step_{step}{suffix(config)}"
    if folder.exists():
        raise FileExistsError(f"{folder} exists; move it away, nothing is overwritten")

    def act() -> None:
        if is_leader():
            with tempfile.TemporaryDirectory(dir=workdir.path) as unfinished:
                write(Path(unfinished) / folder.name, variables)
                (Path(unfinished) / folder.name).rename(folder)
            print(folder)
        barrier("exported")

    return act


def sweep(config: ConfigDict, workdir: Workdir, _: str | None) -> Act:
    """A run of every combination of the values of sweep.axes, and one table of all: results.md."""
    if jax.process_count() > 1:
        raise ValueError(
            f"--mode=sweep is for one process, and {jax.process_count()} take part; start it alone, as often as there "
            "are machines that share the folder: each takes points that no other is at work on"
        )

    def check(point: ConfigDict, folder: Path) -> None:
        train(point, Workdir(folder), None)
        if "evaluate" in config.sweep.modes:
            evaluation.run.check(build(point), likelihood=True)

    return sweeps.prepare(config, workdir, check, _perform)


def _perform(mode: str, config: ConfigDict, folder: Path) -> None:
    """Do what a mode does in the folder of a run; what does not fit into the devices' memory is a MemoryError."""
    try:
        prepare(mode, config, str(folder))()
    except jax.errors.JaxRuntimeError as error:
        if str(error).startswith("RESOURCE_EXHAUSTED"):
            raise MemoryError(str(error)) from error
        raise


def _trained(experiment: Experiment, workdir: Workdir, step: int) -> str:
    """Where a training's results lie, and the commands that come next."""
    written = ("checkpoints", "samples/*.png", "metrics.jsonl", "tensorboard")
    held = ", ".join(name for name in written if any(workdir.path.glob(name)))
    modes = ["sample", "evaluate"] if experiment.draws else ["evaluate"]
    following = [f"  python main.py --mode={mode} --workdir={workdir.path}" for mode in modes]
    first = f"trained to step {step}; {workdir.path} holds {held}. Next:"
    best = workdir.path / BEST
    lowest = [f"{best} names the step with the lowest FID"] if best.exists() else []
    return "\n".join([*lowest, first, *following])


def _evaluable(config: ConfigDict, workdir: Workdir, *, likelihood: bool = True) -> Experiment:
    """The experiment of a run; its data may be absent where only public statistics are compared with."""
    compared = config.eval.enable_sampling and not (config.eval.inception and config.eval.reference_stats)
    of_test_set = config.model.name in (*CLASSIFIERS, *AUTOENCODERS, *MATCHERS)  # what they are measured on
    measured = likelihood and (config.eval.enable_bpd or config.eval.enable_vlb or bool(config.eval.measures))
    experiment = of_run(config, workdir, needs_data=measured or compared or of_test_set)
    evaluation.run.check(experiment, likelihood=likelihood)
    if experiment.draws and (config.eval.enable_sampling or not likelihood):
        rules.check(rules.of_told(experiment))
    return experiment


MODES: dict[str, Callable[[ConfigDict, Workdir, str | None], Act]] = {
    "train": train,
    "sample": sample,
    "evaluate": evaluate,
    "edit": edit,
    "compare": compare_,
    "visualize": visualize_,
    "reproduce": reproduce_,
    "stats": stats_,
    "import": import_,
    "export": export,
    "sweep": sweep,
}

TRAINING, EVALUATION = "training", "evaluation"
LOCKS = {  # which part of the folder a mode writes, for one command at a time; the others write pictures of their own
    "train": TRAINING,
    "import": TRAINING,
    "evaluate": EVALUATION,
    "compare": EVALUATION,
    "reproduce": EVALUATION,
    "stats": EVALUATION,
}
PLACES = {  # what a mode writes in the folder, to be looked at before it computes; a name that ends in / is a folder
    "train": ("config.json", "metrics.jsonl", "inputs.json", "checkpoints/", "averages/", "samples/", "tensorboard/"),
    "import": ("config.json", "checkpoints/", "codec/", "text/"),
    "sample": ("samples/",),
    "evaluate": ("evaluation/", "report.json", "report.md"),
    "edit": ("edits/",),
    "compare": ("comparison/", "comparison.md", "comparison.csv", "comparison.json", "comparison.png"),
    "visualize": (visualize.FILE,),
    "reproduce": ("evaluation/", "report.json", "report.md", "reproduction.md"),
    "stats": ("stats/",),
    "export": (),
    "sweep": ("sweep.json", "results.md", "results.json", "results.png"),
}
BEGIN = ("train", "import", "stats", "sweep")  # the folder need not be there yet
