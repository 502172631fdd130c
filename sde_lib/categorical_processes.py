"""The processes over categories by name, as ``config.sde`` asks for them; K is that of the data."""

import inspect
from collections.abc import Callable
from typing import Any

from limits import OneOf, check, check_known, whole
from sde_lib.categorical import CategoricalProcess, Replacing
from sde_lib.categorical_chain import Neighbours
from sde_lib.categorical_schedules import KEEP_SCHEDULES, TableKeep, chain_betas

CHAIN_KERNELS = ("uniform", "absorbing", "gaussian", "banded")
DEFAULTS = {"uniform": "cosine", "absorbing": "jsd", "gaussian": "linear", "banded": "linear"}
"""The schedule of betas that D3PM takes for each kernel (Austin et al. 2021, arXiv:2107.03006, App. A.2 and B)."""
ENDS = {"uniform": (0.02, 1.0), "absorbing": (0.02, 1.0), "gaussian": (1e-4, 0.02), "banded": (0.02, 1.0)}
"""beta_min and beta_max of the schedule 'linear' for each kernel, as published."""


def masked(*, categories: int = 2, schedule: str = "linear", t_min: float = 0.0, **options: Any) -> Replacing:
    """Each category is masked at some time; the mask is a category of its own, number K.

    MDLM (Sahoo et al. 2024, arXiv:2406.07524) and MD4 (Shi et al. 2024, arXiv:2406.04329) in continuous time.

    Args:
      categories: K.
      schedule: a name of `sde_lib.KEEP_SCHEDULES`; the rest are its options.
      t_min: the smallest time of a loss in continuous time.
      options: those of the schedule.

    Raises:
      ValueError: an unknown schedule or option, or a value that is not allowed.
    """
    return Replacing(categories, _schedule(schedule, options), absorbing=categories, t_min=t_min)


def uniform(*, categories: int = 2, schedule: str = "linear", t_min: float = 0.0, **options: Any) -> Replacing:
    """Each category is replaced at some time by a draw of all K, each as likely (Lou et al. 2024, arXiv:2310.16834).

    The options are those of `masked`. Of the schedules with an `eps` it is 1e-3 unless given: where nothing is kept at
    t = 1, the rates back are infinite there.

    Raises:
      ValueError: as `masked`.
    """
    check_known("sde.schedule", schedule, KEEP_SCHEDULES)
    if "eps" in inspect.signature(KEEP_SCHEDULES[schedule]).parameters:
        options = {"eps": 1e-3} | options
    return Replacing(categories, _schedule(schedule, options), t_min=t_min)


def d3pm(
    *,
    categories: int = 2,
    kernel: str = "gaussian",
    n: int = 1000,
    schedule: str = "",
    beta_min: float = 0.0,
    beta_max: float = 0.0,
    bands: int | None = None,
    published: bool = False,
    t_min: float = 0.0,
) -> CategoricalProcess:
    """A chain of n levels as of D3PM (Austin et al. 2021, arXiv:2107.03006).

    Args:
      categories: K.
      kernel: 'uniform', 'absorbing', or for ordered categories 'gaussian' and 'banded'.
      n: the number of levels.
      schedule: of the betas, 'linear', 'cosine' or 'jsd'; '': the paper's for the kernel.
      beta_min, beta_max: the ends of the schedule 'linear'; 0: the paper's for the kernel.
      bands: the widest move of 'gaussian' and 'banded'; None: K - 1, of 'banded' 16 at most.
      published: whether 'absorbing' ends in K // 2, a data value too, in place of a mask of its own, and 'gaussian' has
        the spacing of the published code.
      t_min: not used by a chain of levels.

    Raises:
      ValueError: an unknown kernel or schedule, or a value that is not allowed.
    """
    check("sde.", {"kernel": kernel, "n": n}, {"kernel": OneOf(CHAIN_KERNELS), "n": whole(2, 1_000_000)})
    first, last = ENDS[kernel]
    betas = tuple(chain_betas(schedule or DEFAULTS[kernel], n, beta_min or first, beta_max or last).tolist())
    if kernel in ("uniform", "absorbing"):
        if bands is not None:
            raise ValueError(f"sde.bands is {bands} and sde.kernel {kernel!r}, which has none; set it to None")
        state = (categories // 2 if published else categories) if kernel == "absorbing" else None
        return Replacing(categories, TableKeep(betas), absorbing=state, levels=n)
    widest = min(16, categories - 1) if kernel == "banded" and bands is None else bands
    return Neighbours(categories, betas, kernel, widest, published_spacing=published)


def _schedule(name: str, options: dict[str, Any]) -> Any:
    """The schedule of that name; ValueError for an unknown one, or an option that it has not."""
    check_known("sde.schedule", name, KEEP_SCHEDULES)
    known = inspect.signature(KEEP_SCHEDULES[name]).parameters
    for option in options:
        check_known(f"option of sde.schedule {name}", option, known)
    return KEEP_SCHEDULES[name](**options)


OVER_CATEGORIES: dict[str, Callable[..., CategoricalProcess]] = {"masked": masked, "uniform": uniform, "d3pm": d3pm}
"""The processes over categories by name."""
