"""Guidance by words, measured: what samples show of their texts, and how near they are to real pictures, by its scale.

python -m benchmarks.text [--workdir=runs/scenes] [--samples=500]

The texts are captions of the run's test set, which are combinations that no training has shown (`data.scenes`). The
judge of `eval.judge` says which parts of each are true of its picture; beside it stands what the judge finds in real
pictures of these captions. Precision and recall are those of Kynkaanniemi et al. 2019 (arXiv:1904.06991) over pixels,
against the real pictures of as many captions of the same set. The table goes to JSON.
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

import experiment
from benchmarks.common import RESULTS, path_of
from data.source import take
from evaluation import adherence
from evaluation.report import environment
from experiment.workdir import write_text
from metrics.precision_recall import precision_recall

SCALES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def pixels(images: np.ndarray) -> np.ndarray:
    """Images as vectors [n, d]."""
    return images.reshape(len(images), -1).astype(np.float64)


def by_scale(
    run: experiment.Run, judge: adherence.Judge, scales: Sequence[float], count: int, seed: int
) -> list[dict[str, Any]]:
    """For each scale how often samples show the parts of their texts, precision, recall and seconds a sample."""
    of_run = run.experiment
    real, rows = pixels(take(of_run.source.test, np.arange(count))["image"]), []
    for scale in scales:
        drawn = run.sampler(guidance=scale)(jax.random.key(seed), count)
        near = precision_recall(pixels(drawn.x), real)
        shown = adherence.shares(judge, of_run.texts(0, count), drawn.x)
        spent = float(drawn.evaluations.mean()) * (1 if scale in (0.0, 1.0) else 2)
        rows.append({
            "scale": scale, "shown": shown, "precision": near.precision, "recall": near.recall, "evaluations": spent,
            "seconds_a_sample": drawn.seconds / count,
        })  # fmt: skip
        print(
            f"scale {scale:4}: {' '.join(f'{part} {share:.1%}' for part, share in shown.items())}   precision "
            f"{near.precision:.3f} recall {near.recall:.3f}   {spent:.0f} evaluations, {drawn.seconds / count:.3f} s"
        )
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Draw with every scale, print the table and write it as JSON."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--workdir", type=path_of, default="runs/scenes", help="a run that reads texts")
    flags.add_argument("--samples", type=int, default=500)
    flags.add_argument("--scales", type=float, nargs="+", default=SCALES)
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--out", type=path_of, default=RESULTS / "text_scenes.json")
    arguments = flags.parse_args(argv)
    run = experiment.load(arguments.workdir)
    judge = adherence.judge_of(run.experiment)
    if not judge:
        raise SystemExit(f"error: {arguments.workdir} has no judge (eval.judge), so nobody says what samples show")
    real = adherence.of_real(run.experiment, judge, arguments.samples)
    print(f"real pictures: {' '.join(f'{part} {share:.1%}' for part, share in real.items())}")
    rows = by_scale(run, judge, arguments.scales, arguments.samples, arguments.seed)
    record = {"judge": real, "samples": arguments.samples, "step": run.step, "classifier_free": rows}
    write_text(arguments.out, json.dumps(record | {"environment": environment()}, indent=2) + "\n")
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
