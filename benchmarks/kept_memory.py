"""How much faster a training is for keeping the memory that it frees (`heap`), on CPU.

python -m benchmarks.kept_memory [--config=configs/vp/digits.py] [--steps=60] [--repeats=3]

Each training is main.py in a process of its own, with and without in turn; the speed is that of its second half, which
leaves compiling out. Beside it stand the seconds that the processors spent in the system, and the most memory that was
held. Baseline: without.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.common import parser, record, speedups, spread
from benchmarks.startup import ROOT
from heap import OWN

BASELINE = "given back"
OFF = {"MALLOC_ARENA_MAX": "0"}  # glibc's own setting, by which `heap.keep` leaves everything as it is
QUIET = ("--config.training.eval_freq=0", "--config.training.snapshot_sampling=False")


def trained(config: str, batch_size: int, steps: int, environment: dict[str, str]) -> dict[str, float]:
    """The seconds of a step of a training, and what its whole process spent in the system and held."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    with tempfile.TemporaryDirectory() as folder:
        sizes = (f"n_iters={steps}", f"log_freq={steps // 2}", f"snapshot_freq={steps}", f"batch_size={batch_size}")
        command = ["main.py", "--mode=train", f"--config={config}", f"--workdir={folder}/run", *QUIET]
        command += [f"--config.training.{size}" for size in (*sizes, f"snapshot_freq_for_preemption={steps}")]
        with open(os.devnull, "w") as nowhere:
            process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=kept | environment, stderr=nowhere)
            _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"error: {' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
        speeds = [json.loads(line)["images_per_second"] for line in lines if "images_per_second" in line]
    return {
        "seconds_per_step": batch_size / speeds[-1],
        "system_seconds": used.ru_stime,
        "largest_gib": gib(used.ru_maxrss),
    }


def gib(ru_maxrss: int) -> float:
    """The most memory that a process held, which macOS counts in bytes, and others in KiB."""
    return ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run, print, write the JSON and return it."""
    flags = parser(__doc__.splitlines()[0], batch_size=128)
    flags.add_argument("--steps", type=int, default=60)
    options = flags.parse_args(arguments)
    found: dict[str, list[dict[str, float]]] = {BASELINE: [], "kept": []}
    for _ in tqdm(range(options.repeats), desc="trainings", unit="round"):
        for name, environment in ((BASELINE, OFF), ("kept", {})):
            found[name].append(trained(options.config, options.batch_size, options.steps, environment))
    rows = {name: {kind: spread([f[kind] for f in values]) for kind in values[0]} for name, values in found.items()}
    seconds = {name: [f["seconds_per_step"] for f in values] for name, values in found.items()}
    return record("kept_memory", options, "random, not trained", BASELINE, rows, speedups(seconds, BASELINE))


if __name__ == "__main__":
    main()
