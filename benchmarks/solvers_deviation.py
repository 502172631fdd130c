"""The deviation of a Gaussian's samples by every stochastic few-step solver, whose true value is known: no network.

python -m benchmarks.solvers_deviation

Data N((0.5, -1), 0.4^2), 8000 samples in float32: the standard error of a deviation is 0.002. These solvers have no
true end point for each sample, as `benchmarks.solvers` asks for, so their grids are judged by the distribution.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from benchmarks.common import RESULTS
from evaluation.report import environment
from experiment.workdir import write_text
from samplers import Settings
from samplers.create import stepper_of
from samplers.methods import STOCHASTIC
from samplers.shared import loop, table
from sde_lib import EDM, VE, VP, AffineSDE, CosineBeta, SubVP
from tests.oracles import compiled, gaussian

PROCESSES: dict[str, AffineSDE] = {
    "VP linear": VP(),
    "VP cosine": VP(CosineBeta()),
    "sub-VP": SubVP(),
    "VE": VE(sigma_max=50.0),
    "EDM": EDM(t_min=0.002 / 80.0),
}
GRIDS = ("uniform", "quadratic", "log_snr", "karras")
BUDGETS = (10, 20, 50)
STD = 0.4


def deviations(process: str, method: str, samples: int) -> dict[str, dict[int, float]]:
    """The deviation of the samples by grid and evaluations, the root mean square of the two coordinates'."""
    sde, data = PROCESSES[process], gaussian(np.array([0.5, -1.0]), STD)
    base = Settings(method, grid="uniform", t_min=0.002 / 80.0 if process == "EDM" else 1e-3)
    run, stepper = compiled(loop(sde, data.score(sde), base)), stepper_of(sde, lambda x, t: x, base)
    z = sde.prior_sample(jax.random.key(0), (samples, 2))
    found: dict[str, dict[int, float]] = {}
    for grid in GRIDS:
        for budget in BUDGETS:
            settings = dataclasses.replace(base, grid=grid, evaluations=budget)
            x = np.asarray(run(jax.random.key(1), z, table(sde, stepper, settings, max(BUDGETS))))
            found.setdefault(grid, {})[budget] = float(f"{np.sqrt(np.mean(np.var(x, axis=0))):.4g}")
    return found


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run, print a line for each solver and process, write the JSON and return it."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--solvers", nargs="+", default=STOCHASTIC, choices=STOCHASTIC, help="which")
    flags.add_argument("--processes", nargs="+", default=tuple(PROCESSES), choices=tuple(PROCESSES), help="which")
    flags.add_argument("--samples", type=int, default=8000, help="how many")
    flags.add_argument("--out", type=Path, default=RESULTS / "solvers_deviation.json", help="JSON file")
    options = flags.parse_args(arguments)
    found: dict[str, dict] = {}
    for process in options.processes:
        for method in options.solvers:
            found.setdefault(process, {})[method] = deviations(process, method, options.samples)
            print(process, method, found[process][method], flush=True)
    result = {
        "benchmark": "solvers_deviation",
        "environment": environment(),
        "truth": STD,
        "samples": options.samples,
        "deviations": found,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.out, json.dumps(result) + "\n")
    print(f"wrote {options.out}")
    return result


if __name__ == "__main__":
    main()
