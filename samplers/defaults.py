"""Which grid a few-step solver takes when none is named, and where it ends: grid 'auto'.

The table was measured on the mixtures of tests/reference/samplers by `benchmarks.solvers` (its JSON is
benchmarks/results/solvers_mixtures.json): of the grids with 10, 20 and 50 evaluations, the one of the least geometric
mean of the error to data. The stochastic solvers have no true end point for each sample; theirs has the deviation of a
Gaussian's samples nearest to the truth (benchmarks/results/solvers_deviation.json). Everything else keeps 'uniform',
but on a process whose noise is linear in time, as EDM's: equal steps there leave the last one from a sigma of 1.6 to
data to fifty steps, and a flow's deviation at twice the truth.
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
    "jump": Grids("uniform", "karras"),  # not measured: the grids of the papers on mean flows and consistency models
    "renoise": Grids("uniform", "karras"),
}
"""The grids of each few-step solver where the grid is 'auto'."""
UNMEASURED = Grids("quadratic", "log_snr")
"""These are the grids of a solver that the table does not have: most of those in it take them."""
CLEAN = 0.02
"""The sigma / alpha down to which a grid goes: EDM's t of 1e-3 is a sigma of 0.08, which blurs the last step."""


def chosen(sde: AffineSDE, settings: Settings) -> Settings:
    """The settings with the grid of `AUTO` and its end in place of 'auto'; others as they are.

    The end is `t_min`; on a process that is noisier than `CLEAN` at 1e-3, its default, it is the process's own t_min
    instead, unless another `t_min` is given. Predictors and the flow's fixed steps have that end where alpha is 1
    throughout, and there 'log_snr', which of VE is 'uniform'; else they are 'uniform' and end at `t_min`.
    """
    if settings.grid != "auto" or settings.scheduled or settings.over_categories:
        return settings
    last, first = nodes_of(sde, np.array([Settings.t_min, 1.0]))
    constant, noisy, name = first.alpha == 1.0, last.rho > CLEAN, "uniform"
    if settings.few_step:
        grids = AUTO.get(settings.method, UNMEASURED)
        name = grids.constant if constant else grids.falling
    elif settings.method != "ode":
        noisy = noisy and constant
        name = "log_snr" if noisy else "uniform"
    end = min(settings.t_min, sde.t_min) if noisy and settings.t_min == Settings.t_min else settings.t_min
    return dataclasses.replace(settings, grid=name, t_min=end)
