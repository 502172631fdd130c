"""Forward processes and their exact mathematics: how data is noised, and nothing of networks or data."""

import inspect
from collections.abc import Callable
from typing import Any

from limits import check_known
from sde_lib.base import AffineSDE, Kernel, Process, expand
from sde_lib.categorical import CategoricalProcess
from sde_lib.categorical_prediction import READINGS, BeliefFn, CategoricalFn, CategoricalReading, as_belief
from sde_lib.categorical_processes import OVER_CATEGORIES
from sde_lib.categorical_schedules import KEEP_SCHEDULES
from sde_lib.chain import VARIANCES, ChainTables
from sde_lib.classifier import LogitsFn, LogProbFn, log_prob_fn, logits_fn
from sde_lib.discrete import Discrete
from sde_lib.discrete import discrete as _discrete
from sde_lib.edm import EDM
from sde_lib.edm import edm as _edm
from sde_lib.features import FeaturesFn, features_fn
from sde_lib.flow import GVP, Flow
from sde_lib.jump import JumpFn, jump_fn
from sde_lib.learned import LearnedVP, learned_vp
from sde_lib.noise_levels import NoiseLevels
from sde_lib.parameterization import (
    LEVEL_LABELS,
    NOISE_LABELS,
    PREDICTIONS,
    Parameterization,
    Plain,
    noise_label_fn,
    parameterization,
)
from sde_lib.preconditioning import PRECONDITIONINGS, Preconditioning
from sde_lib.prediction import (
    Model,
    PredictFn,
    Prediction,
    ScoreFn,
    as_prediction,
    of_score,
)
from sde_lib.schedules import SCHEDULES, BetaSchedule, CosineBeta, LinearBeta, SqrtLinearBeta, TableBeta
from sde_lib.subvp import SubVP
from sde_lib.ve import VE
from sde_lib.vp import VP


def _scheduled(sde: type[VP] | type[SubVP]) -> Callable[..., AffineSDE]:
    def build(*, schedule: str = "linear", t_min: float = 1e-5, **options: Any) -> AffineSDE:
        check_known("sde.schedule", schedule, SCHEDULES)
        return sde(SCHEDULES[schedule](**options), t_min=t_min)

    return build


SDES: dict[str, Callable[..., AffineSDE]] = {
    "vp": _scheduled(VP),
    "subvp": _scheduled(SubVP),
    "ve": VE,
    "edm": _edm,
    "flow": Flow,
    "gvp": GVP,
    "discrete": _discrete,
    "vdm": learned_vp,
}
"""The SDEs by name."""


PROCESSES: dict[str, Callable[..., Any]] = {**SDES, **OVER_CATEGORIES}
"""The noise processes of Gaussians and of categories, by name."""


def options_of(name: str, schedule: Any = None) -> dict[str, Any]:
    """The options of the process of that name, its schedule's among them, and the type of each as an annotation.

    Raises:
      ValueError: an unknown name.
    """
    check_known("sde", name, PROCESSES)
    parameters = inspect.signature(PROCESSES[name]).parameters
    options = {option: p.annotation for option, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    options.pop("categories", None)  # they are those of the data
    chosen = schedule or parameters["schedule"].default if "schedule" in options else None
    schedules: Any = KEEP_SCHEDULES if name in OVER_CATEGORIES else SCHEDULES
    takes_more = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if isinstance(chosen, str) and chosen in schedules and (takes_more or name not in OVER_CATEGORIES):
        options |= {option: p.annotation for option, p in inspect.signature(schedules[chosen]).parameters.items()}
    return options


def create_categorical(name: str, categories: int = 2, **options: Any) -> CategoricalProcess:
    """The process over K categories of that name: ``create_categorical("masked", 17, schedule="cosine")``.

    `sde_lib.categorical_processes` says what each takes.

    Raises:
      ValueError: an unknown name, option or value; the message names the known ones.
    """
    check_known("sde of categories", name, OVER_CATEGORIES)
    known = options_of(name, options.get("schedule"))
    for option in options:
        check_known(f"option of sde {name}", option, known)
    return OVER_CATEGORIES[name](categories=categories, **options)


def create(name: str, **options: Any) -> AffineSDE:
    """The SDE of that name: ``create("vp", beta_min=0.1, beta_max=20.0)``.

    vp and subvp take ``schedule`` ('linear', 'cosine', 'sqrt_linear'), the schedule's own options and ``t_min``; ve
    takes ``sigma_min``, ``sigma_max`` and ``t_min``; edm ``sigma_min`` and ``sigma_max``; flow and gvp
    ``t_min``; discrete what `sde_lib.discrete.discrete` does, vdm what `sde_lib.learned.learned_vp` does.

    Raises:
      ValueError: an unknown name, option or value; the message names the known ones.
    """
    check_known("sde", name, SDES)
    known, schedule = options_of(name, options.get("schedule")), options.get("schedule", "linear")
    if not isinstance(schedule, str):
        check_known("sde.schedule", schedule, SCHEDULES)
    for option in options if schedule in SCHEDULES else ():  # others are refused, or read, by the constructor
        check_known(f"option of sde {name}", option, known)
    return SDES[name](**options)
