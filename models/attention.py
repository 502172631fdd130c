"""Self-attention over the pixels of a feature map."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from models.blocks import recomputed, residual
from models.layers import GroupNorm, Keys, linear


class Attention(nnx.Module):
    """Residual self-attention of DDPM (Ho et al. 2020, appendix B): x + out(softmax(q k / sqrt(c / heads)) v).

    Each of the `heads` attends with its own c / heads channels, which follow one another. Logits and softmax are in at
    least float32. The bias of the keys moves all logits of a query alike and has no effect; it is kept because
    published weights hold it.

    `fused`: one map gives query, key and value: "legacy", those of the first head, then of the second; "new", the
    queries of all heads, then the keys. None: three maps, the same function with its weights in three.
    """

    remat = False

    def __init__(
        self,
        channels: int,
        *,
        groups: Callable[[int], int],
        init_scale: float,
        skip_rescale: bool,
        heads: int = 1,
        fused: str | None = None,
        epsilon: float = 1e-6,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
    ):
        if heads < 1 or channels % heads:
            raise ValueError(f"{channels} channels cannot attend in {heads} heads of equal width")
        self.norm = GroupNorm(channels, groups(channels), epsilon=epsilon)
        if fused is None:
            self.query, self.key, self.value = (
                linear(channels, channels, scale=0.1, dtype=dtype, rngs=rngs) for _ in range(3)
            )
        else:  # the scale that gives the same variance: fan_avg is twice the channels
            self.qkv = linear(channels, 3 * channels, scale=0.2, dtype=dtype, rngs=rngs)
        self.out = linear(channels, channels, scale=init_scale, dtype=dtype, rngs=rngs)
        self.skip_rescale, self.heads, self.fused = skip_rescale, heads, fused

    @recomputed
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Attend."""
        b, h, w, c = x.shape
        tokens = self.norm(x).reshape(b, h * w, c)
        width = c // self.heads

        def by_head(features: Array) -> Array:
            return features.reshape(b, h * w, self.heads, width).swapaxes(1, 2).reshape(-1, h * w, width)

        query, key, value = map(by_head, self._query_key_value(tokens))
        query = query * width**-0.5
        at_least_float32 = jnp.promote_types(query.dtype, jnp.float32)
        logits = jnp.einsum("bqc,bkc->bqk", query, key, preferred_element_type=at_least_float32)
        weights = jax.nn.softmax(logits).astype(value.dtype)
        attended = jnp.einsum("bqk,bkc->bqc", weights, value).reshape(b, self.heads, h * w, width)
        attended = self.out(attended.swapaxes(1, 2).reshape(tokens.shape))
        return residual(x, attended.reshape(x.shape), self.skip_rescale)

    def _query_key_value(self, tokens: Array) -> list[Array]:
        if self.fused is None:
            return [part(tokens) for part in (self.query, self.key, self.value)]
        features = self.qkv(tokens)
        if self.fused == "new":
            return jnp.split(features, 3, axis=-1)
        beside = features.reshape(*tokens.shape[:-1], self.heads, 3, -1)
        return [beside[..., i, :] for i in range(3)]
