"""Attention: softmax of products, and self-attention over the pixels of a feature map."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from models.blocks import recomputed, residual
from models.layers import GroupNorm, Keys, linear
from models.materialize import summed_in

AT_ONCE = 2**21
"""Logits that are computed at once on CPU, where they stay in the cache, if a head has half as many or more.

All of an image of 64 x 64 would be 0.5 GB: with 8 heads of 40 channels the loop over pieces of heads takes 0.7 s of
processor time, the whole product 1.8 s, and `jax.nn.dot_product_attention` 3.3 s. Smaller heads are one product.
"""


def attend(
    query: Float[Array, "b n h w"],
    key: Float[Array, "b m h w"],
    value: Float[Array, "b m h w"],
    seen: Bool[Array, "b m"] | None = None,
) -> Float[Array, "b n c"]:
    """softmax(q k / sqrt(w)) v of each head, their w features beside each other; logits are in at least float32.

    `seen`: which keys of each example there are; the others, whatever numbers they hold, have a weight of 0.
    """
    (b, n, heads, width), m = query.shape, key.shape[1]
    by_head = [part.swapaxes(1, 2).reshape(b * heads, -1, width) for part in (query * width**-0.5, key, value)]
    by_head += [] if seen is None else [jnp.repeat(seen, heads, axis=0)]
    if jax.default_backend() == "cpu" and 2 * n * m >= AT_ONCE:
        pieces = next(k for k in range(1, n + 1) if (n % k == 0 and n // k * m <= AT_ONCE) or k == n)

        def of_head(parts: tuple[Array, ...]) -> Array:
            query, *others = parts
            return lax.map(lambda piece: _of_head(piece, *others), query.reshape(pieces, -1, width))

        attended = lax.map(of_head, tuple(by_head))
    else:
        attended = jax.vmap(_of_head)(*by_head)
    return attended.reshape(b, heads, n, width).swapaxes(1, 2).reshape(b, n, heads * width)


def _of_head(
    query: Float[Array, "n w"],
    key: Float[Array, "m w"],
    value: Float[Array, "m w"],
    seen: Bool[Array, " m"] | None = None,
) -> Float[Array, "n w"]:
    at_least_float32 = jnp.promote_types(query.dtype, jnp.float32)
    logits = jnp.einsum("qc,kc->qk", query, key, preferred_element_type=at_least_float32)
    if seen is not None:
        logits = jnp.where(seen, logits, jnp.finfo(logits.dtype).min)
    weights = jax.nn.softmax(logits).astype(value.dtype)
    return jnp.einsum("qk,kc->qc", weights, value, preferred_element_type=summed_in(value)).astype(value.dtype)


def of_heads(features: Float[Array, "b n c"], count: int, heads: int, order: str) -> list[Float[Array, "b n h w"]]:
    """The `count` parts, such as query, key and value, that one map gives in its features.

    `order` "legacy": those of the first head, then of the second; "new": the queries of all heads, then the keys.
    """
    if order == "new":
        return [part.reshape(*part.shape[:-1], heads, -1) for part in jnp.split(features, count, axis=-1)]
    beside = features.reshape(*features.shape[:-1], heads, count, -1)
    return [beside[..., i, :] for i in range(count)]


class Attention(nnx.Module):
    """Residual self-attention of DDPM (Ho et al. 2020, appendix B): x + out(softmax(q k / sqrt(c / heads)) v).

    Each of the `heads` attends with its own c / heads channels, which follow one another. Logits and softmax are in at
    least float32. The bias of the keys moves all logits of a query alike and has no effect; it is kept because
    published weights hold it.

    `fused`: one map gives query, key and value: "legacy", those of the first head, then of the second; "new", the
    queries of all heads, then the keys. None: three maps, the same function with its weights in three.

    `c_text`: features of the words of a text, whose keys and values stand before those of the pixels (GLIDE, Nichol et
    al. 2022, arXiv:2112.10741): pixels attend to words and pixels at once. One more map gives both. 0: there is none.
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
        c_text: int = 0,
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
        self.text = linear(c_text, 2 * channels, dtype=dtype, rngs=rngs) if c_text else None
        self.out = linear(channels, channels, scale=init_scale, dtype=dtype, rngs=rngs)
        self.skip_rescale, self.heads, self.fused = skip_rescale, heads, fused

    @recomputed
    def __call__(self, x: Float[Array, "b *d c"], text: Float[Array, "b n d"] | None = None) -> Float[Array, "b *d c"]:
        """Attend, to the words of the text as well where there is one."""
        tokens = self.norm(x).reshape(len(x), -1, x.shape[-1])
        query, key, value = self._query_key_value(tokens)
        if self.text is not None and text is not None:
            words = of_heads(self.text(text), 2, self.heads, self.fused or "new")
            key, value = (jnp.concatenate(pair, axis=1) for pair in zip(words, (key, value), strict=True))
        attended = self.out(attend(query, key, value))
        return residual(x, attended.reshape(x.shape), self.skip_rescale)

    def _query_key_value(self, tokens: Array) -> list[Array]:
        if self.fused is not None:
            return of_heads(self.qkv(tokens), 3, self.heads, self.fused)
        return [of_heads(part(tokens), 1, self.heads, "new")[0] for part in (self.query, self.key, self.value)]
