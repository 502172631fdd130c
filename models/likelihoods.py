"""Distributions of pictures in [-1, 1] that a decoder's numbers stand for, each number of a picture by itself.

| name                 | numbers          | -log p of a number, in nats                             | of              |
|----------------------|------------------|---------------------------------------------------------|-----------------|
| gaussian             | m, log s         | (x - m)^2 / (2 s^2) + log s + log(2 pi) / 2             | a density       |
| bernoulli            | logit l          | softplus(l) - y l                                       | two levels      |
| continuous_bernoulli | logit l          | softplus(l) - y l - log C(l) + log 2                    | a density       |
| discretised_logistic | m, log s, levels | -log(sigmoid(b) - sigmoid(a)), a, b = (x - m -+ h) / s  | so many levels  |

y = (x + 1) / 2, C(l) = l / tanh(l / 2) (Loaiza-Ganem and Cunningham 2019, arXiv:1907.06845), and h is half the distance
of two levels; the bins of the first and of the last level are open (Kingma et al. 2016, arXiv:1606.04934, App. B).

The scale s of the two that have one is a constant, one trained number, or predicted of every number. Of a Gaussian it
can also be the best one, which is the root of an example's mean squared error (Rybkin et al. 2021, arXiv:2006.13202,
sec. 4, who take it over a batch; that of each example does not depend on the others).
"""

import abc
import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from limits import check_known

Image = Float[Array, "b h w c"]

SCALES = ("fixed", "learned", "predicted", "optimal", "none")
"""What the scale is: a constant, a trained number, predicted of every number, the best of each example, or absent."""
SMALLEST_LOG_SCALE = -7.0
"""The least logarithm of a predicted scale (Salimans et al. 2017, arXiv:1701.05517)."""
LEAST_SQUARE = 1e-12
"""The least mean squared error of which a scale is made."""


@dataclasses.dataclass(frozen=True, eq=False)
class Likelihood(abc.ABC):
    """The distribution of pictures x in [-1, 1] given their latents.

    Attributes:
      location: m, or the logits l, [b, h, w, c].
      log_scale: log s, of that shape or a single number; None where there is no scale, or the best one is taken.
      levels: how many grey levels x has; None where it is not asked.
    """

    location: Image
    log_scale: Array | None = None
    levels: int | None = None

    of_levels: ClassVar[bool]
    """Whether it is a probability of grey levels as they are, and no density."""
    scales: ClassVar[tuple[str, ...]] = ("none",)
    """Which of `SCALES` it takes."""

    @abc.abstractmethod
    def nll(self, x: Image) -> Image:
        """-log p(x), nats, of each number."""

    @property
    @abc.abstractmethod
    def centre(self) -> Image:
        """The picture that stands for it: its mean, of a logistic its location, within [-1, 1]."""

    @abc.abstractmethod
    def draw(self, keys: Key[Array, " b"]) -> Image:
        """A draw of it, by a key for each example."""

    def uniform(self, keys: Key[Array, " b"]) -> Image:
        """Numbers between 0 and 1 for each number of the pictures, neither of which occurs."""
        shape, dtype = self.location.shape[1:], self.location.dtype
        return jax.vmap(lambda key: jax.random.uniform(key, shape, dtype, minval=1e-6, maxval=1.0 - 1e-6))(keys)


class Gaussian(Likelihood):
    """Normal numbers of mean `location` and deviation exp(log_scale); without one the best of each example."""

    of_levels = False
    scales = ("fixed", "learned", "predicted", "optimal")

    def nll(self, x: Image) -> Image:
        """-log p(x), nats, of each number; without a scale its deviation is the root of the example's mean square."""
        log_scale = self.best(x) if self.log_scale is None else self.log_scale
        offset = (x - self.location) * jnp.exp(-log_scale)
        return 0.5 * jnp.square(offset) + log_scale + 0.5 * math.log(2.0 * math.pi)

    def best(self, x: Image) -> Float[Array, "b 1 1 1"]:
        """The logarithm of the deviation with which each example is likeliest."""
        mean_square = jnp.mean(jnp.square(x - self.location), axis=(1, 2, 3), keepdims=True)
        return 0.5 * jnp.log(jnp.maximum(mean_square, LEAST_SQUARE))

    @property
    def centre(self) -> Image:
        """The mean within [-1, 1]."""
        return jnp.clip(self.location, -1.0, 1.0)

    def draw(self, keys: Key[Array, " b"]) -> Image:
        """A draw within [-1, 1]; the mean where the scale is that of an example, which is not there yet."""
        if self.log_scale is None:
            return self.centre
        shape, dtype = self.location.shape[1:], self.location.dtype
        noise = jax.vmap(lambda key: jax.random.normal(key, shape, dtype))(keys)
        return jnp.clip(self.location + jnp.exp(self.log_scale) * noise, -1.0, 1.0)


class Bernoulli(Likelihood):
    """It is of two levels, -1 and 1, with the logits of the second; of numbers between them it is no probability."""

    of_levels = True

    def nll(self, x: Image) -> Image:
        """softplus(l) - y l of each number, the cross-entropy also where y = (x + 1) / 2 is neither 0 nor 1."""
        return bernoulli_nll(0.5 * (x + 1.0), self.location)

    @property
    def centre(self) -> Image:
        """2 sigmoid(l) - 1."""
        return jnp.tanh(0.5 * self.location)

    def draw(self, keys: Key[Array, " b"]) -> Image:
        """-1 or 1."""
        return jnp.where(self.uniform(keys) < jax.nn.sigmoid(self.location), 1.0, -1.0)


class ContinuousBernoulli(Likelihood):
    """The density on [-1, 1] that is proportional to a Bernoulli's probability."""

    of_levels = False

    def nll(self, x: Image) -> Image:
        """-log p(x), nats, of each number: half the density of y = (x + 1) / 2."""
        return continuous_bernoulli_nll(0.5 * (x + 1.0), self.location) + math.log(2.0)

    @property
    def centre(self) -> Image:
        """The mean coth(l / 2) - 2 / l, by its series where l is small."""
        small, apart = _apart(self.location)
        square = jnp.square(self.location)
        series = self.location * (1.0 / 6.0 - square / 360.0 + jnp.square(square) / 15120.0)
        return jnp.where(small, series, 1.0 / jnp.tanh(0.5 * apart) - 2.0 / apart)

    def draw(self, keys: Key[Array, " b"]) -> Image:
        """By the inverse of the distribution function, of the mirrored density where l > 0: nothing is large."""
        size, u = jnp.abs(self.location), self.uniform(keys)
        small, apart = _apart(size, 1e-4)  # below which the mean is 0 but for 2e-5
        low = jnp.where(small, u, -jnp.log1p(u * jnp.expm1(-apart)) / apart)
        return 2.0 * jnp.where(self.location > 0.0, 1.0 - low, low) - 1.0


class DiscretisedLogistic(Likelihood):
    """The probability of the bin of a grey level under a logistic distribution, whose outermost bins are open."""

    of_levels = True
    scales = ("fixed", "learned", "predicted")

    @property
    def half(self) -> float:
        """Half the distance of two of the levels 2 k / (L - 1) - 1."""
        assert self.levels  # which `check_likelihood` asks for
        return 1.0 / (self.levels - 1)

    @property
    def _log_scale(self) -> Array:
        assert self.log_scale is not None  # as it is with every scale that it takes
        return self.log_scale

    def nll(self, x: Image) -> Image:
        """-log p(x), nats, of each number.

        By sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)) nothing cancels, however far x is.
        """
        inverse = jnp.exp(-self._log_scale)
        a, b = (inverse * (x - self.location + way * self.half) for way in (-1.0, 1.0))
        below, above = jax.nn.log_sigmoid(b), jax.nn.log_sigmoid(-a)
        between = below + above + jnp.log(-jnp.expm1(-2.0 * self.half * inverse))
        first, last = x < self.half - 1.0, x > 1.0 - self.half
        return -jnp.where(first, below, jnp.where(last, above, between))

    @property
    def centre(self) -> Image:
        """The location within [-1, 1]."""
        return jnp.clip(self.location, -1.0, 1.0)

    def draw(self, keys: Key[Array, " b"]) -> Image:
        """A level."""
        u = self.uniform(keys)
        x = self.location + jnp.exp(self._log_scale) * (jnp.log(u) - jnp.log1p(-u))
        level = jnp.round(0.5 * (jnp.clip(x, -1.0, 1.0) + 1.0) / self.half)
        return 2.0 * self.half * level - 1.0


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": Gaussian,
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "discretised_logistic": DiscretisedLogistic,
}
"""The distributions by name."""


def check_likelihood(name: str, scale: str, levels: int | None) -> None:
    """Raise ValueError for names that are not known, a scale that a distribution does not take, or missing levels."""
    check_known("likelihood", name, LIKELIHOODS)
    check_known("scale", scale, SCALES)
    taken = LIKELIHOODS[name].scales
    if scale not in taken:
        raise ValueError(f"model.scale is {scale!r}, and model.likelihood {name!r} takes {', '.join(taken)}")
    if LIKELIHOODS[name] is DiscretisedLogistic and (levels is None or levels < 2):
        raise ValueError(
            f"model.likelihood is 'discretised_logistic', of whole grey levels, and the data have {levels or 'none'}; "
            "take 'gaussian'"
        )


def bernoulli_nll(y: Float[Array, "*d"], logits: Float[Array, "*d"]) -> Float[Array, "*d"]:
    """softplus(l) - y l for y in [0, 1], nats."""
    return jax.nn.softplus(logits) - y * logits


def continuous_bernoulli_nll(y: Float[Array, "*d"], logits: Float[Array, "*d"]) -> Float[Array, "*d"]:
    """-log of the density C(l) sigmoid(l)^y sigmoid(-l)^(1 - y) on [0, 1], nats."""
    return bernoulli_nll(y, logits) - log_normaliser(logits)


def log_normaliser(logits: Float[Array, "*d"]) -> Float[Array, "*d"]:
    """log C = log(l / tanh(l / 2)), by its series where l is small, and the gradient a difference of large numbers."""
    small, apart = _apart(logits)
    square = jnp.square(logits)
    series = math.log(2.0) + square * (1.0 / 12.0 - square * (7.0 / 1440.0 - square * (31.0 / 90720.0)))
    return jnp.where(small, series, jnp.log(apart / jnp.tanh(0.5 * apart)))


def _apart(logits: Array, near: float = 0.2) -> tuple[Array, Array]:
    """Return where numbers are near 0, and the numbers, 1 there, so that neither they nor their gradients are NaN."""
    small = jnp.abs(logits) < near
    return small, jnp.where(small, 1.0, logits)
