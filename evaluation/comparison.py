"""The files of a comparison of samplers: a table for people, the same as CSV, and its curves."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiment.workdir import write_text
from experiment.writing import replacing

Row = dict[str, Any]

COLUMNS = (
    "run",
    "sampler",
    "budget",
    "evaluations",
    "seconds_per_sample",
    "quality",
    "floors",
    "ratio",
    "flow_error",
    "bits_by_n_grams",
)
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P")


PICTURE = "comparison.png"


def write(folder: Path, result: dict[str, Any]) -> None:
    """Write comparison.md, .csv and .json into the folder; those of an earlier, shorter list are replaced."""
    write_text(folder / "comparison.md", markdown(result))
    write_text(folder / "comparison.csv", table(result))
    write_text(folder / "comparison.json", json.dumps(result, indent=2) + "\n")


def best(rows: list[Row], measure: str) -> dict[int, Row]:
    """The row of each budget whose 'quality' or 'flow_error' is least."""
    found: dict[int, Row] = {}
    measured = (row for row in rows if row[measure] is not None)
    for row in sorted(measured, key=lambda row: (row["budget"], row[measure])):
        found.setdefault(row["budget"], row)
    return found


def nearest(result: dict[str, Any]) -> dict[tuple[str, int], Row]:
    """The row of each run and budget that is nearest to the flow; flows of two runs are not compared."""
    of_runs = {run: best([row for row in result["rows"] if row["run"] == run], "flow_error") for run in result["runs"]}
    return {(run, budget): row for run, found in of_runs.items() for budget, row in found.items()}


def markdown(result: dict[str, Any]) -> str:
    """The table, sorted by evaluations and quality; the least distance of each budget is in bold.

    So is the least flow error of each run and budget. A column is left out where no row has anything in it.
    """
    slow, rows, exact = result["reference"], result["rows"], nearest(result)
    leading = best(rows, "quality")
    said = [f"{result['num_samples']} samples each, from the same noise (seed {result['seed']}). {result['measure']}"]
    said += [f"; the yardstick, {_named(slow)}, has **{slow['quality']:.4f}**"] if slow else []
    said += [f"; the floor (real against real examples) is {result['floor']:.4f}"] if result["floor"] else []
    bits = result.get("real_bits_by_n_grams")
    said += [f"; real texts have {bits:.3f} bits by n-grams"] if bits is not None else []
    said += [f". Seconds: those of a batch of {result['batch_size']}, shared out, compiling left out."]
    if exact:
        said += [
            " Flow error: the median over the samples of a deterministic sampler of their root mean square distance "
            "from the end of their run's probability flow from the same noise (adaptive, tolerance "
            f"{result['flow_tolerance']:g}), in the units in which that network sees data."
        ]
    lines = [f"# Samplers compared: {result['dataset']}", "", "".join(said), ""]
    for name, run in result["runs"].items():
        spent, checkpoint = run["flow_evaluations"], run["checkpoint"]
        flow = f"; its flow takes {spent:.0f} evaluations" if spent else ""
        where = f"step {checkpoint['step']}, weights: {checkpoint['weights']}"
        lines.append(f"- {name}: {run['sde']['name']}, {where}{flow}")
    lines.append("")
    for budget, row in leading.items():
        ratio = f", {row['ratio']:.2f} of the yardstick" if slow else ""
        floors = f", {row['floors']:.2f} floors" if row["floors"] else ""
        near = exact.get((row["run"], budget))
        to_flow = (
            f"; nearest to the flow of {near['run']}: {near['sampler']} ({near['flow_error']:.4f})" if near else ""
        )
        lines.append(f"- {_evaluations(budget)}: **{row['sampler']}** of {row['run']}{floors}{ratio}{to_flow}")
    columns: dict[str, Callable[[Row], str]] = {
        "evaluations": lambda row: str(row["budget"]),
        "run": lambda row: row["run"],
        "sampler": lambda row: row["sampler"],
        "spent": lambda row: str(row["evaluations"]),
        "distance": lambda row: _number(row["quality"], ".4f", bold=row is leading.get(row["budget"])),
        "/ floor": lambda row: _number(row["floors"], ".2f"),
        "/ yardstick": lambda row: _number(row["ratio"], ".2f"),
        "flow error": lambda row: _number(row["flow_error"], ".4f", bold=row is exact.get((row["run"], row["budget"]))),
        "bits by n-grams": lambda row: _number(row.get("bits_by_n_grams"), ".3f"),
        "seconds a sample": lambda row: _number(row["seconds_per_sample"], ".3g"),
    }
    shown = [*sorted(rows, key=lambda row: (row["budget"], row["quality"])), *_if_any(slow)]
    cells = {title: [cell(row) for row in shown] for title, cell in columns.items()}
    cells = {title: column for title, column in cells.items() if any(column)}
    lines += ["", f"| {' | '.join(cells)} |", f"|{'---|' * len(cells)}"]
    lines += [f"| {' | '.join(line)} |" for line in zip(*cells.values(), strict=True)]
    return "\n".join([*lines, "", f"![quality against evaluations and seconds]({PICTURE})", ""])


def table(result: dict[str, Any]) -> str:
    """The rows as CSV, the yardstick's last; a field is empty where there is no floor, yardstick or flow."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows([*result["rows"], *_if_any(result["reference"])])
    return out.getvalue()


def picture(path: Path, result: dict[str, Any]) -> None:
    """Draw quality against evaluations and seconds, and the flow error against evaluations, on log scales.

    A curve is a sampler of a run: its colour is the method, its marker the grid, and its line the run.
    """
    from matplotlib import colormaps  # slow to import
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    rows, slow, measure = result["rows"], result["reference"], result["measure"]
    curves = list(dict.fromkeys((row["run"], row["sampler"]) for row in rows))
    methods = list(dict.fromkeys(sampler.partition("/")[0] for _, sampler in curves))
    grids = list(dict.fromkeys(sampler.partition("/")[2] for _, sampler in curves))
    colours = [colormaps["tab20"](i) for i in (*range(0, 20, 2), *range(1, 20, 2))]
    panels = [("quality", "evaluations", measure), ("quality", "seconds_per_sample", measure)]
    if any(row["flow_error"] is not None for row in rows):
        panels.append(("flow_error", "evaluations", "distance from the flow"))
    figure = Figure(figsize=(4.6 * len(panels) + 2.6, max(4.6, 0.6 + 0.17 * len(curves))), layout="constrained")
    for axes, (y, x, label) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for run, sampler in curves:
            own = [row for row in rows if (row["run"], row["sampler"]) == (run, sampler) and row[y] is not None]
            method, _, grid = sampler.partition("/")
            axes.plot(
                [row[x] for row in own],
                [row[y] for row in own],
                color=colours[methods.index(method) % len(colours)],
                linestyle=STYLES[list(result["runs"]).index(run) % len(STYLES)],
                marker=MARKERS[grids.index(grid) % len(MARKERS)],
                markersize=4,
                label=f"{run}: {sampler}",
            )
        if y == "quality" and slow:
            axes.axhline(slow["quality"], color="black", linewidth=1, label=f"yardstick: {_named(slow)}")
        if y == "quality" and result["floor"]:
            axes.axhline(result["floor"], color="grey", linewidth=1, linestyle=":", label="real against real")
        axes.set(xscale="log", yscale="log", ylabel=label, xlabel=x.replace("_per_", " a "))
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _named(row: Row) -> str:
    return f"{row['run']}: {row['sampler']}, {_evaluations(row['evaluations'])}"


def _evaluations(count: int) -> str:
    return f"{count} evaluation{'s' * (count != 1)}"


def _number(value: float | None, form: str, *, bold: bool = False) -> str:
    text = "" if value is None else format(value, form)
    return f"**{text}**" if bold and text else text


def _if_any(row: Row | None) -> list[Row]:
    return [] if row is None else [row]
