"""Encoding, decoding and tiled decoding of one large picture by an autoencoder: seconds and memory.

python -m benchmarks.autoencoder --config=configs/autoencoders/sd_kl_f8.py --size=512 --tile=40 --repeats=2

Each way is a process of its own, so that its memory is its own; the interpreter, the libraries and the weights count in
`peak_bytes`, and `program_bytes` are what the compiled program sets aside for its work. Beside wall time stands that of
the processors, which a busy neighbour stretches less. Weights are random. Baseline: the whole decode, whose picture the
tiled one is compared with; `difference_rms` is over the deviation of its pixels.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from autoencoders.tiles import decode_tiled
from benchmarks.common import experiment_of, parser, record, speedups, spread
from models.materialize import network_jit

BASELINE = "decode"
WAYS = (BASELINE, "tiled decode", "encode")


def measured(options, picture: Path) -> dict:
    """What one way takes, in this process; its picture is written to the file."""
    experiment, variables, _ = experiment_of(options, needs_data=False)
    network, way = experiment.network, options.only
    module = network.module(network.abstract())
    grid = options.size // module.factor
    shape = (options.size, options.size, module.num_channels) if way == "encode" else (grid, grid, module.embed_dim)
    x = np.random.default_rng(0).standard_normal((options.batch_size, *shape), np.float32)

    def compute(variables, x):
        module = network.module(variables)
        if way == "encode":
            return module.encode(x)
        return decode_tiled(module.decode, x, options.tile) if way == "tiled decode" else module.decode(x)

    began = time.perf_counter()
    program = network_jit(compute, network.dtype).lower(variables, x).compile()
    compiled = time.perf_counter() - began

    seconds, processors = [], []
    for _ in tqdm(range(options.repeats), desc=way, unit="picture"):  # the first one compiles nothing either
        began, used = time.perf_counter(), time.process_time()
        out = np.asarray(program(variables, x))
        seconds.append(time.perf_counter() - began)
        processors.append(time.process_time() - used)
    np.save(picture, out)
    memory = program.memory_analysis()
    return {
        "seconds": seconds,
        "processor_seconds": float(np.median(processors)),
        "compile_seconds": compiled,
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "program_bytes": memory.temp_size_in_bytes + memory.output_size_in_bytes,
        "parameters": network.count(),
    }


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run, print, write the JSON and return it."""
    flags = parser(__doc__.splitlines()[0], batch_size=1)
    flags.set_defaults(config="configs/autoencoders/sd_kl_f8.py", repeats=2)
    flags.add_argument("--size", type=int, default=512, help="a side of the picture in pixels")
    flags.add_argument("--tile", type=int, default=40, help="a side of a tile in places of the latent grid")
    flags.add_argument("--only", choices=WAYS, help="one way, in this process; its figures are printed as JSON")
    options = flags.parse_args(arguments)
    if options.only:
        found = measured(options, options.out)
        print(json.dumps(found))
        return found
    given = [f"--{name}={value}" for name, value in vars(options).items() if name not in ("only", "out") and value]
    rows, seconds, pictures = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for way in tqdm(WAYS, desc="ways", unit="process"):
            picture = Path(folder) / f"{way}.npy"
            command = [sys.executable, "-m", "benchmarks.autoencoder", *given, f"--only={way}", f"--out={picture}"]
            said = subprocess.run(command, cwd=Path(__file__).parents[1], check=True, stdout=subprocess.PIPE, text=True)
            rows[way] = json.loads(said.stdout.splitlines()[-1])
            seconds[way] = rows[way]["seconds"]
            rows[way]["seconds"] = spread(seconds[way])
            rows[way]["median_seconds"] = float(np.median(seconds[way]))
            pictures[way] = np.load(picture)
    whole, pieces = pictures[BASELINE], pictures["tiled decode"]
    rows["tiled decode"]["difference_rms"] = _relative(pieces - whole, whole)
    return record("autoencoder", options, "random, not trained", BASELINE, rows, speedups(seconds, BASELINE))


def _relative(difference: np.ndarray, whole: np.ndarray) -> float:
    """The root mean square of a difference over the deviation of the whole."""
    return float(np.sqrt(np.mean(np.square(difference))) / np.std(whole))


if __name__ == "__main__":
    main()
