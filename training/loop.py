"""The training run: from the newest checkpoint, or the beginning, to the last step."""

import contextlib
import dataclasses
import functools
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from absl import logging
from tqdm import tqdm

import samplers
from data.pipeline import batches, eval_batches
from data.source import Unreadable
from experiment import Experiment, Failure, inputs, rules
from experiment.build import EMA_FIELDS
from experiment.captions import facts_of
from experiment.pictures import save_samples
from experiment.processes import one_at_a_time, to_host
from experiment.progress import waiting
from experiment.sampling import sampler
from experiment.schedule import PREFIX
from experiment.workdir import Workdir
from models import CLASSIFIERS
from models.functional import Network
from sde_lib import AffineSDE
from training import length, optimizer
from training.best import Best, Measure
from training.classification import batch_scores
from training.devices import Devices, check_batch_size, on_host
from training.devices import create as create_devices
from training.importance import LossHistory
from training.objective import SETTINGS, Objective
from training.preemption import StopRequest
from training.records import Records
from training.state import TrainState
from training.step import Metrics, batch_losses, make_train_step

GRID_SAMPLES = 64
IN_FLIGHT = 2  # calls that the host may run ahead of the devices, where they need not go one at a time


class Diverged(Failure):
    """The loss or its gradient is no longer a number."""


class Start(NamedTuple):
    """A run's loss, optimiser, average, devices, inputs, and the checkpoint that it continues (None: none)."""

    objective: Objective
    adam: optax.GradientTransformation
    ema: Callable[[jax.Array], jax.Array]
    devices: Devices
    checkpoint: TrainState | None
    inputs: inputs.Inputs


def prepare(experiment: Experiment, workdir: Workdir) -> Start:
    """Check ``config.training`` and ``config.optim`` and read the newest checkpoint; compiles and writes nothing.

    Raises:
      ValueError: an unknown parallelism, a batch size that the devices do not divide, frequencies that the steps of a
        call do not divide, a value out of range, steps behind the end of the learning rate's fall, a checkpoint of
        another architecture (CheckpointMismatch), or other data than the run was begun with.
    """
    rules.check(rules.of_training(experiment))
    config = experiment.config.training
    devices = create_devices(config.parallelism)
    check_batch_size(config.batch_size, config.accumulate)
    objective = objective_of(experiment)
    _check_variance(experiment, objective)
    _check_classifier(experiment, objective)
    adam, ema = optimizers_of(experiment, config.batch_size)
    _trained(experiment)
    history = objective.history()
    abstract = experiment.network.abstract()
    template = jax.eval_shape(lambda variables: TrainState.create(variables, adam, history), abstract)
    found = inputs.checked(experiment, workdir)
    state = _restore(workdir, template, adam, history)
    length.check_decay(experiment.config, state)
    return Start(objective, adam, ema, devices, state, found)


def objective_of(experiment: Experiment) -> Objective:
    """The loss of ``config.training``; ValueError for a value that it does not take."""
    given = {name: experiment.config.training[name] for name in SETTINGS}
    objective = Objective(experiment.sde, num_scales=experiment.num_scales, **given)
    if not experiment.source.levels:
        return objective
    bounds, half_bin = experiment.scaler.bins()
    return dataclasses.replace(objective, half_bin=half_bin, bounds=bounds)


def optimizers_of(
    experiment: Experiment, batch_size: int
) -> tuple[optax.GradientTransformation, Callable[[jax.Array], jax.Array]]:
    """What follows the gradient, and the average's decay; ValueError for numbers out of range."""
    average = {name: experiment.config.model[name] for name in EMA_FIELDS}
    adam = optimizer.create(**experiment.config.optim, batch_size=batch_size)
    return adam, optimizer.create_ema(**average, batch_size=batch_size)


def _check_variance(experiment: Experiment, objective: Objective) -> None:
    """ValueError where the loss trains a variance that the network does not predict."""
    if not objective.learns_variance:
        return
    wrapper = experiment.config.model.preconditioning
    if wrapper != "none":
        raise ValueError(
            f"training.loss is {objective.loss!r} and model.preconditioning {wrapper!r}; "
            "a learned variance is for networks without it; set it to 'none'"
        )
    if not experiment.predicts_variance:
        raise ValueError(
            f"training.loss is {objective.loss!r} with training.variance {objective.variance!r}, and the network "
            f"{experiment.config.model.name!r} predicts no variance; take guided_unet with learned_variance=True"
        )


def _check_classifier(experiment: Experiment, objective: Objective) -> None:
    """ValueError where the loss is not the network's; that its classes are the data's, `build` has checked."""
    name = experiment.config.model.name
    if experiment.classifies != (objective.loss == "cross_entropy"):
        raise ValueError(
            f"training.loss is {objective.loss!r} and model.name {name!r}; 'cross_entropy' is the loss of a "
            f"classifier, and of it alone: {', '.join(CLASSIFIERS)}"
        )


def _restore(
    workdir: Workdir, template: TrainState, adam: optax.GradientTransformation, history: LossHistory | None
) -> TrainState | None:
    """The newest state; after an import, which holds weights alone, with a fresh optimiser."""
    tree = template.to_tree()
    with workdir.store(read_only=True) as store:
        step = store.latest_step()
        if step is not None and "imported" in store.metadata(step):
            tree = {name: tree[name] for name in ("step", "params", "ema", "fixed")}
            _, saved, _ = store.restore(tree, step)
            fresh = TrainState.create({"params": saved["params"], "fixed": saved["fixed"]}, adam, history)
            return fresh._replace(step=saved["step"], ema=saved["ema"])
        found = store.restore(tree)
    return found and template.from_tree(found[1])


def train(experiment: Experiment, workdir: Workdir, start_from: Start, measure: Measure | None = None) -> int:
    """Train to ``training.n_iters`` and return the last step; continues bit for bit where a killed run had saved.

    `start_from` is what `prepare` returns; `measure` gives the FID of each archived checkpoint, on one process. Writes
    checkpoints, metrics.jsonl, TensorBoard curves and sample grids into `workdir`, and with `measure` best_fid.json;
    process 0 alone writes all but the first.

    Raises:
      Diverged: the loss became infinite or NaN; the checkpoints are from before.
      Failure: an example cannot be read; the state of the last finished step is saved.
    """
    objective, adam, ema, devices, state, used = start_from
    config = experiment.config.training
    root = jax.random.key(experiment.config.seed)
    key_init, key_train, key_eval, key_sample = (jax.random.fold_in(root, i) for i in range(4))
    leader = jax.process_index() == 0

    if state is None:
        with on_host():
            state = TrainState.create(experiment.network.init(key_init), adam, objective.history())
    start = int(state.step)
    if leader:
        workdir.begin(experiment.config)
        inputs.write(workdir, used)
    if start >= config.n_iters:
        logging.info("nothing to do: the checkpoint is of step %d, training.n_iters is %d", start, config.n_iters)
        return start
    for doubt in length.doubts(experiment.config, experiment.num_scales) if leader else ():
        logging.warning("%s", doubt)

    losses = devices.spread(make_losses(experiment, objective, devices.axis_size * config.accumulate))
    step = make_train_step(
        losses,
        adam,
        ema=ema,
        nan_to_num=config.nan_to_num,
        axis_size=devices.axis_size,
        micro_batches=config.accumulate,
    )
    run = devices.compile_steps(step, config.n_jitted_steps, state)
    evaluate = _make_evaluate(experiment, make_losses(experiment, objective, 1, all_scores=True), devices, key_eval)
    draw, pictured = _make_draw(experiment, devices), config.snapshot_sampling and not experiment.classifies

    data = batches(
        experiment.source.train,
        batch_size=config.batch_size,
        seed=experiment.config.seed,
        start_step=start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    records = Records(workdir.path, start) if leader else None
    best = Best(workdir.path, measure.about, start) if measure else None
    archived = [*workdir.archived(), *(best.kept if best else ())]
    store = workdir.store(keep=config.keep_checkpoints, keep_period=config.snapshot_freq, keep_steps=archived)
    progress = tqdm(
        total=config.n_iters, initial=start, unit="step", disable=not leader, dynamic_ncols=True, mininterval=1.0
    )
    placed = devices.place(state)
    del state
    unread: deque[tuple[int, list[Metrics]]] = deque()
    ahead = 0 if one_at_a_time() else IN_FLIGHT
    began, read_from = time.perf_counter(), start

    step = start

    def checkpoint_of(step: int) -> tuple[int, dict, dict]:
        """What is saved of `step`, the last that is finished; refuses numbers that are not finite."""
        tree = to_host(devices.whole(placed).to_tree())
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)):  # the loss is from before
            raise _diverged(f"weights not finite at step {step}", store)
        # Batch n is a pure function of (seed, n): the next batch's number is the data position.
        return step, tree, {"config": experiment.config.to_dict(), "next_batch": step}

    saving = _saving_before_unreadable(store, lambda: checkpoint_of(step) if step > start else None)
    with store, progress, StopRequest() as stop, saving:
        for before in range(start, config.n_iters, config.n_jitted_steps):
            drawn = [next(data) for _ in range(config.n_jitted_steps)]
            batch = {name: np.stack([each[name] for each in drawn]) for name in experiment.batch_fields}
            with waiting("compiling the training step") if before == start else contextlib.nullcontext():
                placed, metrics = run(placed, devices.split(batch, config.accumulate), key_train)
            stop.arm()
            unread.append((before, metrics))
            if len(unread) > ahead:
                jax.block_until_ready(unread[-1 - ahead])
            step = before + config.n_jitted_steps
            progress.update(config.n_jitted_steps)

            def due(frequency: int, step: int = step) -> bool:
                return bool(frequency) and (step % frequency == 0 or step == config.n_iters)

            signal = stop.at(step)
            archive = due(config.snapshot_freq)
            save = archive or due(config.snapshot_freq_for_preemption) or signal is not None
            if save or due(config.log_freq):
                values = _read(unread, devices, store)  # a save is only made of finite numbers
                elapsed, seen = time.perf_counter() - began, (step - read_from) * config.batch_size
                values["images_per_second"] = seen / elapsed
                if records:
                    records.write(step, values)
                progress.set_postfix_str(f"loss {values['loss']:.4g}, {values['images_per_second']:.0f} images/s")
                began, read_from = time.perf_counter(), step
            if save:
                checkpoint = checkpoint_of(step)
            if signal is not None:  # whoever sent it may not wait
                store.save(*checkpoint)
                store.wait()
            measured = measure is not None and archive and signal is None
            if (leader or devices.joint) and (due(config.eval_freq) or (archive and pictured) or measured):
                variables = devices.whole(placed.variables(ema=True))
                if due(config.eval_freq):
                    with waiting("computing the loss on the test set"):
                        scores = {f"test_{name}": value for name, value in evaluate(variables).items()}
                    if records:
                        records.write(step, scores)
                if archive and pictured:
                    with waiting(f"drawing a grid of {GRID_SAMPLES} samples"):
                        x, spent = draw(variables, jax.random.fold_in(key_sample, step))
                if archive and pictured and leader:
                    drawn = {"step": step, "seed": experiment.config.seed, "evaluations": spent}
                    facts = facts_of(experiment, experiment.settings.method, **drawn)
                    save_samples(workdir.path / "samples" / f"step_{step:08d}.png", x, experiment.scaler, facts)
                if measured and (fid := measure(to_host(variables))) is not None:
                    records.write(step, {f"fid_{measure.about['samples']}": fid})
                    lowest = best.add(step, fid)
                    logging.info("step %d: FID %.4f%s", step, fid, ", the lowest so far" if lowest else "")
                began = time.perf_counter()
            if signal is not None:
                progress.close()
                logging.warning("%s: saved step %d; the same command continues the run", signal, step)
                break
            if save:  # last, so that a run killed at any moment repeats the evaluation that it may have missed
                store.save(*checkpoint)
    if records:
        records.close()
    return step


@contextlib.contextmanager
def _saving_before_unreadable(store: Any, checkpoint: Callable[[], tuple[int, dict, dict] | None]) -> Iterator[None]:
    """Where an example cannot be read, save the last finished step and end the run with a Failure that names the file.

    `checkpoint` returns that step's, or None where no step was made. One of several processes cannot save alone: there
    the run goes on from what had been saved before.
    """
    try:
        yield
    except Unreadable as error:
        last = checkpoint() if jax.process_count() == 1 else None
        if last:
            store.save(*last)
        store.wait()
        kept = store.latest_step()
        saved = f"step {kept} is saved" if kept is not None else "no checkpoint had been saved yet"
        mend = "restore the file, and the same command continues; with other data, --config.data.changed=accept does"
        raise Failure(f"{error}; {saved}; {mend}") from error


def _diverged(what: str, store: Any) -> Diverged:
    store.wait()
    kept = store.latest_step()
    last = f"the last good checkpoint is of step {kept}" if kept is not None else "no checkpoint had been saved yet"
    return Diverged(f"{what}; {last}; lower optim.lr or optim.grad_clip")


def _read(unread: deque[tuple[int, list[Metrics]]], devices: Devices, store: Any) -> dict[str, float]:
    """Mean metrics of the calls since the last reading; refuses numbers that are not finite."""
    first, last = unread[0][0], unread[-1][0]
    named: dict[str, np.ndarray] = {}
    for name in unread[0][1][0]:
        # Averages, the same on all devices.
        read = [to_host(devices.whole(metrics[name])) for _, call in unread for metrics in call]
        named[name] = np.concatenate(read).astype(np.float64)
    unread.clear()
    bad = np.flatnonzero(~np.all([np.isfinite(values) for values in named.values()], axis=0))
    if bad.size:
        more = f" and {bad.size - 1} more up to {last + 1}" if bad.size > 1 else ""
        raise _diverged(f"loss or gradient not finite at step {first + bad[0] + 1}{more}", store)
    return {name: float(np.mean(values)) for name, values in named.items()}


def make_losses(
    experiment: Experiment, objective: Objective, parts: int, *, all_scores: bool = False
) -> Callable[..., Any]:
    """``(variables, batch, key, train) -> losses [b]`` as the config says; or all scores by name, "loss" among them.

    The batch is one of `parts` equal parts of a global one.
    """
    config = experiment.config
    options = {"random_flips": config.data.random_flip, "parts": parts}
    network = _trained(experiment)
    if experiment.classifies:
        scores = batch_scores(objective, network, experiment.scaler, noise_label=config.model.noise_label, **options)
        return scores if all_scores else lambda *arguments: scores(*arguments)["loss"]
    options |= {
        "parameterization": experiment.parameterization,
        "augment_probability": config.data.augment,
        "num_classes": experiment.num_classes,
        "label_dropout": config.training.label_dropout,
    }
    losses = batch_losses(objective, network, experiment.scaler, **options)
    return (lambda *arguments: {"loss": losses(*arguments)}) if all_scores else losses


def _trained(experiment: Experiment) -> Network:
    """The network as training takes its gradient."""
    if not experiment.config.training.remat:
        return experiment.network
    try:
        return experiment.network.recomputing()
    except ValueError as error:
        raise ValueError(f"training.remat is True, but {error}; set it to False") from error


def _make_evaluate(
    experiment: Experiment, scores: Callable, devices: Devices, key: jax.Array
) -> Callable[[dict], dict[str, float]]:
    """``variables -> mean scores of the test set``, its noise the same at every call."""
    size = min(experiment.config.eval.batch_size, len(experiment.source.test))
    compute = devices.jit(lambda variables, batch, key: scores(variables, batch, key, False))

    def evaluate(variables: dict) -> dict[str, float]:
        total: dict[str, float] = {}
        for i, batch in enumerate(eval_batches(experiment.source.test, batch_size=size)):
            given = {name: batch[name] for name in experiment.batch_fields}
            for name, values in compute(variables, given, jax.random.fold_in(key, i)).items():
                total[name] = total.get(name, 0.0) + np.asarray(values, np.float64)[batch["mask"]].sum()
        return {name: float(value / len(experiment.source.test)) for name, value in total.items()}

    return evaluate


def _make_draw(experiment: Experiment, devices: Devices) -> Any:
    """``(variables, key) -> samples, evaluations`` of the config's own sampler; `eval.batch_size` at once.

    The evaluations are the mean over the samples. The sampler is compiled once for each noise process: again at every
    picture where the noise schedule is learned.
    """
    size = min(GRID_SAMPLES, experiment.config.eval.batch_size)

    @functools.lru_cache(maxsize=1)
    def compiled(sde: AffineSDE) -> Callable[[dict, Any, jax.Array], tuple[jax.Array, jax.Array]]:
        def draw(variables: dict, labels: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            chosen = sampler(experiment, variables, experiment.settings.method, sde, labels)
            drawn = samplers.draw(chosen, sde, key, (size, *experiment.source.shape))
            return drawn.x, drawn.evaluations

        return devices.jit(draw)

    def grid(variables: dict, key: jax.Array) -> tuple[np.ndarray, float]:
        schedule = {name: value for name, value in variables["params"].items() if name.startswith(PREFIX)}
        draw = compiled(experiment.process({"params": to_host(schedule)}))  # a solver's tables are of plain numbers
        parts = [
            draw(variables, experiment.labels(i * size, size), jax.random.fold_in(key, i))
            for i in range(-(-GRID_SAMPLES // size))
        ]
        x, spent = (np.concatenate([np.asarray(part) for part in column]) for column in zip(*parts, strict=True))
        return x[:GRID_SAMPLES], float(spent[:GRID_SAMPLES].mean())

    return grid
