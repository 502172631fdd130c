"""reproduction.md, which holds published numbers beside ours, and everything that could explain a difference."""

from typing import Any

from evaluation.report import weights_of, where, write_anew
from evaluation.samples import listed
from experiment import Experiment
from experiment.rules import published_samplers
from experiment.workdir import Workdir
from metrics import sample_set

ROWS = {  # config.published field: the metric, what is added to its name, where the report holds it
    "fid": ("FID", "", "fid"),
    "inception_score": ("Inception Score", "", "inception_score"),
    "fid_ode": ("FID", " of the probability flow", "fid"),
    "bits_per_dim": ("bits/dim", "", None),
}


def write(experiment: Experiment, workdir: Workdir, report: dict[str, Any]) -> str:
    """Write reproduction.md into the folder and return its text; an earlier one that differs is set aside."""
    text = markdown(experiment, report)
    write_anew(workdir.path / "reproduction.md", text)
    return text


def markdown(experiment: Experiment, report: dict[str, Any]) -> str:
    """The published and the measured numbers with their difference, then the settings of each."""
    config = experiment.config
    published = config.published
    lines = [f"# Reproduction: {config.data.dataset}, {config.sde.name}, step {report['checkpoint']['step']}", ""]
    lines += ["| | published | measured | difference |", "|---|---|---|---|"]
    for field, (name, suffix, _) in ROWS.items():
        if published.get(field) is None:
            continue
        measured, called, digits = _measured(experiment, report, field)
        if measured is None:
            lines.append(f"| {name}{suffix} | {published[field]} | not measured: {called} | |")
        else:
            difference = measured - published[field]
            lines.append(f"| {called} | {published[field]} | {measured:.{digits}f} | {difference:+.{digits}f} |")
    lines += ["", "## How it was measured", ""]
    checkpoint = report["checkpoint"]
    weights = f"- Weights: {weights_of(checkpoint)}; {report['parameters']:,} parameters."
    lines += [weights, f"- Seed: {report['seed']}."]
    if origin := checkpoint.get("imported"):
        parts = [str(origin[name]) for name in ("file", "format", "sha256") if name in origin]
        lines.append(f"- Imported from {', '.join(parts)}.")
    for method, row in report.get("samplers", {}).items():
        lines.append(
            f"- {method}: {report['num_samples']} samples of each of {report['seeds']} seed(s), "
            f"{row['evaluations']['mean']:.0f} network evaluations each; {listed(row['settings'])}."
        )
        if "inception" in row:
            of_set = *sample_set.describe(row["inception"]), sample_set.against(row["inception"])
            lines += [f"- {method}: {line}" for line in of_set]
    if config.eval.inception and "samplers" in report:
        lines.append(f"- Resize before Inception: {config.eval.inception_resize}.")
    if bits := report.get("bits_per_dim"):
        lines.append(
            f"- bits/dim: {bits['examples']} test examples, dequantisation {bits['dequantization']} "
            f"({bits['repeats']} draw(s)), {bits['probe']} probe(s) {bits['probes']}, eps {bits['t_min']:g}, rtol "
            f"{bits['rtol']:g}, atol {bits['atol']:g}, standard error {bits['standard_error']:.4f}, evaluations "
            f"{bits['evaluations']['mean']:.0f}."
        )
    others = {name: value for name, value in published.items() if name not in ROWS}
    if others:
        lines += ["", "## How the published numbers were made", ""]
        lines += [f"- {name}: {listed(value) if hasattr(value, 'items') else value}" for name, value in others.items()]
    return "\n".join([*lines, "", where(report), ""])


def _measured(experiment: Experiment, report: dict[str, Any], field: str) -> tuple[float | None, str, int]:
    """(value, what it is called, decimals), or (None, why not, 0)."""
    name, suffix, part = ROWS[field]
    if part is None:
        bits = report.get("bits_per_dim")
        return (bits["mean"], name, 4) if bits else (None, "eval.enable_bpd is False", 0)
    if "samplers" not in report:
        return None, "eval.enable_sampling is False", 0
    found = report["samplers"][published_samplers(experiment)[field]]["inception"]
    value = found[part]
    if "seeds" in found:
        which = "min" if part == "fid" else "mean"  # what publications quote
        value, suffix = value[which], f"{suffix}, {which} of {found['seeds']} seeds"
    elif isinstance(value, dict):
        value = value["mean"]
    return value, sample_set.label(name, found["count"]) + suffix, 3
