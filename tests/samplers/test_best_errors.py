"""The best of our solvers against the best of the public ones, on the mixtures whose flow is known exactly."""

import jax
import numpy as np
import pytest

import samplers
from samplers import Settings
from sde_lib import VP, CosineBeta
from tests.oracles import compiled
from tests.samplers.reference_solvers import PROBLEMS, arrays, mixture, read

# One process and one grid win everywhere: cosine, and steps equal in the root of t.
SDE, T = VP(CosineBeta()), 0.9946
BEST = {
    "gm2": {5: "ipndm", 10: "ipndm", 20: "ipndm", 50: "unipc_3"},
    "gm16": {5: "unipc_2", 10: "ipndm", 20: "unipc_3", 50: "unipc_3"},
}


def recorded_best(problem: str, evaluations: int) -> float:
    """The least error of all deterministic runs of the public codes, on whatever process and grid."""
    of_all = [case for source in read("errors.json").values() for case in source[problem].values()]
    return min(error for spent, error in of_all if spent <= evaluations)


@pytest.mark.slow
@pytest.mark.parametrize("problem", PROBLEMS)
def test_no_recorded_run_ends_nearer_to_the_exact_flow(problem: str, x64) -> None:
    """At 5, 10, 20 and 50 evaluations; the error is the root mean square over points and coordinates."""
    z, exact = arrays("noise")[f"xT/{problem}"], arrays("ground_truth")[f"vp_cosine/t_end/{problem}"]
    for evaluations, method in BEST[problem].items():
        settings = Settings(method, evaluations=evaluations, grid="quadratic", t_min=1e-3 / T, denoise="none")
        drawn = compiled(samplers.create(SDE, mixture(problem).score(SDE), settings))(jax.random.key(0), z)
        assert drawn.evaluations.max() <= evaluations
        error = np.sqrt(np.mean((np.asarray(drawn.x) - exact) ** 2))
        assert error <= recorded_best(problem, evaluations), (problem, evaluations, method, error)
