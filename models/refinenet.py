"""The bricks of NCSN and NCSNv2: normalisations, dilated residual blocks, RefineNet (Lin et al. 2017).

Where a brick is built with `classes`, its normalisations are class-conditional: one set of scales and shifts for each
noise level, the only way NCSN is told the noise. Convolutions start as PyTorch's, uniform within 1 / sqrt(fan-in).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from models.layers import Keys, quarter
from models.resample import downsample

Levels = Int[Array, " b"] | None
"""The noise level of each example, for class-conditional normalisations; None: they have no classes."""

NORMS: dict[str, tuple[str, ...]] = {  # the trained vectors of each
    "instance++": ("scale", "mean_scale", "bias"),
    "instance": ("scale", "bias"),
    "group": ("scale", "bias"),
    "variance": ("scale",),
}


class Norm(nnx.Module):
    """scale h + bias, with h the image normalised over space, all statistics per example and in at least float32.

    instance    h = (x - mu_c) / s_c, statistics of each channel c.
    instance++  h = (x - mu_c) / s_c + mean_scale (mu_c - m) / v, with m, v^2 mean and variance of mu_c over the
                channels, which puts back what instance norm takes from colours (Song and Ermon 2019, App. A.1).
    variance    h = x / s_c: no mean is removed, and there is no bias.
    group       statistics of each of min(c / 4, 32) groups of channels.

    With `classes` n > 0, scale, mean_scale and bias have n rows, and an example uses the row of its noise level.
    """

    def __init__(self, channels: int, kind: str, classes: int, *, rngs: nnx.Rngs | Keys, epsilon: float = 1e-5):
        shape = (classes, channels) if classes else (channels,)
        self.kind, self.classes, self.epsilon = kind, classes, epsilon
        self.groups = quarter(channels)
        if kind == "group" and (self.groups < 1 or channels % self.groups):
            raise ValueError(f"{channels} channels cannot be normalised in {self.groups} equal groups: change nf")
        drawn = kind in ("instance++", "variance")  # N(1, 0.02^2), as published

        def ones() -> nnx.Param:
            noise = 0.02 * jax.random.normal(rngs.params(), shape) if drawn else jnp.zeros(shape)
            return nnx.Param(1.0 + noise)

        self.scale = ones()
        self.mean_scale = ones() if "mean_scale" in NORMS[kind] else None
        self.bias = nnx.Param(jnp.zeros(shape)) if "bias" in NORMS[kind] else None

    def __call__(self, x: Float[Array, "b h w c"], levels: Levels = None) -> Float[Array, "b h w c"]:
        """Normalise, then scale and shift by the rows of `levels`."""
        z = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        mean, variance = z.mean((1, 2)), z.var((1, 2))
        if self.kind == "group":
            grouped = z.reshape(*z.shape[:3], self.groups, -1)
            per_group = grouped.mean((1, 2, 4)), grouped.var((1, 2, 4))
            mean, variance = (jnp.repeat(statistic, grouped.shape[-1], axis=-1) for statistic in per_group)
        slope = self._row(self.scale, levels) * lax.rsqrt(variance + self.epsilon)
        offset = 0.0 if self.kind == "variance" else -mean * slope
        if self.mean_scale is not None:
            centred = mean - mean.mean(-1, keepdims=True)
            plus = self._row(self.mean_scale, levels) * centred * lax.rsqrt(mean.var(-1, keepdims=True) + self.epsilon)
            offset += self._row(self.scale, levels) * plus
        if self.bias is not None:
            offset += self._row(self.bias, levels)
        slope, offset = (jnp.broadcast_to(a, mean.shape)[:, None, None] for a in (slope, offset))
        return (z * slope + offset).astype(x.dtype)

    def _row(self, table: nnx.Param, levels: Levels) -> Array:
        return table[...][levels] if self.classes else table[...]


@dataclass(frozen=True)
class Make:
    """How the bricks of one network are made: the kind of its norms, nonlinearity, pooling, dtype, source of keys."""

    kind: str
    classes: int
    act: Callable[[Array], Array]
    max_pool: bool
    dtype: DTypeLike | None
    rngs: nnx.Rngs | Keys

    def norm(self, channels: int) -> Norm:
        """A normalisation."""
        return Norm(channels, self.kind, self.classes, rngs=self.rngs)

    def inner_norm(self, channels: int) -> Norm | None:
        """One inside a refinement block: NCSN has them there, NCSNv2 does not."""
        return self.norm(channels) if self.classes else None

    def conv(self, c_in: int, c_out: int, *, size: int = 3, dilation: int = 1, bias: bool = True) -> nnx.Conv:
        """A convolution that keeps the image's size."""
        return nnx.Conv(
            c_in,
            c_out,
            (size, size),
            kernel_dilation=dilation,
            use_bias=bias,
            kernel_init=nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
            dtype=self.dtype,
            rngs=self.rngs,  # type: ignore[arg-type]  # Keys stands in for it
        )


def normalised(norm: Norm | None, x: Array, levels: Levels) -> Array:
    """norm(x), or x where there is none."""
    return x if norm is None else norm(x, levels)


class Residual(nnx.Module):
    """x + conv(act(norm(conv(act(norm(x)))))).

    One that starts a stage widens in its second convolution, has a convolution on the shortcut too, and halves the
    image, unless its convolutions are dilated instead.
    """

    def __init__(self, c_in: int, c_out: int, *, starts: bool, dilation: int, make: Make):
        self.pool = starts and dilation == 1
        inner = c_in if starts else c_out
        self.norm0, self.conv0 = make.norm(c_in), make.conv(c_in, inner, dilation=dilation)
        self.norm1, self.conv1 = make.norm(inner), make.conv(inner, c_out, dilation=dilation)
        size = 1 if dilation == 1 else 3
        has_shortcut = starts or c_in != c_out
        self.shortcut = make.conv(c_in, c_out, size=size, dilation=dilation) if has_shortcut else None
        self.act = make.act

    def __call__(self, x: Array, levels: Levels) -> Array:
        """The block."""
        h = self.conv0(self.act(self.norm0(x, levels)))
        h = self.conv1(self.act(self.norm1(h, levels)))
        x = x if self.shortcut is None else self.shortcut(x)
        return downsample(x) + downsample(h) if self.pool else x + h


class ConvUnits(nnx.Module):
    """RefineNet's residual units: `units` times x + conv(act(conv(act(x)))), without biases."""

    def __init__(self, channels: int, units: int, *, make: Make):
        self.norms = nnx.List([make.inner_norm(channels) for _ in range(2 * units)])
        self.convs = nnx.List([make.conv(channels, channels, bias=False) for _ in range(2 * units)])
        self.act = make.act

    def __call__(self, x: Array, levels: Levels) -> Array:
        """The units, one after the other."""
        h = x
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            h = conv(self.act(normalised(norm, h, levels)))
            if i % 2:
                h = x = x + h
        return x


class Pooling(nnx.Module):
    """Chained residual pooling: act(x), to which two rounds of 5x5 pooling and convolution are added.

    NCSNv2 takes the maximum, NCSN the mean (of 25 pixels, zeros beyond the edge), behind a norm.
    """

    def __init__(self, channels: int, *, make: Make):
        self.norms = nnx.List([make.inner_norm(channels) for _ in range(2)])
        self.convs = nnx.List([make.conv(channels, channels, bias=False) for _ in range(2)])
        self.act, self.max_pool = make.act, make.max_pool

    def __call__(self, x: Array, levels: Levels) -> Array:
        """The chain."""
        x = path = self.act(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            path = conv(self._pool(normalised(norm, path, levels)))
            x = x + path
        return x

    def _pool(self, x: Array) -> Array:
        window, strides = (1, 5, 5, 1), (1, 1, 1, 1)
        if self.max_pool:
            return lax.reduce_window(x, -math.inf, lax.max, window, strides, "SAME")
        return lax.reduce_window(x, 0.0, lax.add, window, strides, "SAME") / 25


class Refine(nnx.Module):
    """A refinement block: units on each input, their sum at the first one's size, chained pooling, units.

    `c_ins`: channels of the inputs, the largest image first; one input is taken as it is, without a convolution.
    """

    def __init__(self, c_ins: Sequence[int], c_out: int, *, end: bool, make: Make):
        self.adapt = nnx.List([ConvUnits(c, 2, make=make) for c in c_ins])
        fused = c_ins if len(c_ins) > 1 else ()
        self.fuse_norms = nnx.List([make.inner_norm(c) for c in fused])
        self.fuse = nnx.List([make.conv(c, c_out) for c in fused])
        self.pooling = Pooling(c_out, make=make)
        self.out = ConvUnits(c_out, 3 if end else 1, make=make)

    def __call__(self, xs: Sequence[Array], levels: Levels) -> Array:
        """Fuse the inputs."""
        hs = [adapt(x, levels) for adapt, x in zip(self.adapt, xs, strict=True)]
        h = hs[0]
        if self.fuse:
            fused = [
                conv(normalised(norm, h, levels)) for norm, conv, h in zip(self.fuse_norms, self.fuse, hs, strict=True)
            ]
            h = sum(jax.image.resize(f, (*xs[0].shape[:3], f.shape[-1]), "bilinear") for f in fused)
        return self.out(self.pooling(h, levels), levels)
