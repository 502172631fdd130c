"""The reverse chain p(x_(i-1) | x_i) of n noise levels: tables in float64, and the Gaussians made of them.

Level i has x_i = alpha_i x_0 + sigma_i eps; below level 0 lies the data, x_(-1) = x_0. Two neighbours are joined by
x_i = a_i x_(i-1) + q_i z with a_i = alpha_i / alpha_(i-1), so that q(x_(i-1) | x_i, x_0) is Gaussian with

    mean      alpha_(i-1) q_i^2 / sigma_i^2  x_0  +  a_i sigma_(i-1)^2 / sigma_i^2  x_i,
    variance  q_i^2 sigma_(i-1)^2 / sigma_i^2                              (Ho et al. 2020, arXiv:2006.11239, eq. 7).

For a variance-preserving chain q_i^2 = beta_i; the formulas hold for every affine process with levels.
"""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sde_lib.base import AffineSDE, expand

VARIANCES = ("small", "large", "learned_range", "learned")
"""Of p(x_(i-1) | x_i): the posterior's; q_i^2; between the two by a network's output; a network's output itself."""

Image = Float[Array, "b *d"]
Index = Int[Array, " b"]


def interpolated_log_variance(v: Image, log_small: Array, log_large: Array) -> Image:
    """f log_large + (1 - f) log_small with f = (v + 1) / 2 (Nichol and Dhariwal 2021, arXiv:2102.09672, eq. 15)."""
    fraction = 0.5 * (v + 1.0)
    return fraction * log_large + (1.0 - fraction) * log_small


@dataclasses.dataclass(frozen=True, eq=False)
class ChainTables:
    """All coefficients of a chain of n levels, float64 [n], made once and cast once where they are used.

    Attributes:
      alpha: scale of the data at each level.
      sigma: standard deviation of the noise there.
    """

    alpha: np.ndarray
    sigma: np.ndarray

    @classmethod
    def of(cls, sde: AffineSDE, n: int) -> "ChainTables":
        """Those of an SDE's n published levels; ValueError where it has none."""
        return cls(*sde.levels(n))

    @property
    def n(self) -> int:
        """The number of levels."""
        return len(self.alpha)

    @functools.cached_property
    def alpha_before(self) -> np.ndarray:
        """alpha_(i-1): 1 below level 0."""
        return np.concatenate([[1.0], self.alpha[:-1]])

    @functools.cached_property
    def sigma_before(self) -> np.ndarray:
        """sigma_(i-1): 0 below level 0."""
        return np.concatenate([[0.0], self.sigma[:-1]])

    @functools.cached_property
    def step_scale(self) -> np.ndarray:
        """a_i."""
        return self.alpha / self.alpha_before

    @functools.cached_property
    def noise_share(self) -> np.ndarray:
        """q_i^2 / sigma_i^2 = 1 - SNR_i / SNR_(i-1), without the cancellation of neighbouring levels."""
        with np.errstate(divide="ignore"):  # of a last level without signal, whose share is 1
            log_snr = 2.0 * (np.log(self.alpha) - np.log(self.sigma))
        return np.concatenate([[1.0], -np.expm1(np.diff(log_snr))])

    @functools.cached_property
    def step_variance(self) -> np.ndarray:
        """q_i^2, the betas of a variance-preserving chain."""
        return self.noise_share * self.sigma**2

    @functools.cached_property
    def posterior_variance(self) -> np.ndarray:
        """The variance of q(x_(i-1) | x_i, x_0), 0 at level 0."""
        return self.noise_share * self.sigma_before**2

    @functools.cached_property
    def posterior_log_variance_clipped(self) -> np.ndarray:
        """Its logarithm, at level 0 that of level 1: the published stand-in for log 0."""
        return np.log(np.concatenate([self.posterior_variance[1:2], self.posterior_variance[1:]]))

    @functools.cached_property
    def posterior_x0(self) -> np.ndarray:
        """The coefficient of x_0 in the posterior's mean."""
        return self.alpha_before * self.noise_share

    @functools.cached_property
    def posterior_x(self) -> np.ndarray:
        """The coefficient of x_i in the posterior's mean."""
        return self.step_scale * (self.sigma_before / self.sigma) ** 2

    @functools.cached_property
    def large_log_variance(self) -> np.ndarray:
        """log q_i^2, at level 0 the posterior's of level 1, so that the decoder is not wider than it need be."""
        return np.log(np.concatenate([self.posterior_variance[1:2], self.step_variance[1:]]))

    def row(self, table: np.ndarray, i: Index, x: Image) -> Array:
        """The entries of a table at the levels i, in the type of x and so shaped that they multiply it."""
        return expand(jnp.asarray(table, x.dtype)[i], x)

    def noised(self, x0: Image, i: Index, eps: Image) -> Image:
        """x_i = alpha_i x_0 + sigma_i eps."""
        return self.row(self.alpha, i, x0) * x0 + self.row(self.sigma, i, x0) * eps

    def mean(self, x: Image, x0: Image, i: Index) -> Image:
        """The mean of q(x_(i-1) | x_i = x, x_0); with an estimate of x_0 that of p(x_(i-1) | x_i)."""
        return self.row(self.posterior_x0, i, x) * x0 + self.row(self.posterior_x, i, x) * x

    def log_variance(self, variance: str, x: Image, i: Index, v: Image | None = None) -> Array:
        """log variance of p(x_(i-1) | x_i), of the kind that `variance` names; broadcasts over x.

        'small' and 'large' are the posterior's and q_i^2, exact for data that are one point and unit Gaussian (Ho et
        al. 2020, sec. 3.2); with 'learned_range' the network's `v` in [-1, 1] chooses between them, with 'learned' it
        is the logarithm.

        Raises:
          ValueError: an unknown kind, or a learned one without the network's output.
        """
        if variance not in VARIANCES:
            raise ValueError(f"variance is {variance!r}; allowed are {', '.join(VARIANCES)}")
        if variance.startswith("learned"):
            if v is None:
                raise ValueError(
                    f"variance {variance!r} is a network's output, and this one has none: it needs twice the channels "
                    "of the image; or use small or large"
                )
            if variance == "learned":
                return v
            small, large = self.posterior_log_variance_clipped, np.log(self.step_variance)
            return interpolated_log_variance(v, self.row(small, i, x), self.row(large, i, x))
        fixed = {"small": self.posterior_log_variance_clipped, "large": self.large_log_variance}
        return self.row(fixed[variance], i, x)
