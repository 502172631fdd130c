"""beta(t) of the variance-preserving family, each with its integral in a form that does not cancel."""

import abc
import dataclasses
import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from limits import Number, check, share
from sde_lib.base import ROUNDING, Coefficient

BETAS = {
    "beta_min": Number(0.0, 150.0),
    "beta_max": Number(0.0, 150.0, above=True, note="published: 20; beyond 150 alpha^2 is 0 in float32"),
}
COSINE = {"s": share(note="published: 0.008"), "t_max": share(above=True, below=True)}


@dataclasses.dataclass(frozen=True)
class BetaSchedule(abc.ABC):
    """A noise rate beta(t) >= 0 on [0, 1]."""

    @abc.abstractmethod
    def beta(self, t: Coefficient) -> Coefficient:
        """The rate at t."""

    @abc.abstractmethod
    def integral(self, s: Coefficient, t: Coefficient) -> Coefficient:
        """B(s, t), the integral of beta from s to t; accurate also for t close to s."""

    @abc.abstractmethod
    def discrete_betas(self, n: int) -> np.ndarray:
        """The n values beta_i of the discrete chain, float64."""


@dataclasses.dataclass(frozen=True)
class LinearBeta(BetaSchedule):
    """beta(t) = beta_min + t (beta_max - beta_min) (Song et al. 2021, eq. 32; Ho et al. 2020)."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        check("sde.", vars(self), BETAS)
        if self.beta_min > self.beta_max:
            raise ValueError(
                f"sde: beta_min {self.beta_min}, beta_max {self.beta_max}; allowed is 0 <= beta_min <= beta_max "
                "with beta_max > 0 (published: 0.1 and 20)"
            )

    def beta(self, t: Coefficient) -> Coefficient:
        """The rate at t."""
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def integral(self, s: Coefficient, t: Coefficient) -> Coefficient:
        """(t - s) beta((s + t) / 2): exact for a linear rate."""
        return (t - s) * self.beta(0.5 * (s + t))

    def discrete_betas(self, n: int) -> np.ndarray:
        """linspace(beta_min / n, beta_max / n, n), float64 (Song et al. 2021, App. C)."""
        return np.linspace(self.beta_min / n, self.beta_max / n, n)


@dataclasses.dataclass(frozen=True)
class CosineBeta(BetaSchedule):
    """alpha(t)^2 = cos^2(a(t)) / cos^2(a(0)), a(t) = pi/2 (t t_max + s) / (1 + s) (Nichol and Dhariwal 2021).

    The published schedule has t_max = 1, where beta is infinite; its discrete form clips beta at 0.999.
    Here time is scaled so that t = 1 is the published t_max = 0.9946 (alpha^2 = 7e-5, about as noisy as
    the linear schedule's end; Lu et al. 2022, arXiv:2206.00927, App. D.4).
    """

    s: float = 0.008
    t_max: float = 0.9946

    def __post_init__(self) -> None:
        check("sde.", vars(self), COSINE)

    def _complement(self, t: Coefficient) -> Coefficient:
        """pi/2 - a(t), the angle whose sine is cos a(t): no cancellation as t -> 1."""
        return (0.5 * math.pi / (1.0 + self.s)) * ((1.0 - self.t_max) + self.t_max * (1.0 - t))

    def beta(self, t: Coefficient) -> Coefficient:
        """The rate at t, -d/dt log alpha(t)^2."""
        return (math.pi * self.t_max / (1.0 + self.s)) / jnp.tan(self._complement(t))

    def integral(self, s: Coefficient, t: Coefficient) -> Coefficient:
        """-2 log(cos a(t) / cos a(s)), the ratio as 1 + r with r small when t is close to s."""
        d = (0.5 * math.pi * self.t_max / (1.0 + self.s)) * (t - s)
        r = -2.0 * jnp.sin(0.5 * d) ** 2 - jnp.sin(d) / jnp.tan(self._complement(s))
        ratio = jnp.sin(self._complement(t)) / jnp.sin(self._complement(s))
        near = r > -0.5
        return -2.0 * jnp.where(near, jnp.log1p(jnp.where(near, r, 0.0)), jnp.log(ratio))

    def discrete_betas(self, n: int) -> np.ndarray:
        """1 - alpha-bar(i+1) / alpha-bar(i), clipped at 0.999, float64 (Nichol and Dhariwal 2021, eq. 17)."""
        angle = 0.5 * math.pi * (np.arange(n + 1) / n + self.s) / (1.0 + self.s)
        alpha_bar = np.cos(angle) ** 2
        return np.minimum(1.0 - alpha_bar[1:] / alpha_bar[:-1], 0.999)


@dataclasses.dataclass(frozen=True)
class SqrtLinearBeta(BetaSchedule):
    """sqrt(beta(t)) linear from sqrt(beta_min) to sqrt(beta_max): latent diffusion's 'linear' (Rombach et al. 2022)."""

    beta_min: float = 0.85
    beta_max: float = 12.0

    def __post_init__(self) -> None:
        LinearBeta(self.beta_min, self.beta_max)  # the same bounds

    def _root(self, t: Coefficient) -> Coefficient:
        low = math.sqrt(self.beta_min)
        return low + t * (math.sqrt(self.beta_max) - low)

    def beta(self, t: Coefficient) -> Coefficient:
        """The rate at t."""
        return self._root(t) ** 2

    def integral(self, s: Coefficient, t: Coefficient) -> Coefficient:
        """(t - s) (r_s^2 + r_s r_t + r_t^2) / 3 with r = sqrt(beta): exact, r being linear."""
        low, high = self._root(s), self._root(t)
        return (t - s) * (low**2 + low * high + high**2) / 3.0

    def discrete_betas(self, n: int) -> np.ndarray:
        """linspace(sqrt(beta_min / n), sqrt(beta_max / n), n)^2, float64."""
        return np.linspace((self.beta_min / n) ** 0.5, (self.beta_max / n) ** 0.5, n) ** 2


@dataclasses.dataclass(frozen=True)
class TableBeta(BetaSchedule):
    """The piecewise constant rate whose chain of n equal steps has exactly the n given beta_i.

    On (i/n, (i+1)/n] the rate is -n log(1 - beta_i), so that log alpha is linear between the levels of the chain
    (Lu et al. 2022, arXiv:2206.00927, App. D.1). The last beta may be 1, whose level has no signal: there the rate is
    2 / (1 - t), so that alpha itself is linear in t, down to 0 at t = 1.

    Raises:
      ValueError: fewer than two betas, or one outside (0, 1), but for a last one of 1.
    """

    betas: tuple[float, ...]

    def __post_init__(self) -> None:
        wrong = [beta for beta in self.betas[:-1] if not 0.0 < beta < 1.0]
        wrong += [beta for beta in self.betas[-1:] if not 0.0 < beta <= 1.0]
        if len(self.betas) < 2 or wrong:
            received = f"{wrong[0]:.6g} among {len(self.betas)} betas" if wrong else f"{len(self.betas)} betas"
            raise ValueError(
                f"sde: {received}; allowed are at least 2, each between 0 and 1, of which the last may be 1 (no signal)"
            )

    @property
    def to_noise(self) -> bool:
        """Whether nothing of the data is left at the last level."""
        return bool(self.betas[-1] == 1.0)

    @functools.cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        """The rate on each interval [n] and its integral up to each level [n + 1], float64; 0 on one `to_noise`."""
        betas = np.asarray(self.betas)
        rate = -np.log1p(-np.where(betas < 1.0, betas, 0.0)) * len(betas)
        return rate, np.concatenate([[0.0], np.cumsum(rate) / len(betas)])

    def _interval(self, t: Coefficient) -> Array:
        """The i of (i/n, (i+1)/n] that t lies in; a time one rounding error above a level is on it."""
        n = len(self.betas)
        return jnp.clip(jnp.ceil(t * n - ROUNDING * n).astype(int) - 1, 0, n - 1)

    def beta(self, t: Coefficient) -> Coefficient:
        """The rate at t; infinite where it leads `to_noise`, at t = 1."""
        rate = jnp.asarray(self._tables[0], jnp.result_type(t, float))[self._interval(t)]
        return jnp.where(self.in_last(t), 2.0 / (1.0 - t), rate) if self.to_noise else rate

    def in_last(self, t: Coefficient) -> Array:
        """Whether t lies in the last of the intervals."""
        return self._interval(t) == len(self.betas) - 1

    def integral(self, s: Coefficient, t: Coefficient) -> Coefficient:
        """The rest of s's interval, the whole ones between and the beginning of t's: nothing cancels.

        The times are counted in intervals, which at a level gives its own number in float32 too: j / n is rounded, and
        the rate of a cosine's last interval is 6900.
        """
        n, dtype = len(self.betas), jnp.result_type(s, t, float)
        rate, total = (jnp.asarray(table, dtype) for table in self._tables)
        i, j = self._interval(s), self._interval(t)
        apart = rate[i] * ((i + 1 - s * n) / n) + (total[j] - total[i + 1]) + rate[j] * ((t * n - j) / n)
        found = jnp.where(i == j, rate[i] * (t - s), apart)
        return found + self._to_noise(s, t) if self.to_noise else found

    def _to_noise(self, s: Coefficient, t: Coefficient) -> Coefficient:
        """-2 log((1 - t) / (1 - s)), of what of [s, t] lies in the last interval."""
        first = 1.0 - 1.0 / len(self.betas)
        s, t = jnp.maximum(s, first), jnp.maximum(t, first)
        return jnp.where(s == t, 0.0, -2.0 * jnp.log1p((s - t) / jnp.where(s == t, 1.0, 1.0 - s)))

    def discrete_betas(self, n: int) -> np.ndarray:
        """The table; ValueError for another n than its length."""
        if n != len(self.betas):
            raise ValueError(f"sde: the table has {len(self.betas)} betas, not {n}")
        return np.asarray(self.betas)


SCHEDULES: dict[str, Callable[..., BetaSchedule]] = {
    "linear": LinearBeta,
    "cosine": CosineBeta,
    "sqrt_linear": SqrtLinearBeta,
}
"""The schedules of beta(t) by name."""
