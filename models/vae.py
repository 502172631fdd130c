"""The variational autoencoder as a generative model of its own (Kingma and Welling 2014, arXiv:1312.6114).

    z ~ N(0, I),    x ~ p(x | z),

with an encoder that says q(z | x). The encoder and the decoder are those of `models.autoencoder`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Num

from limits import Sides
from models.autoencoder import Autoencoder
from models.checks import check_options
from models.layers import Keys
from models.likelihoods import LIKELIHOODS, SMALLEST_LOG_SCALE, Likelihood, check_likelihood


class VAE(Autoencoder):
    """The autoencoder whose latents have the prior N(0, I), and whose decoder says a distribution of pictures.

    The defaults are of small pictures, which 3 levels halve twice.

    Args, beside those of `models.autoencoder.Autoencoder`:
      likelihood: the distribution, a name of `models.likelihoods.LIKELIHOODS`.
      scale: of it, one of `models.likelihoods.SCALES`; of a distribution without one "none".
      log_scale: its logarithm where it is fixed, and where it begins if it is learned; added to a predicted one.
      num_categories: the number of grey levels, which a probability of levels asks for.
      z_channels: of what the decoder takes; None: as many as embed_dim.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        nf: int = 32,
        ch_mult: Sequence[int] = (1, 2, 2),
        channels: Sequence[int] = (),
        num_res_blocks: int = 1,
        attn_resolutions: Sequence[int] = (),
        mid_attention: bool = True,
        z_channels: int | None = None,
        embed_dim: int = 8,
        quant_conv: bool = True,
        post_quant_conv: bool = True,
        num_groups: int = 8,
        likelihood: str = "gaussian",
        scale: str = "learned",
        log_scale: float = 0.0,
        num_categories: int | None = None,
        dropout: float = 0.0,
        centered: bool = True,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        options = check_options(type(self), locals())
        check_likelihood(likelihood, scale, num_categories)
        own = ("likelihood", "scale", "log_scale", "num_categories", "z_channels")
        shared = {name: value for name, value in options.items() if name not in own}
        self.predicts = scale == "predicted"
        ends: dict[str, Any] = {"encoded": 2, "decoded": 2 if self.predicts else 1}
        super().__init__(**shared, z_channels=z_channels or embed_dim, tanh_out=False, **ends)
        self.distribution, self.levels = LIKELIHOODS[likelihood], num_categories
        self.log_scale = nnx.Param(jnp.asarray(log_scale, jnp.float32)) if scale == "learned" else None
        self.constant = log_scale if scale in ("fixed", "predicted") else None

    def likelihood(self, z: Float[Array, "b h w c"], *, keys: Key[Array, " b"] | None = None) -> Likelihood:
        """p(x | z) of latents, in at least float32; dropout where `keys` are given.

        Raises ValueError for latents of other channels.
        """
        numbers = super().decode(z, keys=keys)
        numbers = numbers.astype(jnp.promote_types(numbers.dtype, jnp.float32))
        if self.predicts:
            location, predicted = jnp.split(numbers, 2, axis=-1)
            log_scale = jnp.maximum(predicted + (self.constant or 0.0), SMALLEST_LOG_SCALE)
            return self.distribution(location, log_scale, self.levels)
        if self.log_scale is not None:
            return self.distribution(numbers, self.log_scale[...], self.levels)
        constant = None if self.constant is None else jnp.asarray(self.constant, numbers.dtype)
        return self.distribution(numbers, constant, self.levels)

    def decode(self, z: Float[Array, "b h w c"], *, keys: Key[Array, " b"] | None = None) -> Float[Array, "b h2 w2 c2"]:
        """The pictures in [-1, 1] that stand for p(x | z). Raises ValueError for latents of other channels."""
        return self.likelihood(z, keys=keys).centre.astype(z.dtype)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Num[Array, " b"] | None = None,
        condition: Mapping[str, Array] | None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b h w c"]:
        """The pictures decoded from the means of their latents; of noise and condition it is told nothing."""
        return self.decode(self.encode(x, keys=keys)[..., : self.embed_dim], keys=keys)

    def encode(self, x: Float[Array, "b h w c"], *, keys: Key[Array, " b"] | None = None) -> Float[Array, "b h2 w2 c2"]:
        """Mean, then log-variance, of q(z | x), as `models.autoencoder.AutoencoderKL.encode` gives them."""
        return super().encode(x, keys=keys)
