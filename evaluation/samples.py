"""The samples of every sampler: drawn in rounds, compared with data, and what a report says of them."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from evaluation import adherence, further, ingredients
from evaluation.grid import GRID_SAMPLES
from evaluation.quality import Distance
from evaluation.rounds import Rounds
from experiment import Experiment, cascade
from experiment.cascade import drawer_of
from experiment.pictures import facts_of, save_decoded
from experiment.processes import is_leader
from experiment.sampling import key_of
from experiment.weights import kind
from experiment.workdir import write_text
from metrics import sample_set


def draw_rounds(
    experiment: Experiment, variables: dict, method: str, key: jax.Array, folder: Path, weights: dict[str, Any]
) -> Rounds:
    """`eval.num_samples` decoded samples in rounds of `eval.batch_size`; those that are there are not drawn again.

    A round holds samples [b, ...] (grey levels as uint8), evaluations [b] and seconds [b], the time of the whole round.
    `weights` says which weights these are (`ingredients.of_weights`).

    Raises:
      Failure: a sample is not finite.
    """
    config = experiment.config.eval
    about = {**weights, **ingredients.of_sampler(experiment.settings_of(method)), **ingredients.of_key(key)}
    about |= ingredients.of_drawn(experiment, config.num_samples)
    size = min(config.batch_size, config.num_samples)
    drawer = drawer_of(experiment, variables, method, size)

    def finish(begun: Any, examples: range) -> dict[str, np.ndarray]:
        drawn, n = drawer.fetch(begun), len(examples)
        return {"samples": drawn.x[:n], "evaluations": drawn.evaluations[:n], "seconds": np.full(n, drawn.seconds)}

    return Rounds(folder, about, config.num_samples, size).fill(method, partial(drawer.start, key), finish)


def report(
    experiment: Experiment, variables: dict, distance: Distance | None, folder: Path, weights: dict[str, Any]
) -> dict[str, Any]:
    """The samplers' part of a report: every process draws, and process 0 adds up.

    The first samples of each set go to the folder as a picture, and how long drawing took as timing.json, apart from
    the report because it is not the same twice.
    """
    config, timing = experiment.config.eval, {}
    part: dict[str, Any] = {"num_samples": config.num_samples, "samplers": {}}
    measured = further.of_experiment(experiment.finest)
    if distance and is_leader():
        part |= distance.facts | distance.facts_of_neighbours
    if measured and is_leader():
        part |= {"modality": experiment.finest.source.modality, "further": measured.facts}
    if (judge := adherence.judge_of(experiment)) and is_leader():
        part["judge"] = adherence.of_real(experiment.finest, judge, config.num_samples)
    for method in config.samplers:
        sets = []
        for seed in range(config.seed, config.seed + config.seeds):
            place = folder / f"{method}_seed_{seed}"
            drawn = draw_rounds(experiment, variables, method, key_of(seed, method), place, weights)
            sets.append(drawn)
            if is_leader():
                spent = drawn.column("evaluations", GRID_SAMPLES).mean()
                how = {"step": weights["step"], "seed": seed, "evaluations": spent, "weights": kind(experiment.config)}
                facts, shown = facts_of(experiment, method, **how), drawn.column("samples", GRID_SAMPLES)
                texts, finest = experiment.texts(0, len(shown)), experiment.finest
                path = folder / f"{place.name}.png"
                save_decoded(path, shown, finest.codec, facts, texts=texts, rate=finest.source.rate)
        found = distance.row(sets) | distance.neighbours(sets) if distance else {}
        if is_leader():
            part["samplers"][method] = _row(experiment, method, sets) | found
            if measured:
                part["samplers"][method]["further"] = measured.row(sets)
            if judge:
                part["samplers"][method]["adherence"] = adherence.of_samples(experiment, judge, sets)
            seconds = sum(drawn.column("seconds")[:: drawn.size].sum() for drawn in sets)
            timing[method] = {"seconds": float(seconds), "samples": config.num_samples * config.seeds}
    if is_leader():
        write_text(folder / "timing.json", json.dumps(timing, indent=2) + "\n")
    return part


def _row(experiment: Experiment, method: str, sets: list[Rounds]) -> dict[str, Any]:
    """What the report says of one sampler beside the distance of its samples, which are of every seed."""
    spent = np.concatenate([drawn.column("evaluations") for drawn in sets])
    row: dict[str, Any] = {
        "evaluations": {"mean": float(spent.mean()), "max": int(spent.max())},
        "settings": {**experiment.settings_of(method).used(), **cascade.about(experiment)},
    }
    if row["settings"].get("corrector_norm") == "batch":  # a sample depends on the others of its batch
        row["settings"]["batch_size"] = sets[0].size
    return row


def rows(report: dict[str, Any]) -> list[str]:
    """The section "Samples" of report.md."""
    samplers, floor = report["samplers"], report.get("frechet_floor")
    lines = ["## Samples", ""]
    if floor is not None:
        seeds = f", over {report['seeds']} seeds" if report["seeds"] > 1 else ""
        lines += [
            f"Frechet distance over {over(report)}{' in [0, 1]' if report['levels'] else ''} (not Inception features: "
            f"not an FID), {report['num_samples']} samples against each of two halves of the training set, "
            f"averaged{seeds}; half against half, {report['frechet_count']} each, the floor: **{floor:.4f}**.",
            "",
        ]
    near = report.get("neighbours")
    if near:
        lines += [
            f"Precision and recall over the same numbers, by {near['k']} nearest neighbours of {near['count']} each, "
            f"on which they depend: half against half {near['precision']:.3f} and {near['recall']:.3f}.",
            "",
        ]
    distance = "" if floor is None else " Frechet distance | / floor |"
    distance += " precision | recall |" if near else ""
    lines += [f"| sampler |{distance} evaluations | settings |", f"|---|{'---|' * distance.count('|')}---|---|"]
    for name, row in samplers.items():
        value = row.get("frechet_distance")
        distance = "" if floor is None else f" {value:.4f} | {value / floor:.2f} |"
        distance += f" {row['precision']:.3f} | {row['recall']:.3f} |" if near else ""
        lines.append(f"| {name} |{distance} {row['evaluations']['mean']:.0f} | {listed(row['settings'])} |")
    lines += ["", *adherence.rows(report), *further.rows(report)]
    for name, row in samplers.items():
        if "inception" in row:
            lines += [f"### {name}", "", *(f"- {line}" for line in sample_set.describe(row["inception"]))]
            lines += ["", sample_set.against(row["inception"]), ""]
    return lines


def over(report: dict[str, Any]) -> str:
    """What the Frechet distance of a report is taken over."""
    size = report.get("frechet_size")
    reduced = f" averaged down to {size}x{size}" if size else ""
    return f"pixels{reduced}" if report["levels"] else "coordinates"


def listed(values: dict[str, Any]) -> str:
    """Names and values in a line."""
    return ", ".join(f"{name} {value}" for name, value in values.items())
