"""The Gaussian that a KL autoencoder says of an image's latents (Kingma and Welling 2014; Rombach et al. 2022)."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from autoencoders.base import AnyArray

LOWEST, HIGHEST = -30.0, 20.0
"""The bounds of the log-variance in every published code."""


class Posterior(NamedTuple):
    """Independent Gaussians, one a latent number; `log_variance` is within its bounds."""

    mean: Float[AnyArray, "b *d"]
    log_variance: Float[AnyArray, "b *d"]

    @classmethod
    def of_moments(cls, moments: Float[AnyArray, "b *d c"]) -> "Posterior":
        """From mean and log-variance joined on the last axis, as `models.autoencoder.AutoencoderKL.encode` gives them.

        The log-variance is cut off at -30 and 20, behind which it has no gradient.
        """
        mean, log_variance = jnp.split(moments, 2, axis=-1)
        return cls(mean, jnp.clip(log_variance, LOWEST, HIGHEST))

    @property
    def std(self) -> Float[Array, "b *d"]:
        """The standard deviation."""
        return jnp.exp(0.5 * self.log_variance)

    @property
    def variance(self) -> Float[Array, "b *d"]:
        """The variance."""
        return jnp.exp(self.log_variance)

    def sample(self, noise: Float[AnyArray, "b *d"]) -> Float[Array, "b *d"]:
        """The latents mean + std noise, of standard normal noise; their mode is the mean."""
        return jnp.asarray(self.mean) + self.std * noise

    def kl_each(self) -> Float[Array, "b *d"]:
        """KL(posterior || N(0, 1)) of each latent number, in nats."""
        return 0.5 * (jnp.square(self.mean) + self.variance - 1 - self.log_variance)

    def kl(self) -> Float[Array, " b"]:
        """KL(posterior || N(0, I)) of each example, in nats."""
        return _sum(self.kl_each())

    def kl_to(self, other: "Posterior") -> Float[Array, " b"]:
        """KL(posterior || other) of each example, in nats."""
        ratio = self.log_variance - other.log_variance
        return 0.5 * _sum(jnp.square(self.mean - other.mean) / other.variance + jnp.exp(ratio) - 1 - ratio)

    def nll(self, x: Float[AnyArray, "b *d"]) -> Float[Array, " b"]:
        """-log p(x) of each example's latents x, in nats."""
        squares = jnp.square(jnp.asarray(x) - self.mean) / self.variance
        return 0.5 * _sum(squares + self.log_variance + math.log(2 * math.pi))


def _sum(x: Array) -> Array:
    return x.sum(axis=tuple(range(1, x.ndim)))
