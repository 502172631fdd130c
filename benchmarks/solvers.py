"""How far every few-step solver ends from the exact flow, on mixtures whose score is a formula: float64, no network.

python -m benchmarks.solvers

The mixtures, their starting points and the flow's end points (an ODE solved to 1e-12 by SciPy) are those of
tests/reference/samplers, as are the errors of the public solvers that stand beside ours.
"""

import argparse
import dataclasses
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import RESULTS, path_of
from evaluation.report import environment
from experiment.workdir import write_text
from samplers import Settings
from samplers.create import stepper_of
from samplers.methods import SOLVERS, STOCHASTIC
from samplers.shared import least, loop, table
from sde_lib import EDM, VP, AffineSDE, CosineBeta
from tests.oracles import Mixture, compiled

REFERENCE = Path(__file__).parents[1] / "tests" / "reference" / "samplers"
MIXTURES = ("gm2", "gm16")
GRIDS = ("uniform", "quadratic", "log_snr", "karras")
BUDGETS = (5, 10, 20, 50)
DETERMINISTIC = tuple(name for name in SOLVERS if name not in STOCHASTIC)


class Process(NamedTuple):
    """A noise process, where its grids end, and the names of the flow's end points there and at data."""

    sde: AffineSDE
    t_min: float
    ends: dict[str, str]


COSINE_END = 0.9946  # DPM-Solver ends the cosine schedule there; our t counts from 0 to 1 within
PROCESSES = {
    "VP linear": Process(VP(), 1e-3, {"t_min": "vp_linear/t_end", "data": "vp_linear/to_zero"}),
    "VP cosine": Process(
        VP(CosineBeta()), 1e-3 / COSINE_END, {"t_min": "vp_cosine/t_end", "data": "vp_cosine/to_zero"}
    ),
    "EDM": Process(EDM(t_min=0.002 / 80.0), 0.002 / 80.0, {"t_min": "ve/sigma80_to_0.002", "data": "ve/sigma80"}),
}
END_OF = {"none": "t_min", "tweedie": "data"}


class Problem(NamedTuple):
    """One mixture under one process: its starting points, and the flow's end points."""

    mixture: Mixture
    start: np.ndarray
    truth: dict[str, np.ndarray]


def problem(process: str, mixture: str) -> Problem:
    """Read it from the reference."""
    entry = json.loads((REFERENCE / "problem.json").read_text())["problems"][mixture]
    noise, truth = (np.load(REFERENCE / f"{name}.npz") for name in ("noise", "ground_truth"))
    chosen = PROCESSES[process]
    return Problem(
        Mixture(*(np.array(entry[key]) for key in ("weights", "means", "stds"))),
        chosen.sde.prior_std * noise[f"xT/{mixture}"],
        {end: truth[f"{key}/{mixture}"] for end, key in chosen.ends.items()},
    )


def public_best(mixture: str, budget: int) -> dict[str, Any]:
    """The recorded deterministic run of a public solver with the least error within the evaluations."""
    found = json.loads((REFERENCE / "errors.json").read_text())
    rows = [
        {"mixture": mixture, "budget": budget, "evaluations": spent, "error": error, "run": f"{source}: {name}"}
        for source in found
        for name, (spent, error) in found[source][mixture].items()
        if spent <= budget
    ]
    return min(rows, key=lambda row: row["error"])


def errors(process: str, method: str, powers: Sequence[float]) -> Iterator[dict[str, Any]]:
    """The error of one solver on both mixtures and every grid, to either end, with each budget that pays for a step.

    The error is the root mean square over points and coordinates. All runs on a mixture are one compiled loop.
    """
    setups, (sde, t_min, _) = {name: problem(process, name) for name in MIXTURES}, PROCESSES[process]
    powers_of = {grid: powers if grid == "karras" else (7.0,) for grid in GRIDS}
    for denoise, end in END_OF.items():
        base = Settings(method, t_min=t_min, denoise=denoise)
        runs = {name: compiled(loop(sde, setup.mixture.score(sde), base)) for name, setup in setups.items()}
        stepper, needed = stepper_of(sde, lambda x, t: x, base), least(sde, base)
        for grid, power, budget in ((g, p, n) for g in GRIDS for p in powers_of[g] for n in BUDGETS if n >= needed):
            settings = dataclasses.replace(base, grid=grid, karras_power=power, evaluations=budget)
            rows = table(sde, stepper, settings, max(BUDGETS))
            for name, setup in setups.items():
                x = np.asarray(runs[name](jax.random.key(0), jnp.asarray(setup.start), rows))
                yield {
                    "process": process,
                    "mixture": name,
                    "solver": method,
                    "grid": f"karras {power:g}" if grid == "karras" else grid,
                    "end": end,
                    "budget": budget,
                    "evaluations": rows.evaluations,
                    "error": float(np.sqrt(np.mean((x - setup.truth[end]) ** 2))),
                }


def least_of(rows: Sequence[dict[str, Any]], **same: Any) -> dict[str, Any] | None:
    """The row of the least error among those whose fields are as given."""
    chosen = [row for row in rows if all(row[name] == value for name, value in same.items())]
    return min(chosen, key=lambda row: row["error"], default=None)


def markdown(rows: Sequence[dict[str, Any]], mixture: str) -> str:
    """For each process and solver the least error within each budget, and the grid that gave it; the best in bold.

    The last line is the best of all recorded public runs on the mixture, whatever their process and grid.
    """
    lines = [f"| {mixture} | {' | '.join(f'{n} evaluations' for n in BUDGETS)} |", f"|---|{'---|' * len(BUDGETS)}"]
    best = {n: least_of(rows, mixture=mixture, budget=n) for n in BUDGETS}
    for process in dict.fromkeys(row["process"] for row in rows):
        for solver in dict.fromkeys(row["solver"] for row in rows):
            cells = []
            for n in BUDGETS:
                row = least_of(rows, mixture=mixture, process=process, solver=solver, budget=n)
                text = f"{row['error']:.1e} {row['grid']}" if row else ""
                cells.append(f"**{text}**" if row is best[n] and row else text)
            lines.append(f"| {process}, {solver} | {' | '.join(cells)} |")
    public = [public_best(mixture, n) for n in BUDGETS]
    cells = [f"{row['error']:.1e}" for row in public]
    lines += [f"| the best public run of each | {' | '.join(cells)} |", "", "Public runs: "]
    return "\n".join(lines) + "; ".join(row["run"] for row in public)


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run, print the tables, write the JSON and return it."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--solvers", nargs="+", default=DETERMINISTIC, choices=DETERMINISTIC, help="which")
    flags.add_argument("--processes", nargs="+", default=tuple(PROCESSES), choices=tuple(PROCESSES), help="which")
    flags.add_argument("--powers", nargs="+", type=float, default=(2.0, 3.0, 5.0, 7.0), help="rho of the Karras grids")
    flags.add_argument("--out", type=path_of, default=RESULTS / "solvers_mixtures.json", help="JSON file")
    options = flags.parse_args(arguments)
    rows = []
    with jax.enable_x64(True):
        for process, method in itertools.product(options.processes, options.solvers):
            rows += errors(process, method, options.powers)
            print(f"{process}, {method}: {len(rows)} runs", flush=True)
    found: dict[str, Any] = {}
    for row in rows:
        of_solver = found.setdefault(row["process"], {}).setdefault(row["mixture"], {}).setdefault(row["solver"], {})
        of_solver.setdefault(f"{row['grid']} to {row['end']}", {})[row["budget"]] = float(f"{row['error']:.4g}")
    result = {
        "benchmark": "solvers",
        "environment": {**environment(), "cpu_count": os.cpu_count()},
        "best": [least_of(rows, mixture=m, budget=n) for m, n in itertools.product(MIXTURES, BUDGETS)],
        "public": [public_best(m, n) for m, n in itertools.product(MIXTURES, BUDGETS)],
        "errors": found,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.out, json.dumps(result) + "\n")
    for mixture in MIXTURES:
        print(markdown(rows, mixture), "\n")
    print(f"wrote {options.out}")
    return result


if __name__ == "__main__":
    main()
