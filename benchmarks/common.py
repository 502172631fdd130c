"""What every benchmark shares: contenders timed in turn, and a JSON record that says where and on what."""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

import heap
from evaluation.report import environment
from experiment import Experiment, build, inputs
from experiment.config_files import expand, from_file
from experiment.progress import waiting
from experiment.weights import load
from experiment.workdir import Workdir, write_text

heap.keep()  # as main.py does: what is timed is what its users have
RESULTS = Path(__file__).parent / "results"


def path_of(text: str) -> Path:
    """A path as a flag says it, `~` for the home folder."""
    return Path(expand(text))


def parser(description: str, *, batch_size: int, several: bool = False) -> argparse.ArgumentParser:
    """The flags that all benchmarks have; `several` batch sizes make batch_size a list."""
    flags = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    flags.add_argument("--config", default="configs/vp/digits.py", help="the experiment, a file under configs/")
    flags.add_argument("--workdir", default="", help="a trained run of that config; without it the weights are random")
    sizes = {"nargs": "+", "default": [batch_size]} if several else {"default": batch_size}
    flags.add_argument("--batch_size", type=int, help="of all devices together", **sizes)
    flags.add_argument("--repeats", type=int, default=5, help="rounds in which every contender is timed once")
    flags.add_argument("--out", type=path_of, default=None, help="JSON; default benchmarks/results/NAME_CONFIG.json")
    return flags


def experiment_of(
    arguments: argparse.Namespace, *, needs_data: bool = True, **model: Any
) -> tuple[Experiment, dict[str, Any], str]:
    """The experiment, its variables, and in words where these are from; `model` adds options to the network's.

    Untrained networks end in zeros; random numbers of deviation 0.02 are added to every weight, so that scores,
    divergences and the step sizes of adaptive solvers are not trivial.
    """
    with waiting("building the experiment"):
        config = from_file(arguments.config)
        with config.unlocked():
            config.model.update(model)
        experiment = build(config, needs_data=needs_data)
    if arguments.workdir:
        workdir = Workdir(arguments.workdir)
        workdir.check(experiment.config, training=False)
        inputs.check_files(experiment.config, workdir)
        with workdir.store(read_only=True) as store:
            step, variables = load(store, experiment.network, ema=True, step=None)
        return experiment, variables, f"EMA of step {step}"
    with waiting("drawing random weights"):
        variables = experiment.network.init(jax.random.key(0))
        rng = np.random.default_rng(0)
        params = {
            name: leaf + 0.02 * rng.standard_normal(leaf.shape).astype(leaf.dtype)
            for name, leaf in variables["params"].items()
        }
    return experiment, {**variables, "params": params}, "random, not trained"


def timed_in_turn(
    contenders: dict[str, Callable[[], Any]], repeats: int, *, warm: bool = False
) -> dict[str, list[float]]:
    """Seconds of each contender's call in each round; compiling and one warm-up call are left out.

    Contenders alternate within a round, so that a busy neighbour or a hot chip slows all of them alike. Each
    returns the arrays to wait for. `warm` contenders have been called before and need no warm-up.
    """
    if not warm:
        first_calls(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    with tqdm(total=repeats * len(contenders), desc="timing", unit="run", dynamic_ncols=True) as progress:
        for _ in range(repeats):
            for name, run in contenders.items():
                progress.set_postfix_str(name)
                began = time.perf_counter()
                jax.block_until_ready(run())
                seconds[name].append(time.perf_counter() - began)
                progress.update()
    return seconds


def first_calls(
    contenders: dict[str, Callable[[], Any]], excused: Callable[[str, RuntimeError], bool] = lambda name, error: False
) -> dict[str, float]:
    """Seconds of each contender's first call, which compiles it; a person is told which one is being compiled.

    A contender whose call raises a RuntimeError that is `excused(name, error)` is left out; any other error is raised.
    """
    seconds = {}
    for number, (name, run) in enumerate(contenders.items(), 1):
        began = time.perf_counter()
        try:
            with waiting(f"first call of {name} ({number} of {len(contenders)})"):
                jax.block_until_ready(run())
        except RuntimeError as error:
            if not excused(name, error):
                raise
            continue
        seconds[name] = time.perf_counter() - began
    return seconds


def spread(values: list[float] | np.ndarray) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": float(np.median(values)), "min": float(np.min(values)), "max": float(np.max(values))}


def speedups(seconds: dict[str, list[float]], baseline: str, work: dict[str, float] | None = None) -> dict[str, Any]:
    """How many times faster than the baseline each contender does one unit of work; the ratio is taken round by round.

    `work` is the units of work in a call where they differ.
    """
    work = work or dict.fromkeys(seconds, 1.0)
    base = np.array(seconds[baseline]) / work[baseline]
    return {
        name: spread(base / (np.array(values) / work[name])) for name, values in seconds.items() if name != baseline
    }


def record(
    name: str,
    arguments: argparse.Namespace,
    weights: str,
    baseline: str,
    rows: dict[str, Any],
    ratios: dict[str, Any],
    **facts: Any,
) -> dict[str, Any]:
    """Write the JSON, print the table, return the record.

    `rows` are the contenders' figures. `ratios` come from `speedups`: above 1 is faster than the baseline. `facts` are
    what is true of all contenders.
    """
    options = {
        k: str(v) if isinstance(v, Path) else v for k, v in vars(arguments).items() if k not in ("out", "workdir")
    }
    result = {
        "benchmark": name,
        "arguments": options,
        "weights": weights,
        "environment": {**environment(), "cpu_count": os.cpu_count(), "load_average": round(os.getloadavg()[0], 2)},
        "baseline": baseline,
        "contenders": rows,
        "times_faster_than_baseline": ratios,
        **facts,
    }
    out = arguments.out or RESULTS / f"{name}_{'_'.join(Path(arguments.config).with_suffix('').parts[1:])}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, json.dumps(result, indent=2) + "\n")
    print(f"{name}, {arguments.config}, batch {arguments.batch_size}, {result['environment']['device']}")
    for contender, row in rows.items():
        figures = ", ".join(f"{value:.4g} {what}" for what, value in row.items() if isinstance(value, float | int))
        ratio = ratios.get(contender)
        versus = f"{ratio['median']:.2f}x ({ratio['min']:.2f} to {ratio['max']:.2f})" if ratio else "baseline"
        print(f"  {contender:28s} {versus:26s} {figures}")
    print(f"wrote {out}")
    return result
