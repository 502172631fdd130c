"""How often samples show what their texts say, part by part, as a judge of such pictures sees them.

A judge is a function from texts and pictures, uint8 [n, h, w, c], to which parts of each text are true: names to bool
[n], the last of them of all parts at once. What it makes of real test pictures and their captions is its own accuracy.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from data.source import take
from evaluation import scene_judge
from evaluation.rounds import Rounds
from experiment import Experiment
from experiment.texts import CAPTION
from limits import check_known

Judge = Callable[[Sequence[str], UInt8[np.ndarray, "n h w c"]], dict[str, Bool[np.ndarray, " n"]]]


class Judging(NamedTuple):
    """How a judge is made.

    Attributes:
      check: (shape of a picture, texts) raises a ValueError for what the judge could not read, and takes no time.
      make: (shape of a picture) -> the judge.
    """

    check: Callable[[tuple[int, ...], Sequence[str]], None]
    make: Callable[[tuple[int, ...]], Judge]


JUDGES: dict[str, Judging] = {
    "scenes": Judging(scene_judge.check, lambda shape: scene_judge.SceneJudge.of_size(shape[0]).judge),
}
"""By the name of ``eval.judge``."""


def check(experiment: Experiment) -> None:
    """Refuse, with a ValueError, an unknown judge, one of a network that reads no texts, and what it could not read.

    Of the captions of a test set the first is looked at.
    """
    if name := experiment.config.eval.judge:
        check_known("eval.judge", name, JUDGES)
        if not experiment.readers:
            raise ValueError(f"eval.judge is {name!r}, and the network reads no texts; leave it ''")
        try:
            JUDGES[name].check(experiment.finest.source.shape, experiment.prompts or experiment.texts(0, 1))
        except ValueError as error:
            raise ValueError(f"eval.judge is {name!r}: {error}") from None


def judge_of(experiment: Experiment) -> Judge | None:
    """The judge of ``eval.judge``, after `check`; None for ''."""
    check(experiment)
    name = experiment.config.eval.judge
    return JUDGES[name].make(experiment.finest.source.shape) if name else None


def shares(judge: Judge, texts: Sequence[str], pictures: UInt8[np.ndarray, "n h w c"]) -> dict[str, float]:
    """The share of pictures in which each part of their texts is true."""
    return {part: float(right.mean()) for part, right in judge(texts, pictures).items()}


def of_real(experiment: Experiment, judge: Judge, count: int) -> dict[str, float]:
    """The judge's own accuracy: how often it finds in real test pictures what their captions say."""
    numbers = np.arange(count) % len(experiment.source.test)
    real = take(experiment.source.test, numbers)
    return shares(judge, [str(caption) for caption in real[CAPTION]], real[experiment.codec.pictures.field])


def of_samples(experiment: Experiment, judge: Judge, sets: Sequence[Rounds]) -> dict[str, float]:
    """The share of samples, of every seed, in which each part of their texts is true."""
    of_sets = (drawn.column("samples") for drawn in sets)
    found = [shares(judge, experiment.texts(0, len(pictures)), pictures) for pictures in of_sets]
    return {part: float(np.mean([of[part] for of in found])) for part in found[0]}


def rows(report: dict[str, Any]) -> list[str]:
    """The table of the section "Samples" on what samples show; nothing where no judge has seen them."""
    judged = {name: row["adherence"] for name, row in report["samplers"].items() if "adherence" in row}
    if not judged:
        return []
    parts = list(report["judge"])
    lines_of = {**judged, "the judge, real test pictures": report["judge"]}
    lines = [f"| {name} | {' | '.join(f'{share[part]:.1%}' for part in parts)} |" for name, share in lines_of.items()]
    return [
        f"How often {report['num_samples']} samples show what their texts say; the judge has seen real pictures alone.",
        "",
        f"| sampler | {' | '.join(parts)} |",
        f"|---|{'---|' * len(parts)}",
        *lines,
        "",
    ]
