"""Bricks every network is built from: nonlinearities, initialisation, convolutions, group norm, dropout."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from models.convolution import convolve, convolve_line
from models.materialize import materialized, summed_in

NONLINEARITIES: dict[str, Callable[[Array], Array]] = {
    "swish": jax.nn.silu,
    "elu": jax.nn.elu,
    "relu": jax.nn.relu,
    "lrelu": lambda x: jax.nn.leaky_relu(x, 0.2),
}


class Keys:
    """Stands in for nnx.Rngs while a network is built: key n is fold_in(key, n).

    nnx.Rngs keeps its count in a traced variable, which makes abstract construction quadratic in the number of layers.
    """

    def __init__(self, key: Key[Array, ""]):
        self.key, self.drawn = key, 0

    def params(self) -> Key[Array, ""]:
        """The next key."""
        self.drawn += 1
        return jax.random.fold_in(self.key, self.drawn)


def initializer(scale: float = 1.0) -> nnx.Initializer:
    """Uniform with variance scale / fan_avg (DDPM, Ho et al. 2020); scale 0 means 1e-10, so gradients still flow."""

    def init(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        fan_average = math.prod(shape[:-2]) * (shape[-2] + shape[-1]) / 2
        limit = math.sqrt(3 * (scale or 1e-10) / fan_average)
        # Compiling a generator takes longer than running it: a few lengths serve all shapes, the surplus is dropped.
        size = math.prod(shape)
        length = max(2**16, 2 ** (size - 1).bit_length())
        return _trim(jax.random.uniform(key, (length,), dtype, -1), limit, shape)

    return init


@functools.partial(jax.jit, static_argnames="shape")
def _trim(draws: Array, limit: float | Array, shape: tuple[int, ...]) -> Array:
    return (draws[: math.prod(shape)] * limit).reshape(shape)


def quarter(channels: int) -> int:
    """The groups of a norm over so many channels: a quarter of them, 32 at most."""
    return min(channels // 4, 32)


def precise(dtype: DTypeLike | None) -> DTypeLike | None:
    """What a network of that dtype computes in where rounding must not count, its time path: at least float32."""
    return None if dtype is None else jnp.promote_types(dtype, jnp.float32)


def linear(
    c_in: int,
    c_out: int,
    *,
    scale: float = 1.0,
    use_bias: bool = True,
    dtype: DTypeLike | None,
    rngs: nnx.Rngs | Keys,
) -> nnx.Linear:
    """Affine map of the last axis: dense layers, and 1x1 convolutions as the matrix products they are."""
    options: dict[str, Any] = {"use_bias": use_bias, "dtype": dtype, "rngs": rngs}
    return nnx.Linear(c_in, c_out, kernel_init=initializer(scale), dot_general=_dot, **options)


def _dot(x: Array, kernel: Array, *arguments: Any, **options: Any) -> Array:
    options.setdefault("preferred_element_type", summed_in(x))
    return materialized(lax.dot_general(materialized(x), kernel, *arguments, **options).astype(x.dtype))


def conv3x3(
    c_in: int,
    c_out: int,
    *,
    scale: float = 1.0,
    strides: int = 1,
    padding: str | tuple[tuple[int, int], ...] = "SAME",
    dtype: DTypeLike | None,
    rngs: nnx.Rngs | Keys,
) -> nnx.Conv:
    """3x3 convolution, NHWC."""
    return nnx.Conv(
        c_in,
        c_out,
        (3, 3),
        strides,
        padding=padding,
        kernel_init=initializer(scale),
        conv_general_dilated=_dense if strides == 1 and padding in _PADS else lax.conv_general_dilated,
        dtype=dtype,
        rngs=rngs,  # type: ignore[arg-type]  # Keys stands in for it
    )


def conv3(
    c_in: int, c_out: int, *, wrap: bool = False, scale: float = 1.0, dtype: DTypeLike | None, rngs: nnx.Rngs | Keys
) -> nnx.Conv:
    """Convolution of 3 taps along the one axis of signals [b, length, c]; with `wrap` their ends are neighbours."""
    return nnx.Conv(
        c_in,
        c_out,
        (3,),
        padding="CIRCULAR" if wrap else "SAME",
        kernel_init=initializer(scale),
        conv_general_dilated=_dense_line,
        dtype=dtype,
        rngs=rngs,  # type: ignore[arg-type]  # Keys stands in for it
    )


_PADS = {"SAME": 1, "VALID": 0}


def _dense(x: Array, kernel: Array, _: tuple[int, int], padding: str, **options: Any) -> Array:
    """What nnx.Conv calls for stride 1: the options are those of no dilation and no groups."""
    return convolve(x, kernel, _PADS[padding])


def _dense_line(x: Array, kernel: Array, _: tuple[int], padding: str, **options: Any) -> Array:
    """The same along one axis; signals whose ends are neighbours come with these around them."""
    return convolve_line(x, kernel, _PADS[padding])


class GroupNorm(nnx.Module):
    """Group normalisation (Wu & He 2018) over space and the channels of a group, statistics in at least float32.

    Space is every axis between the first and the last: two of images, one of signals, three of volumes. Its sums are
    taken per channel and merged into groups afterwards, so the image is read with its own layout and
    the whole layer is one affine map per (example, channel), which the compiler fuses with the nonlinearity behind it.
    The variance is the two-pass one: E[x^2] - E[x]^2 would cancel where the mean is large.

    Raises ValueError where the groups do not divide the channels.
    """

    def __init__(self, channels: int, groups: int, *, epsilon: float = 1e-6):
        if groups < 1 or channels % groups:
            raise ValueError(
                f"{channels} channels cannot be normalised in {groups} equal groups: "
                "choose nf and ch_mult so that every width is divisible (multiples of 4, of 32 from 128 on)"
            )
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.groups = groups
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "b *d c"]) -> Float[Array, "b *d c"]:
        """Normalise, scale and shift."""
        z = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        b, c, space = z.shape[0], z.shape[-1], tuple(range(1, z.ndim - 1))

        def over_group(per_channel: Array) -> Array:
            grouped = per_channel.reshape(b, self.groups, -1)
            return jnp.broadcast_to(grouped.mean(-1, keepdims=True), grouped.shape).reshape(b, c)

        def everywhere(per_channel: Array) -> Array:
            return jnp.expand_dims(per_channel, space)

        channel_mean = z.mean(space)
        mean = over_group(channel_mean)
        within = jnp.square(z - everywhere(channel_mean)).mean(space)
        variance = over_group(within + jnp.square(channel_mean - mean))
        slope = self.scale[...] * lax.rsqrt(variance + self.epsilon)
        offset = self.bias[...] - mean * slope
        return (z * everywhere(slope) + everywhere(offset)).astype(x.dtype)


def dropout(x: Float[Array, "b *d"], rate: float, keys: Key[Array, " b"] | None, index: int) -> Float[Array, "b *d"]:
    """Drop features with probability `rate` (Srivastava et al. 2014); the identity where keys is None.

    Each example's mask comes from its own key and the layer's `index` alone, so it does not depend on how a batch is
    split over devices. The key gives one word an example; features hash it with their position by the finaliser of
    MurmurHash3, random enough for a mask: drawing every feature with threefry cost a tenth of a training step on CPU.
    """
    keep = round((1 - rate) * 2**32)
    if keys is None or keep == 2**32:
        return x
    word = jax.vmap(lambda key: jax.random.bits(jax.random.fold_in(key, index), dtype=jnp.uint32))(keys)
    position = lax.iota(jnp.uint32, math.prod(x.shape[1:]))
    h = word[:, None] ^ position * jnp.uint32(0x9E3779B9)
    h = (h ^ h >> 16) * jnp.uint32(0x85EBCA6B)
    h = (h ^ h >> 13) * jnp.uint32(0xC2B2AE35)
    mask = (h ^ h >> 16) < jnp.uint32(keep)
    return jnp.where(mask.reshape(x.shape), x * (2**32 / keep), 0)
