"""Which grid a few-step solver takes when none is named, and where it ends: grid 'auto'.

The table was measured on the mixtures of tests/reference/samplers by `benchmarks.solvers` (its JSON is
benchmarks/results/solvers_mixtures.json): of the grids with 10, 20 and 50 evaluations, the one of the least geometric
mean of the error to data. The stochastic solvers have no true end point for each sample; theirs has the deviation of a
Gaussian's samples nearest to the truth (benchmarks/results/solvers_deviation.json). Everything else keeps 'uniform'.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from samplers.nodes import nodes_of
from samplers.settings import Settings
from sde_lib.base import AffineSDE


class Grids(NamedTuple):
    """The grid where alpha falls with time (VP, sub-VP, their chains), and where it is 1 throughout (VE, EDM)."""

    falling: str
    constant: str


AUTO: dict[str, Grids] = {
    "ddim": Grids("quadratic", "log_snr"),
    "dpm_solver_2m": Grids("quadratic", "karras"),
    "dpm_solver_3m": Grids("quadratic", "karras"),
    "dpm_solver_2s": Grids("uniform", "log_snr"),
    "dpm_solver_3s": Grids("log_snr", "karras"),
    "dpmpp_2m": Grids("quadratic", "log_snr"),
    "dpmpp_3m": Grids("log_snr", "log_snr"),
    "dpmpp_2s": Grids("quadratic", "log_snr"),
    "dpmpp_3s": Grids("quadratic", "log_snr"),
    "dpmpp_2m_sde": Grids("log_snr", "log_snr"),
    "dpmpp_3m_sde": Grids("log_snr", "log_snr"),
    "dpmpp_2s_ancestral": Grids("quadratic", "log_snr"),
    "dpmpp_sde": Grids("quadratic", "log_snr"),
    "unipc_2": Grids("quadratic", "log_snr"),
    "unipc_3": Grids("log_snr", "log_snr"),
    "deis": Grids("quadratic", "karras"),
    "ipndm": Grids("quadratic", "log_snr"),
    "lms": Grids("quadratic", "karras"),
    "euler": Grids("quadratic", "log_snr"),
    "heun": Grids("uniform", "karras"),
    "dpm_2": Grids("quadratic", "log_snr"),
}
CLEAN = 0.02
"""The sigma / alpha down to which a grid goes: EDM's t of 1e-3 is a sigma of 0.08, which blurs the last step."""


def chosen(sde: AffineSDE, settings: Settings) -> Settings:
    """The settings with the grid of `AUTO` and its end in place of 'auto'; others as they are.

    The end is `t_min`; of a few-step solver and of 'ode' on a process that is noisier than `CLEAN` there, the
    process's own t_min, unless `t_min` is not its default of 1e-3.
    """
    if settings.grid != "auto":
        return settings
    if not (settings.few_step or settings.method == "ode"):
        return dataclasses.replace(settings, grid="uniform")
    last, first = nodes_of(sde, np.array([settings.t_min, 1.0]))
    name = "uniform"
    if settings.few_step:
        name = AUTO[settings.method].constant if first.alpha == 1.0 else AUTO[settings.method].falling
    noisy = settings.t_min == Settings.t_min and last.rho > CLEAN
    return dataclasses.replace(settings, grid=name, t_min=min(settings.t_min, sde.t_min) if noisy else settings.t_min)
