"""A residual perceptron for vectors: points in the plane, mixtures, tables."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Num

from limits import check_known
from models.checks import check_call, check_even, check_options
from models.embeddings import Fourier, positional
from models.layers import NONLINEARITIES, Keys, dropout, linear, precise


class MLP(nnx.Module):
    """h += W1 act(W0 act(h) + T e(c_noise)), `depth` times between two linear maps; smooth in x and in c_noise.

    Args:
      shape: of one example; flattened on entry, restored on return.
      width, depth: hidden features, residual blocks. time_features: of the embedding e.
      embedding_type: "positional": c_noise is a label, 0 to 999; "fourier": c_noise is sigma. The frequencies are low
        (at most ten radians over all labels; fourier_scale 0.2), so that adaptive solvers take long steps.
      label_dim: classes; condition["label"] is one-hot [b, label_dim], zeros for none. 0: takes none.
      told_end: whether it is told where a jump ends: `condition["end"]` [b, 1] is 999 times its length, 0 where it is
        missing.
      dropout: rate within blocks, only where keys are given.
      dtype: of the computation ("bfloat16"); None: that of inputs and parameters. The output has the dtype of x.

    Raises ValueError for options no network can be built from.
    """

    modalities = None

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        width: int = 128,
        depth: int = 3,
        time_features: int = 32,
        embedding_type: str = "positional",
        fourier_scale: float = 0.2,
        nonlinearity: str = "swish",
        label_dim: int = 0,
        told_end: bool = False,
        dropout: float = 0.0,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        check_options(type(self), locals())
        check_known("embedding_type", embedding_type, ("fourier", "positional"))
        check_known("nonlinearity", nonlinearity, NONLINEARITIES)
        check_even("time_features", time_features)
        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        of_time: dict[str, Any] = make | {"dtype": precise(dtype)}
        size = math.prod(shape)
        self.shape, self.dropout = tuple(shape), dropout
        self.time_features = time_features
        self.act = NONLINEARITIES[nonlinearity]
        self.fourier = Fourier(time_features // 2, fourier_scale, rngs=rngs) if embedding_type == "fourier" else None
        self.label_dim = label_dim
        self.linear_in = linear(size, width, **make)
        self.classes = linear(label_dim, width, use_bias=False, **of_time) if label_dim else None
        self.end = linear(time_features, time_features, scale=0.0, use_bias=False, **of_time) if told_end else None
        self.time = nnx.List([linear(time_features, width, **of_time) for _ in range(depth)])
        self.linear0 = nnx.List([linear(width, width, **make) for _ in range(depth)])
        self.linear1 = nnx.List([linear(width, width, scale=0.0, **make) for _ in range(depth)])
        self.linear_out = linear(width, size, scale=0.0, **make)

    def __call__(
        self,
        x: Float[Array, "b *d"],
        c_noise: Num[Array, " b"],
        condition: Mapping[str, Array] | None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b *d"]:
        """The network's output for x at noise c_noise; dropout where `keys` gives each example its key."""
        sizes = {"label": self.label_dim, "end": int(self.end is not None)}
        check_call(x, c_noise, condition, keys, self.shape, {name: (size,) for name, size in sizes.items() if size})
        c_noise, condition = c_noise.astype(x.dtype), condition or {}
        slow = functools.partial(positional, features=self.time_features, fastest=0.01)
        time = (self.fourier or slow)(c_noise)
        if self.end is not None:
            length = condition["end"][:, 0].astype(time.dtype) if "end" in condition else jnp.zeros_like(c_noise)
            time += self.end(slow(length))
        h = self.linear_in(x.reshape(x.shape[0], -1))
        if self.classes is not None and "label" in condition:
            h += self.classes(condition["label"].astype(time.dtype) * math.sqrt(self.label_dim)).astype(h.dtype)
        for i, (embed, first, second) in enumerate(zip(self.time, self.linear0, self.linear1, strict=True)):
            hidden = self.act(first(self.act(h)) + embed(time).astype(h.dtype))
            h += second(dropout(hidden, self.dropout, keys, i))
        return self.linear_out(self.act(h)).reshape(x.shape).astype(x.dtype)
