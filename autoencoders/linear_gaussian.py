"""The variational autoencoder whose likelihood is known: linear, with Gaussian noise.

    z ~ N(0, I),    x = W z + b + s eps        ->        x ~ N(b, W W^T + s^2 I)

It is probabilistic principal component analysis (Tipping and Bishop 1999, eq. 4 to 8). Every bound can be held against
the likelihood here, and the gap of a bound is KL(q(z | x) || p(z | x)).
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from autoencoders.posterior import Posterior


class LinearGaussian(NamedTuple):
    """The model of points of d numbers with k latent ones.

    Attributes:
      weight: W, [d, k].
      bias: b, [d].
      std: s, the deviation of the noise.
    """

    weight: Float[Array, "d k"]
    bias: Float[Array, " d"]
    std: Float[Array, ""] | float

    def log_likelihood(self, x: Float[Array, "b d"]) -> Float[Array, " b"]:
        """log p(x), nats, exactly."""
        covariance = self.weight @ self.weight.T + jnp.square(self.std) * jnp.eye(len(self.bias), dtype=x.dtype)
        offset = x - self.bias
        squares = jnp.sum(offset * jnp.linalg.solve(covariance, offset.T).T, axis=1)
        return -0.5 * (squares + jnp.linalg.slogdet(2.0 * math.pi * covariance)[1])

    def posterior(self, x: Float[Array, "b d"]) -> tuple[Float[Array, "b k"], Float[Array, "k k"]]:
        """The mean of p(z | x) of each point, and its covariance, which is that of all."""
        variance = jnp.square(self.std)
        precision = jnp.eye(self.weight.shape[1], dtype=x.dtype) + self.weight.T @ self.weight / variance
        mean = jnp.linalg.solve(precision, self.weight.T @ (x - self.bias).T / variance).T
        return mean, jnp.linalg.inv(precision)

    def nll(self, x: Float[Array, "b d"], z: Float[Array, "b k"]) -> Float[Array, " b"]:
        """-log p(x | z), nats."""
        return 0.5 * (self._squares(x, z) + self._log_volume())

    def expected_nll(self, x: Float[Array, "b d"], q: Posterior) -> Float[Array, " b"]:
        """E -log p(x | z) over q(z | x) in closed form, nats."""
        spread = jnp.sum(jnp.square(self.weight) * q.variance[:, None, :], axis=(1, 2)) / jnp.square(self.std)
        return 0.5 * (self._squares(x, jnp.asarray(q.mean)) + spread + self._log_volume())

    def bound(self, x: Float[Array, "b d"], q: Posterior) -> Float[Array, " b"]:
        """E log p(x | z) - KL(q || N(0, I)) in closed form, nats."""
        return -self.expected_nll(x, q) - q.kl()

    def _squares(self, x: Array, z: Array) -> Array:
        return jnp.sum(jnp.square((x - self.bias - z @ self.weight.T) / self.std), axis=1)

    def _log_volume(self) -> Array:
        return len(self.bias) * jnp.log(2.0 * math.pi * jnp.square(self.std))
