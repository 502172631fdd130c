"""A bidirectional transformer of sequences of categories, as the diffusion models of text use it.

It is DiT (Peebles and Xie 2023, arXiv:2212.09748, sec. 3.2) on a sequence, as SEDD (Lou et al. 2024, arXiv:2310.16834,
App. C.2) and MDLM (Sahoo et al. 2024, arXiv:2406.07524, App. C.2) build it: the noise shifts and scales the norms and
opens the branches (`models.adaptive_block`), and positions are rotary.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key, Num

from models.adaptive_transformer import AdaptiveTransformer
from models.checks import check_call, check_options
from models.layers import Keys, linear
from models.rotary import angles_of


class SequenceTransformer(AdaptiveTransformer):
    """Categories at every place, told the noise, to logits of what stood there: [b, *shape] -> [b, *shape, K].

    Places attend to each other both ways. The logits begin at nothing, every category as likely. Nothing here knows of
    a chain: that a place without noise keeps its category, and that the mask is never data, is the process's to say.

    Args:
      shape: of one example; its places are numbered in their order, the last axis first.
      num_categories: K, of those that it predicts.
      masked: whether it reads one more, the mask, whose number is K.
      width, depth, num_heads: features of a place, blocks, heads of attention, whose width must be even.
      mlp_width: of the wide layer of each block; None: 4 times the width.
      taps: places that a place sees by a convolution before each branch, an odd number (`models.neighbours`); 0: none.
      time_features: of the embedding of the noise, and of what the blocks are told.
      told_noise: whether it is told the noise; False: c_noise is not looked at (MDLM's time_conditioning=False), which
        masked text says by itself.
      label_dim: classes; condition["label"] is one-hot [b, label_dim], zeros for none. 0: takes none.
      dropout: rate at the end of each branch, only where keys are given.
      dtype: of the computation ("bfloat16"); None: that of the parameters. The logits are at least float32.

    Raises ValueError for options no network can be built from.
    """

    modalities = None

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        num_categories: int,
        masked: bool = False,
        width: int = 256,
        depth: int = 6,
        num_heads: int = 4,
        mlp_width: int | None = None,
        taps: int = 0,
        time_features: int = 128,
        told_noise: bool = True,
        label_dim: int = 0,
        dropout: float = 0.0,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        check_options(type(self), locals())
        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.shape, self.categories, self.heads = tuple(shape), num_categories, num_heads
        self.told_noise, self.dtype = told_noise, dtype
        self.embedding = nnx.Param(jax.random.normal(rngs.params(), (num_categories + masked, width)))
        self.build(
            width=width,
            depth=depth,
            num_heads=num_heads,
            mlp_width=mlp_width,
            time_features=time_features,
            label_dim=label_dim,
            dropout=dropout,
            make=make,
            taps=taps,
        )
        angles_of(1, width // num_heads)  # a width that is odd is refused here
        self.linear_out = linear(width, num_categories, scale=0.0, **make)

    def __call__(
        self,
        x: Int[Array, "b *d"],
        c_noise: Num[Array, " b"],
        condition: Mapping[str, Array] | None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b *d k"]:
        """The logits of each place's category; dropout where `keys` gives each example its key."""
        check_call(x, c_noise, condition, keys, self.shape, {"label": (self.label_dim,)} if self.label_dim else {})
        table = self.embedding[...]
        label = (c_noise if self.told_noise else jnp.zeros_like(c_noise)).astype(table.dtype)
        told = self.embed(label, condition or {})
        h = table.astype(self.dtype or table.dtype)[x.reshape(len(x), -1)]
        angles = angles_of(h.shape[1], h.shape[2] // self.heads)
        logits = self.linear_out(self.through(h, told, keys, angles=angles))
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32)).reshape(*x.shape, self.categories)
