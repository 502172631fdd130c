"""alpha(t), the share of the categories that are still the data's own at time t, for chains that replace them.

A category is kept with probability alpha(t), and else was replaced at some time; alpha falls from 1 at data. The papers
write the same as a total noise sigma(t) = -log alpha(t) and its rate sigma'(t) = -alpha' / alpha (Lou et al. 2024,
arXiv:2310.16834; Sahoo et al. 2024, arXiv:2406.07524), as alpha(t) (Shi et al. 2024, arXiv:2406.04329), or as kappa of
the time 1 - t (Gat et al. 2024, arXiv:2407.15595).
"""

import abc
import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from limits import Flag, Number, Range, check, positive, share, whole
from sde_lib.base import Coefficient

RANGES: dict[str, Range] = {
    "eps": share(below=True, note="0 is exact; published: 1e-3"),
    "squared": Flag(),
    "power": Number(0.0, 100.0, above=True),
    "noise_min": Number(0.0, 10.0, note="published: 1e-3"),
    "noise_max": positive(note="published: 1 to 20"),
}
BETAS = ("linear", "cosine", "jsd")
CHAIN_LEVELS = whole(2, 1_000_000, note="published: 1000")


class KeepSchedule(abc.ABC):
    """The share alpha(t) of categories kept, falling on [0, 1]; a schedule gives what is lost."""

    @abc.abstractmethod
    def lost(self, t: Coefficient) -> Coefficient:
        """1 - alpha(t), the share replaced, with its digits also where it is small."""

    def alpha(self, t: Coefficient) -> Coefficient:
        """The share kept."""
        return 1.0 - self.lost(t)

    def rate(self, t: Coefficient) -> Coefficient:
        """-alpha'(t), how fast categories are lost."""
        t = jnp.asarray(t, jnp.result_type(t, float))
        found: Array = jax.jvp(self.lost, (t,), (jnp.ones_like(t),))[1]
        return found

    def time_of_lost(self, lost: Coefficient) -> Coefficient:
        """The t in [0, 1] at which so large a share is lost, by bisection; outside the range the nearer end."""
        target = jnp.asarray(lost)

        def halve(_: Array | int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bracket
            middle = 0.5 * (low + high)
            early = self.lost(middle) < target
            return jnp.where(early, middle, low), jnp.where(early, high, middle)

        low, high = jax.lax.fori_loop(0, 60, halve, (jnp.zeros_like(target), jnp.ones_like(target)))
        return 0.5 * (low + high)


@dataclasses.dataclass(frozen=True)
class Linear(KeepSchedule):
    """alpha(t) = 1 - (1 - eps) t, "loglinear" in the noise (Lou et al. 2024, App. C.1).

    Attributes:
      eps: what is kept at t = 1. The bound is exact with 0; with the published 1e-3 a chain that masks has data left
        at t = 1, of which its prior knows nothing.
    """

    eps: float = 0.0

    def __post_init__(self) -> None:
        check("sde.", vars(self), RANGES)

    def lost(self, t: Coefficient) -> Coefficient:
        """(1 - eps) t."""
        return (1.0 - self.eps) * jnp.asarray(t)


@dataclasses.dataclass(frozen=True)
class Cosine(KeepSchedule):
    """alpha(t) = eps + (1 - eps) cos(pi t / 2), or its square (Sahoo et al. 2024, App. E.1).

    Attributes:
      eps: as of `Linear`.
      squared: whether it is the square.
    """

    eps: float = 0.0
    squared: bool = False

    def __post_init__(self) -> None:
        check("sde.", vars(self), RANGES)

    def lost(self, t: Coefficient) -> Coefficient:
        """(1 - eps) times 2 sin^2(pi t / 4), or times sin^2(pi t / 2): nothing cancels near t = 0."""
        t = jnp.asarray(t)
        gone = jnp.sin(0.5 * jnp.pi * t) ** 2 if self.squared else 2.0 * jnp.sin(0.25 * jnp.pi * t) ** 2
        return (1.0 - self.eps) * gone


@dataclasses.dataclass(frozen=True)
class MaskGIT(KeepSchedule):
    """alpha(t) = 1 - sin(pi t / 2): most is lost late (Chang et al. 2022, arXiv:2202.04200; Shi et al. 2024).

    Walked backwards in equal steps it leaves the share cos(pi r / 2) masked after the part r of them.
    """

    def lost(self, t: Coefficient) -> Coefficient:
        """sin(pi t / 2)."""
        return jnp.sin(0.5 * jnp.pi * jnp.asarray(t))


@dataclasses.dataclass(frozen=True)
class Polynomial(KeepSchedule):
    """alpha(t) = 1 - t^power (Shi et al. 2024, table 4)."""

    power: float = 2.0

    def __post_init__(self) -> None:
        check("sde.", vars(self), RANGES)

    def lost(self, t: Coefficient) -> Coefficient:
        """t^power."""
        return jnp.asarray(t) ** self.power


@dataclasses.dataclass(frozen=True)
class FlowPolynomial(KeepSchedule):
    """alpha(t) = (1 - t)^power, the kappa of discrete flow matching (Gat et al. 2024, sec. 4)."""

    power: float = 1.0

    def __post_init__(self) -> None:
        check("sde.", vars(self), RANGES)

    def lost(self, t: Coefficient) -> Coefficient:
        """1 - (1 - t)^power, which is t itself for power 1."""
        t = jnp.asarray(t)
        return t if self.power == 1.0 else 1.0 - (1.0 - t) ** self.power

    def rate(self, t: Coefficient) -> Coefficient:
        """power (1 - t)^(power - 1)."""
        t = jnp.asarray(t, jnp.result_type(t, float))
        return jnp.ones_like(t) if self.power == 1.0 else self.power * (1.0 - t) ** (self.power - 1.0)


@dataclasses.dataclass(frozen=True)
class Geometric(KeepSchedule):
    """Total noise -log alpha = noise_min^(1 - t) noise_max^t (Lou et al. 2024, App. C.1); at t = 0 some is lost."""

    noise_min: float = 1e-3
    noise_max: float = 20.0

    def __post_init__(self) -> None:
        check("sde.", vars(self), RANGES)
        if not 0.0 < self.noise_min < self.noise_max:
            raise ValueError(
                f"sde.noise_min is {self.noise_min} and sde.noise_max {self.noise_max}; needed is 0 < noise_min < "
                "noise_max"
            )

    def lost(self, t: Coefficient) -> Coefficient:
        """-expm1 of the total noise, negated."""
        t = jnp.asarray(t)
        return -jnp.expm1(-(self.noise_min ** (1.0 - t)) * self.noise_max**t)

    def alpha(self, t: Coefficient) -> Coefficient:
        """exp of the total noise, negated."""
        t = jnp.asarray(t)
        return jnp.exp(-(self.noise_min ** (1.0 - t)) * self.noise_max**t)


@dataclasses.dataclass(frozen=True)
class LinearNoise(KeepSchedule):
    """Total noise -log alpha = noise_min + t (noise_max - noise_min) (Sahoo et al. 2024, App. E.1)."""

    noise_min: float = 0.0
    noise_max: float = 10.0

    def __post_init__(self) -> None:
        check("sde.", vars(self), RANGES)
        if not self.noise_min < self.noise_max:
            raise ValueError(
                f"sde.noise_min is {self.noise_min} and sde.noise_max {self.noise_max}; needed is noise_min < noise_max"
            )

    def _total(self, t: Coefficient) -> Coefficient:
        return self.noise_min + jnp.asarray(t) * (self.noise_max - self.noise_min)

    def lost(self, t: Coefficient) -> Coefficient:
        """-expm1 of the total noise, negated."""
        return -jnp.expm1(-self._total(t))

    def alpha(self, t: Coefficient) -> Coefficient:
        """exp of the total noise, negated."""
        return jnp.exp(-self._total(t))


@dataclasses.dataclass(frozen=True)
class TableKeep(KeepSchedule):
    """The shares kept after each step of a chain of n: alpha((i + 1) / n) = prod_(j <= i) (1 - beta_j), linear between.

    Attributes:
      betas: the probability with which each step replaces a category.

    Raises:
      ValueError: fewer than two betas, or one outside [0, 1].
    """

    betas: tuple[float, ...]

    def __post_init__(self) -> None:
        wrong = [beta for beta in self.betas if not 0.0 <= beta <= 1.0]
        if len(self.betas) < 2 or wrong:
            received = f"{wrong[0]:.6g} among {len(self.betas)} betas" if wrong else f"{len(self.betas)} betas"
            raise ValueError(f"sde: {received}; allowed are at least 2, each from 0 to 1")

    @functools.cached_property
    def _kept(self) -> np.ndarray:
        """The share kept at data and after each step [n + 1], float64."""
        return np.concatenate([[1.0], np.cumprod(1.0 - np.asarray(self.betas))])

    @functools.cached_property
    def _lost(self) -> np.ndarray:
        """The share lost [n + 1], by sums of what each step takes: its digits stay where it is small."""
        return np.concatenate([[0.0], np.cumsum(self._kept[:-1] * np.asarray(self.betas))])

    def _at(self, table: np.ndarray, t: Coefficient) -> Array:
        n, dtype = len(self.betas), jnp.result_type(t, float)
        place = jnp.asarray(t, dtype) * n
        near = jnp.round(place)  # a time one rounding error off a level is on it
        place = jnp.where(jnp.abs(place - near) < 2.5e-7 * n, near, place)
        low = jnp.clip(jnp.floor(place), 0, n - 1).astype(int)
        below, above = (jnp.asarray(table, dtype)[index] for index in (low, low + 1))
        return below + (place - low) * (above - below)

    def lost(self, t: Coefficient) -> Coefficient:
        """The table's; linear in t between two levels."""
        return self._at(self._lost, t)

    def alpha(self, t: Coefficient) -> Coefficient:
        """The table's; linear in t between two levels."""
        return self._at(self._kept, t)

    def rate(self, t: Coefficient) -> Coefficient:
        """The slope of the interval below t."""
        n, dtype = len(self.betas), jnp.result_type(t, float)
        index = jnp.clip(jnp.ceil(jnp.asarray(t, dtype) * n - 2.5e-7 * n).astype(int) - 1, 0, n - 1)
        return jnp.asarray(np.diff(self._lost) * n, dtype)[index]


def chain_betas(name: str, n: int, beta_min: float = 1e-4, beta_max: float = 0.02) -> np.ndarray:
    """The n betas of D3PM's schedules, float64 (Austin et al. 2021, arXiv:2107.03006, App. A.2).

    'jsd' is 1 / (n - i), with which each step takes as much from what is left; 'linear' goes from `beta_min` to
    `beta_max`; 'cosine' is 1 - cos a_(i+1) / cos a_i with a_i = pi/2 (i / n + 0.008) / 1.008, at most 0.999. The code
    of the paper has the cosines without the square that the cosine schedule of Gaussian chains has.

    Raises:
      ValueError: an unknown name, a number of steps or betas out of range.
    """
    check("sde.", {"n": n}, {"n": CHAIN_LEVELS})
    if name == "jsd":
        return 1.0 / np.arange(n, 0, -1.0)
    if name == "cosine":
        kept = np.cos(0.5 * np.pi * (np.arange(n + 1) / n + 0.008) / 1.008)
        return np.minimum(1.0 - kept[1:] / kept[:-1], 0.999)
    if name != "linear":
        raise ValueError(f"sde.schedule is {name!r}; of a chain over categories known are {', '.join(BETAS)}")
    if not 0.0 < beta_min <= beta_max <= 1.0:
        raise ValueError(
            f"sde: beta_min {beta_min}, beta_max {beta_max}; allowed is 0 < beta_min <= beta_max <= 1 (published: 1e-4 "
            "and 0.02 where neighbours are likelier, 0.02 and 1 where all are as likely)"
        )
    return np.linspace(beta_min, beta_max, n)


KEEP_SCHEDULES: dict[str, Callable[..., KeepSchedule]] = {
    "linear": Linear,
    "cosine": Cosine,
    "maskgit": MaskGIT,
    "polynomial": Polynomial,
    "flow_polynomial": FlowPolynomial,
    "geometric": Geometric,
    "linear_noise": LinearNoise,
}
"""The schedules of what is kept, by name."""
