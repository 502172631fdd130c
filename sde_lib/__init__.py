"""Forward processes and their exact mathematics: how data is noised, and nothing of networks or data."""

import inspect
from collections.abc import Callable
from typing import Any

from sde_lib.base import AffineSDE, Kernel, expand
from sde_lib.chain import VARIANCES, ChainTables
from sde_lib.classifier import LogitsFn, LogProbFn, log_prob_fn, logits_fn
from sde_lib.discrete import Discrete, respaced
from sde_lib.discrete import discrete as _discrete
from sde_lib.edm import EDM
from sde_lib.edm import edm as _edm
from sde_lib.learned import LearnedVP, learned_vp
from sde_lib.levels import Levels
from sde_lib.preconditioning import PRECONDITIONINGS, Preconditioning, precondition
from sde_lib.prediction import (
    LEVEL_LABELS,
    NOISE_LABELS,
    PREDICTIONS,
    ScoreAndVarianceFn,
    ScoreFn,
    eps_and_variance_fn,
    eps_fn,
    score_and_variance_fn,
    score_fn,
)
from sde_lib.schedules import SCHEDULES, BetaSchedule, CosineBeta, LinearBeta, SqrtLinearBeta, TableBeta
from sde_lib.subvp import SubVP
from sde_lib.ve import VE
from sde_lib.vp import VP

__all__ = [
    "EDM",
    "LEVEL_LABELS",
    "NOISE_LABELS",
    "PRECONDITIONINGS",
    "PREDICTIONS",
    "SCHEDULES",
    "SDES",
    "VARIANCES",
    "VE",
    "VP",
    "AffineSDE",
    "BetaSchedule",
    "ChainTables",
    "CosineBeta",
    "Discrete",
    "Kernel",
    "LearnedVP",
    "Levels",
    "LinearBeta",
    "LogProbFn",
    "LogitsFn",
    "Preconditioning",
    "ScoreAndVarianceFn",
    "ScoreFn",
    "SqrtLinearBeta",
    "SubVP",
    "TableBeta",
    "create",
    "eps_and_variance_fn",
    "eps_fn",
    "expand",
    "log_prob_fn",
    "logits_fn",
    "precondition",
    "respaced",
    "score_and_variance_fn",
    "score_fn",
]


def _scheduled(sde: type[VP] | type[SubVP]) -> Callable[..., AffineSDE]:
    def build(*, schedule: str = "linear", t_min: float = 1e-5, **options: Any) -> AffineSDE:
        return sde(_construct("sde.schedule", schedule, SCHEDULES, options), t_min=t_min)

    return build


SDES: dict[str, Callable[..., AffineSDE]] = {
    "vp": _scheduled(VP),
    "subvp": _scheduled(SubVP),
    "ve": VE,
    "edm": _edm,
    "discrete": _discrete,
    "vdm": learned_vp,
}


def _construct(what: str, name: str, table: dict[str, Any], options: dict[str, Any]) -> Any:
    if name not in table:
        raise ValueError(f"{what} is {name!r}; known are {', '.join(table)}")
    parameters = inspect.signature(table[name]).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [] if open_ended else [key for key in options if key not in parameters]
    if unknown:
        raise ValueError(f"{what} {name!r} has no option {unknown[0]!r}; known are {', '.join(parameters)}")
    return table[name](**options)


def create(name: str, **options: Any) -> AffineSDE:
    """The SDE of that name: ``create("vp", beta_min=0.1, beta_max=20.0)``.

    vp and subvp take ``schedule`` ('linear', 'cosine', 'sqrt_linear'), the schedule's own options and ``t_min``; ve
    takes ``sigma_min``, ``sigma_max`` and ``t_min``; edm ``sigma_min`` and ``sigma_max``; discrete what
    `sde_lib.discrete.discrete` does, vdm what `sde_lib.learned.learned_vp` does.

    Raises:
      ValueError: an unknown name, option or value; the message names the known ones.
    """
    return _construct("sde", name, SDES, options)
