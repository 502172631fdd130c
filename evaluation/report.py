"""report.json and report.md: every figure beside everything that could explain it."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from experiment.workdir import set_aside, write_text

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "diffrax", "numpy")


def environment() -> dict[str, Any]:
    """Versions and devices."""
    devices = jax.devices()
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "device": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        "processes": jax.process_count(),
    }


def write(folder: Path, report: dict[str, Any]) -> None:
    """Write both forms; earlier ones are kept as report.1.json, report.2.json, ..."""
    for name, text in (("report.json", json.dumps(report, indent=2) + "\n"), ("report.md", markdown(report))):
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
        f"Seed {report['seed']}. SDE: {_settings(report['sde'])}.",
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
    if rows := report.get("samplers"):
        lines += [
            "## Samples",
            "",
            f"Frechet distance over pixels in [0, 1] (not Inception features: not an FID), {report['num_samples']} "
            f"samples against each of two halves of the training set, averaged; half against half, "
            f"{report['frechet_count']} each, the floor: "
            f"**{report['frechet_floor']:.4f}**.",
            "",
            "| sampler | Frechet distance | / floor | evaluations | seconds | settings |",
            "|---|---|---|---|---|---|",
        ]
        for name, row in rows.items():
            lines.append(
                f"| {name} | {row['frechet_distance']:.4f} | {row['frechet_distance'] / report['frechet_floor']:.2f} | "
                f"{row['evaluations']['mean']:.0f} | {row['seconds']:.1f} | {_settings(row['settings'])} |"
            )
        lines.append("")
    place = report["environment"]
    lines += [
        "## Where",
        "",
        f"{place['device']}, {place['processes']} process(es). {_settings(place['versions'])}.",
        "",
    ]
    return "\n".join(lines)
