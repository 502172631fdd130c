"""report.json and report.md: every figure beside everything that could explain it."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from absl import logging

from experiment.config_files import read_json
from experiment.workdir import set_aside, write_text
from metrics import sample_set

RESULTS_OF_BITS = ("mean", "standard_error", "evaluations", "not_converged")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def environment() -> dict[str, Any]:
    """Versions and devices."""
    devices = jax.devices()
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "device": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        "processes": jax.process_count(),
    }


def write(folder: Path, report: dict[str, Any], text: str | None = None) -> None:
    """Write both forms; earlier ones that differ are kept as report.1.json, report.2.json, ...

    `text` is the form for people of a report that is none of a checkpoint.
    """
    forms = {"report.json": json.dumps(report, indent=2) + "\n", "report.md": text or markdown(report)}
    for name, text in forms.items():
        if not (folder / name).exists() or (folder / name).read_bytes() != text.encode():
            set_aside(folder / name)
            write_text(folder / name, text)


def _settings(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def markdown(report: dict[str, Any]) -> str:
    """The report for people."""
    checkpoint = report["checkpoint"]
    lines = [
        f"# {report['dataset']}, step {checkpoint['step']}",
        "",
        f"Weights: {'moving average (EMA), rate ' + str(checkpoint['ema_rate']) if checkpoint['ema'] else 'raw'}. "
        f"Seed {report['seed']}{_of_seeds(report)}. SDE: {_settings(report['sde'])}.",
        "",
    ]
    if bits := report.get("bits_per_dim"):
        lines += [
            "## Likelihood",
            "",
            f"**{bits['mean']:.4f} +- {bits['standard_error']:.4f} {bits['unit']}** (mean and standard error over "
            f"{bits['examples']} test examples).",
            "",
            f"Dequantisation: {bits['dequantization']}, {bits['levels'] or 'no'} levels, {bits['repeats']} draw(s) an "
            f"example. Divergence: {bits['probe']}, {bits['probes']} probe(s). Flow from t = {bits['t_min']:g} to 1, "
            f"rtol {bits['rtol']:g}, atol {bits['atol']:g}; evaluations mean {bits['evaluations']['mean']:.1f}, "
            f"max {bits['evaluations']['max']}. {bits['not_converged']} solve(s) missed the tolerance.",
            "",
        ]
    if (bound := report.get("variational_bound")) and "diffusion" in bound:
        lines += [
            "## Variational bound",
            "",
            f"**{bound['mean']:.4f} +- {bound['standard_error']:.4f} {bound['unit']}** (mean and standard error over "
            f"{bound['examples']} test examples): diffusion {bound['diffusion']:.4f}, prior {bound['prior']:.4f}, "
            f"reconstruction {bound['reconstruction']:.4f}.",
            "",
            f"Continuous time, {bound['settings']['times']} times an example, {bound['settings']['decoder']} decoder; "
            f"log SNR from {bound['log_snr'][0]:.2f} to {bound['log_snr'][1]:.2f}.",
            "",
        ]
    elif bound:
        lines += [
            "## Variational bound",
            "",
            f"**{bound['mean']:.4f} +- {bound['standard_error']:.4f} {bound['unit']}** (mean and standard error over "
            f"{bound['examples']} test examples): prior {bound['prior']:.4f}, steps {bound['steps']:.4f}, decoder "
            f"{bound['decoder']:.4f}.",
            "",
            f"{bound['num_scales']} noise levels, variance {bound['settings']['variance']}, decoder "
            f"{bound['settings']['decoder']}, x0 {'clipped' if bound['settings']['clip'] else 'not clipped'}. L_simple "
            f"{bound['l_simple']:.4f}. Progressive coding: {bound['progressive_coding']}, with a picture.",
            "",
        ]
    if scores := report.get("accuracy"):
        lines += _accuracy(scores)
    if "samplers" in report:
        lines += _samples(report)
    place = report["environment"]
    lines += [
        "## Where",
        "",
        f"{place['device']}, {place['processes']} process(es). {_settings(place['versions'])}.",
        "",
    ]
    return "\n".join(lines)


def _accuracy(scores: dict[str, Any]) -> list[str]:
    columns = [scores[name] for name in ("log_snr", "t", "accuracy", "standard_error", "cross_entropy")]
    return [
        "## Accuracy",
        "",
        f"Of {scores['examples']} test examples of {scores['classes']} classes, each noised once a level: the share "
        "whose likeliest class is their own, and the mean cross-entropy.",
        "",
        "| log SNR | t | accuracy | cross-entropy (nats) |",
        "|---|---|---|---|",
        *(
            f"| {log_snr:.2f} | {t:.5f} | {100 * share:.1f} +- {100 * error:.1f} % | {entropy:.3f} |"
            for log_snr, t, share, error, entropy in zip(*columns, strict=True)
        ),
        "",
    ]


def _samples(report: dict[str, Any]) -> list[str]:
    rows, floor = report["samplers"], report.get("frechet_floor")
    lines = ["## Samples", ""]
    if floor is not None:
        lines += [
            f"Frechet distance over {_over(report)}{' in [0, 1]' if report['levels'] else ''} (not Inception features: "
            f"not an FID), {report['num_samples']} "
            f"samples against each of two halves of the training set, averaged{_of_seeds(report)}; half against half, "
            f"{report['frechet_count']} each, the floor: **{floor:.4f}**.",
            "",
        ]
    distance = "" if floor is None else " Frechet distance | / floor |"
    lines += [f"| sampler |{distance} evaluations | settings |", f"|---|{'---|' * distance.count('|')}---|---|"]
    for name, row in rows.items():
        value = row.get("frechet_distance")
        distance = "" if floor is None else f" {value:.4f} | {value / floor:.2f} |"
        lines.append(f"| {name} |{distance} {row['evaluations']['mean']:.0f} | {_settings(row['settings'])} |")
    lines.append("")
    for name, row in rows.items():
        if "inception" in row:
            against = {name: value for name, value in row["inception"]["reference"].items() if name != "data"}
            lines += [f"### {name}", "", *(f"- {line}" for line in sample_set.describe(row["inception"]))]
            lines += ["", f"Against {_settings(against)}.", ""]
    return lines


def _of_seeds(report: dict[str, Any]) -> str:
    return f", over {report['seeds']} seeds" if report["seeds"] > 1 else ""


def table(folder: Path, *, ema: bool, like: dict[str, Any] | None = None) -> str:
    """All evaluated checkpoints in a folder beside each other: bits/dim, and each sampler's FID, or pixel distance.

    With `like`, a report, the others have numbers here as far as they are of the same examples and were measured with
    the same settings; of a sampler that it has not, as the last report that has it.
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
    """A report that was written before; None, and a line that names the file, where it is damaged."""
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
        return f"{row['frechet_distance']:.4f} over {_over(report)}{of_seeds}"
    return ""


def _over(report: dict[str, Any]) -> str:
    return "pixels" if report["levels"] else "coordinates"
