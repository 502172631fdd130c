"""The trunk of DiT (Peebles and Xie 2023, arXiv:2212.09748) for any tokens: adaptive blocks, and a last norm."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from models.adaptive_block import AdaptiveBlock, normalized
from models.checks import check_even
from models.embeddings import positional
from models.layers import dropout, linear, precise


class AdaptiveTransformer(nnx.Module):
    """A network whose tokens attend to each other, told the noise; subclasses make the tokens, and read them."""

    def build(
        self,
        *,
        width: int,
        depth: int,
        num_heads: int,
        mlp_width: int | None,
        time_features: int,
        label_dim: int,
        dropout: float,
        make: dict[str, Any],
        taps: int = 0,
    ) -> None:
        """Make the layers; `make` is the dtype of all but the time path, and the source of keys.

        `taps` is that of each `AdaptiveBlock`.

        Raises:
          ValueError: heads that do not divide the width, an odd number of `time_features`, or an even one of `taps`.
        """
        check_even("time_features", time_features)
        if width % num_heads:
            raise ValueError(f"width={width} cannot be shared by num_heads={num_heads} heads of equal width")
        of_time = make | {"dtype": precise(make["dtype"])}
        self.time_features, self.label_dim, self.rate = time_features, label_dim, dropout
        self.time0, self.time1 = (linear(time_features, time_features, **of_time) for _ in range(2))
        self.classes = linear(label_dim, time_features, use_bias=False, **of_time) if label_dim else None
        wide = mlp_width or 4 * width
        self.blocks = nnx.List([AdaptiveBlock(width, wide, time_features, num_heads, make, taps) for _ in range(depth)])
        self.told_out = linear(time_features, 2 * width, scale=0.0, **of_time)

    def embed(self, c_noise: Float[Array, " b"], condition: Mapping[str, Array]) -> Float[Array, "b e"]:
        """What the blocks are told: the activated embedding of the noise, a class added to it."""
        told = self.time1(jax.nn.silu(self.time0(positional(c_noise, self.time_features))))
        if self.classes is not None and "label" in condition:
            told += self.classes(condition["label"].astype(told.dtype) * math.sqrt(self.label_dim))
        return jax.nn.silu(told)

    def through(
        self,
        h: Float[Array, "b n d"],
        told: Float[Array, "b e"],
        keys: Key[Array, " b"] | None,
        seen: Bool[Array, "b n"] | None = None,
        angles: Float[np.ndarray, "n half"] | None = None,
    ) -> Float[Array, "b n d"]:
        """The tokens behind all blocks and the last norm; the arguments are those of `AdaptiveBlock`."""
        for i, block in enumerate(self.blocks):
            h = block(h, told, partial(self._dropped, keys=keys, first=2 * i), seen, angles)
        return normalized(h, *jnp.split(self.told_out(told), 2, axis=-1))

    def _dropped(self, part: Array, index: int, *, keys: Array | None, first: int) -> Array:
        """Part `index` of a block whose first part has the number `first`, some features dropped."""
        return dropout(part, self.rate, keys, first + index)
