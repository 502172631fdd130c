"""A variational autoencoder learns its bound (Kingma and Welling 2014, arXiv:1312.6114), in bits/dim.

    loss = E -log p(x | z) + beta sum_i max(KL_i, free_bits),    z ~ q(z | x)

With beta 1 and without free bits it bounds -log p(x); beta-VAEs (Higgins et al. 2017) and free bits (Kingma et al.
2016, arXiv:1606.04934) leave that bound on purpose. Of k importance samples it is the tighter bound of Burda et al.
2016 (arXiv:1509.00519), -E log 1/k sum_j p(x, z_j) / q(z_j | x).

Of a density, bits are those of x in [-1, 1] and not of grey levels, which `evaluation.measures.vae_bound` measures.
"""

import dataclasses
import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from autoencoders.bound import free_bits, importance_weighted, log_weights
from autoencoders.posterior import Posterior
from experiment.ranges import FIELDS
from training.examples import Examples
from training.losses.base import Loss
from training.model import Scores, TrainedModel

Image = Float[Array, "b h w c"]


@dataclasses.dataclass(frozen=True, eq=False)
class VariationalAutoencoder(Loss):
    """The loss, and what it is made of: "nll" and "kl", in bits/dim, whose sum is the bound of one sample.

    Attributes:
      vae_beta: the weight of the divergence.
      free_bits: what each latent number costs at least, nats.
      importance_samples: k; above 1 the loss is the importance-weighted bound, and its score "kl" is not told.

    Raises:
      ValueError: importance samples with a beta or with free bits, which are of the other bound.
    """

    vae_beta: Annotated[float, FIELDS["training.vae_beta"]] = 1.0
    free_bits: Annotated[float, FIELDS["training.free_bits"]] = 0.0
    importance_samples: Annotated[int, FIELDS["training.importance_samples"]] = 1

    needs_autoencoder = True
    needs_likelihood = True
    ignores = ("reduce_mean",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.importance_samples > 1 and (self.vae_beta != 1.0 or self.free_bits):
            raise ValueError(
                f"training.importance_samples is {self.importance_samples}, training.vae_beta {self.vae_beta} and "
                f"training.free_bits {self.free_bits}: the importance-weighted bound has neither of the two; set them "
                "to 1 and 0, or importance_samples to 1"
            )

    def __call__(self, model: TrainedModel, examples: Examples, state: Any = None) -> Scores:
        """Return the loss of each example; one evaluation of the encoder and k of the decoder."""
        assert model.module
        module, x, draws, keys = model.module(model.params), examples.x0, examples.draws, model.keys
        posterior = Posterior.of_moments(module.encode(x, keys=keys))

        def noise(j: Any) -> Array:
            own = jax.vmap(jax.random.fold_in, (0, None))(draws.noise, j)
            return draws._replace(noise=own).eps(jnp.asarray(posterior.mean))

        def nll(z: Array) -> Float[Array, " b"]:
            each = module.likelihood(z, keys=keys).nll(x)
            return jnp.sum(each, axis=tuple(range(1, each.ndim)))

        unit = math.log(2.0) * math.prod(x.shape[1:])
        if self.importance_samples > 1:
            weights = log_weights(posterior, jnp.stack([noise(j) for j in range(self.importance_samples)]), nll)
            return {"loss": -importance_weighted(weights) / unit}
        return self.of_terms(nll(posterior.sample(noise(0))), posterior.kl_each(), unit)

    def of_terms(self, nll: Float[Array, " b"], kl: Float[Array, "b *d"], unit: float = 1.0) -> Scores:
        """Return the scores by -log p(x | z) and the divergence of each latent number, both in nats, over a unit."""
        total = jnp.sum(kl.reshape(len(kl), -1), axis=1)
        loss = nll + self.vae_beta * (free_bits(kl, self.free_bits) if self.free_bits else total)
        return {"loss": loss / unit, "nll": nll / unit, "kl": total / unit}
