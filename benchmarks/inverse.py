"""How far each method's samples are from the exact posterior, on correlated Gaussian data: no network, no training.

python -m benchmarks.inverse

Six dimensions; either three numbers known exactly (a mask) or three mixed sums with noise 0.3 (a matrix). For every
method and SDE the error of mean and covariance, in units of the posterior's own (`tests.inverse.gaussian`), of samples
after 1000 steps; and what the samples' number alone would make of exact ones.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import inverse
from benchmarks.common import RESULTS, path_of
from evaluation.report import environment
from experiment.workdir import write_text
from samplers import Settings
from sde_lib import VE, VP, AffineSDE, SubVP
from tests.inverse.gaussian import KNOWN, Problem, data, prior_draws, problems

SDES = {"vp": VP(), "subvp": SubVP(), "ve": VE()}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "replacement": ("replacement", {}),
    "repaint, 4 times": ("repaint", {"resamplings": 4}),
    "consistent": ("consistent", {}),
    "dps, zeta 1": ("dps", {}),
    "dps, zeta 0.03": ("dps", {"zeta": 0.03}),
    "mcg, zeta 1": ("mcg", {}),
    "mcg, zeta 0.01": ("mcg", {"zeta": 0.01}),
    "pigdm": ("pigdm", {}),
    "posterior": ("posterior", {}),
}


def measurement(name: str, problem: Problem) -> tuple[inverse.LinearMeasurement, np.ndarray]:
    """The problem as the library has it: the measurement, and y [1, ...]."""
    if name == "mask":
        y = np.zeros(6)
        y[KNOWN] = problem.y
        return inverse.mask(KNOWN), y[None]
    return inverse.matrix(problem.rows, noise=problem.noise), problem.y[None]


def run(sde: AffineSDE, name: str, problem: Problem, variant: str, settings: Settings, n: int) -> dict[str, Any]:
    """The errors of one method."""
    method, options = VARIANTS[variant]
    known, y = measurement(name, problem)
    sampler = jax.jit(inverse.create(sde, data().score(sde), settings, known, method, **options))
    began = time.perf_counter()
    samples = sampler(jax.random.key(1), prior_draws(sde, n), jnp.asarray(y, float))
    mean, cov = problem.posterior.errors(samples.x)
    return {
        "mean_error": float(f"{mean:.4g}"),
        "covariance_error": float(f"{cov:.4g}"),
        "evaluations": int(samples.evaluations[0]),
        "seconds_with_compiling": round(time.perf_counter() - began, 1),
    }


def markdown(errors: dict[str, Any], floor: dict[str, Any]) -> str:
    """A table for each problem: mean and covariance error, in percent."""
    lines = []
    for problem, of_sde in errors.items():
        names = list(of_sde)
        lines += [f"| {problem} | {' | '.join(f'{n}: mean, cov' for n in names)} | evaluations |"]
        lines += [f"|---|{'---|' * (len(names) + 1)}"]
        for variant in of_sde[names[0]]:
            rows = [of_sde[name][variant] for name in names]
            cells = [f"{100 * row['mean_error']:.1f} %, {100 * row['covariance_error']:.1f} %" for row in rows]
            lines.append(f"| {variant} | {' | '.join(cells)} | {rows[0]['evaluations']} |")
        exact = f"{100 * floor[problem]['mean_error']:.1f} %, {100 * floor[problem]['covariance_error']:.1f} %"
        lines += [f"| exact samples, expected | {' | '.join([exact] * len(names))} | |", ""]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print the tables, write the JSON and return it."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--methods", nargs="+", default=tuple(VARIANTS), choices=tuple(VARIANTS), help="which")
    flags.add_argument("--sdes", nargs="+", default=tuple(SDES), choices=tuple(SDES), help="which")
    flags.add_argument("--sampler", default="ancestral", help="a sampling method; deterministic ones need no noise")
    flags.add_argument("--steps", type=int, default=1000, help="grid steps, or evaluations of a few-step solver")
    flags.add_argument("--samples", type=int, default=8192, help="of each run")
    flags.add_argument("--out", type=path_of, default=RESULTS / "inverse_gaussian.json", help="JSON file")
    options = flags.parse_args(arguments)
    settings = Settings(method=options.sampler, steps=options.steps, evaluations=options.steps)
    n, cases = options.samples, problems()
    errors: dict[str, Any] = {}
    for name, problem in cases.items():
        for sde in options.sdes:
            for variant in options.methods:
                if problem.noise and not inverse.METHODS[VARIANTS[variant][0]].noisy:
                    continue
                row = run(SDES[sde], name, problem, variant, settings, n)
                errors.setdefault(name, {}).setdefault(sde, {})[variant] = row
                print(f"{name}, {sde}, {variant}: {row}", flush=True)
    dimensions = {name: np.linalg.matrix_rank(case.posterior.cov, tol=1e-9) for name, case in cases.items()}
    floor = {
        name: {"mean_error": n**-0.5, "covariance_error": float(((k + 1) / n) ** 0.5)} for name, k in dimensions.items()
    }
    result = {
        "benchmark": "inverse",
        "arguments": {name: value for name, value in vars(options).items() if name != "out"},
        "environment": {**environment(), "cpu_count": os.cpu_count()},
        "expected_of_exact_samples": floor,
        "errors": errors,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.out, json.dumps(result, indent=1) + "\n")
    print(markdown(errors, floor))
    print(f"wrote {options.out}")
    return result


if __name__ == "__main__":
    main()
