"""report.json and report.md, which hold every figure beside everything that could explain it."""

import json
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from absl import logging

import experiment
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
        "versions": {
            "jax-score-sde": experiment.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
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
    if width := checkpoint.get("ema_std"):
        return f"power-function average (EMA) of width {width:g}"
    return f"moving average (EMA), rate {checkpoint['ema_rate']}" if checkpoint["ema"] else "raw"


def where(report: dict[str, Any]) -> str:
    """The line on the devices and the versions that a report was made with."""
    place = report["environment"]
    return f"{place['device']}, {place['processes']} process(es). {samples.listed(place['versions'])}."


def markdown(report: dict[str, Any]) -> str:
    """The report for people."""
    checkpoint = report["checkpoint"]
    seeds = f", over {report['seeds']} seeds" if report["seeds"] > 1 else ""
    process = f" SDE: {samples.listed(report['sde'])}." if "sde" in report else ""
    lines = [
        f"# {report['dataset']}, step {checkpoint['step']}",
        "",
        f"Weights: {weights_of(checkpoint)}. Seed {report['seed']}{seeds}.{process}",
        "",
    ]
    for measure in MEASURES.values():
        if part := report.get(measure.name):
            lines += measure.rows(part)
    if "samplers" in report:
        lines += samples.rows(report)
    return "\n".join([*lines, "## Where", "", where(report), ""])


def table(folder: Path, suffix: str = "", *, like: dict[str, Any] | None = None) -> str:
    """A table of all evaluated checkpoints in a folder: bits/dim, and each sampler's FID or pixel distance.

    `suffix` ends the names of the checkpoints' folders, and says which weights are meant (`experiment.weights`). With
    `like`, a report, the others have numbers here as far as they are of the same examples and were measured with
    the same settings. For a sampler that it has not, the settings are those of the last report that has it.
    """
    paths = sorted(folder.glob(f"step_*{suffix}/report.json"))
    alone = re.compile(rf"step_\d+{re.escape(suffix)}")
    found = [_read(path) for path in paths if alone.fullmatch(path.parent.name)]
    reports = [report for report in found if report and (like is None or report.get("data") == like.get("data"))]
    methods = sorted({name for report in reports for name in report.get("samplers", {})})
    lines = [f"| step | bits/dim | {' | '.join(methods)} |", f"|---|---|{'---|' * len(methods)}"]
    parts = (None, *methods)
    if like:
        known = (like, *reversed(reports))
        alike = {part: next(filter(None, (_entry(each, part)[1] for each in known)), None) for part in parts}
    for report in reports:
        entries = {part: _entry(report, part) for part in parts}
        cells = [text if not like or how == alike[part] else "" for part, (text, how) in entries.items()]
        if not like or any(cells):
            lines.append(f"| {' | '.join([str(report['checkpoint']['step']), *cells])} |")
    return "\n".join(lines) + "\n"


def _entry(report: dict[str, Any], method: str | None) -> tuple[str, dict[str, Any] | None]:
    """The number of a sampler, or bits/dim, in words, and all that the report says of how it came to it.

    They are "" and None where the report has none.
    """
    bits, row = report.get("bits_per_dim"), report.get("samplers", {}).get(method)
    if method is None and bits:
        settings = {name: value for name, value in bits.items() if name not in RESULTS_OF_BITS}
        return f"{bits['mean']:.4f}", {"seed": report.get("seed"), **settings}
    if not row:
        return "", None
    inception, of_seeds = row.get("inception", {}), f", mean of {report['seeds']} seeds" if report["seeds"] > 1 else ""
    how = {"settings": row.get("settings"), "reference": inception.get("reference")}
    how |= {name: report.get(name) for name in ("seed", "seeds", "num_samples")}
    if inception:
        value = inception["fid"]["mean"] if of_seeds else inception["fid"]
        return f"{inception['label']}{of_seeds}: {value:.4f}", how
    if "frechet_distance" in row:
        return f"{row['frechet_distance']:.4f} over {samples.over(report)}{of_seeds}", how
    return "", how


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
