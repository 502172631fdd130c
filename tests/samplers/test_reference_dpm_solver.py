"""DPM-Solver and DPM-Solver++ step for step against the authors' code (arrays of tests/reference/samplers)."""

from itertools import pairwise

import numpy as np
import pytest

import samplers
from samplers.dpm_solver_singlestep import orders_of
from samplers.nodes import nodes_at, nodes_of
from sde_lib import VP, CosineBeta, Discrete, LinearBeta, TableBeta
from tests.samplers.reference_solvers import (
    PROBLEMS,
    At,
    Run,
    arrays,
    cases,
    final,
    guided,
    mixture,
    read,
    solve,
    some_or_all,
)

LINEAR, COSINE = (schedule().discrete_betas(1000) for schedule in (LinearBeta, CosineBeta))
SDES = {
    "vp_linear": VP(),
    "vp_cosine": VP(CosineBeta()),
    "discrete_linear": Discrete(schedule=TableBeta(tuple(LINEAR)), t_min=1e-3),
    # The reference drops the four noisiest levels.
    "discrete_cosine": Discrete(schedule=TableBeta(tuple(COSINE[:996])), t_min=1 / 996),
}
ARRAYS = arrays("dpm_solver")


def times(case: dict) -> np.ndarray:
    """Our grid of a case: every point at which it evaluates, and the end; in our time, which ends at 1."""
    sde, scale = SDES[case["schedule"]], read("problem.json")["dpm_schedules"][case["schedule"]]["T"]
    outer = ARRAYS[case["times"]] / scale
    if case["method"] == "multistep":
        return np.append(outer, 0.0) if case.get("denoise_to_zero") else outer
    if case["skip_type"] != "logSNR":
        power = 1 if case["skip_type"] == "time_uniform" else 2
        steps = zip(pairwise(outer ** (1 / power)), case["orders"], strict=True)
        return np.append(
            np.concatenate([np.linspace(*ends, order + 1)[:-1] for ends, order in steps]) ** power, outer[-1]
        )
    lams = [node.lam for node in nodes_of(sde, outer)]
    steps = zip(pairwise(lams), case["orders"], strict=True)
    fine = np.concatenate([np.linspace(*ends, order + 1)[:-1] for ends, order in steps])
    return np.array([*(node.t for node in nodes_at(sde, list(fine))), outer[-1]])


def run(case: dict, score: At) -> Run:
    """The case through our stepper."""
    sde = SDES[case["schedule"]]
    prediction = "x0" if case["algorithm"] == "dpmsolver++" else "eps"
    options = {"order": case["order"], "prediction": prediction, "taylor": case.get("solver_type") == "taylor"}
    if case["method"] == "multistep":
        options["lower_order_final"] = 10 if case.get("lower_order_final", True) else 0
        stepper = samplers.dpm_solver(sde, score, published=True, **options)
    else:
        stepper = samplers.dpm_solver_singlestep(sde, score, **options)
    return Run(sde, stepper, score, prediction, times(case), arrays("noise")[f"xT/{case['problem']}"])


def models() -> dict:
    """One model a problem, so that equal ones share a compiled scan."""
    return {name: mixture(name).gradient for name in PROBLEMS}


@pytest.mark.slow
@some_or_all
def test_runs_end_where_the_authors_do(every: int, x64) -> None:
    """860 runs: orders 1 to 3, single- and multistep, both predictions, four processes, three grids, 5 to 50 steps."""
    chosen, plain = cases("dpm_solver")[::every], models()
    if every > 1:
        chosen = [case for case in chosen if case["problem"] == "gm16"]
    runs = []
    for case in chosen:
        guidance = case.get("classifier_free_guidance")
        model = guided(case["problem"], **guidance) if guidance else plain[case["problem"]]
        runs.append(run(case, At(model)))
    paths = solve(runs)
    for case, one, path in zip(chosen, runs, paths, strict=True):
        exact = final("dpm_solver", case)
        assert len(path) == case["nfe"], case["id"]
        if case["method"] == "singlestep":
            assert orders_of(case["nfe"], case["order"]) == case["orders"], case["id"]
        error = np.abs(path[-1] - exact) / np.maximum(1.0, np.abs(exact))
        assert error.max() < 1e-9, (case["id"], error.max())
        if "traj" in case:
            plan, states = one.stepper.plan(one.times), ARRAYS[case["traj"]]
            states = states[1:] if case["method"] == "multistep" else states
            np.testing.assert_allclose(path[plan.ends][: len(states)], states, rtol=1e-9, atol=1e-9, err_msg=case["id"])
