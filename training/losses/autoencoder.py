"""An autoencoder learns to give back what it compresses (Rombach et al. 2022, arXiv:2112.10752, sec. 3.1 and App. G).

    r = |x - y| + w_p LPIPS(x, y), the distance broadcast to every number;     g = -mean D(y)
    KL:  sum of (r / e^s + s) over an image's numbers  +  w_kl KL(q(z | x) || N(0, I))  +  d f g
    VQ:  mean of r over an image's numbers             +  w_c codebook loss             +  d f g

s is a log-variance, D the discriminator of patches, whose weight d is adaptive: with theta the kernel of the decoder's
last layer and nll the first term,

    d = w_d min(|d nll / d theta| / (|d g / d theta| + 1e-4), 1e4).

f is `disc_factor` from the step `disc_start` on and 0 before, and D learns f times the hinge or the logistic loss, of
the same images and of the reconstructions by the autoencoder that the step has already moved, from new noise.

What the published code does on purpose or by accident is settled as follows.
- `disc_start` counts batches. So does the published recipe with the version of Lightning that it pins; from version 1.6
  on Lightning counts the steps of both optimisers, and the same number stands for half as many batches.
- The log-variance is fixed, as in latent diffusion, where no optimiser holds it although it is a parameter there.
  ``learn_logvar`` trains it with the autoencoder, as generative-models does.
- Before the start both phases are computed all the same: the adaptive weight is told, the discriminator's optimiser
  counts its steps, and its running statistics take in what they see, three times a batch (the fakes of the first phase,
  then data and fakes). That is what latent diffusion does. The running statistics serve evaluation alone.
- Data and fakes are normalised apart by the discriminator's batch norm, and over the batches of all devices.
- Nothing is dropped within LPIPS (`models.lpips`).
- `beta` of the codebook loss is on the codebook's term with ``codebook_legacy``, as in latent diffusion and diffusers,
  and on the encoder's without, as in the paper (van den Oord et al. 2017, arXiv:1711.00937, eq. 3).
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from autoencoders.codebook import frequencies
from autoencoders.posterior import Posterior
from experiment.ranges import FIELDS
from models.autoencoder import AutoencoderVQ, straight_through
from training.draws import Draws
from training.examples import Examples
from training.losses.base import Loss
from training.model import Scores

Images = Float[Array, "b h w c"]
LAST_LAYER = "decoder.conv_out.kernel"
"""The weights at which the two gradients of the adaptive weight are compared."""
LARGEST_WEIGHT = 1e4
"""What the ratio of the two norms is cut off at."""

PIXEL_LOSSES: dict[str, Callable[[Array], Array]] = {"l1": jnp.abs, "l2": jnp.square}
"""What is made of the difference of each number of two images."""

DISCRIMINATOR_LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "hinge": lambda real, fake: 0.5 * (jnp.mean(jax.nn.relu(1.0 - real)) + jnp.mean(jax.nn.relu(1.0 + fake))),
    "vanilla": lambda real, fake: 0.5 * (jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))),
}
"""The discriminator's losses of its logits for data and for reconstructions."""


class Compressed(NamedTuple):
    """What an autoencoder makes of images.

    Attributes:
      y: the reconstructions.
      regulariser: of each example the KL divergence of its posterior in nats, or its codebook loss.
      frequencies: the share of the codes that each vector of the codebook has; None where there is no codebook.
    """

    y: Images
    regulariser: Float[Array, " b"]
    frequencies: Float[Array, " n"] | None


class Model(NamedTuple):
    """An autoencoder that is tested: the network with its weights, and the perceptual distance of pairs of images."""

    module: Any
    distance: Callable[[Images, Images], Float[Array, " b"]]


@dataclasses.dataclass(frozen=True, eq=False)
class AutoencoderLoss(Loss):
    """The options, and every term as a function of images.

    Attributes:
      pixel_loss: "l1", the absolute difference, or "l2", the squared one.
      perceptual: "lpips", which needs the files of ``eval.vgg16`` and ``eval.lpips_heads``, or "none".
      perceptual_weight: w_p.
      logvar_init, learn_logvar: s of the KL autoencoder, and whether it is trained.
      kl_weight: w_kl, of the KL autoencoder.
      codebook_weight, codebook_beta, codebook_legacy: w_c, beta and its place, of the VQ autoencoder.
      disc_loss: of the discriminator, "hinge" or "vanilla".
      disc_norm, disc_layers, disc_channels: its norm ("batch" or "act"), and its size.
      disc_start, disc_weight, disc_factor: as above; with a factor of 0 there is no discriminator at all.
    """

    pixel_loss: Annotated[str, FIELDS["training.pixel_loss"]] = "l1"
    perceptual: Annotated[str, FIELDS["training.perceptual"]] = "none"
    perceptual_weight: Annotated[float, FIELDS["training.perceptual_weight"]] = 1.0
    logvar_init: Annotated[float, FIELDS["training.logvar_init"]] = 0.0
    learn_logvar: Annotated[bool, FIELDS["training.learn_logvar"]] = False
    kl_weight: Annotated[float, FIELDS["training.kl_weight"]] = 1e-6
    codebook_weight: Annotated[float, FIELDS["training.codebook_weight"]] = 1.0
    codebook_beta: Annotated[float, FIELDS["training.codebook_beta"]] = 0.25
    codebook_legacy: Annotated[bool, FIELDS["training.codebook_legacy"]] = True
    disc_loss: Annotated[str, FIELDS["training.disc_loss"]] = "hinge"
    disc_norm: Annotated[str, FIELDS["training.disc_norm"]] = "batch"
    disc_layers: Annotated[int, FIELDS["training.disc_layers"]] = 3
    disc_channels: Annotated[int, FIELDS["training.disc_channels"]] = 64
    disc_start: Annotated[int, FIELDS["training.disc_start"]] = 50_001
    disc_weight: Annotated[float, FIELDS["training.disc_weight"]] = 0.5
    disc_factor: Annotated[float, FIELDS["training.disc_factor"]] = 1.0

    needs_autoencoder = True
    ignores = ("reduce_mean",)

    @property
    def perceives(self) -> bool:
        """Whether it has a perceptual distance."""
        return self.perceptual != "none"

    @property
    def adversarial(self) -> bool:
        """Whether there is a discriminator."""
        return self.disc_factor > 0

    def compress(self, module: Any, x: Images, draws: Draws, keys: Array | None = None) -> Compressed:
        """Return the reconstructions of images by a network of `models.autoencoder`; `keys` turn its dropout on.

        They are of a sample of the posterior, by the noise of `draws`, or of the quantised latents.
        """
        encoded = module.encode(x, keys=keys)
        if isinstance(module, AutoencoderVQ):
            vectors, codes = module.quantize(encoded)
            y = module.decode(straight_through(encoded, vectors), quantize=False, keys=keys)
            use = frequencies(codes, len(module.codebook.embedding[...]))
            return Compressed(y, self.codebook_term(encoded, vectors), use)
        posterior = Posterior.of_moments(encoded)
        y = module.decode(posterior.sample(draws.eps(jnp.asarray(posterior.mean))), keys=keys)
        return Compressed(y, posterior.kl(), None)

    def codebook_term(self, h: Images, vectors: Images) -> Float[Array, " b"]:
        """Return the codebook loss of each example: how far its latents and the vectors in their place are apart."""
        stop = jax.lax.stop_gradient
        of_encoder, of_codebook = _mean(jnp.square(stop(vectors) - h)), _mean(jnp.square(vectors - stop(h)))
        if self.codebook_legacy:
            return of_encoder + self.codebook_beta * of_codebook
        return self.codebook_beta * of_encoder + of_codebook

    def error(self, x: Images, y: Images, distance: Float[Array, " b"], logvar: Any, *, summed: bool) -> tuple:
        """Return nll and the mean of r of each example, [b] both; `summed` is that of the KL autoencoder."""
        r = PIXEL_LOSSES[self.pixel_loss](x - y) + self.perceptual_weight * distance[:, None, None, None]
        nll = jnp.sum(r / jnp.exp(logvar) + logvar, axis=(1, 2, 3)) if summed else _mean(r)
        return nll, _mean(r)

    def weight_of(self, summed: bool) -> float:
        """Return the weight of the regulariser."""
        return self.kl_weight if summed else self.codebook_weight

    def adaptive_weight(self, of_nll: Array, of_g: Array) -> Float[Array, ""]:
        """Return d, of the gradients of nll and of g at the last layer."""
        norms = jnp.sqrt(jnp.sum(jnp.square(of_nll))), jnp.sqrt(jnp.sum(jnp.square(of_g)))
        return self.disc_weight * jnp.clip(norms[0] / (norms[1] + 1e-4), 0.0, LARGEST_WEIGHT)

    def factor(self, step: Array) -> Float[Array, ""]:
        """Return f at step 0, 1, ..., each of which has seen one batch."""
        return jnp.where(step < self.disc_start, 0.0, self.disc_factor)

    def __call__(self, model: Model, examples: Examples, state: Any = None) -> Scores:  # type: ignore[override]
        """Return the terms of each example without the discriminator's; "loss" is their weighted sum.

        The log-variance is the initial one.
        """
        x, found = examples.x0, self.compress(model.module, examples.x0, examples.draws)
        distance, summed = model.distance(x, found.y), found.frequencies is None
        nll, rec = self.error(x, found.y, distance, self.logvar_init, summed=summed)
        terms = {"loss": nll + self.weight_of(summed) * found.regulariser, "nll_loss": nll, "rec_loss": rec}
        terms[regulariser_name(summed)] = found.regulariser
        return terms | ({"p_loss": distance} if self.perceives else {})


def regulariser_name(summed: bool) -> str:
    """Return what the curves call the regulariser."""
    return "kl_loss" if summed else "quant_loss"


def _mean(values: Array) -> Float[Array, " b"]:
    return jnp.mean(values, axis=tuple(range(1, values.ndim)))
