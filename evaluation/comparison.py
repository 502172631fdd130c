"""The files of a comparison of solvers: a table for people, the same as CSV, and its curves."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from experiment.workdir import write_text
from experiment.writing import replacing

COLUMNS = ("solver", "budget", "evaluations", "seconds", "quality", "ratio", "flow_error")
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P")


PICTURE = "comparison.png"


def write(folder: Path, result: dict[str, Any]) -> None:
    """Write comparison.md, .csv and .json into the folder; those of an earlier, shorter list are replaced."""
    write_text(folder / "comparison.md", markdown(result))
    write_text(folder / "comparison.csv", table(result))
    write_text(folder / "comparison.json", json.dumps(result, indent=2) + "\n")


def best(rows: list[dict[str, Any]], measure: str) -> dict[int, dict[str, Any]]:
    """The row of each budget whose 'quality' or 'flow_error' is least."""
    found: dict[int, dict[str, Any]] = {}
    measured = (row for row in rows if row[measure] is not None)
    for row in sorted(measured, key=lambda row: (row["budget"], row[measure])):
        found.setdefault(row["budget"], row)
    return found


def markdown(result: dict[str, Any]) -> str:
    """The table, sorted by evaluations and quality; the least of each column and budget is in bold."""
    reference, rows, measure = result["reference"], result["rows"], result["measure"]
    lines = [
        f"# Solvers compared: {result['dataset']}, step {result['checkpoint']['step']}",
        "",
        f"{result['num_samples']} samples each, from the same noise (seed {result['seed']}). {measure}; the yardstick, "
        f"{_named(reference)}, has **{reference['quality']:.4f}**"
        + (f", the floor (real against real examples) {result['floor']:.4f}." if result["floor"] is not None else "."),
        "Flow error: the median over the samples of a deterministic solver of their root mean square distance from "
        f"the end of the probability flow from the same noise (adaptive, tolerance {result['flow']['tolerance']:g}, "
        f"{result['flow']['evaluations']:.0f} evaluations), in the units in which the network sees data. Seconds: a "
        f"batch of {result['batch_size']}, compiling left out.",
        "",
    ]
    marks = {key: {id(row) for row in best(rows, key).values()} for key in ("quality", "flow_error")}
    for budget, row in best(rows, "quality").items():
        near = best(rows, "flow_error").get(budget)
        exact = f"; nearest to the flow: {near['solver']} ({near['flow_error']:.4f})" if near else ""
        lines.append(f"- {budget} evaluations: **{row['solver']}**, {row['ratio']:.2f} of the yardstick{exact}")
    lines += [
        "",
        "| evaluations | solver | spent | distance | / yardstick | flow error | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in [*sorted(rows, key=lambda row: (row["budget"], row["quality"])), reference]:
        distance, ratio = _bold(row, marks, "quality", f"{row['quality']:.4f}"), f"{row['ratio']:.2f}"
        error = "" if row["flow_error"] is None else _bold(row, marks, "flow_error", f"{row['flow_error']:.4f}")
        cells = str(row["budget"]), row["solver"], str(row["evaluations"]), distance, ratio, error
        lines.append(f"| {' | '.join(cells)} | {row['seconds']:.3g} |")
    return "\n".join([*lines, "", f"![quality against evaluations and seconds]({PICTURE})", ""])


def table(result: dict[str, Any]) -> str:
    """The rows as CSV, the yardstick's last; a field is empty where there is no flow to be exact about."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows([*result["rows"], result["reference"]])
    return out.getvalue()


def picture(path: Path, result: dict[str, Any]) -> None:
    """Draw quality against evaluations and seconds, and the flow error against evaluations, on log scales."""
    from matplotlib.figure import Figure  # slow to import
    from matplotlib.ticker import LogLocator, NullFormatter

    rows, reference = result["rows"], result["reference"]
    names = list(dict.fromkeys(row["solver"] for row in rows))
    methods = list(dict.fromkeys(name.partition("/")[0] for name in names))
    grids = list(dict.fromkeys(name.partition("/")[2] for name in names))
    panels = [("quality", "evaluations", result["measure"]), ("quality", "seconds", result["measure"])]
    if any(row["flow_error"] is not None for row in rows):
        panels.append(("flow_error", "evaluations", "distance from the flow"))
    figure = Figure(figsize=(4.6 * len(panels) + 2.2, 4.6), layout="constrained")
    for axes, (y, x, label) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for name in names:
            points = [(row[x], row[y]) for row in rows if row["solver"] == name and row[y] is not None]
            method, _, grid = name.partition("/")
            colour, style = f"C{methods.index(method) % 10}", grids.index(grid)
            axes.plot(
                *zip(*points, strict=True) if points else ([], []),
                color=colour,
                linestyle=STYLES[style % len(STYLES)],
                marker=MARKERS[style % len(MARKERS)],
                markersize=4,
                label=name,
            )
        if y == "quality":
            axes.axhline(reference["quality"], color="black", linewidth=1, label=f"yardstick: {_named(reference)}")
            if result["floor"]:
                axes.axhline(result["floor"], color="grey", linewidth=1, linestyle=":", label="real against real")
        axes.set(
            xscale="log",
            yscale="log",
            ylabel=label,
            xlabel={"seconds": f"seconds a batch of {result['batch_size']}"}.get(x, x),
        )
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _named(row: dict[str, Any]) -> str:
    return f"{row['solver']}, {row['evaluations']} evaluations"


def _bold(row: dict[str, Any], marks: dict[str, set[int]], key: str, text: str) -> str:
    return f"**{text}**" if id(row) in marks[key] else text
