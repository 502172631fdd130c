"""Which of the sampler's settings change nothing for the method that they are given to.

Reports leave such settings out, and samples that were drawn with other values of them are used again. An option counts
for the methods that declare it. Another setting without a rule here counts for every method, so that a new one can only
be left out on purpose.
"""

import math
from collections.abc import Callable
from typing import Any

from samplers import spacings
from samplers.methods import OPTIONS

Settings = Any
"""A `samplers.settings.Settings`, whose file asks this one for its rules and so cannot be imported here."""


def _adaptive(s: Settings) -> bool:
    return s.method == "ode"


def _steps_of_flow(s: Settings) -> bool:
    return s.method.startswith("flow")


def _corrects(s: Settings) -> bool:
    return s.method == "pc" and s.corrector != "none"


def _guided(s: Settings) -> bool:
    return s.guidance_scale != 1.0 or bool(s.guide)


def _names_a_chain(s: Settings) -> bool:
    """Whether the grid, the network or the steps depend on the number of levels of `discretization`."""
    if _adaptive(s):
        return False
    chain = s.discretization > 0 and not (s.flow or s.few_step)
    return spacings.known(s.grid) or chain or s.mover in ("ancestral", "reverse_diffusion") or _corrects(s)


IDLE: dict[str, Callable[[Settings], bool]] = {
    "predictor": lambda s: s.method != "pc",
    "corrector": lambda s: s.method != "pc",
    "steps": lambda s: _adaptive(s) or _steps_of_flow(s) or s.few_step,
    "flow_steps": lambda s: not _steps_of_flow(s),
    "evaluations": lambda s: not s.few_step,
    "grid": _adaptive,
    "karras_power": lambda s: _adaptive(s) or s.grid != "karras",
    "discretization": lambda s: not _names_a_chain(s),
    "threshold": lambda s: s.threshold == "none",
    "threshold_quantile": lambda s: s.threshold != "dynamic",
    "rtol": lambda s: not _adaptive(s),
    "atol": lambda s: not _adaptive(s),
    "label": lambda s: s.label < 0,
    "guidance": lambda s: not _guided(s),
    "guidance_convention": lambda s: not _guided(s),
    "guidance_low": lambda s: not _guided(s) or s.guidance_low == 0.0,
    "guidance_high": lambda s: not _guided(s) or s.guidance_high == math.inf,
    "guidance_rescale": lambda s: not _guided(s) or s.guidance_rescale == 0.0,
    "guide": lambda s: not s.guide,
    "guide_checkpoint": lambda s: not s.guide,
}
"""A field of every method's, and whether it changes nothing in these settings."""
WITHOUT = dict.fromkeys(("s_churn", "s_min", "s_max", "s_noise"), "s_churn")
"""An option that changes nothing where another one is 0, and that one."""


def idle(settings: Settings, name: str) -> bool:
    """Whether a field changes nothing: an option that the method has not, or what `IDLE` says of the others."""
    if name not in OPTIONS:
        return name in IDLE and IDLE[name](settings)
    options = settings.options
    return name not in options or (name in WITHOUT and options[WITHOUT[name]] == 0.0)
