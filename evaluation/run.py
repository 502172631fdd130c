"""The evaluation of checkpoints: bits/dim of the test set, samples of every sampler, their distance to the data.

Everything that takes long is kept in rounds under WORKDIR/evaluation/step_N: the same command continues a killed
evaluation, and ends with the same report.
"""

import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from data.fingerprint import of_file
from evaluation import accuracy, coding, continuous, ingredients, quality, schedule
from evaluation import report as reports
from evaluation.bits import bits
from evaluation.feature_rounds import extracted
from evaluation.rounds import Rounds
from evaluation.samples import GRID_SAMPLES, draw_rounds
from experiment import Experiment, rules
from experiment.captions import facts_of
from experiment.pictures import save_decoded
from experiment.processes import barrier, is_leader
from experiment.weights import load, load_guide, load_run
from experiment.workdir import Workdir, write_text
from metrics import sample_set
from metrics.inception import InceptionV3

Weights = tuple[int, dict[str, Any]]


class Plan(NamedTuple):
    """What it begins with: the Inception network, the weights (None: a range, read one by one), and the guide's."""

    inception: InceptionV3 | None
    weights: Weights | None
    guide: dict[str, Any]


def check(experiment: Experiment, *, likelihood: bool) -> None:
    """Check ``config.eval``, before a training as well: a long run must not end in a misspelt word.

    Raises:
      ValueError: a value out of range, an unknown probe, or (with `likelihood`) no test set to take bits/dim of.
    """
    config = experiment.config.eval
    enabled = config.enable_bpd or config.enable_vlb or config.enable_sampling
    if likelihood and not (enabled or experiment.classifies):
        raise ValueError(
            "eval.enable_bpd, eval.enable_vlb and eval.enable_sampling are all False, so there is nothing to evaluate; "
            "set one of them to True"
        )
    if likelihood:
        rules.check(rules.of_evaluation(experiment))
    if experiment.classifies:
        accuracy.check(experiment, now=likelihood)
    if likelihood and config.enable_vlb:
        (coding if experiment.num_scales else continuous).check(experiment)
    if likelihood and config.enable_bpd and not len(experiment.source.test):
        raise ValueError("there are no test images for bits/dim; give the data set some, or set eval.enable_bpd=False")


def prepare(experiment: Experiment, workdir: Workdir) -> Plan:
    """Read what the evaluation needs; compiles and writes nothing.

    Raises:
      ValueError: a file that is not the Inception network, statistics of another one, a checkpoint of another
        architecture.
      OSError: a file or a checkpoint that is not there.
    """
    config = experiment.config.eval
    inception = quality.load_inception(experiment) if config.enable_sampling else None
    if inception and config.reference_stats:
        quality.reference(experiment, workdir, inception)
    guide = load_guide(experiment)
    if config.end_step:
        return Plan(inception, None, guide)
    return Plan(inception, load_run(workdir, experiment.network, experiment.config), guide)


def evaluate(experiment: Experiment, workdir: Workdir, plan: Plan) -> list[dict[str, Any]]:
    """Evaluate the checkpoints that the config asks for and return their reports (on process 0).

    Each has report.json, report.md, its rounds and pictures in evaluation/step_N; report.* of the folder itself is
    that of the last one, an earlier one that differs is set aside. A range also gets evaluation/checkpoints.md.

    Raises:
      Failure: a likelihood or a sample that is not finite.
    """
    config, found = experiment.config.eval, []
    against = quality.measures(experiment, workdir, plan.inception)
    with workdir.store(read_only=True) as store:
        for step in schedule.steps_to_evaluate(store, config, experiment.config.training.snapshot_freq):
            weights = plan.weights or load(store, experiment.network, ema=config.ema, step=step)
            origin = store.metadata(weights[0]).get("imported")
            report = evaluate_checkpoint(experiment, workdir, *weights, against, origin, plan.guide)
            if report is not None:
                found.append(report)
                if config.end_step:
                    folder = workdir.path / "evaluation"
                    write_text(folder / "checkpoints.md", reports.table(folder, ema=config.ema, like=report))
    if found:
        reports.write(workdir.path, found[-1])
    barrier("evaluated")
    return found


def evaluate_checkpoint(
    experiment: Experiment,
    workdir: Workdir,
    step: int,
    variables: dict,
    against: quality.Measures,
    origin: dict[str, Any] | None = None,
    guide: dict[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Evaluate these weights in evaluation/step_N of the folder; process 0 returns the report, the others None.

    `origin` says which published file they were imported from; `guide` is what `experiment.weights.load_guide` gave.

    Raises:
      Failure: a likelihood or a sample that is not finite.
    """
    config = experiment.config
    folder = workdir.path / "evaluation" / f"step_{step:08d}{'' if config.eval.ema else '_raw'}"
    about = ingredients.of_weights(experiment, step, variables)
    report: dict[str, Any] = {
        "dataset": config.data.dataset,
        "levels": experiment.source.levels,
        "sde": config.sde.to_dict(),
        "checkpoint": {"step": step, "ema": config.eval.ema, "ema_rate": config.model.ema_rate},
        "parameters": experiment.network.count(),
        "seed": config.eval.seed,
        "seeds": config.eval.seeds,
        "data": _data(experiment, against),
        "environment": reports.environment(),
    }
    if origin:
        report["checkpoint"]["imported"] = origin
    if experiment.classifies:
        key = _key_of(config.eval.seed, "accuracy")
        report["accuracy"] = accuracy.accuracy(experiment, variables, key, folder, about)
    if config.eval.enable_bpd:
        report["bits_per_dim"] = bits(experiment, variables, _key_of(config.eval.seed, "bits"), folder / "bits", about)
    if config.eval.enable_vlb:
        key = _key_of(config.eval.seed, "vlb")
        bound = coding.variational if experiment.num_scales else continuous.variational
        report["variational_bound"] = bound(experiment, variables, key, folder, about)
    if config.eval.enable_sampling:
        together = variables | (guide or {})
        about = ingredients.of_weights(experiment, step, together) if guide else about
        report |= _sampling(experiment, together, against, folder, about)
    if not is_leader():
        return None
    reports.write(folder, report)
    return report


def _data(experiment: Experiment, against: quality.Measures) -> dict[str, str]:
    """The fingerprints of what the numbers of a report are of: the test set, and what samples are compared with."""
    config, found = experiment.config.eval, {}
    if config.enable_bpd or config.enable_vlb or experiment.classifies:
        found["test"] = ingredients.of_examples(experiment, "test")["fingerprint"]
    if config.enable_sampling and against.inception and config.reference_stats:
        found["reference"] = of_file(config.reference_stats)
    elif config.enable_sampling and (against.inception or against.pixels):
        split = config.stats_split if against.inception else "train"
        found["reference"] = ingredients.of_examples(experiment, split)["fingerprint"]
    return found


def _sampling(
    experiment: Experiment, variables: dict, against: quality.Measures, folder: Path, about: dict[str, Any]
) -> dict[str, Any]:
    """The samplers' part of a report; every process draws, process 0 adds up."""
    config, pixels = experiment.config.eval, against.pixels
    part: dict[str, Any] = {"num_samples": config.num_samples, "samplers": {}}
    if pixels:
        part |= {"frechet_count": pixels.count, "frechet_floor": pixels.floor}
    timing = {}
    for method in config.samplers:
        sets = []
        for seed in range(config.seed, config.seed + config.seeds):
            key, place = _key_of(seed, method), folder / f"{method}_seed_{seed}"
            rounds = draw_rounds(experiment, variables, method, key, place, about)
            features = against.inception and quality.extract_rounds(experiment, rounds, against.inception)
            sets.append((rounds, features))
            if is_leader():
                spent = rounds.first("evaluations", GRID_SAMPLES).mean()
                drawn = {"step": about["step"], "seed": seed, "evaluations": spent, "averaged": config.ema}
                facts, shown = facts_of(experiment, method, **drawn), rounds.first("samples", GRID_SAMPLES)
                save_decoded(folder / f"{place.name}.png", shown, experiment.scaler, facts)
        if is_leader():
            part["samplers"][method] = _row(experiment, method, sets, against)
            seconds = sum(rounds.column("seconds")[:: rounds.size].sum() for rounds, _ in sets)
            timing[method] = {"seconds": float(seconds), "samples": config.num_samples * config.seeds}
    if is_leader():  # apart, because it is not the same twice
        write_text(folder / "timing.json", json.dumps(timing, indent=2) + "\n")
    return part


def _row(
    experiment: Experiment, method: str, sets: list[tuple[Rounds, Rounds | None]], against: quality.Measures
) -> dict[str, Any]:
    """What the report says of one sampler, from its samples and their features of every seed."""
    spent = np.concatenate([rounds.column("evaluations") for rounds, _ in sets])
    row: dict[str, Any] = {
        "evaluations": {"mean": float(spent.mean()), "max": int(spent.max())},
        "settings": experiment.settings_of(method).used(),
    }
    if row["settings"].get("corrector_norm") == "batch":  # a sample depends on the others of its batch
        row["settings"]["batch_size"] = sets[0][0].size
    if against.pixels:
        distances = [against.pixels.of(rounds) for rounds, _ in sets]
        row |= {"frechet_distance": float(np.mean(distances)), "frechet_distances": distances}
    if against.reference:
        found = [sample_set.of_set(against.reference, extracted(features)) for _, features in sets if features]
        row["inception"] = found[0] if len(found) == 1 else sample_set.summarise(found)
    return row


def _key_of(seed: int, purpose: str) -> jax.Array:
    """A key for a sampler or for bits/dim, whatever else is evaluated."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))
