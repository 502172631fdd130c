"""Generators: models that make data of noise in one evaluation of their network, and follow no score.

They are the decoder of a variational autoencoder (`models.GENERATORS`), and a network of data that was trained against
a discriminator (``training.loss='adversarial'``), whose noise has the shape of the data.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import samplers
from experiment.experiment import Experiment
from models.functional import Network


def of_noise(
    network: Network, variables: dict[str, Any], z: Float[Array, "b *d"], keys: Key[Array, " b"] | None = None
) -> Float[Array, "b *d"]:
    """What a network of data makes of noise of their shape, at the noise label 1, which then says nothing."""
    return network.apply(variables, z, jnp.ones(len(z), z.dtype), keys=keys)


def generator(
    experiment: Experiment, variables: dict[str, Any], settings: samplers.Settings
) -> Callable[[Key[Array, ""], Array], samplers.Samples]:
    """The generator as a sampler ``(key, z [b, ...]) -> Samples``, one evaluation a sample.

    A decoder's sample is the picture that stands for p(x | z) (`models.likelihoods.Likelihood.centre`); with
    ``denoise='none'`` it is a draw of p(x | z), by the key, as it is of the last step of a chain.
    """

    def draw(key: Key[Array, ""], z: Float[Array, "b *d"]) -> samplers.Samples:
        z = settings.prior_scale * z
        if not experiment.compresses:
            x = of_noise(experiment.network, variables, z)
        else:
            said = experiment.network.module(variables).likelihood(z)
            keys = jax.random.split(key, len(z))
            x = said.draw(keys) if settings.denoise == "none" else said.centre
        return samplers.Samples(x, jnp.ones(len(z), jnp.int32))

    return draw


def prior_of(experiment: Experiment, method: str) -> Callable[[Key[Array, ""], int], Array]:
    """What draws points of the prior, ``(key, n) -> z [n, ...]``: N(0, I) of a generator, else that of the process."""
    if experiment.generates:
        return lambda key, n: jax.random.normal(key, (n, *experiment.prior_shape))
    process = samplers.process_of(experiment.sde, experiment.settings_of(method))
    return lambda key, n: process.prior_sample(key, (n, *experiment.prior_shape))
