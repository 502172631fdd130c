"""A trained and evaluated run becomes one that comes with the project: its file, its card, and the line of its hash.

    python -m release.pretrained runs/digits digits configs/vp/digits.py

The card's numbers are those of the run's report.json. The line that is printed goes into
experiment/pretrained/__init__.py.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import experiment
from experiment import pretrained

ROOT = Path(__file__).parents[1]


def main(folder: str, name: str, config: str) -> None:
    """Write NAME.safetensors and NAME.md, and print what the table needs."""
    run, report = experiment.load(folder), json.loads((Path(folder) / "report.json").read_text())
    if report["checkpoint"]["step"] != run.step:
        sys.exit(f"error: report.json is not of step {run.step}, the run's; evaluate it with --mode=evaluate first")
    run.save(file := pretrained.FOLDER / f"{name}.safetensors")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (pretrained.FOLDER / f"{name}.md").write_text(card(run, name, config, report, file.stat().st_size, digest))
    print(f'    "{name}": "{digest}",')


def card(run: experiment.Run, name: str, config: str, report: dict[str, Any], size: int, digest: str) -> str:
    """The card of a run over images: what it is, what to expect of it, how it was made, and what it is not."""
    source, place = run.experiment.source, report["environment"]
    height, width, _ = source.shape
    facts = {
        "config": f"`{config}`",
        "data": f"{source.name}: {len(source.train):,} images, {height} x {width} pixels, {source.levels} grey levels",
        "held out": f"{len(source.test):,} images, of which the numbers below are",
        "process": run.config.sde.name,
        "network": f"{run.config.model.name}, predicting {run.config.model.prediction}",
        "parameters": f"{run.experiment.network.count():,}",
        "step": f"{run.step:,}",
        "weights": f"averaged at rate {run.config.model.ema_rate}, as they were trained (float32)",
        "bytes": f"{size:,}",
        "SHA-256": f"`{digest}`",
        "made with": f"{place['device']}; " + ", ".join(f"{n} {v}" for n, v in place["versions"].items()),
    }
    bits, floor = report["bits_per_dim"], report["frechet_floor"]
    lines = [
        f"# {name}",
        "",
        f'`experiment.load("{name}")` reads this run, and compares its SHA-256.',
        "",
        "| fact | value |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in facts.items()),
        "",
        "## What to expect",
        "",
        f"**{bits['mean']:.3f} +- {bits['standard_error']:.3f} bits/dim** on the held-out images, by the probability",
        f"flow (rtol {bits['rtol']:g}).",
        "",
        f"Frechet distances over pixels of {report['num_samples']} samples, at a floor of {floor:.3f} (that of",
        "real images from real ones):",
        "",
        "| sampler | evaluations | distance | / floor |",
        "|---|---|---|---|",
        *(
            f"| {method} | {row['evaluations']['mean']:.0f} | {row['frechet_distance']:.3f} | "
            f"{row['frechet_distance'] / floor:.2f} |"
            for method, row in report["samplers"].items()
        ),
        "",
        "## How it was made",
        "",
        "```bash",
        "# needs: ten minutes on two cores",
        f"python main.py --mode=train --config={config} --workdir=runs/{name}",
        f"python main.py --mode=evaluate --workdir=runs/{name}",
        f"python -m release.pretrained runs/{name} {name} {config}",
        "```",
        "",
        "## What it is for",
        "",
        "It is a model to begin with: to draw, to measure and to steer before one has trained anything, and to teach",
        "with. It is small, knows nothing but these images, and is told no classes.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
