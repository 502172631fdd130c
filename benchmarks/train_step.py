"""The training step: images a second, and its share of what the machine's matrix products reach in the same run.

python -m benchmarks.train_step --config=configs/ve/cifar10_ncsnpp_continuous.py --batch_size 8 --repeats=10
python -m benchmarks.train_step --config=configs/ve/cifar10_ncsnpp_continuous.py --dtype=bfloat16 \
    --batch_size 64 128 256 512   (on a GPU)

Our contenders are the gradient alone (no dropout, optimiser, average), the whole step under plain jit on one device,
the step under pmap over all local devices, and several steps a call of that. PyTorch's contenders take part where the
extra `benchmarks` is installed and they have the network. They are PyTorch's training step on one device
(`benchmarks.torch_step`), eager and compiled (torch.compile), each in both memory formats, and on CUDA in bfloat16
too. Each is made of two networks: diffusers' NCSN++ (`benchmarks.diffusers_ncsnpp`, nearly the same network) and our
network as we would write it for PyTorch (`benchmarks.torch_ncsnpp`, the same function). The record names the fastest
compiled step of each network, with its format. The baseline is the library's eager step in its users' format,
contiguous; without it our PyTorch network's; without that the gradient alone. Operations are those of
`benchmarks.flops` for our network. Everything is timed in turn within a round, the matrix products too, and shares
and ratios are taken round by round: medians and best values of a machine whose speed swings.
"""

import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from benchmarks import flops
from benchmarks.common import experiment_of, first_calls, parser, record, speedups, spread, timed_in_turn
from benchmarks.peak import products
from benchmarks.steps import Steps
from data.source import take
from experiment import Experiment
from experiment.progress import waiting
from training.devices import check_batch_size

GRADIENT = "gradient alone"
LIBRARIES = {"diffusers": ("torch", "diffusers"), "PyTorch": ("torch",)}
FORMS = ("contiguous", "channels last")
WAYS = ("eager", "compiled")
Contenders = dict[str, Callable[[], Any]]


def images_of(experiment: Experiment, count: int) -> dict[str, np.ndarray]:
    """So many training examples; random ones where the data set is not there, which cost the same."""
    if len(experiment.source.train):
        return take(experiment.source.train, np.arange(count) % len(experiment.source.train))
    rng = np.random.default_rng(0)
    shape, levels = (count, *experiment.codec.shape), experiment.source.levels
    image = rng.integers(0, levels, shape, np.uint8) if levels else rng.standard_normal(shape, np.float32)
    return {"image": image, "label": rng.integers(0, max(experiment.num_classes, 1), count, np.int32)}


def ours(steps: Steps, batches: dict[str, np.ndarray], k: int) -> tuple[Contenders, float, int]:
    """Our steps by name on batches [k, b, ...]; of the plain one the seconds to compile it and the bytes it needs."""
    first = {name: array[0] for name, array in batches.items()}
    one, several = steps.pmapped(1), steps.pmapped(k)
    began = time.perf_counter()
    plain, held = steps.plain(first)
    compiling = time.perf_counter() - began
    contenders = {
        GRADIENT: steps.gradient(first),
        "jit": plain,
        "pmap": lambda: one({name: array[:1] for name, array in batches.items()}),
        f"pmap, {k} steps a call": lambda: several(batches),
    }
    return contenders, compiling, held


def pytorchs(experiment: Experiment, variables: dict, images: np.ndarray) -> tuple[Contenders, dict[str, str]]:
    """PyTorch's steps by name, of each library's network; and of the libraries that have none, why."""
    contenders: Contenders = {}
    without = {}
    for library, packages in LIBRARIES.items():
        missing = [package for package in packages if importlib.util.find_spec(package) is None]
        if missing:
            without[library] = f"{', '.join(missing)} not installed; the extra benchmarks brings it"
            continue
        try:
            contenders |= _steps_of(library, experiment, variables, images)
        except ValueError as error:
            without[library] = str(error)
    return contenders, without


def _steps_of(library: str, experiment: Experiment, variables: dict, images: np.ndarray) -> Contenders:
    import torch

    from benchmarks.torch_step import step_of

    def network() -> torch.nn.Module:
        if library == "diffusers":
            from benchmarks import diffusers_ncsnpp

            return diffusers_ncsnpp.like(experiment.network)
        from benchmarks import torch_ncsnpp

        return torch_ncsnpp.of_network(experiment.network, variables)

    kinds = {
        _name(library, way, form): {"compiled": way == "compiled", "channels_last": form == "channels last"}
        for way in WAYS
        for form in FORMS
    }
    if torch.cuda.is_available():
        kinds |= {f"{name}, bfloat16": {**kind, "bfloat16": True} for name, kind in kinds.items()}
    return {name: step_of(experiment, network(), images, **kind) for name, kind in kinds.items()}


def _name(library: str, way: str, form: str) -> str:
    return f"{library} {way}, {form}"


def fastest_compiled(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The contender with the fastest compiled step of each library and dtype; its name says the memory format too."""
    found: dict[str, str] = {}
    for name, row in rows.items():
        step, *form = name.split(", ")
        if step.endswith(" compiled"):
            kind = ", ".join([step, *form[1:]])
            if kind not in found or row["images_per_second"] > rows[found[kind]]["images_per_second"]:
                found[kind] = name
    return found


def measure(options: Any, experiment: Experiment, variables: dict, size: int) -> dict[str, Any]:
    """All contenders at one batch size: their rows, the baseline and the ratios to it."""
    k = options.steps_per_call
    examples = images_of(experiment, k * size)
    batches = {name: examples[name].reshape(k, size, *examples[name].shape[1:]) for name in experiment.batch_fields}
    with waiting("making PyTorch's networks"):
        theirs, without = pytorchs(experiment, variables, batches["image"][0])
    with waiting("compiling our steps"):
        steps, compiled_in, held = ours(Steps(experiment, variables, size), batches, k)
    steps |= theirs
    dtypes = ["float32"] if jax.default_backend() == "cpu" else ["float32", "bfloat16"]
    peaks = {dtype: products(dtype) for dtype in dtypes}
    multiplied = {name: work for table in peaks.values() for name, (_, work) in table.items()}
    without_room: list[str] = []

    def excused(name: str, error: RuntimeError) -> bool:
        """A contender that does not fit into memory, or that PyTorch cannot compile here, is left out with a reason."""
        if any(sign in str(error) for sign in ("RESOURCE_EXHAUSTED", "out of memory")):
            without_room.append(name)
        elif " compiled, " in name:
            without[name] = next(iter(str(error).splitlines()), type(error).__name__)
        else:
            return False
        return True

    compiling = first_calls(steps, excused)
    steps = {name: steps[name] for name in compiling}
    if "jit" in compiling:
        compiling["jit"] += compiled_in  # ahead of its first call
    calls = {name: call for table in peaks.values() for name, (call, _) in table.items()}
    first_calls(calls)
    seconds = timed_in_turn(steps | calls, options.repeats, warm=True)

    peak = {t: np.max([multiplied[n] / np.array(seconds[n]) for n in table], axis=0) for t, table in peaks.items()}
    try:
        operations: float | None = flops.TRAINING * flops.forward(experiment.network) * size
    except ValueError:  # a network that is not counted
        operations = None
    first_choices = [_name(library, WAYS[0], FORMS[0]) for library in LIBRARIES]
    baseline = next(name for name in (*first_choices, GRADIENT) if name in steps)
    per_call = {name: k if name.endswith("a call") else 1 for name in steps}
    rows = {}
    for name, work in per_call.items():
        each = np.array(seconds[name]) / work
        rows[name] = {
            "images_per_second": size / float(np.median(each)),
            "seconds_per_step": spread(each),
            "first_call_seconds": compiling[name],
        }
        if operations is not None:
            rows[name]["gflops_per_second"] = operations / float(np.median(each)) / 1e9
            for dtype, rates in peak.items():
                rows[name][f"share_of_{dtype}_peak"] = spread(operations / each / rates)
                rows[name][f"share_of_{dtype}_peak_best_over_best"] = float(operations / each.min() / rates.max())
    timed = {name: seconds[name] for name in steps}
    ratios = speedups(timed, baseline, per_call)
    compiled = fastest_compiled(rows)
    return {
        "rows": rows,
        "baseline": baseline,
        "ratios": ratios,
        "facts": {
            "batch_size": size,
            "gflop_per_step": operations and operations / 1e9,
            "peak_gflops_per_second": {dtype: spread(rates / 1e9) for dtype, rates in peak.items()},
            "jit_bytes": held,
            "most_bytes_so_far": (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
            "libraries_without": without,
            "libraries": {name: version(name) for name in LIBRARIES["diffusers"] if importlib.util.find_spec(name)},
            "out_of_memory": without_room,
            "fastest_compiled": compiled,
            "times_faster_than_compiled": {name: speedups(timed, name, per_call) for name in compiled.values()},
        },
    }


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run, print, write the JSON and return it."""
    flags = parser(__doc__.splitlines()[0], batch_size=128, several=True)
    flags.add_argument("--steps_per_call", type=int, default=2, help="of the contender with several")
    flags.add_argument(
        "--remat", action="store_true", help="recompute the blocks, as training.remat does; see jit_bytes"
    )
    flags.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of our computation")
    options = flags.parse_args(arguments)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs room on the same GPU
    for size in options.batch_size:
        check_batch_size(size)
    with_dtype = {} if options.dtype == "float32" else {"dtype": options.dtype}
    experiment, variables, weights = experiment_of(options, needs_data=False, **with_dtype)
    experiment.config.training.remat = options.remat
    found = []
    for number, size in enumerate(options.batch_size, 1):
        print(f"batch {size} ({number} of {len(options.batch_size)})", flush=True)
        found.append(measure(options, experiment, variables, size))
        for name, row in found[-1]["rows"].items():
            print(f"  batch {size}, {name}: {row['images_per_second']:.4g} images/s", flush=True)
        for name, than in found[-1]["facts"]["times_faster_than_compiled"].items():
            if "pmap" in than:
                print(f"  batch {size}, pmap is {than['pmap']['median']:.2f} times as fast as {name}", flush=True)
    fastest = max(found, key=lambda result: result["rows"].get("pmap", {"images_per_second": 0.0})["images_per_second"])
    more = {**fastest["facts"], "batch_sizes": {str(each["facts"]["batch_size"]): each["rows"] for each in found}}
    return record("train_step", options, weights, fastest["baseline"], fastest["rows"], fastest["ratios"], **more)


if __name__ == "__main__":
    main()
