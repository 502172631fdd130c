"""A transformer of point sets: points attend to each other, and none of them has a number.

It is DiT (Peebles and Xie 2023, arXiv:2212.09748) without positions. A set of points is told by its coordinates alone,
so that the network is equivariant: points in another order have the same outputs in that order (Lee et al. 2019,
arXiv:1810.00825). A model that begins in independent noise then gives every order of a set the same density.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Num

from models.adaptive_block import AdaptiveBlock, normalized
from models.checks import check_axes, check_call, check_even, check_options
from models.embeddings import positional
from models.layers import Keys, dropout, linear, precise


class PointTransformer(nnx.Module):
    """Point sets [b, n, d] told the noise.

    condition["present"] [b, n] is 1 for each point that there is, and 0 for those that fill up a set of fewer: nobody
    attends to these, and their outputs are 0, whatever numbers stand there. Where it is missing all are there.

    Args:
      shape: (n, d) of one example: points, and coordinates of each.
      width, depth, num_heads: features of a point, blocks, heads of attention.
      mlp_width: of the wide layer of each block; None: 4 times the width.
      time_features: of the embedding of the noise, and of what the blocks are told.
      label_dim: classes; condition["label"] is one-hot [b, label_dim], zeros for none. 0: takes none.
      dropout: rate at the end of each branch, only where keys are given; a point's mask goes with its place.
      dtype: of the computation ("bfloat16"); None: that of inputs and parameters. The output has the dtype of x.

    Raises ValueError for options no network can be built from.
    """

    modalities = ("point_set",)

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        width: int = 128,
        depth: int = 6,
        num_heads: int = 4,
        mlp_width: int | None = None,
        time_features: int = 128,
        label_dim: int = 0,
        dropout: float = 0.0,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        check_options(type(self), locals())
        check_axes(shape, "points", "coordinates")
        check_even("time_features", time_features)
        if width % num_heads:
            raise ValueError(f"width={width} cannot be shared by num_heads={num_heads} heads of equal width")
        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        of_time: dict[str, Any] = make | {"dtype": precise(dtype)}
        self.shape, self.rate = tuple(shape), dropout
        self.time_features, self.label_dim = time_features, label_dim
        self.linear_in = linear(shape[-1], width, **make)
        self.time0, self.time1 = (linear(time_features, time_features, **of_time) for _ in range(2))
        self.classes = linear(label_dim, time_features, use_bias=False, **of_time) if label_dim else None
        wide = mlp_width or 4 * width
        self.blocks = nnx.List([AdaptiveBlock(width, wide, time_features, num_heads, make) for _ in range(depth)])
        self.told_out = linear(time_features, 2 * width, scale=0.0, **of_time)
        self.linear_out = linear(width, shape[-1], scale=0.0, **make)

    def __call__(
        self,
        x: Float[Array, "b n d"],
        c_noise: Num[Array, " b"],
        condition: Mapping[str, Array] | None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b n d"]:
        """The network's output for sets x at noise c_noise; dropout where `keys` gives each example its key."""
        sizes = {"present": self.shape[:1]} | ({"label": (self.label_dim,)} if self.label_dim else {})
        check_call(x, c_noise, condition, keys, self.shape, sizes)
        condition = condition or {}
        told = self.embed(c_noise.astype(x.dtype), condition)
        seen = condition["present"] > 0 if "present" in condition else None
        h = self.linear_in(x if seen is None else jnp.where(seen[..., None], x, 0.0))
        for i, block in enumerate(self.blocks):
            h = block(h, told, self._drop(keys, i), seen)
        out = self.linear_out(normalized(h, *jnp.split(self.told_out(told), 2, axis=-1))).astype(x.dtype)
        return out if seen is None else jnp.where(seen[..., None], out, 0.0)

    def _drop(self, keys: Key[Array, " b"] | None, block: int) -> Callable[[Array, int], Array]:
        """What drops features of either branch of a block."""
        return lambda part, branch: dropout(part, self.rate, keys, 2 * block + branch)

    def embed(self, c_noise: Float[Array, " b"], condition: Mapping[str, Array]) -> Float[Array, "b e"]:
        """What the blocks are told: the activated embedding of the noise, a class added to it."""
        told = self.time1(jax.nn.silu(self.time0(positional(c_noise, self.time_features))))
        if self.classes is not None and "label" in condition:
            told += self.classes(condition["label"].astype(told.dtype) * math.sqrt(self.label_dim))
        return jax.nn.silu(told)
