"""Convolutions of stride 1: 3x3 of images, 3 of signals."""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from models.materialize import materialized, summed_in

MANY = 64
"""Channels from which on nine products in bfloat16 are faster than a convolution in float32."""


def convolve(x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c d"], pad: int = 1) -> Float[Array, "b h2 w2 d"]:
    """Each pixel's 3x3 neighbourhood times the kernel, `pad` rings of zeros around the image; h2 = h + 2 pad - 2.

    XLA's convolution, but on CPU fewer pixels than channels are one matrix product of their patches: its derivatives
    need no copy of the kernel, which is larger than the images there. And convolutions of many channels in bfloat16 are
    nine products, since XLA has none of that type (`materialize.summed_in`).
    """
    if jax.default_backend() == "cpu" and math.prod(x.shape[:3]) <= kernel.shape[3]:
        return materialized(_patch_product(materialized(x), kernel, pad))
    if summed_in(x) and kernel.shape[2] >= MANY:
        return materialized(_sum_of_products(materialized(x), kernel, pad))
    numbers = ("NHWC", "HWIO", "NHWC")
    out = lax.conv_general_dilated(materialized(x), kernel, (1, 1), [(pad, pad)] * 2, dimension_numbers=numbers)
    return materialized(out)


def convolve_line(x: Float[Array, "b l c"], kernel: Float[Array, "3 c d"], pad: int = 1) -> Float[Array, "b l2 d"]:
    """Each place of a signal and its two neighbours times the kernel; l2 = l + 2 pad - 2. It is one matrix product."""
    padded = jnp.pad(x, ((0, 0), (pad, pad), (0, 0)))
    length = padded.shape[1] - 2
    patches = jnp.concatenate([padded[:, i : i + length] for i in range(3)], axis=-1)
    taps = kernel.reshape(-1, kernel.shape[2])
    out = lax.dot_general(materialized(patches), taps, (((2,), (0,)), ((), ())), preferred_element_type=summed_in(x))
    return materialized(out.astype(x.dtype))


def _patch_product(x: Array, kernel: Array, pad: int) -> Array:
    patches = jnp.stack(_neighbours(x, pad), axis=3)
    b, h, w = patches.shape[:3]
    rows = patches.reshape(b * h * w, -1)
    out = lax.dot(rows, kernel.reshape(-1, kernel.shape[3]), preferred_element_type=summed_in(x))
    return out.astype(x.dtype).reshape(b, h, w, -1)


def _sum_of_products(x: Array, kernel: Array, pad: int) -> Array:
    b, h, w, c = _neighbours(x, pad)[0].shape
    factors = zip(_neighbours(x, pad), kernel.reshape(9, c, -1), strict=True)
    parts = [lax.dot(materialized(a.reshape(-1, c)), k, preferred_element_type=summed_in(x)) for a, k in factors]
    return sum(parts[1:], parts[0]).astype(x.dtype).reshape(b, h, w, -1)


def _neighbours(x: Array, pad: int) -> list[Array]:
    """Each pixel's neighbour at each of the nine places of a kernel, row by row, [b, h2, w2, c] each."""
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    h, w = padded.shape[1] - 2, padded.shape[2] - 2
    return [padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]
