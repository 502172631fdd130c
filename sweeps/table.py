"""The results of a sweep: one table for people, the same as JSON, and a plot of every number along the swept fields."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiment.workdir import write_text
from experiment.writing import replacing
from sweeps.numbers import Numbers
from sweeps.points import Point

FILES = ("results.md", "results.json", "results.png")
HIGHER = ("accuracy", "psnr", "ssim")
"""The highest is best of a number whose name holds one of these, and the lowest of any other."""
PANELS = 6


class Result(NamedTuple):
    """What is known of a point: its numbers where it is finished, and else why it is not."""

    point: Point
    numbers: Numbers | None
    state: str


def write(folder: Path, results: Sequence[Result]) -> None:
    """Write all three files anew; the plot only once a point has numbers."""
    write_text(folder / FILES[0], markdown(folder, results))
    write_text(folder / FILES[1], json.dumps(_plain(results), indent=2) + "\n")
    if names_of(results):
        picture(folder / FILES[2], results)


def names_of(results: Sequence[Result]) -> list[str]:
    """The names of all numbers that some point has, in the order of the first that has them."""
    return list(dict.fromkeys(name for each in results for name in each.numbers or {}))


def best(results: Sequence[Result], name: str) -> float | None:
    """The best value of a number; None where fewer than two points have it."""
    values = [each.numbers[name][0] for each in results if each.numbers and name in each.numbers]
    return (max if any(word in name for word in HIGHER) else min)(values) if len(values) > 1 else None


def markdown(folder: Path, results: Sequence[Result]) -> str:
    """The table for people, a row for each point; the best value of each number is bold."""
    fields, names = list(results[0].point.values), names_of(results)
    finished = sum(each.numbers is not None for each in results)
    top = {name: best(results, name) for name in names}

    def cell(each: Result, name: str) -> str:
        if not each.numbers or name not in each.numbers:
            return ""
        value, error = each.numbers[name]
        text = f"{value:.4g}" if error is None else f"{value:.4f} +- {error:.4f}"
        return f"**{text}**" if value == top[name] else text

    lines = [f"# {folder.name}: {finished} of {len(results)} runs finished", ""]
    lines += [f"| {' | '.join([*fields, *names, 'run'])} |", f"|{'---|' * (len(fields) + len(names) + 1)}"]
    for each in results:
        told = each.point.folder if each.numbers is not None else f"{each.point.folder}: {each.state}"
        cells = [*each.point.values.values(), *(cell(each, name) for name in names), told]
        lines.append(f"| {' | '.join(text.replace('|', '/') for text in cells)} |")
    if names:
        lines += ["", f"The best of each column is bold: the lowest, or of {', '.join(HIGHER)} the highest."]
    return "\n".join([*lines, ""])


def _plain(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The results as JSON."""
    return [
        {
            "run": each.point.folder,
            "values": each.point.values,
            "state": each.state,
            "numbers": {name: {"value": v, "error": e} for name, (v, e) in (each.numbers or {}).items()},
        }
        for each in results
    ]


def picture(path: Path, results: Sequence[Result]) -> None:
    """A panel for each number, at most `PANELS`: along the first axis, with a line for each place on the others."""
    from matplotlib.figure import Figure  # slow to import

    names = names_of(results)[:PANELS]
    along, *others = results[0].point.values
    texts = list(dict.fromkeys(each.point.values[along] for each in results))
    places = _places(texts)
    lines: dict[str, list[Result]] = {}
    for each in results:
        if each.numbers is not None:
            label = ", ".join(f"{name.rpartition('.')[2]} {each.point.values[name]}" for name in others)
            lines.setdefault(label, []).append(each)
    figure = Figure(figsize=(4.0 * len(names) + 1.0, 3.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for label, line in lines.items():
            found = ((places[each.point.values[along]], (each.numbers or {}).get(name)) for each in line)
            own = sorted((x, number[0], number[1] or 0.0) for x, number in found if number)
            if own:
                axes.errorbar(*zip(*own, strict=True), marker="o", markersize=4, capsize=3, label=label)
        if min(places.values()) > 0 and max(places.values()) > 10 * min(places.values()):
            axes.set_xscale("log")
        axes.set_xticks(list(places.values()), texts)
        axes.minorticks_off()
        axes.set(xlabel=along, title=name)
        axes.grid(alpha=0.3)
    if others and lines:
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _places(texts: Sequence[str]) -> dict[str, float]:
    """Where each value lies on an axis: at itself, or where one is no number all in their order."""
    try:
        found = {text: float(text) for text in texts}
    except ValueError:
        return {text: float(place) for place, text in enumerate(texts)}
    return found if len(set(found.values())) == len(found) else {text: float(i) for i, text in enumerate(texts)}
