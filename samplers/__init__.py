"""Reverse-time solvers: how a score is followed back to data, and nothing of networks or training."""

from samplers.ancestral import ancestral
from samplers.base import Samples, State, Stepper, chain, sample, tweedie
from samplers.create import CORRECTORS, METHODS, PREDICTORS, Settings, create, draw
from samplers.euler_maruyama import euler_maruyama
from samplers.flow import flow_euler, flow_heun
from samplers.langevin import annealed_langevin, langevin
from samplers.ode import FlowSolution, decode, draw_probes, encode, solve_flow
from samplers.reverse_diffusion import reverse_diffusion

__all__ = [
    "CORRECTORS",
    "METHODS",
    "PREDICTORS",
    "FlowSolution",
    "Samples",
    "Settings",
    "State",
    "Stepper",
    "ancestral",
    "annealed_langevin",
    "chain",
    "create",
    "decode",
    "draw",
    "draw_probes",
    "encode",
    "euler_maruyama",
    "flow_euler",
    "flow_heun",
    "langevin",
    "reverse_diffusion",
    "sample",
    "solve_flow",
    "tweedie",
]
