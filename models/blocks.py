"""The residual block of the U-Nets, and what blocks share."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from models.layers import GroupNorm, Keys, conv3x3, dropout, linear, precise
from models.materialize import materialized
from models.resample import downsample, upsample


def recomputed(call: Callable[..., Array]) -> Callable[..., Array]:
    """A block's ``__call__``, of positional arguments; where its ``remat`` is set, the backward pass keeps them alone.

    Everything behind them is computed again there (Chen et al. 2016, arXiv:1604.06174).
    """

    @functools.wraps(call)
    def either(block: Any, *arguments: Array | None) -> Array:
        run = functools.partial(call, block)
        return (jax.checkpoint(run) if block.remat else run)(*arguments)

    return either


class ResBlock(nnx.Module):
    """Residual block of DDPM (Ho et al. 2020), or of BigGAN (Brock et al. 2019) where it resamples.

    h = conv(act(norm(x))) + linear(time), then x + conv(dropout(act(norm(h)))), over sqrt(2) with skip_rescale.
    With scale_shift (Dhariwal and Nichol 2021) the time enters behind the norm, act(norm(h) (1 + scale) + shift).
    A resampling block changes the size of both branches before their first convolution.

    Args: c_in, c_out: channels. c_time: features of the time embedding, 0 for none. resample: None, "up" or "down".
    fir_kernel: taps of the resampling filter; None: nearest neighbour and average. shortcut_scale: initial scale of
    the 1x1 shortcut, present where the channels change, or the block resamples and not with resample_shortcut False.
    dropout_index: unique in the network. groups0: of the first norm, where not groups(c_in). conv: makes the
    convolutions of (c_in, c_out), of images, or of signals along their one axis (`models.layers.conv3`).
    """

    remat = False

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        c_time: int,
        groups: Callable[[int], int],
        act: Callable[[Array], Array],
        dropout_rate: float,
        dropout_index: int,
        init_scale: float,
        shortcut_scale: float,
        skip_rescale: bool,
        resample: str | None = None,
        fir_kernel: tuple[float, ...] | None = None,
        scale_shift: bool = False,
        resample_shortcut: bool = True,
        groups0: int | None = None,
        conv: Callable[..., nnx.Conv] = conv3x3,
        epsilon: float = 1e-6,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
    ):
        self.norm0 = GroupNorm(c_in, groups0 or groups(c_in), epsilon=epsilon)
        self.conv0 = conv(c_in, c_out, dtype=dtype, rngs=rngs)
        self.time = linear(c_time, (1 + scale_shift) * c_out, dtype=precise(dtype), rngs=rngs) if c_time else None
        self.norm1 = GroupNorm(c_out, groups(c_out), epsilon=epsilon)
        self.conv1 = conv(c_out, c_out, scale=init_scale, dtype=dtype, rngs=rngs)
        has_shortcut = c_in != c_out or (resample is not None and resample_shortcut)
        self.shortcut = linear(c_in, c_out, scale=shortcut_scale, dtype=dtype, rngs=rngs) if has_shortcut else None
        self.act = act
        self.dropout_rate, self.dropout_index = dropout_rate, dropout_index
        self.skip_rescale, self.scale_shift = skip_rescale, scale_shift
        self.resample, self.fir_kernel = resample, fir_kernel

    @recomputed
    def __call__(
        self, x: Float[Array, "b *d c"], time: Float[Array, "b e"] | None, keys: Key[Array, " b"] | None
    ) -> Float[Array, "b *d2 c2"]:
        """`time` is the activated embedding, None where c_time is 0; `keys` one dropout key an example, or None."""
        x = materialized(x)  # on the way up a concatenation
        h = self.act(self.norm0(x))
        if self.resample is not None:
            resize = {"up": upsample, "down": downsample}[self.resample]
            h, x = resize(h, self.fir_kernel), resize(x, self.fir_kernel)
        h = self.conv0(h)
        told = None
        if self.time is not None and time is not None:
            told = jnp.expand_dims(self.time(time), tuple(range(1, h.ndim - 1))).astype(h.dtype)
        if self.scale_shift and told is not None:
            scale, shift = jnp.split(told, 2, axis=-1)
            h = self.norm1(h) * (1 + scale) + shift
        else:
            h = self.norm1(h if told is None else h + told)
        h = dropout(self.act(h), self.dropout_rate, keys, self.dropout_index)
        h = self.conv1(h)
        if self.shortcut is not None:
            x = self.shortcut(x)
        return residual(x, h, self.skip_rescale)


def residual(x: Array, h: Array, rescale: bool) -> Array:
    """x + h, over sqrt(2) where `rescale`, which keeps the variance of a sum of independent terms."""
    return materialized((x + h) * math.sqrt(0.5) if rescale else x + h)
