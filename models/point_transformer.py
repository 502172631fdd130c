"""A transformer of point sets: points attend to each other, and none of them has a number.

It is DiT (Peebles and Xie 2023, arXiv:2212.09748) without positions. A set of points is told by its coordinates alone,
so that the network is equivariant: points in another order have the same outputs in that order (Lee et al. 2019,
arXiv:1810.00825). A model that begins in independent noise then gives every order of a set the same density.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Num

from models.adaptive_transformer import AdaptiveTransformer
from models.checks import check_axes, check_call, check_options
from models.layers import Keys, linear


class PointTransformer(AdaptiveTransformer):
    """Point sets [b, n, d] told the noise.

    `condition["present"]` [b, n] is 1 for each point that there is, and 0 for those that fill up a set of fewer: nobody
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
    takes_absent = True

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
        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.shape = tuple(shape)
        self.linear_in = linear(shape[-1], width, **make)
        self.build(
            width=width,
            depth=depth,
            num_heads=num_heads,
            mlp_width=mlp_width,
            time_features=time_features,
            label_dim=label_dim,
            dropout=dropout,
            make=make,
        )
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
        out = self.linear_out(self.through(h, told, keys, seen)).astype(x.dtype)
        return out if seen is None else jnp.where(seen[..., None], out, 0.0)
