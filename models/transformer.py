"""The transformer of CLIP's towers (Radford et al. 2021, arXiv:2103.00020, sec. 2.4): norms stand before each branch.

    h <- h + out(attention(norm(h))),    h <- h + narrow(activation(widen(norm(h))))

OpenAI's towers use x sigmoid(1.702 x) as activation, LAION's the exact Gaussian error linear unit, which the tanh that
JAX takes by default is not.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from limits import check_known
from models.layers import Keys, linear

EPSILON = 1e-5
"""What every norm of these networks adds to the variance."""


def quick_gelu(x: Float[Array, "*d"]) -> Float[Array, "*d"]:
    """x sigmoid(1.702 x), an approximation of the Gaussian error linear unit (Hendrycks and Gimpel 2016, sec. 2)."""
    return x * jax.nn.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "quick_gelu": quick_gelu,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
}


def layer_norm(width: int, *, dtype: DTypeLike | None, rngs: nnx.Rngs | Keys) -> nnx.LayerNorm:
    """The norm over the features of a token, whose variance is the two-pass one; statistics are in float32."""
    return nnx.LayerNorm(width, epsilon=EPSILON, use_fast_variance=False, dtype=dtype, rngs=rngs)  # type: ignore[arg-type]


class Layer(nnx.Module):
    """Attention of the tokens to each other, then a map of each token, both residual.

    The bias of the keys moves all logits of a query alike and has no effect; GLIDE's CLIP is without it.
    """

    def __init__(
        self,
        width: int,
        mlp_width: int,
        heads: int,
        *,
        activation: str,
        key_bias: bool,
        init_scale: float,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
    ):
        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        wide = (width + mlp_width) / (2 * width)  # turns a variance over the width into one over the mean of both
        self.norm0 = layer_norm(width, **make)
        self.query, self.value = linear(width, width, **make), linear(width, width, **make)
        self.key = linear(width, width, use_bias=key_bias, **make)
        self.out = linear(width, width, scale=init_scale, **make)
        self.norm1 = layer_norm(width, **make)
        self.widen = linear(width, mlp_width, scale=wide / 2, **make)
        self.narrow = linear(mlp_width, width, scale=wide * init_scale, **make)
        self.heads, self.activation = heads, activation

    def __call__(
        self, h: Float[Array, "b n d"], *, causal: bool, mask: Bool[Array, "b n"] | None = None
    ) -> Float[Array, "b n d"]:
        """The next tokens; `causal`: none looks at later ones; `mask`: none looks at those where it is False."""
        normed = self.norm0(h)
        query, key, value = (
            part(normed).reshape(*h.shape[:2], self.heads, -1) for part in (self.query, self.key, self.value)
        )
        seen = None if mask is None else mask[:, None, None, :]
        attended = jax.nn.dot_product_attention(query, key, value, mask=seen, is_causal=causal)
        h = h + self.out(attended.reshape(h.shape))
        return h + self.narrow(ACTIVATIONS[self.activation](self.widen(self.norm1(h))))


class Transformer(nnx.Module):
    """Layers one after another.

    Initial weights have the published deviations: width^-1/2, of what widens (2 width)^-1/2, and of what ends a branch
    (2 width layers)^-1/2.

    Raises ValueError for heads that do not divide the width, or an unknown activation.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        *,
        mlp_width: int | None,
        activation: str,
        key_bias: bool,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
    ):
        if width % heads:
            raise ValueError(f"a transformer {width} wide cannot attend in {heads} heads of equal width")
        check_known("activation", activation, ACTIVATIONS)
        make: dict[str, Any] = {"activation": activation, "key_bias": key_bias, "dtype": dtype, "rngs": rngs}
        wide = mlp_width or 4 * width
        self.layers = nnx.List([Layer(width, wide, heads, init_scale=0.5 / layers, **make) for _ in range(layers)])

    def __call__(
        self, h: Float[Array, "b n d"], *, causal: bool, mask: Bool[Array, "b n"] | None = None
    ) -> tuple[Float[Array, "b n d"], ...]:
        """What enters the first layer, and what leaves each."""
        hidden = [h]
        for layer in self.layers:
            hidden.append(layer(hidden[-1], causal=causal, mask=mask))
        return tuple(hidden)
