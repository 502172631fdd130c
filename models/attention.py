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
    """Residual self-attention of DDPM (Ho et al. 2020, appendix B): x + out(softmax(q k / sqrt(c / heads)) v).

    Each of the `heads` attends with its own c / heads channels, which follow one another. Logits and softmax are in at
    least float32. The bias of the keys moves all logits of a query alike and has no effect; it is kept because
    published weights hold it.
    """

    def __init__(
        self,
        channels: int,
        *,
        groups: Callable[[int], int],
        init_scale: float,
        skip_rescale: bool,
        heads: int = 1,
        epsilon: float = 1e-6,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
    ):
        if heads < 1 or channels % heads:
            raise ValueError(f"{channels} channels cannot attend in {heads} heads of equal width")
        self.norm = GroupNorm(channels, groups(channels), epsilon=epsilon)
        self.query, self.key, self.value = (
            linear(channels, channels, scale=0.1, dtype=dtype, rngs=rngs) for _ in range(3)
        )
        self.out = linear(channels, channels, scale=init_scale, dtype=dtype, rngs=rngs)
        self.skip_rescale, self.heads = skip_rescale, heads

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Attend."""
        b, h, w, c = x.shape
        tokens = self.norm(x).reshape(b, h * w, c)
        width = c // self.heads

        def by_head(features: Array) -> Array:
            return features.reshape(b, h * w, self.heads, width).swapaxes(1, 2).reshape(-1, h * w, width)

        query, key, value = (by_head(part(tokens)) for part in (self.query, self.key, self.value))
        query = query * width**-0.5
        at_least_float32 = jnp.promote_types(query.dtype, jnp.float32)
        logits = jnp.einsum("bqc,bkc->bqk", query, key, preferred_element_type=at_least_float32)
        weights = jax.nn.softmax(logits).astype(value.dtype)
        attended = jnp.einsum("bqk,bkc->bqc", weights, value).reshape(b, self.heads, h * w, width)
        attended = self.out(attended.swapaxes(1, 2).reshape(tokens.shape))
        return residual(x, attended.reshape(x.shape), self.skip_rescale)
