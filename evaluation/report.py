"""report.json and report.md, which hold every figure beside everything that could explain it."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from absl import logging

from evaluation import samples
from evaluation.measures import MEASURES
from experiment.config_files import read_json
from experiment.workdir import set_aside, write_text

RESULTS_OF_BITS = ("mean", "standard_error", "evaluations", "not_converged")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def environment() -> dict[str, Any]:
    """The versions and devices that numbers were computed with."""
    devices = jax.devices()
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "device": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        "processes": jax.process_count(),
    }


def write(folder: Path, report: dict[str, Any], text: str | None = None) -> None:
    """Write both forms; earlier ones that differ are kept as report.1.json, report.2.json, ...

    `text` is the form for people where the report is not one of a checkpoint.
    """
    forms = {"report.json": json.dumps(report, indent=2) + "\n", "report.md": text or markdown(report)}
    for name, text in forms.items():
        write_anew(folder / name, text)


def write_anew(path: Path, text: str) -> None:
    """Write a file unless it has just this text; an earlier one that differs is set aside."""
    if not path.exists() or path.read_bytes() != text.encode():
        set_aside(path)
        write_text(path, text)


def weights_of(checkpoint: dict[str, Any]) -> str:
    """Which weights of a checkpoint were measured, in words."""
    return f"moving average (EMA), rate {checkpoint['ema_rate']}" if checkpoint["ema"] else "raw"


def where(report: dict[str, Any]) -> str:
    """The line on the devices and the versions that a report was made with."""
    place = report["environment"]
    return f"{place['device']}, {place['processes']} process(es). {samples.listed(place['versions'])}."


def markdown(report: dict[str, Any]) -> str:
    """The report for people."""
    checkpoint = report["checkpoint"]
    seeds = f", over {report['seeds']} seeds" if report["seeds"] > 1 else ""
    lines = [
        f"# {report['dataset']}, step {checkpoint['step']}",
        "",
        f"Weights: {weights_of(checkpoint)}. Seed {report['seed']}{seeds}. SDE: {samples.listed(report['sde'])}.",
        "",
    ]
    for measure in MEASURES.values():
        if part := report.get(measure.name):
            lines += measure.rows(part)
    if "samplers" in report:
        lines += samples.rows(report)
    return "\n".join([*lines, "## Where", "", where(report), ""])


def table(folder: Path, *, ema: bool, like: dict[str, Any] | None = None) -> str:
    """A table of all evaluated checkpoints in a folder: bits/dim, and each sampler's FID or pixel distance.

    With `like`, a report, the others have numbers here as far as they are of the same examples and were measured with
    the same settings. For a sampler that it has not, the settings are those of the last report that has it.
    """
    paths = sorted(folder.glob(f"step_*{'' if ema else '_raw'}/report.json"))
    found = [_read(path) for path in paths if path.parent.name.endswith("_raw") != ema]
    reports = [report for report in found if report and (like is None or report.get("data") == like.get("data"))]
    methods = sorted({name for report in reports for name in report.get("samplers", {})})
    lines = [f"| step | bits/dim | {' | '.join(methods)} |", f"|---|---|{'---|' * len(methods)}"]
    parts = (None, *methods)
    alike = {part: next(filter(None, (_measured(each, part) for each in (like, *reversed(reports)))), None)
             for part in parts} if like else {}  # fmt: skip
    for report in reports:
        shown = [part for part in parts if not like or _measured(report, part) == alike[part]]
        cells = [_cell(report, part) if part in shown else "" for part in parts]
        if not like or any(cells):
            lines.append(f"| {' | '.join([str(report['checkpoint']['step']), *cells])} |")
    return "\n".join(lines) + "\n"


def _measured(report: dict[str, Any], method: str | None) -> dict[str, Any] | None:
    """All that a report says of how it came to the number of a sampler, or to bits/dim; None where it has none."""
    if method is None:
        bits = report.get("bits_per_dim")
        return bits and {"seed": report.get("seed")} | {k: v for k, v in bits.items() if k not in RESULTS_OF_BITS}
    row = report.get("samplers", {}).get(method)
    reference = row and row.get("inception", {}).get("reference")
    return row and {
        "settings": row.get("settings"),
        "reference": reference,
        **{name: report.get(name) for name in ("seed", "seeds", "num_samples")},
    }


def _read(path: Path) -> dict[str, Any] | None:
    """A report that was written before; where it is damaged, None, and a warning that names the file."""
    try:
        report = read_json(path, "it is left out of the table; evaluate that checkpoint again")
        if not isinstance(report.get("checkpoint"), dict) or "step" not in report["checkpoint"]:
            raise ValueError(f"{path} says nothing of a checkpoint; it is left out of the table")
        return report
    except (OSError, ValueError) as error:
        logging.warning("%s", error)
        return None


def _cell(report: dict[str, Any], method: str | None) -> str:
    """The number of a sampler, or bits/dim, in words; "" where there is none."""
    if method is None:
        bits = report.get("bits_per_dim")
        return f"{bits['mean']:.4f}" if bits else ""
    row = report.get("samplers", {}).get(method, {})
    of_seeds = f", mean of {report['seeds']} seeds" if report["seeds"] > 1 else ""
    if "inception" in row:
        value = row["inception"]["fid"]
        return f"{row['inception']['label']}{of_seeds}: {value['mean'] if of_seeds else value:.4f}"
    if "frechet_distance" in row:
        return f"{row['frechet_distance']:.4f} over {samples.over(report)}{of_seeds}"
    return ""
