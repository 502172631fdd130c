"""The block of DiT (Peebles and Xie 2023, arXiv:2212.09748, sec. 3.2): what it is told opens and scales its branches.

h <- h + g0 * out(attention(s0 * norm(h) + b0)),    h <- h + g1 * narrow(gelu(widen(s1 * norm(h) + b1)))

Where places have neighbours these can be seen before either branch (`models.neighbours`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float

from models.attention import attend, of_heads
from models.layers import linear, precise
from models.neighbours import Neighbours
from models.rotary import rotated

EPSILON = 1e-6
"""What every norm adds to the variance, as DiT."""


def normalized(h: Float[Array, "b n d"], scale: Float[Array, "b d"], shift: Float[Array, "b d"]) -> Array:
    """(1 + scale) norm(h) + shift; the norm over the features of a token is without weights of its own.

    Statistics are in at least float32.
    """
    z = h.astype(jnp.promote_types(h.dtype, jnp.float32))
    z = z - z.mean(-1, keepdims=True)
    z = z * lax.rsqrt(jnp.square(z).mean(-1, keepdims=True) + EPSILON)
    return (z * (1 + scale[:, None]) + shift[:, None]).astype(h.dtype)


class AdaptiveBlock(nnx.Module):
    """Attention of all tokens to each other, then a map of each; both branches are closed at the beginning.

    Args: width: features of a token. mlp_width: of the wide layer. c_told: features of what it is told. make: the dtype
    and the source of keys of its layers. taps: of the convolution before each branch; 0: none.
    """

    def __init__(self, width: int, mlp_width: int, c_told: int, heads: int, make: dict[str, Any], taps: int = 0):
        self.told = linear(c_told, 6 * width, scale=0.0, **make | {"dtype": precise(make["dtype"])})
        self.qkv, self.out = linear(width, 3 * width, **make), linear(width, width, **make)
        self.widen, self.narrow = linear(width, mlp_width, **make), linear(mlp_width, width, **make)
        self.near0, self.near1 = (Neighbours(taps, width) if taps else None for _ in range(2))
        self.heads = heads

    def __call__(
        self,
        h: Float[Array, "b n d"],
        told: Float[Array, "b e"],
        drop: Callable[[Array, int], Array],
        seen: Bool[Array, "b n"] | None = None,
        angles: Float[np.ndarray, "n half"] | None = None,
    ) -> Float[Array, "b n d"]:
        """The next features; `drop` (features, 0 or 1) drops some of a branch's; none looks at those not `seen`.

        With `angles` the tokens have places (`models.rotary`).
        """
        scale0, shift0, gate0, scale1, shift1, gate1 = jnp.split(self.told(told), 6, axis=-1)
        query, key, value = of_heads(self.qkv(_with(self.near0, normalized(h, scale0, shift0))), 3, self.heads, "new")
        if angles is not None:
            query, key = rotated(query, angles), rotated(key, angles)
        h = h + gate0[:, None].astype(h.dtype) * drop(self.out(attend(query, key, value, seen)), 0)
        mixed = _with(self.near1, normalized(h, scale1, shift1))
        mapped = self.narrow(jax.nn.gelu(self.widen(mixed), approximate=True))
        return h + gate1[:, None].astype(h.dtype) * drop(mapped, 1)


def _with(near: Neighbours | None, z: Array) -> Array:
    return z if near is None else near(z)
