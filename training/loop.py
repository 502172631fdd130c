"""The training run: from the newest checkpoint, or the beginning, to the last step."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from data.pipeline import batches
from experiment import Experiment, average_snapshots, encoded, inputs, latents
from experiment.processes import to_host
from experiment.progress import waiting
from experiment.workdir import Workdir
from training import length, reflow, trackers
from training.best import Measure
from training.devices import on_host
from training.examples import Batch
from training.losses.base import Loss
from training.preparation import Preparation, fields_of, train_step_of
from training.readings import Readings
from training.saving import Checkpoint, StopRequest, diverged, saving_before_unreadable
from training.snapshots import Snapshots


def train(experiment: Experiment, workdir: Workdir, prepared: Preparation, measure: Measure | None = None) -> int:
    """Train to ``training.n_iters`` and return the last step; it continues bit for bit where a killed run had saved.

    `prepared` is what `preparation.prepare` returns; `measure` gives the FID of each archived checkpoint, on one
    process. Writes checkpoints, sample grids and what its trackers write (metrics.jsonl, TensorBoard's curves) into
    `workdir`, and with `measure` best_fid.json; process 0 alone writes all but the first.

    Raises:
      Diverged: the loss became infinite or NaN; the checkpoints are from before.
      Failure: an example cannot be read; the state of the last finished step is saved.
    """
    experiment = latents.measured(experiment)
    config, devices, loss = experiment.config.training, prepared.devices, prepared.loss
    root = jax.random.key(experiment.config.seed)
    key_init, key_train, key_eval, key_sample = (jax.random.fold_in(root, i) for i in range(4))
    leader = jax.process_index() == 0

    with on_host():
        state = prepared.state(lambda: experiment.network.init(key_init))
    start = int(state.step)
    if leader:
        workdir.begin(experiment.config)
        inputs.write(workdir, prepared.inputs)
    if start >= config.n_iters:
        logging.info("nothing to do: the checkpoint is of step %d, training.n_iters is %d", start, config.n_iters)
        return start
    for doubt in length.doubts(experiment.config, experiment.num_scales) if leader else ():
        logging.warning("%s", doubt)

    if prepared.joining:
        experiment = dataclasses.replace(experiment, ready=reflow.source(experiment, prepared.joining, workdir))
    elif cache := experiment.config.data.latent_cache:
        kept = encoded.kept(experiment.encoded, Path(cache), experiment.config.eval.batch_size)
        experiment = dataclasses.replace(experiment, ready=kept)
    train_step = train_step_of(experiment, prepared)
    run = devices.compile_steps(train_step, config.n_jitted_steps, state)
    snapshots = Snapshots(
        experiment, workdir, loss, devices, measure, start=start, keys=(key_eval, key_sample), teacher=prepared.teacher
    )
    data = _batches_of_calls(experiment, loss, start)
    told = trackers.create(experiment.config, workdir.path, start) if leader else None
    if leader:
        average_snapshots.take_back(workdir, start)
    store = workdir.store(keep=config.keep_checkpoints, keep_period=config.snapshot_freq, keep_steps=snapshots.kept)
    progress = tqdm(
        total=config.n_iters, initial=start, unit="step", disable=not leader, dynamic_ncols=True, mininterval=1.0
    )
    step, placed = start, devices.place(state)
    del state

    def checkpoint() -> Checkpoint:
        tree = to_host(devices.whole(placed).to_tree())
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)):  # the loss is from before
            raise diverged(f"weights not finite at step {step}", store)
        # Batch n is a pure function of (seed, n): the next batch's number is the data position.
        return step, tree, {"config": experiment.config.to_dict(), "next_batch": step}

    def due(frequency: int) -> bool:
        return bool(frequency) and (step % frequency == 0 or step == config.n_iters)

    saving = saving_before_unreadable(store, lambda: checkpoint() if step > start else None)
    readings = Readings(devices, store, step=start, batch_size=config.batch_size)
    with contextlib.closing(told) if told else contextlib.nullcontext(), store, progress, StopRequest() as stop, saving:
        while step < config.n_iters:
            batch = next(data)
            with waiting("compiling the training step") if step == start else contextlib.nullcontext():
                placed, metrics = run(placed, devices.split(batch, config.accumulate), key_train)
            stop.arm()
            readings.add(step, metrics)
            step += config.n_jitted_steps
            progress.update(config.n_jitted_steps)

            signal = stop.at(step)
            archive = due(config.snapshot_freq)
            save = archive or due(config.snapshot_freq_for_preemption) or signal is not None
            averaged = placed.averages is not None and due(config.ema_snapshot_freq)
            if save or averaged or due(config.log_freq):
                values = readings.read(step)  # a save is only made of finite numbers
                if told:
                    told.write(step, values)
                progress.set_postfix_str(f"loss {values['loss']:.4g}, {values['images_per_second']:.0f} images/s")
            if averaged:  # ahead of the checkpoint, so that a run that goes on from it has the snapshot
                averages = to_host(devices.whole(placed.averages))
                if leader:
                    average_snapshots.write(workdir, step, averages)
            saved = checkpoint() if save else None
            if saved and signal:  # whoever sent it may not wait
                store.save(*saved)
                store.wait()
            shown = {"evaluate": due(config.eval_freq), "archive": archive, "stopping": signal is not None}
            if snapshots.take(step, placed, told, **shown):
                readings.restart_clock()
            if signal is not None:
                progress.close()
                logging.warning("%s: saved step %d; the same command continues the run", signal, step)
                break
            if saved:  # last, so that a run killed at any moment repeats the evaluation that it may have missed
                store.save(*saved)
    return step


def _batches_of_calls(experiment: Experiment, loss: Loss, start: int) -> Iterator[Batch]:
    """This process's batches of each call, stacked: arrays [steps, b, ...]."""
    config = experiment.config.training
    data = batches(
        experiment.encoded.train,
        batch_size=config.batch_size,
        seed=experiment.config.seed,
        start_step=start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    while True:
        drawn = [next(data) for _ in range(config.n_jitted_steps)]
        yield {name: np.stack([each[name] for each in drawn]) for name in fields_of(experiment, loss)}
