"""Guidance by words, measured: what samples show of their texts, and how near they are to real pictures, by its scale.

python -m benchmarks.text [--workdir=runs/scenes] [--samples=500] [--guide=runs/scenes_clip]

The texts are captions of the run's test set, which are combinations that no training has shown (`data.scenes`). The
judge of `eval.judge` says which parts of each are true of its picture; beside it stands what the judge finds in real
pictures of these captions. Precision and recall are those of Kynkaanniemi et al. 2019 (arXiv:1904.06991) over pixels,
against the real pictures of as many captions of the same set. The table goes to JSON.

With a --guide, the folder of a CLIP's run, its guidance stands beside the classifier-free one, of the network that is
told the text and of the same network told none, which CLIP alone then leads to it. All have as many evaluations of the
network: a step of classifier-free guidance is two, so CLIP gets twice the steps. Each of these costs an evaluation of
CLIP's image tower with its gradient besides, about three of its passes, which is stated apart; the seconds count all.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
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
CLIP_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""What the gradient of CLIP's logit is multiplied by."""


def pixels(images: np.ndarray) -> np.ndarray:
    """Images as vectors [n, d]."""
    return images.reshape(len(images), -1).astype(np.float64)


def by_scale(
    run: experiment.Run,
    judge: adherence.Judge,
    scales: Sequence[float],
    count: int,
    seed: int,
    *,
    told: Mapping[str, np.ndarray] | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """For each scale how often samples show the parts of their texts, precision, recall, evaluations and seconds.

    Args:
      run: what draws.
      judge: says what samples show.
      scales: of guidance, classifier-free or by the `guide` among the options.
      count: how many samples of each, of as many texts.
      seed: of the samples.
      told: fields of which samples are drawn in place of their texts.
      options: of the sampler.
    """
    of_run, by_clip = run.experiment, bool(options.get("guide"))
    real, rows = pixels(take(of_run.source.test, np.arange(count))["image"]), []
    for scale in scales:
        drawn = run.sampler(guidance=scale, **options)(jax.random.key(seed), count, **(told or {}))
        near, steps = precision_recall(pixels(drawn.x), real), float(drawn.evaluations.mean())
        shown = adherence.shares(judge, of_run.texts(0, count), drawn.x)
        spent = steps * (1 if by_clip or scale in (0.0, 1.0) else 2)
        rows.append({
            "scale": scale, "shown": shown, "precision": near.precision, "recall": near.recall, "evaluations": spent,
            "clip_evaluations": steps if by_clip else 0.0, "seconds_a_sample": drawn.seconds / count,
        })  # fmt: skip
        beside = f" and {steps:.0f} of CLIP" if by_clip else ""
        print(
            f"scale {scale:4}: {' '.join(f'{part} {share:.1%}' for part, share in shown.items())}   precision "
            f"{near.precision:.3f} recall {near.recall:.3f}   {spent:.0f} evaluations{beside}, "
            f"{drawn.seconds / count:.3f} s"
        )
    return rows


def by_clip(
    run: experiment.Run, guide: str, judge: adherence.Judge, scales: Sequence[float], count: int, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """What `by_scale` gives of CLIP's guidance, with twice the steps: of the network told the text, and told none."""
    reader, steps = run.experiment.reader, 2 * run.config.sampling.evaluations
    assert reader  # a judge is of a network that reads texts
    nothing = {name: np.repeat(array[None], count, axis=0) for name, array in reader.nothing.items()}
    found = {}
    for name, told in (("clip", {}), ("clip_alone", nothing)):
        print(f"{guide}, {'the network told no text' if told else 'the network told the text'}:")
        found[name] = by_scale(run, judge, scales, count, seed, told=told, guide=guide, evaluations=steps)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Draw with every scale, print the table and write it as JSON."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--workdir", type=path_of, default="runs/scenes", help="a run that reads texts")
    flags.add_argument("--samples", type=int, default=500)
    flags.add_argument("--scales", type=float, nargs="+", default=SCALES)
    flags.add_argument("--guide", type=str, default="", help="the folder of a CLIP's run")
    flags.add_argument("--clip_scales", type=float, nargs="+", default=CLIP_SCALES)
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
    if arguments.guide:
        record |= by_clip(run, arguments.guide, judge, arguments.clip_scales, arguments.samples, arguments.seed)
    write_text(arguments.out, json.dumps(record | {"environment": environment()}, indent=2) + "\n")
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
