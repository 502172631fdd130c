"""Importing a published checkpoint against merely reading its file: seconds, and memory against the file's size.

python -m benchmarks.import_checkpoint

A `.pth` of NCSN++ on CIFAR-10 (62.76 M parameters, raw and averaged, random) is written first, under the published
names. Each import is a process of its own, so that its memory is its own; the interpreter and the libraries count.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.common import parser, record, speedups, spread
from experiment.progress import waiting
from tests import torch_writer

BASELINE = "read the file"
ROOT = Path(__file__).parents[1]
CONFIG = "configs/ve/cifar10_ncsnpp_continuous.py"
NAMES = ROOT / "tests/reference/score_sde/models/formula_cifar10_ncsnpp_ve.json"


def write_checkpoint(path: Path) -> int:
    """A checkpoint as score_sde_pytorch saves it before the first step; its number of parameters."""
    draw = np.random.default_rng(0)
    entries = json.loads(NAMES.read_text())["params"]
    model = {entry["key"]: draw.standard_normal(entry["shape"], np.float32) for entry in entries}
    trained = [value for name, value in model.items() if not name.endswith("all_modules.0.W")]
    ema = {"decay": 0.999, "num_updates": 1, "shadow_params": [value + 1 for value in trained]}
    torch_writer.save(path, {"optimizer": {}, "model": model, "ema": ema, "step": 7})
    return sum(value.size for value in model.values())


# A process counts the memory of the one that started it as its own largest; a small one stands in between therefore.
MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def imported(path: Path, workdir: Path) -> int:
    """Import it in a process of its own; its largest resident memory in bytes."""
    flags = ["--mode=import", f"--config={CONFIG}", f"--workdir={workdir}", f"--checkpoint={path}"]
    command = [sys.executable, "-c", MEASURED, sys.executable, "main.py", *flags]
    return 1024 * int(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run, print, write the JSON and return it."""
    flags = parser(__doc__.splitlines()[0], batch_size=1)
    flags.set_defaults(config=CONFIG, repeats=2)
    options = flags.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pth"
        with waiting("writing a checkpoint"):
            parameters = write_checkpoint(path)
        seconds: dict[str, list[float]] = {BASELINE: [], "import": []}
        memory = []
        for i in tqdm(range(options.repeats), desc="imports", unit="round"):
            began = time.perf_counter()
            with path.open("rb") as file:
                hashlib.file_digest(file, "sha256")
            seconds[BASELINE].append(time.perf_counter() - began)
            began = time.perf_counter()
            memory.append(imported(path, Path(folder) / f"run{i}"))
            seconds["import"].append(time.perf_counter() - began)
        size = path.stat().st_size
    rows = {name: {"file_bytes": size, "parameters": parameters, "seconds": spread(s)} for name, s in seconds.items()}
    rows["import"] |= {"median_seconds": float(np.median(seconds["import"])), "memory_over_file": max(memory) / size}
    return record("import_checkpoint", options, "random, not trained", BASELINE, rows, speedups(seconds, BASELINE))


if __name__ == "__main__":
    main()
