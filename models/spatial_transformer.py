"""The transformer of latent diffusion's U-Net: places of a feature map attend to each other and to a text."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from models.attention import attend
from models.blocks import recomputed, residual
from models.layers import GroupNorm, Keys, linear

START = 1 / 3
"""Initial scale of the maps: the variance that PyTorch draws, as in the published training."""


def gated_gelu(x: Float[Array, "*b c"]) -> Float[Array, "*b c2"]:
    """The first half times the exact GELU of the second half (GEGLU of Shazeer 2020, arXiv:2002.05202)."""
    value, gate = jnp.split(x, 2, axis=-1)
    return value * gate * (0.5 + 0.5 * lax.erf(gate * 0.5**0.5))


class TokenAttention(nnx.Module):
    """Attention of tokens to told ones, each of the heads with its own channels, which follow one another."""

    def __init__(self, channels: int, c_told: int, heads: int, *, dtype: DTypeLike | None, rngs: nnx.Rngs | Keys):
        make: dict[str, Any] = {"scale": START, "dtype": dtype, "rngs": rngs}
        self.query = linear(channels, channels, use_bias=False, **make)
        self.key = linear(c_told, channels, use_bias=False, **make)
        self.value = linear(c_told, channels, use_bias=False, **make)
        self.out = linear(channels, channels, **make)
        self.heads = heads

    def __call__(self, tokens: Float[Array, "b n c"], told: Float[Array, "b m c2"]) -> Float[Array, "b n c"]:
        """Attend. Told ones of zeros have values of zero, so that however many of them say the same: nothing."""
        features = self.query(tokens), self.key(told), self.value(told)
        query, key, value = (part.reshape(*part.shape[:2], self.heads, -1) for part in features)
        return self.out(attend(query, key, value))


class TransformerBlock(nnx.Module):
    """Attention among the tokens, attention to the text, and a layer of gated GELUs, each behind a norm and added."""

    def __init__(self, channels: int, c_text: int, heads: int, *, dtype: DTypeLike | None, rngs: nnx.Rngs | Keys):
        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        norm: dict[str, Any] = {"epsilon": 1e-5, "use_fast_variance": False, **make}
        self.norm0 = nnx.LayerNorm(channels, **norm)
        self.among = TokenAttention(channels, channels, heads, **make)
        self.norm1 = nnx.LayerNorm(channels, **norm)
        self.to_text = TokenAttention(channels, c_text, heads, **make)
        self.norm2 = nnx.LayerNorm(channels, **norm)
        self.widen = linear(channels, 8 * channels, scale=START, **make)
        self.narrow = linear(4 * channels, channels, scale=START, **make)

    def __call__(self, tokens: Float[Array, "b n c"], text: Float[Array, "b m c2"]) -> Float[Array, "b n c"]:
        """The tokens, told of each other and of the text."""
        normed = self.norm0(tokens)
        tokens = residual(tokens, self.among(normed, normed), False)
        tokens = residual(tokens, self.to_text(self.norm1(tokens), text), False)
        return residual(tokens, self.narrow(gated_gelu(self.widen(self.norm2(tokens)))), False)


class SpatialTransformer(nnx.Module):
    """Residual transformer over the places of a feature map (Rombach et al. 2022, arXiv:2112.10752, appendix E.2.1).

    The maps at both ends are 1x1 convolutions in some of the published files and matrices in others, which is the same
    function. The group norm has an epsilon of 1e-6, those of the blocks 1e-5.

    Raises ValueError where the heads do not divide the channels.
    """

    remat = False

    def __init__(
        self,
        channels: int,
        *,
        c_text: int,
        depth: int,
        heads: int,
        groups: Callable[[int], int],
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
    ):
        if channels % heads:
            raise ValueError(f"{channels} channels cannot attend in {heads} heads of equal width; change num_heads")
        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.norm = GroupNorm(channels, groups(channels), epsilon=1e-6)
        self.proj_in = linear(channels, channels, scale=START, **make)
        self.blocks = nnx.List([TransformerBlock(channels, c_text, heads, **make) for _ in range(depth)])
        self.proj_out = linear(channels, channels, scale=0.0, **make)

    @recomputed
    def __call__(self, x: Float[Array, "b h w c"], text: Float[Array, "b n c2"]) -> Float[Array, "b h w c"]:
        """The feature map, told of the text."""
        b, h, w, c = x.shape
        tokens = self.proj_in(self.norm(x).reshape(b, h * w, c))
        for block in self.blocks:
            tokens = block(tokens, text)
        return residual(x, self.proj_out(tokens).reshape(x.shape), False)
