"""Few-step solvers: measured orders, identities between them, inversion, and float32 against float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from samplers import grids, sample, solve_flow
from samplers.nodes import nodes_at, nodes_of
from sde_lib import EDM, VE, VP, Discrete, SubVP, TableBeta
from sde_lib.schedules import CosineBeta
from tests.oracles import compiled, planar
from tests.samplers.reference_solvers import At, Run, solve

KEY = jax.random.key(0)
SDES = {"vp": VP(), "ve": VE(sigma_max=50.0), "edm": EDM(sigma_max=80.0, t_min=2.5e-5)}
GRID = {"vp": "log_snr", "ve": "karras", "edm": "karras"}
END = {"vp": 0.1, "ve": 0.4, "edm": 0.002}  # sigma / alpha of about 0.3, 0.3 and 0.16
START = jax.random.normal(jax.random.key(5), (8, 2))
DETERMINISTIC = {
    "ddim": (samplers.ddim, "x0", {}, 1),
    "euler": (samplers.euler, "eps", {}, 1),
    "heun": (samplers.heun, "eps", {}, 2),
    "midpoint": (samplers.heun, "eps", {"place": 0.5}, 2),
    "dpm_2": (samplers.dpm_2, "eps", {}, 2),
    "dpmpp_1": (samplers.dpm_solver, "x0", {"order": 1}, 1),
    "dpmpp_2m": (samplers.dpm_solver, "x0", {"order": 2, "lower_order_final": 0}, 2),
    "dpmpp_3m": (samplers.dpm_solver, "x0", {"order": 3, "lower_order_final": 0}, 3),
    "dpm_solver_2m": (samplers.dpm_solver, "eps", {"order": 2, "prediction": "eps", "lower_order_final": 0}, 2),
    "dpm_solver_3m": (samplers.dpm_solver, "eps", {"order": 3, "prediction": "eps", "lower_order_final": 0}, 3),
    "dpmpp_2s": (samplers.dpm_solver_singlestep, "x0", {"order": 2}, 2),
    "dpmpp_3s": (samplers.dpm_solver_singlestep, "x0", {"order": 3}, 3),
    "dpm_solver_2s": (samplers.dpm_solver_singlestep, "eps", {"order": 2, "prediction": "eps"}, 2),
    "dpm_solver_3s": (samplers.dpm_solver_singlestep, "eps", {"order": 3, "prediction": "eps"}, 3),
    "dpmpp_2s_halfway": (samplers.dpm_solver_2s, "x0", {}, 2),
    "unipc_1": (samplers.unipc, "x0", {"order": 1, "lower_order_final": False}, 2),
    "unipc_2": (samplers.unipc, "x0", {"order": 2, "lower_order_final": False}, 3),
    "unipc_2_bh1": (samplers.unipc, "x0", {"order": 2, "variant": "bh1", "lower_order_final": False}, 3),
    "unipc_2_eps": (samplers.unipc, "eps", {"order": 2, "prediction": "eps", "lower_order_final": False}, 3),
    "deis_2": (samplers.deis, "eps", {"order": 2, "lower_order_final": 0}, 2),
    "deis_3": (samplers.deis, "eps", {"order": 3, "lower_order_final": 0}, 3),
    "lms_2": (samplers.lms, "eps", {"order": 2}, 2),
    "lms_3": (samplers.lms, "eps", {"order": 3}, 3),
    "ipndm": (samplers.ipndm, "eps", {}, 2),
}


def flow_end(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Prior draws and where the flow takes them."""
    sde = SDES[name]
    x = sde.prior_std * jnp.asarray(START, float)
    score = planar().score(sde)
    solve_to = compiled(lambda x: solve_flow(sde, score, x, 1.0, END[name], rtol=1e-12, atol=1e-12).x)
    return np.asarray(x), np.asarray(solve_to(x))


def gentle(sde, times: np.ndarray) -> np.ndarray:
    """The grid with its first step cut up: 2^-10 of it, then doubling, so that a multistep method's start is no error.

    Its first step is of order 1 whatever its own; at the grid's own size that error, h^2, would be what is measured.
    """
    first, second = (node.lam for node in nodes_of(sde, times[:2]))
    inner = [node.t for node in nodes_at(sde, [first + (second - first) * 0.5**k for k in range(10, 0, -1)])]
    return np.concatenate([times[:1], inner, times[1:]])


@pytest.mark.parametrize("name", SDES)
def test_measured_orders(name: str, x64) -> None:
    """The slope of the error against the flow in the number of evaluations, every deterministic solver."""
    sde, model, (x, exact) = SDES[name], planar().gradient, flow_end(name)
    counts = [47, 95, 191]  # singlestep methods of order 3 end with a step of order 2, not 1
    runs = []
    for make, prediction, options, _ in DETERMINISTIC.values():
        for n in counts:
            score = At(model)
            times = gentle(sde, grids.create(sde, GRID[name], n, END[name]))
            runs.append(Run(sde, make(sde, score, **options), score, prediction, times, x))
    ends = iter(solve(runs))
    found, wanted = {}, {}
    for solver, (*_, order) in DETERMINISTIC.items():
        errors = [float(np.sqrt(np.mean((next(ends)[-1] - exact) ** 2))) for _ in counts]
        found[solver] = (round(-float(np.polyfit(np.log(counts), np.log(errors), 1)[0]), 2), errors[-1])
        wanted[solver] = order
    off = {solver: slope for solver, slope in found.items() if abs(slope[0] - wanted[solver]) > 0.3}
    assert not off, (off, found)
