"""The discrete chain of DDPM as a process in continuous time: n betas, and everything between their levels."""

import dataclasses
import inspect
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from limits import Maybe, Range, check, whole
from sde_lib.base import T_MIN, Coefficient
from sde_lib.schedules import SCHEDULES, TableBeta
from sde_lib.vp import VP

CHAIN: dict[str, Range] = {"n": whole(2, 1_000_000, note="published: 1000"), "t_min": Maybe(T_MIN)}


@dataclasses.dataclass(frozen=True)
class Discrete(VP):
    """x_i = sqrt(1 - beta_i) x_(i-1) + sqrt(beta_i) z, i = 0, ..., n - 1 (Ho et al. 2020, arXiv:2006.11239).

    Level i lies at t = (i + 1) / n, data at t = 0; between levels log alpha is linear in t, so every sampler, the flow
    and the likelihood take the chain as they take any SDE, and at the levels they meet its own alpha and sigma. The
    published score-SDE chains lie at i / (n - 1) on a process of their own instead: those are `VP` and `VE`.
    """

    schedule: TableBeta = dataclasses.field(kw_only=True)

    @property
    def num_levels(self) -> int:
        """Those of the table."""
        return len(self.schedule.betas)

    def level_position(self, t: Coefficient, n: int) -> Coefficient:
        """t n - 1."""
        return t * n - 1.0

    def level_index(self, t: Coefficient, n: int) -> Array:
        """floor(t n - 1), at least 0; a time one rounding error below a level is on it."""
        return jnp.clip((t * n - 1.0 + 2.5e-7 * n).astype(int), 0, n - 1)

    def level_time(self, index: Coefficient, n: int) -> Coefficient:
        """(index + 1) / n."""
        return (index + 1) / n


def _read(betas: tuple[float, ...] | str) -> np.ndarray:
    """The numbers, or those of a file: .npy, or text of one number a line.

    The former is mapped, so that one that claims more numbers than it holds is refused before memory is taken.
    """
    if not isinstance(betas, str):
        return np.asarray(betas, np.float64)
    path = Path(betas)
    try:
        array = path.suffix == ".npy"
        with np.errstate(over="ignore"):  # of the size that a header claims
            table = np.load(path, mmap_mode="r", allow_pickle=False) if array else np.loadtxt(path, ndmin=1)
    except (ValueError, EOFError, OverflowError) as error:
        raise ValueError(f"sde.betas: {path} cannot be read as numbers: {' '.join(str(error).split())}") from error
    if not isinstance(table, np.ndarray) or table.dtype.kind not in "fiu":
        raise ValueError(f"sde.betas: {path} holds no array of numbers; needed is one row of betas")
    if table.ndim != 1:
        raise ValueError(f"sde.betas: {path} holds an array of shape {table.shape}; needed is one row of betas")
    return table.astype(np.float64)


def discrete(
    *,
    schedule: str = "linear",
    n: int = 1000,
    betas: tuple[float, ...] | str | None = None,
    t_min: float | None = None,
    **options: float,
) -> Discrete:
    """The chain of n steps of a named schedule ('linear', 'cosine', 'sqrt_linear' and its options), or of given betas.

    The options are those of continuous time: linear's beta_min 0.1 and beta_max 20 give beta_i from 1e-4 to 0.02 at
    n = 1000, sqrt_linear's 0.85 and 12 give latent diffusion's 0.00085 to 0.012. `betas` with schedule 'table': the
    numbers, or the path of a .npy or text file. t_min is the cleanest level's time unless given.

    Raises:
      ValueError: an unknown schedule or option, or betas outside (0, 1).
      OSError: a file of betas that is not there.
    """
    check("sde.", {"n": n, "t_min": t_min}, CHAIN)
    if (schedule == "table") != (betas is not None):
        raise ValueError(f"sde.schedule is {schedule!r} and sde.betas {betas!r}; betas belong to schedule 'table'")
    if betas is not None:
        if options:
            raise ValueError(f"sde: schedule 'table' has no option {next(iter(options))!r}; the betas say all")
        table = _read(betas)
    else:
        if schedule not in SCHEDULES:
            raise ValueError(f"sde.schedule is {schedule!r}; known are {', '.join((*SCHEDULES, 'table'))}")
        known = [name for name in inspect.signature(SCHEDULES[schedule]).parameters if name != "t_max"]
        unknown = [key for key in options if key not in known]
        if unknown:
            raise ValueError(f"sde.schedule {schedule!r} has no option {unknown[0]!r}; known are {', '.join(known)}")
        table = SCHEDULES[schedule](**options).discrete_betas(n)
    chain = TableBeta(tuple(float(beta) for beta in table))
    return Discrete(schedule=chain, t_min=1.0 / len(table) if t_min is None else t_min)
