"""Self-attention over the pixels of a feature map."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from models.blocks import residual
from models.layers import GroupNorm, Keys, linear


class Attention(nnx.Module):
    """Single-head residual self-attention of DDPM (Ho et al. 2020, appendix B): x + out(softmax(q k / sqrt(c)) v).

    Logits and softmax are in at least float32. The bias of the keys moves all logits of a query alike and has no
    effect; it is kept because published weights hold it.
    """

    def __init__(
        self,
        channels: int,
        *,
        groups: Callable[[int], int],
        init_scale: float,
        skip_rescale: bool,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
    ):
        self.norm = GroupNorm(channels, groups(channels))
        self.query, self.key, self.value = (
            linear(channels, channels, scale=0.1, dtype=dtype, rngs=rngs) for _ in range(3)
        )
        self.out = linear(channels, channels, scale=init_scale, dtype=dtype, rngs=rngs)
        self.skip_rescale = skip_rescale

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Attend."""
        b, h, w, c = x.shape
        tokens = self.norm(x).reshape(b, h * w, c)
        query, key, value = self.query(tokens) * c**-0.5, self.key(tokens), self.value(tokens)
        at_least_float32 = jnp.promote_types(query.dtype, jnp.float32)
        logits = jnp.einsum("bqc,bkc->bqk", query, key, preferred_element_type=at_least_float32)
        weights = jax.nn.softmax(logits).astype(value.dtype)
        attended = self.out(jnp.einsum("bqk,bkc->bqc", weights, value))
        return residual(x, attended.reshape(x.shape), self.skip_rescale)
