"""How long a training takes to its first step: the imports, a first start, and a second one that finds its programs.

python -m benchmarks.startup --config=configs/vp/digits.py --repeats=3 [-- --config.training.batch_size=32 ...]

Each start is main.py in a process of its own and a workdir of its own, stopped after one step; a round's first start
has an empty cache, its second what the first left. Beside wall time stands processor time, which a busy
neighbour stretches less. Baseline: the first start.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.common import parser, record, speedups, spread
from experiment.compilation_cache import FOLDER

ROOT = Path(__file__).parents[1]
BASELINE = "first start"
ONE_STEP = (
    "--config.training.n_iters=1",
    "--config.training.n_jitted_steps=1",
    "--config.training.log_freq=1",
    "--config.training.eval_freq=0",
    "--config.training.snapshot_freq=1",
    "--config.training.snapshot_freq_for_preemption=1",
    "--config.training.snapshot_sampling=False",
)
OURS = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")


def run(*command: str, until: Path | None = None, checkout: Path = ROOT) -> dict[str, float]:
    """Seconds of a process: to its end, or to the first line in the file `until`; and of processors to its end.

    It runs the code of a checkout of this project, which is this one unless another is given.
    """
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    environment["PYTHONPATH"] = str(checkout)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryFile("w+") as said_to:
        process = subprocess.Popen([sys.executable, *command], cwd=checkout, env=environment, stderr=said_to)
        reached = None
        while process.poll() is None:
            if until is not None and reached is None and until.exists() and until.stat().st_size:
                reached = time.perf_counter() - began
            time.sleep(0.01)
        ended = time.perf_counter() - began
        said_to.seek(0)
        said = said_to.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:2])} ended with {process.returncode}: {said.strip()[-500:]}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processors = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": reached or ended, "processor_seconds": processors}


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run, print, write the JSON and return it."""
    flags = parser(__doc__.splitlines()[0], batch_size=128)
    flags.add_argument("overrides", nargs="*", help="of the config, behind --, as main.py takes them")
    options = flags.parse_args(arguments)
    given = [f"--config={options.config}", f"--config.training.batch_size={options.batch_size}", *options.overrides]
    found: dict[str, list[dict[str, float]]] = {"imports": [], BASELINE: [], "second start": []}
    stored = []
    for _ in tqdm(range(options.repeats), desc="starts", unit="round"):
        found["imports"].append(run("-c", "import main, modes"))
        with tempfile.TemporaryDirectory() as folder:
            for name in (BASELINE, "second start"):
                workdir = Path(folder) / name.replace(" ", "_")
                command = ["main.py", "--mode=train", f"--workdir={workdir}", *given, *ONE_STEP]
                found[name].append(run(*command, until=workdir / "metrics.jsonl"))
            kept = Path(folder) / FOLDER
            entries = [file.stat().st_size for file in kept.glob("*-cache")]
            stored.append({"programs": len(entries), "bytes": sum(entries)})
    rows = {name: {kind: spread([f[kind] for f in values]) for kind in values[0]} for name, values in found.items()}
    rows[BASELINE] |= {name: float(np.median([s[name] for s in stored])) for name in stored[0]}
    seconds = {name: [f["seconds"] for f in values] for name, values in found.items()}
    return record("startup", options, "random, not trained", BASELINE, rows, speedups(seconds, BASELINE))


if __name__ == "__main__":
    main()
