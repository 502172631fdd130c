"""Bounds of the likelihood of a variational autoencoder, whose latents have the prior N(0, I).

    log p(x) >= E_q log p(x | z) - KL(q(z | x) || p(z))                                 (Kingma and Welling 2014, eq. 3)
    log p(x) >= E log 1/k sum_j w_j,    w_j = p(x | z_j) p(z_j) / q(z_j | x),  z_j ~ q  (Burda et al. 2016, eq. 8)

(arXiv:1312.6114, 1509.00519.) The second is the first for k = 1, grows with k, and goes to log p(x).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from autoencoders.posterior import Posterior

Nats = Float[Array, " b"]


def log_weight(posterior: Posterior, z: Float[Array, "b *d"], nll: Nats) -> Nats:
    """log w of latents z [b, ...] that were drawn of the posterior, where -log p(x | z) is `nll` [b]; nats."""
    prior = Posterior(jnp.zeros_like(z), jnp.zeros_like(z))
    return posterior.nll(z) - prior.nll(z) - nll


def log_weights(
    posterior: Posterior, noise: Float[Array, "k b *d"], nll: Callable[[Float[Array, "b *d"]], Nats]
) -> Float[Array, "k b"]:
    """log w of k draws of the posterior by standard normal noise, all at once; `nll` is z -> -log p(x | z)."""

    def at(noise: Float[Array, "b *d"]) -> Nats:
        z = posterior.sample(noise)
        return log_weight(posterior, z, nll(z))

    return jax.vmap(at)(noise)


def importance_weighted(log_weights: Float[Array, "k b"]) -> Nats:
    """log 1/k sum_j w_j of each example, nats."""
    return jax.nn.logsumexp(log_weights, axis=0) - math.log(len(log_weights))


def free_bits(kl: Float[Array, "b *d"], least: float) -> Nats:
    """The sum over latent numbers of max(kl, least), nats: below `least` a number costs the same whatever it says.

    (Kingma et al. 2016, arXiv:1606.04934, App. C.8, who take the mean of a batch first; here examples count alone.)
    """
    each = jnp.maximum(kl, least)
    return jnp.sum(each.reshape(len(each), -1), axis=1)
