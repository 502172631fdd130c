"""The trilemma's files for people: a table with the spread of the seeds, and a triangle for each way of drawing."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiment.writing import replacing

Row = dict[str, Any]

NUMBERS = (
    "distance",
    "precision",
    "recall",
    "coverage",
    "entropy",
    "evaluations",
    "seconds_a_sample",
    "bits_per_dim",
    "parameters",
    "steps",
)
CORNERS = ("quality", "diversity", "speed")


def summary(rows: Sequence[Row]) -> list[Row]:
    """The mean and the standard deviation over the seeds of each way of drawing, (mean, deviation or None) by name."""
    found = []
    for family, way in dict.fromkeys((row["family"], row["way"]) for row in rows):
        own = [row for row in rows if (row["family"], row["way"]) == (family, way)]
        of = {name: [row[name] for row in own if row[name] is not None] for name in NUMBERS}
        spread = {
            name: (float(np.mean(each)), float(np.std(each, ddof=1)) if len(each) > 1 else None) if each else None
            for name, each in of.items()
        }
        found.append({"family": family, "way": way, "seeds": len(own), **spread})
    return found


def markdown(record: dict[str, Any]) -> str:
    """The table: every number with the standard deviation of the seeds, and real digits in the last line."""
    real = record["real"]
    lines = [
        f"{record['training_seconds']:g} seconds of training for each family and seed; {record['samples']} samples "
        f"against as many training digits; seeds {', '.join(map(str, record['seeds']))}, whose standard deviation "
        f"stands behind each mean. {record['environment']['device']}.",
        "",
        "| family | drawn by | Frechet distance / floor | precision | recall | coverage | entropy of classes | "
        "network passes | milliseconds a sample | bits/dim, at most |",
        f"|{'---|' * 10}",
    ]
    for row in record["summary"]:
        distance = row["distance"]
        cells = [
            row["family"],
            row["way"],
            _spread((distance[0] / record["floor"], distance[1] and distance[1] / record["floor"]), ".2f"),
            *(_spread(row[name], ".2f") for name in ("precision", "recall", "coverage", "entropy")),
            f"{row['evaluations'][0]:.0f}",
            _spread(tuple(each and each * 1000 for each in row["seconds_a_sample"]), ".3g", ".2g"),
            _spread(row["bits_per_dim"], ".3f") if row["bits_per_dim"] else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    of_real = (f"{real[name]:.2f}" for name in ("precision", "recall", "coverage", "entropy"))
    lines.append(f"| real digits | | 1.00 | {' | '.join(of_real)} | | | |")
    return "\n".join([*lines, ""])


def _spread(value: Any, form: str, of_deviation: str = "") -> str:
    mean, deviation = value
    return format(mean, form) + (f" ± {deviation:{of_deviation or form}}" if deviation is not None else "")


def corners(record: dict[str, Any]) -> dict[tuple[str, str], tuple[float, float, float]]:
    """Quality, diversity and speed of each way of drawing, each in [0, 1].

    Quality is the floor over the Frechet distance. Diversity is the lower of recall and coverage, each over that of
    real digits, since noisy samples raise the one and blurred ones the other. Speed is on a log scale: 1 for the
    fastest of all, 0 for one that takes 1000 times as long.
    """
    fastest = min(row["seconds_a_sample"][0] for row in record["summary"])
    found = {}
    for row in record["summary"]:
        slower = math.log10(row["seconds_a_sample"][0] / fastest) / 3.0
        diverse = min(row[name][0] / record["real"][name] for name in ("recall", "coverage"))
        each = record["floor"] / row["distance"][0], diverse, 1.0 - slower
        found[row["family"], row["way"]] = tuple(min(max(value, 0.0), 1.0) for value in each)
    return found


def picture(path: Path, record: dict[str, Any]) -> None:
    """Draw a triangle for each way of drawing: the farther a corner is from the middle, the better."""
    from matplotlib.figure import Figure  # slow to import

    found = corners(record)
    across = min(4, len(found))
    down = math.ceil(len(found) / across)
    figure = Figure(figsize=(2.9 * across, 2.9 * down + 0.5), layout="constrained")
    angles = np.pi / 2 + np.arange(3) * 2 * np.pi / 3
    axis = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for i, ((family, way), values) in enumerate(found.items()):
        axes = figure.add_subplot(down, across, i + 1)
        for share in (0.25, 0.5, 0.75, 1.0):
            axes.fill(*(share * axis).T, facecolor="none", edgecolor="0.85", linewidth=0.8)
        for corner, (x, y), value in zip(CORNERS, axis, values, strict=True):
            axes.plot([0, x], [0, y], color="0.85", linewidth=0.8)
            below = y < 0
            axes.text(
                1.12 * x, 1.14 * y, f"{corner}\n{value:.2f}", ha="center", va="top" if below else "bottom", fontsize=8
            )
        shape = axis * np.array(values)[:, None]
        axes.fill(*shape.T, facecolor="tab:blue", alpha=0.35, edgecolor="tab:blue", linewidth=1.5)
        axes.set(xlim=(-1.35, 1.35), ylim=(-1.0, 1.5), aspect="equal")
        axes.axis("off")
        axes.set_title(f"{family}, {way}", fontsize=9)
    figure.suptitle(
        "1 is best. Quality: floor / distance; diversity: the lower of recall and coverage, over that of real digits; "
        "speed: 0 is 1000 times slower than 1",
        fontsize=9,
    )
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=110)
