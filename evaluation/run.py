"""The evaluation of checkpoints: measures of the test set, samples of every sampler, and their distance to the data.

Everything that takes long is kept in rounds under WORKDIR/evaluation/step_N: the same command continues a killed
evaluation, and ends with the same report.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from checkpoints.store import Store
from evaluation import adherence, further, ingredients, measures, quality, samples
from evaluation import report as reports
from experiment import Experiment, rules
from experiment.processes import barrier, is_leader
from experiment.sampling import key_of
from experiment.weights import load_others, load_run, suffix
from experiment.workdir import Workdir, write_text

POLL_SECONDS = 10.0


def check(experiment: Experiment, *, likelihood: bool) -> None:
    """Check ``config.eval``, before a training as well: a long run must not end in a misspelt word.

    Raises:
      ValueError: fields contradict each other, or (with `likelihood`) something that is asked for cannot be measured.
    """
    config = experiment.config.eval
    chosen = measures.chosen(experiment)
    if experiment.generates and (config.enable_bpd or (config.enable_vlb and not experiment.compresses)):
        bound = "; eval.enable_vlb=True measures its bound" if experiment.compresses else ", and has no bound either"
        others = "" if experiment.compresses else " and eval.enable_vlb"
        raise ValueError(
            f"model.name is {experiment.config.model.name!r} and training.loss {experiment.config.training.loss!r}, a "
            f"generator, whose likelihood is not known{bound}; set eval.enable_bpd{others} to False"
        )
    if not experiment.draws and (config.enable_bpd or config.enable_vlb or config.enable_sampling):
        kind = "an autoencoder" if experiment.compresses else "a classifier" if experiment.classifies else "a CLIP"
        raise ValueError(
            f"model.name is {experiment.config.model.name!r}, {kind}, without likelihood or samples; set "
            "eval.enable_bpd, eval.enable_vlb and eval.enable_sampling to False"
        )
    if config.enable_sampling:
        rules.check(rules.of_samplers(experiment, config.samplers))
        adherence.check(experiment)
    if likelihood and not (chosen or config.enable_sampling):
        raise ValueError(
            "eval.enable_bpd, eval.enable_vlb and eval.enable_sampling are all False, so there is nothing to evaluate; "
            "set one of them to True"
        )
    if likelihood:
        rules.check(rules.of_evaluation(experiment))
        for measure in chosen.values():
            measure.check(experiment)


def prepare(experiment: Experiment, workdir: Workdir) -> Callable[[], list[dict[str, Any]]]:
    """Read what the evaluation needs and return it (`evaluate`), to be called; this compiles and writes nothing.

    Raises:
      ValueError: a file is not the Inception network, the statistics are of another one, or the checkpoint is of
        another architecture.
      OSError: a file or a checkpoint is not there.
    """
    config = experiment.config.eval
    distance = quality.distance(experiment.finest, workdir) if config.enable_sampling else None
    others = load_others(experiment)
    weights = None if config.end_step else load_run(workdir, experiment.network, experiment.config)
    return partial(evaluate, experiment, workdir, distance, weights, others)


def evaluate(
    experiment: Experiment,
    workdir: Workdir,
    distance: quality.Distance | None,
    weights: tuple[int, dict[str, Any]] | None,
    others: dict[str, Any],
) -> list[dict[str, Any]]:
    """Evaluate the checkpoints that the config asks for and return their reports (on process 0).

    Each has report.json, report.md, its rounds and pictures in evaluation/step_N. The report.* of the folder itself is
    that of the last one; an earlier one that differs is set aside. A range also gets evaluation/checkpoints.md.
    `weights` are a step and its variables, or None for a range of steps, whose weights are read one by one.

    Raises:
      Failure: a likelihood or a sample is not finite.
    """
    config, found = experiment.config.eval, []
    with workdir.store(read_only=True) as store:
        for step in steps_to_evaluate(store, config, experiment.config.training.snapshot_freq):
            step, variables = weights or load_run(workdir, experiment.network, experiment.config, step)
            origin = store.metadata(step).get("imported")
            report = evaluate_checkpoint(experiment, workdir, step, variables, distance, origin, others)
            if report is not None:
                found.append(report)
                if config.end_step:
                    folder = workdir.path / "evaluation"
                    write_text(folder / "checkpoints.md", reports.table(folder, suffix(experiment.config), like=report))
    if found:
        reports.write(workdir.path, found[-1])
    barrier("evaluated")
    return found


def steps_to_evaluate(
    store: Store, config: ConfigDict, archived: int, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[int]:
    """Yield the steps in ascending order: `eval.checkpoint` (-1: the newest), or those of a range.

    A range takes the steps that `archived` divides and `eval.end_step`, not the rolling ones, which a training deletes
    again. It waits up to `eval.wait_minutes` for each, until that of `eval.end_step` was there. Process 0 looks
    and tells the others.

    Raises:
      FileNotFoundError: the range holds no checkpoint.
    """
    if not config.end_step:
        yield config.checkpoint
        return
    seen, end, waited, found = config.begin_step - 1, config.end_step, 0.0, False
    while seen < end:
        kept = (step for step in store.steps() if seen < step <= end and (step % archived == 0 or step == end))
        step = int(multihost_utils.broadcast_one_to_all(np.int64(min(kept, default=-1))))
        if step >= 0:
            yield step
            seen, waited, found = step, 0.0, True
        elif waited >= 60 * config.wait_minutes:
            break
        else:
            if not waited:
                logging.info("waiting for a checkpoint after step %d", seen)
            sleep(POLL_SECONDS)
            waited += POLL_SECONDS
    if not found:
        raise FileNotFoundError(
            f"no archived checkpoint of steps {config.begin_step} to {end} in {store.directory}; there are "
            f"{store.steps()}"
        )


def evaluate_checkpoint(
    experiment: Experiment,
    workdir: Workdir,
    step: int,
    variables: dict,
    distance: quality.Distance | None,
    origin: dict[str, Any] | None = None,
    others: dict[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Evaluate these weights in evaluation/step_N of the folder; process 0 returns the report, the others None.

    The report holds the fingerprints of the data that it is about: of the test set, and of what samples are compared
    with.
    `origin` says which published file they were imported from; `others` is what `experiment.weights.load_others` gave.

    Raises:
      Failure: a likelihood or a sample is not finite.
    """
    config = experiment.config
    folder = workdir.path / "evaluation" / f"step_{step:08d}{suffix(config)}"
    about, measured, data = ingredients.of_weights(experiment, step, variables), measures.create(experiment), {}
    if measured:
        data["test"] = ingredients.of_examples(experiment, "test")["fingerprint"]
    compared = distance or (further.of_experiment(experiment.finest) if config.eval.enable_sampling else None)
    if compared:
        data["reference"] = compared.fingerprint()
    report: dict[str, Any] = {
        "dataset": config.data.dataset,
        "levels": experiment.source.levels,
        **({} if experiment.compresses or experiment.generates else {"sde": config.sde.to_dict()}),
        "checkpoint": {"step": step, "ema": config.eval.ema, "ema_rate": config.model.ema_rate},
        "parameters": experiment.network.count(),
        "seed": config.eval.seed,
        "seeds": config.eval.seeds,
        "data": data,
        "environment": reports.environment(),
    }
    if config.eval.ema_std:
        report["checkpoint"]["ema_std"] = config.eval.ema_std
    if origin:
        report["checkpoint"]["imported"] = origin
    for measure in measured:
        key = key_of(config.eval.seed, measure.folder)
        report[measure.name] = measure.report(variables, key, folder, about)
    if config.eval.enable_sampling:
        together = variables | (others or {})
        about = ingredients.of_weights(experiment, step, together) if others else about
        report |= samples.report(experiment, together, distance, folder, about)
    if not is_leader():
        return None
    reports.write(folder, report)
    return report
