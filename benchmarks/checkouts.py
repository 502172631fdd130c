"""What a change did to training: the steps and the second start of two checkouts of this project, in turn.

git worktree add ../before COMMIT
python -m benchmarks.checkouts --before=../before --config=configs/vp/digits.py --repeats=5 --steps=60

Each start is main.py of a checkout, in a process and a workdir of its own. A checkout keeps its compiled programs in
JAX's cache, which a first start has filled before anything is timed. A round has, of each checkout, a second start,
stopped after one step, and a training of some steps, whose median is taken. Baseline: the checkout `--before`.
"""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.common import parser, path_of, record, speedups, spread
from benchmarks.startup import ONE_STEP, ROOT, run

BEFORE, NOW = "before", "now"


def commit(checkout: Path) -> str:
    """The commit of a checkout, with a word where files differ from it; "unknown" for files that git does not keep."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"


def step_seconds(workdir: Path, batch_size: int) -> float:
    """The median of the seconds of the steps that metrics.jsonl tells, without the first, which loads the programs."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    speeds = [line["images_per_second"] for line in lines[1:] if "images_per_second" in line]
    return batch_size / float(np.median(speeds))


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, write the JSON and return it."""
    flags = parser(__doc__.splitlines()[0], batch_size=128)
    flags.add_argument("--before", type=path_of, required=True, help="the other checkout, a folder with main.py")
    flags.add_argument("--steps", type=int, default=60, help="steps of each training, two or more")
    flags.add_argument("overrides", nargs="*", help="of the config, behind --, as main.py takes them")
    options = flags.parse_args(arguments)
    checkouts = {BEFORE: options.before.resolve(), NOW: ROOT}
    if not (checkouts[BEFORE] / "main.py").exists():
        flags.error(f"--before is {str(options.before)!r}, which holds no main.py; give a checkout of this project")
    if options.steps < 2:
        flags.error(f"--steps is {options.steps}; it must be 2 or more, since the first step is left out")
    commits = {name: commit(checkout) for name, checkout in checkouts.items()}
    given = [f"--config={options.config}", f"--config.training.batch_size={options.batch_size}", *options.overrides]
    longer = f"--config.training.n_iters={options.steps}", f"--config.training.snapshot_freq={options.steps}"
    found: dict[str, dict[str, list[float]]] = {
        name: {"second_start_seconds": [], "second_start_processor_seconds": [], "seconds_per_step": []}
        for name in checkouts
    }
    with tempfile.TemporaryDirectory() as folder:

        def start(name: str, what: str, *more: str) -> tuple[Path, dict[str, float]]:
            workdir = Path(folder) / name / what  # the compiled programs lie beside it
            command = ["main.py", "--mode=train", f"--workdir={workdir}", *given, *ONE_STEP, *more]
            return workdir, run(*command, until=workdir / "metrics.jsonl", checkout=checkouts[name])

        for name in tqdm(checkouts, desc="first starts", unit="start"):
            start(name, "first")
        for i in tqdm(range(options.repeats), desc="rounds", unit="round"):
            for name, figures in found.items():
                used = start(name, f"second_{i}")[1]
                figures["second_start_seconds"].append(used["seconds"])
                figures["second_start_processor_seconds"].append(used["processor_seconds"])
            for name, figures in found.items():
                workdir = start(name, f"steps_{i}", *longer)[0]
                figures["seconds_per_step"].append(step_seconds(workdir, options.batch_size))
    ratios = {figure: speedups({name: found[name][figure] for name in found}, BEFORE)[NOW] for figure in found[BEFORE]}
    options.before = commits[BEFORE]  # the record names the commit, not a folder of this machine
    rows = {name: {figure: spread(values) for figure, values in figures.items()} for name, figures in found.items()}
    for name, row in rows.items():
        row["commit"] = commits[name]
        print(f"{name} ({row['commit']}):", *(f"{k} {v['median']:.3f}" for k, v in row.items() if k != "commit"))
    for figure, ratio in ratios.items():
        print(f"{figure}: {ratio['median']:.3f} times as fast ({ratio['min']:.3f} to {ratio['max']:.3f})")
    steps = {NOW: ratios["seconds_per_step"]}
    return record("checkouts", options, "random, not trained", BEFORE, rows, steps, each_figure=ratios)


if __name__ == "__main__":
    main()
