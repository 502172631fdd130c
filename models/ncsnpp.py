"""NCSN++ and DDPM++ (Song et al. 2021, appendix H): one U-Net, two sets of options."""

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import partial

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Num

from limits import Sides, sides
from models.attention import Attention
from models.blocks import ResBlock, residual
from models.checks import check_call, check_known, check_options
from models.embeddings import Fourier, image_fourier, positional
from models.layers import NONLINEARITIES, GroupNorm, Keys, conv3x3, linear, precise
from models.resample import Downsample, Upsample
from models.resolutions import level_sizes, level_widths


class Level(nnx.Module):
    """The parts of one resolution on the way down or up; what an option leaves out is None.

    blocks and attention: residual blocks, attention after each (down), each or the last (up), or an empty list.
    resize: ResBlock or plain resampling to the next level. pyramid: resampling of the image pyramid.
    combine: 1x1 convolution that brings the input pyramid in. norm, conv: what this level adds to the output pyramid.
    """

    def __init__(self):
        self.blocks, self.attention = nnx.List(), nnx.List()
        self.resize = self.pyramid = self.combine = self.norm = self.conv = nnx.data(None)


class NCSNpp(nnx.Module):
    """The U-Net of Song et al. 2021, every published option under its published name.

    The defaults are DDPM++ on CIFAR-10; NCSN++ is that with fir, progressive_input="residual",
    embedding_type="fourier", scale_by_sigma and centered=False.

    Args:
      image_size, num_channels: images are [b, height, width, num_channels]; one number is the side of square ones.
      nf, ch_mult: channels, and their multiple at each resolution; each level halves the image.
      channels: the channels at each resolution themselves, where they are no multiples of nf; ch_mult is then ().
      num_res_blocks: residual blocks a level on the way down; one more on the way up.
      attn_resolutions: shorter sides of the features that attend; the smallest ones always do once.
      attend_each_block: on the way up attend behind each block, as DDPM did; False: behind a level's last one.
      num_groups: of every group norm; None: a quarter of the channels, 32 at most.
      attention_groups: at sizes with attention, the groups of its norms, and on the way up those of each block's first
        norm, min(c + c_skip // 4, attention_groups); None: as elsewhere. diffusers has 32: no difference from 128
        channels on.
      dropout: rate within residual blocks, only where keys are given.
      resamp_with_conv: convolve when resampling, with resblock_type "ddpm".
      conditional: whether the network sees the noise level. centered: data in [-1, 1]; False: in [0, 1], mapped to it.
      fir, fir_kernel: resample with a filter. skip_rescale: residual sums over sqrt(2).
      resblock_type: "ddpm" or "biggan" (which resamples in the block).
      progressive: "none", "output_skip" (sum of images from each level) or "residual" (a second residual path).
      progressive_input: "none", "input_skip" or "residual": how the shrunken image enters each level.
      progressive_combine: "sum" or "cat", with input_skip.
      embedding_type: "fourier": c_noise is sigma; "positional": c_noise is a label, 0 to 999.
      init_scale: of each residual branch's last layer; 0 starts them at nothing.
      fourier_scale: standard deviation of the Fourier frequencies.
      fourier_features: exponents n of the sines and cosines of 2 pi 2^n x that the first layer sees beside x.
      nonlinearity: "swish", "elu", "relu" or "lrelu".
      label_dim: classes; condition["label"] is one-hot [b, label_dim], zeros for none. 0: takes none.
      scale_by_sigma: divide the output by sigma; with positional labels, which count the noise scales downwards,
        sigma = sigma_max (sigma_min / sigma_max)^(label / (num_scales - 1)).
      dtype: of the computation ("bfloat16"); None: that of inputs and parameters. The output has the dtype of x.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        nf: int = 128,
        ch_mult: Sequence[int] = (1, 2, 2, 2),
        channels: Sequence[int] = (),
        num_res_blocks: int = 4,
        attn_resolutions: Sequence[int] = (16,),
        attend_each_block: bool = False,
        num_groups: int | None = None,
        attention_groups: int | None = None,
        dropout: float = 0.1,
        resamp_with_conv: bool = True,
        conditional: bool = True,
        centered: bool = True,
        fir: bool = False,
        fir_kernel: Sequence[float] = (1, 3, 3, 1),
        skip_rescale: bool = True,
        resblock_type: str = "biggan",
        progressive: str = "none",
        progressive_input: str = "none",
        progressive_combine: str = "sum",
        embedding_type: str = "positional",
        init_scale: float = 0.0,
        fourier_scale: float = 16.0,
        fourier_features: Sequence[int] = (),
        nonlinearity: str = "swish",
        label_dim: int = 0,
        scale_by_sigma: bool = False,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        num_scales: int | None = None,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        check_options(type(self), locals())
        check_known("resblock_type", resblock_type, ("ddpm", "biggan"))
        check_known("progressive", progressive, ("none", "output_skip", "residual"))
        check_known("progressive_input", progressive_input, ("none", "input_skip", "residual"))
        check_known("progressive_combine", progressive_combine, ("sum", "cat"))
        check_known("embedding_type", embedding_type, ("fourier", "positional"))
        check_known("nonlinearity", nonlinearity, NONLINEARITIES)
        widths = level_widths(nf, ch_mult, channels)
        levels, option = (channels, "channels") if channels else (ch_mult, "ch_mult")
        sizes = level_sizes(image_size, levels, attn_resolutions, option=option)
        if nf < 4 or nf % 2:
            raise ValueError(f"nf={nf}: the time embedding is half sines, half cosines; choose an even nf of 4 or more")
        if label_dim and not conditional:
            raise ValueError(f"label_dim={label_dim}: classes are told beside the noise level; set conditional=True")
        if scale_by_sigma and embedding_type == "positional" and None in (sigma_min, sigma_max, num_scales):
            raise ValueError(
                "scale_by_sigma with embedding_type='positional' finds sigma from the label: give sigma_min, "
                f"sigma_max and num_scales (received {sigma_min}, {sigma_max}, {num_scales}), "
                "or use embedding_type='fourier'"
            )

        self.shape = (*sides(image_size), num_channels)
        self.act = NONLINEARITIES[nonlinearity]
        self.nf, self.centered, self.skip_rescale, self.label_dim = nf, centered, skip_rescale, label_dim
        self.progressive, self.progressive_input = progressive, progressive_input
        self.progressive_combine, self.scale_by_sigma = progressive_combine, scale_by_sigma
        self.attend_each_block, self.fourier_features = attend_each_block, tuple(fourier_features)
        self.sigma_min, self.sigma_max, self.num_scales = sigma_min, sigma_max, num_scales

        make = {"dtype": dtype, "rngs": rngs}
        taps = tuple(fir_kernel) if fir else None
        dropout_index = itertools.count()

        def groups(channels: int) -> int:
            return num_groups or min(channels // 4, 32)

        attend = partial(Attention, groups=groups, init_scale=init_scale, skip_rescale=skip_rescale, **make)
        attend_level = partial(attend, groups=lambda channels: attention_groups or groups(channels))

        def block(c_in: int, c_out: int, resample: str | None = None, groups0: int | None = None) -> ResBlock:
            return ResBlock(
                c_in,
                c_out,
                c_time=4 * nf if conditional else 0,
                groups=groups,
                groups0=groups0,
                act=self.act,
                dropout_rate=dropout,
                dropout_index=next(dropout_index),
                init_scale=init_scale,
                shortcut_scale=1.0 if resblock_type == "biggan" else 0.1,
                skip_rescale=skip_rescale,
                resample=resample,
                fir_kernel=taps,
                **make,
            )

        def resize(channels: int, way: str) -> ResBlock | Upsample | Downsample:
            if resblock_type == "biggan":
                return block(channels, channels, way)
            sample = {"up": Upsample, "down": Downsample}[way]
            return sample(channels, channels, conv=resamp_with_conv, fir_kernel=taps, **make)

        self.fourier = Fourier(nf, fourier_scale, rngs=rngs) if embedding_type == "fourier" else None
        c_embedding = nf if self.fourier is None else 2 * nf
        of_time = {"dtype": precise(dtype), "rngs": rngs}
        self.time0 = linear(c_embedding, 4 * nf, **of_time) if conditional else None
        self.time1 = linear(4 * nf, 4 * nf, **of_time) if conditional else None
        self.classes = linear(label_dim, 4 * nf, use_bias=False, **of_time) if label_dim else None

        self.conv_in = conv3x3((1 + 2 * len(self.fourier_features)) * num_channels, nf, **make)
        c, c_pyramid, skips = nf, num_channels, [nf]
        self.down = nnx.List()
        for i, size in enumerate(sizes):
            level = Level()
            for _ in range(num_res_blocks):
                level.blocks.append(block(c, widths[i]))
                c = widths[i]
                if size in attn_resolutions:
                    level.attention.append(attend_level(c))
                skips.append(c)
            if size != sizes[-1]:
                level.resize = resize(c, "down")
                if progressive_input == "input_skip":
                    level.pyramid = Downsample(c_pyramid, c_pyramid, conv=False, fir_kernel=taps, **make)
                    level.combine = linear(c_pyramid, c, **make)
                    c = 2 * c if progressive_combine == "cat" else c
                elif progressive_input == "residual":
                    level.pyramid = Downsample(c_pyramid, c, conv=True, fir_kernel=taps, **make)
                    c_pyramid = c
                skips.append(c)
            self.down.append(level)

        self.middle = nnx.List([block(c, c), attend(c), block(c, c)])

        self.up = nnx.List()
        for i, size in reversed(list(enumerate(sizes))):
            level = Level()
            attends = size in attn_resolutions
            for j in range(num_res_blocks + 1):
                c_skip = skips.pop()
                groups0 = min(c + c_skip // 4, attention_groups) if attends and attention_groups else None
                level.blocks.append(block(c + c_skip, widths[i], groups0=groups0))
                c = widths[i]
                if attends and (attend_each_block or j == num_res_blocks):
                    level.attention.append(attend_level(c))
            lowest = size == sizes[-1]
            if progressive == "output_skip" or (progressive == "residual" and lowest):
                level.norm = GroupNorm(c, groups(c))
            if progressive == "output_skip":
                level.conv = conv3x3(c, num_channels, scale=init_scale, **make)
                if not lowest:
                    level.pyramid = Upsample(num_channels, num_channels, conv=False, fir_kernel=taps, **make)
            elif progressive == "residual":
                if lowest:
                    level.conv = conv3x3(c, c, **make)
                else:
                    level.pyramid = Upsample(c_pyramid, c, conv=True, fir_kernel=taps, **make)
                c_pyramid = c
            if size != sizes[0]:
                level.resize = resize(c, "up")
            self.up.append(level)

        summed = progressive == "output_skip"
        self.norm_out = None if summed else GroupNorm(c, groups(c))
        self.conv_out = None if summed else conv3x3(c, num_channels, scale=init_scale, **make)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Num[Array, " b"],
        condition: Mapping[str, Array] | None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b h w c"]:
        """The network's output for images x at noise c_noise; dropout where `keys` gives each example its key."""
        check_call(x, c_noise, condition, keys, self.shape, self.condition_sizes)
        c_noise = c_noise.astype(x.dtype)
        time = self._time(c_noise, condition or {})
        h = self._unet(x if self.centered else 2 * x - 1, time, keys).astype(x.dtype)
        return h / self._sigma(c_noise)[:, None, None, None] if self.scale_by_sigma else h

    @property
    def condition_sizes(self) -> dict[str, int]:
        """Features of each condition it takes, by name."""
        return {"label": self.label_dim} if self.label_dim else {}

    def _time(self, c_noise: Array, condition: Mapping[str, Array]) -> Array | None:
        if self.time0 is None:
            return None
        time = self.time1(self.act(self.time0(self._features(c_noise, condition))))
        if self.classes is not None and "label" in condition:
            # A one-hot vector's norm becomes that of as many numbers of variance 1, for which the weights are drawn.
            time += self.classes(condition["label"].astype(time.dtype) * math.sqrt(self.label_dim))
        return self.act(time)

    def _features(self, c_noise: Array, condition: Mapping[str, Array]) -> Array:
        """The embedding of c_noise and, in a subclass, of its conditions."""
        return positional(c_noise, self.nf) if self.fourier is None else self.fourier(c_noise)

    def _sigma(self, c_noise: Array) -> Array:
        if self.fourier is not None:
            return c_noise
        return self.sigma_max * (self.sigma_min / self.sigma_max) ** (c_noise / (self.num_scales - 1))

    def _unet(self, x: Array, time: Array | None, keys: Array | None) -> Array:
        pyramid = x
        h = self.conv_in(image_fourier(x, self.fourier_features) if self.fourier_features else x)
        skips = [h]
        for level in self.down:
            for i, block in enumerate(level.blocks):
                h = block(h, time, keys)
                if level.attention:
                    h = level.attention[i](h)
                skips.append(h)
            if level.resize is None:
                continue
            h = self._resize(level, h, time, keys)
            if level.pyramid is not None:
                pyramid = level.pyramid(pyramid)
            if self.progressive_input == "input_skip":
                image = level.combine(pyramid)
                h = image + h if self.progressive_combine == "sum" else jnp.concatenate([image, h], axis=-1)
            elif self.progressive_input == "residual":
                h = pyramid = residual(pyramid, h, self.skip_rescale)
            skips.append(h)

        first, attend, second = self.middle
        h = second(attend(first(h, time, keys)), time, keys)

        pyramid = None
        for level in self.up:
            for i, block in enumerate(level.blocks):
                h = block(jnp.concatenate([h, skips.pop()], axis=-1), time, keys)
                if level.attention and (self.attend_each_block or i == len(level.blocks) - 1):
                    h = level.attention[i if self.attend_each_block else 0](h)
            if self.progressive == "output_skip":
                image = level.conv(self.act(level.norm(h)))
                pyramid = image if pyramid is None else level.pyramid(pyramid) + image
            elif self.progressive == "residual" and pyramid is None:
                pyramid = level.conv(self.act(level.norm(h)))
            elif self.progressive == "residual":
                h = pyramid = residual(level.pyramid(pyramid), h, self.skip_rescale)
            if level.resize is not None:
                h = self._resize(level, h, time, keys)

        return pyramid if self.conv_out is None else self.conv_out(self.act(self.norm_out(h)))

    @staticmethod
    def _resize(level: Level, h: Array, time: Array | None, keys: Array | None) -> Array:
        return level.resize(h, time, keys) if isinstance(level.resize, ResBlock) else level.resize(h)
