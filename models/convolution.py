"""3x3 convolution of stride 1."""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from models.materialize import materialized


def convolve(x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c d"], pad: int = 1) -> Float[Array, "b h2 w2 d"]:
    """Each pixel's 3x3 neighbourhood times the kernel, `pad` rings of zeros around the image; h2 = h + 2 pad - 2.

    XLA's convolution, but on CPU fewer pixels than channels are one matrix product of their patches: its derivatives
    need no copy of the kernel, which is larger than the images there.
    """
    if jax.default_backend() == "cpu" and math.prod(x.shape[:3]) <= kernel.shape[3]:
        return materialized(_patch_product(materialized(x), kernel, pad))
    numbers = ("NHWC", "HWIO", "NHWC")
    out = lax.conv_general_dilated(materialized(x), kernel, (1, 1), [(pad, pad)] * 2, dimension_numbers=numbers)
    return materialized(out)


def _patch_product(x: Array, kernel: Array, pad: int) -> Array:
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    b, h, w = x.shape[0], padded.shape[1] - 2, padded.shape[2] - 2
    patches = jnp.stack([padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)], axis=3)
    return (patches.reshape(b * h * w, -1) @ kernel.reshape(-1, kernel.shape[3])).reshape(b, h, w, -1)
