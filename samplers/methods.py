"""Every sampling method by name, on one score."""

import functools
from collections import ChainMap
from collections.abc import Callable

from samplers.adams import deis, ipndm, lms
from samplers.ancestral import ancestral
from samplers.base import Stepper
from samplers.categorical import categorical_ancestral, discrete_flow, tau_leaping
from samplers.ddim import ddim
from samplers.dpm_solver import dpm_solver
from samplers.dpm_solver_singlestep import dpm_solver_2s, dpm_solver_sde, dpm_solver_singlestep
from samplers.euler_maruyama import euler_maruyama
from samplers.flow import flow_euler, flow_heun
from samplers.interpolant import interpolant_euler, interpolant_heun
from samplers.langevin import annealed_langevin, langevin
from samplers.maps import jump, renoise
from samplers.reverse_diffusion import reverse_diffusion
from samplers.runge_kutta import dpm_2, euler, heun
from samplers.unipc import unipc
from samplers.unmasking import maskgit, unmasking

PREDICTORS: dict[str, Callable[..., Stepper]] = {
    "euler_maruyama": euler_maruyama,
    "reverse_diffusion": reverse_diffusion,
    "ancestral": ancestral,
    "interpolant_euler": interpolant_euler,
    "interpolant_heun": interpolant_heun,
    "flow_euler": flow_euler,
    "flow_heun": flow_heun,
}
"""Samplers that take steps in time, by name."""
CORRECTORS: dict[str, Callable[..., Stepper]] = {"langevin": langevin, "ald": annealed_langevin}
"""Langevin steps at one time, by name, which a predictor may be joined to."""

SOLVERS: dict[str, Callable[..., Stepper]] = {
    "ddim": ddim,
    "dpm_solver_2m": functools.partial(dpm_solver, order=2, prediction="eps"),
    "dpm_solver_3m": functools.partial(dpm_solver, order=3, prediction="eps"),
    "dpm_solver_2s": functools.partial(dpm_solver_singlestep, order=2, prediction="eps"),
    "dpm_solver_3s": functools.partial(dpm_solver_singlestep, order=3, prediction="eps"),
    "dpmpp_2m": functools.partial(dpm_solver, order=2),
    "dpmpp_3m": functools.partial(dpm_solver, order=3),
    "dpmpp_2s": functools.partial(dpm_solver_singlestep, order=2),
    "dpmpp_3s": functools.partial(dpm_solver_singlestep, order=3),
    "dpmpp_2m_sde": functools.partial(dpm_solver, order=2, eta=1.0),
    "dpmpp_3m_sde": functools.partial(dpm_solver, order=3, eta=1.0),
    "dpmpp_2s_ancestral": functools.partial(dpm_solver_2s, eta=1.0),
    "dpmpp_sde": dpm_solver_sde,
    "unipc_2": functools.partial(unipc, order=2),
    "unipc_3": functools.partial(unipc, order=3),
    "deis": deis,
    "ipndm": ipndm,
    "lms": lms,
    "euler": euler,
    "heun": heun,
    "dpm_2": dpm_2,
}
"""Few-step solvers: tables of `samplers.linear`, counted in evaluations."""
MAPS: dict[str, Callable[..., Stepper]] = {"jump": jump, "renoise": renoise}
"""Samplers of steps of any length, counted in evaluations too."""
CATEGORICAL: dict[str, Callable[..., Stepper]] = {
    "categorical_ancestral": categorical_ancestral,
    "tau_leaping": tau_leaping,
    "discrete_flow": discrete_flow,
    "unmasking": unmasking,
    "maskgit": maskgit,
}
"""Samplers over categories, of `sde_lib.OVER_CATEGORIES`; the others are of Gaussian noise."""
STEPPERS = ChainMap(PREDICTORS, CORRECTORS, SOLVERS, MAPS, CATEGORICAL)
"""All of them; the options of each are what its constructor declares (`limits.declared`)."""

STOCHASTIC = ("dpmpp_2m_sde", "dpmpp_3m_sde", "dpmpp_2s_ancestral", "dpmpp_sde")
"""The few-step solvers that draw noise on their way."""
STOCHASTIC_MAPS = ("renoise",)
"""The maps that do."""
DETERMINISTIC = ("ode", *(name for name in (*SOLVERS, *MAPS) if name not in (*STOCHASTIC, *STOCHASTIC_MAPS)))
"""What carries a point of the prior to the same data again: the probability flow, adaptively or in few steps."""
