"""NCSN++ and DDPM++ as EDM trains them (Karras et al. 2022, arXiv:2206.00364; their SongUNet)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from limits import Sides
from models.checks import check_centered, check_options
from models.embeddings import positional
from models.layers import Keys, linear, precise
from models.ncsnpp import NCSNpp


class EDMUNet(NCSNpp):
    """NCSNpp inside a preconditioning: c_noise is embedded as it comes, class and augmentation beside it.

    The defaults are EDM's DDPM++ on CIFAR-10; its NCSN++ is that with fir, progressive_input="residual" and
    embedding_type="fourier". Images are [b, height, width, num_channels], scaled by the preconditioning's c_in, not
    centered here. Options as in NCSNpp, and

      label_dim: classes; condition["label"] is one-hot [b, label_dim], zeros where it is missing. 0: takes none.
      augment_dim: numbers that describe an augmentation (EDM: 9); condition["augment"] is [b, augment_dim], zeros, the
        unchanged image, where it is missing. 0: takes none.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        nf: int = 128,
        ch_mult: Sequence[int] = (2, 2, 2),
        num_res_blocks: int = 4,
        attn_resolutions: Sequence[int] = (16,),
        dropout: float = 0.13,
        label_dim: int = 0,
        augment_dim: int = 0,
        told_end: bool = False,
        centered: bool = True,
        fir: bool = False,
        fir_kernel: Sequence[float] = (1, 3, 3, 1),
        progressive: str = "none",
        progressive_input: str = "none",
        embedding_type: str = "positional",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        options = check_options(type(self), locals())
        check_centered(centered)
        super().__init__(**{name: options[name] for name in options.keys() - {"label_dim", "augment_dim"}})
        c_embedding = nf if self.fourier is None else 2 * nf
        self.label_dim, self.augment_dim = label_dim, augment_dim
        make: dict[str, Any] = {"dtype": precise(dtype), "rngs": rngs}
        self.label = linear(label_dim, c_embedding, **make) if label_dim else None
        self.augment = linear(augment_dim, c_embedding, use_bias=False, **make) if augment_dim else None

    def features(self, c_noise: Float[Array, " b"], condition: Mapping[str, Array]) -> Float[Array, "b e"]:
        """The embedding of c_noise, class and augmentation added to it."""
        features = positional(c_noise, self.nf) if self.fourier is None else self.fourier.of_log(c_noise)
        if self.label is not None:
            label = condition.get("label", jnp.zeros((1, self.label_dim)))
            # A one-hot vector's norm becomes that of as many numbers of variance 1.
            features += self.label(label.astype(features.dtype) * math.sqrt(self.label_dim))
        if self.augment is not None and "augment" in condition:
            features += self.augment(condition["augment"].astype(features.dtype))
        return features
