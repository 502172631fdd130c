"""The discrete chain of DDPM as a process in continuous time: n betas, and everything between their levels."""

import dataclasses
import inspect
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from limits import Flag, Maybe, Range, check, whole
from sde_lib.base import ROUNDING, T_MIN, Coefficient
from sde_lib.schedules import SCHEDULES, TableBeta
from sde_lib.vp import VP

CHAIN: dict[str, Range] = {
    "n": whole(2, 1_000_000, note="published: 1000"),
    "t_min": Maybe(T_MIN),
    "zero_snr": Flag(),
}


@dataclasses.dataclass(frozen=True)
class Discrete(VP):
    """x_i = sqrt(1 - beta_i) x_(i-1) + sqrt(beta_i) z, i = 0, ..., n - 1 (Ho et al. 2020, arXiv:2006.11239).

    Level i lies at t = (i + 1) / n, data at t = 0; between levels log alpha is linear in t, so every sampler, the flow
    and the likelihood take the chain as they take any SDE, and at the levels they meet its own alpha and sigma. The
    published score-SDE chains lie at i / (n - 1) on a process of their own instead: those are `VP` and `VE`.

    A last beta of 1 leaves no signal in the noisiest level, where alpha is 0 (Lin et al. 2023, arXiv:2305.08891); from
    the level below it alpha falls linearly in t.
    """

    schedule: TableBeta = dataclasses.field(kw_only=True)

    @property
    def num_levels(self) -> int:
        """Those of the table."""
        return len(self.schedule.betas)

    def rates(self, t: Coefficient) -> tuple[Coefficient, Coefficient]:
        """It is that of `VP`, and finite also where alpha falls to 0: alpha' is -n alpha of the level below there."""
        found = super().rates(t)
        if not self.schedule.to_noise:
            return found
        below = -self.num_levels * self.alpha(jnp.full_like(t, 1.0 - 1.0 / self.num_levels))
        falling, last = (below, -below * self.alpha(t) / self.sigma(t)), self.schedule.in_last(t)
        return jnp.where(last, falling[0], found[0]), jnp.where(last, falling[1], found[1])

    def _betas(self, n: int) -> np.ndarray:
        """The table."""
        return self.schedule.discrete_betas(n)

    def level_position(self, t: Coefficient, n: int) -> Coefficient:
        """t n - 1."""
        return t * n - 1.0

    def level_index(self, t: Coefficient, n: int) -> Array:
        """floor(t n - 1), at least 0; a time one rounding error below a level is on it."""
        return jnp.clip((t * n - 1.0 + ROUNDING * n).astype(int), 0, n - 1)

    def level_time(self, index: Coefficient, n: int) -> Coefficient:
        """(index + 1) / n."""
        return (index + 1) / n


def zero_terminal_snr(betas: np.ndarray) -> np.ndarray:
    """The betas [n], float64, of which the last is 1, of a chain made noisier until its last level has no signal.

    alpha is shifted so that it is 0 there, and scaled so that the first is as it was (Lin et al. 2023,
    arXiv:2305.08891, Algorithm 1). Of betas that end in 1 they are the same.

    Raises:
      ValueError: betas outside (0, 1), but for a last one of 1.
    """
    betas = np.asarray(TableBeta(tuple(betas)).betas)
    alpha = np.sqrt(np.cumprod(1.0 - betas))
    alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    return 1.0 - np.append(alpha[:1], alpha[1:] / alpha[:-1]) ** 2


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
    zero_snr: bool = False,
    t_min: float | None = None,
    **options: float,
) -> Discrete:
    """The chain of n steps of a named schedule ('linear', 'cosine', 'sqrt_linear' and its options), or of given betas.

    The options are those of continuous time: linear's beta_min 0.1 and beta_max 20 give beta_i from 1e-4 to 0.02 at
    n = 1000, sqrt_linear's 0.85 and 12 give latent diffusion's 0.00085 to 0.012. `betas` with schedule 'table': the
    numbers, or the path of a .npy or text file. With `zero_snr` they are those of `zero_terminal_snr`. t_min is the
    cleanest level's time unless given.

    Raises:
      ValueError: an unknown schedule or option, or betas outside (0, 1).
      OSError: a file of betas that is not there.
    """
    check("sde.", {"n": n, "t_min": t_min, "zero_snr": zero_snr}, CHAIN)
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
    chain = TableBeta(tuple(float(beta) for beta in (zero_terminal_snr(table) if zero_snr else table)))
    return Discrete(schedule=chain, t_min=1.0 / len(table) if t_min is None else t_min)
