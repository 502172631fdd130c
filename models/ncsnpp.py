"""NCSN++ and DDPM++ (Song et al. 2021, appendix H): one U-Net, two sets of options."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from limits import Sides, check_known, sides
from models.attention import Attention
from models.blocks import ResBlock
from models.checks import check_even, check_options
from models.embeddings import Fourier, image_fourier, positional, sigma_of_level
from models.layers import NONLINEARITIES, GroupNorm, Keys, linear, precise, quarter
from models.resample import Resample
from models.resolutions import level_sizes, level_widths
from models.unet import Plan, UNet


class NCSNpp(UNet):
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
      fastest_frequency: the highest of the positional frequencies, in radians a label. Published is 1, 999 radians over
        all labels; a loss that differentiates the network in time wants few (Lu and Song 2024, arXiv:2410.11081, sec.
        4.1, have pi / 2).
      fourier_features: exponents n of the sines and cosines of 2 pi 2^n x that the first layer sees beside x.
      nonlinearity: "swish", "elu", "relu" or "lrelu".
      label_dim: classes; condition["label"] is one-hot [b, label_dim], zeros for none. 0: takes none.
      told_end: whether it is told where a jump ends: `condition["end"]` [b, 1] is 999 times its length, 0 where it is
        missing. What it makes of that starts at nothing.
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
        fastest_frequency: float = 1.0,
        fourier_features: Sequence[int] = (),
        nonlinearity: str = "swish",
        label_dim: int = 0,
        told_end: bool = False,
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
        check_even("nf", nf)
        if (label_dim or told_end) and not conditional:
            raise ValueError(
                f"label_dim={label_dim}, told_end={told_end}: classes and ends of jumps are told beside the noise "
                "level; set conditional=True"
            )
        if scale_by_sigma and embedding_type == "positional" and None in (sigma_min, sigma_max, num_scales):
            raise ValueError(
                "scale_by_sigma with embedding_type='positional' finds sigma from the label: give sigma_min, "
                f"sigma_max and num_scales (received {sigma_min}, {sigma_max}, {num_scales}), "
                "or use embedding_type='fourier'"
            )

        self.shape = (*sides(image_size), num_channels)
        self.act = NONLINEARITIES[nonlinearity]
        self.nf, self.centered, self.skip_rescale, self.label_dim = nf, centered, skip_rescale, label_dim
        self.fastest_frequency = fastest_frequency
        self.progressive, self.progressive_input = progressive, progressive_input
        self.progressive_combine, self.scale_by_sigma = progressive_combine, scale_by_sigma
        self.attend_each_block, self.fourier_features = attend_each_block, tuple(fourier_features)
        of_label = embedding_type == "positional"
        self.levels: tuple[Any, ...] | None = (sigma_min, sigma_max, num_scales) if of_label else None

        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        of_time: dict[str, Any] = make | {"dtype": precise(dtype)}
        taps, biggan = tuple(fir_kernel) if fir else None, resblock_type == "biggan"

        def groups(channels: int) -> int:
            return num_groups or quarter(channels)

        def attend(channels: int, way: str, size: int) -> Attention:
            of_level = attention_groups if way != "middle" else None
            return Attention(channels, groups=lambda c: of_level or groups(c), **part)

        part: dict[str, Any] = {"init_scale": init_scale, "skip_rescale": skip_rescale, **make}
        plan = Plan(
            sizes=sizes,
            widths=widths,
            c_first=nf,
            num_res_blocks=num_res_blocks,
            attn_resolutions=attn_resolutions,
            block=partial(
                ResBlock,
                c_time=4 * nf if conditional else 0,
                groups=groups,
                act=self.act,
                dropout_rate=dropout,
                shortcut_scale=1.0 if biggan else 0.1,
                fir_kernel=taps,
                **part,
            ),
            attend=attend,
            resize=None if biggan else partial(Resample, conv=resamp_with_conv, fir_kernel=taps, **make),
            norm=lambda channels: GroupNorm(channels, groups(channels)),
            make=make,
            fir_kernel=taps,
            attention_groups=attention_groups,
        )
        self.fourier = Fourier(nf, fourier_scale, rngs=rngs) if embedding_type == "fourier" else None
        c_embedding = nf if self.fourier is None else 2 * nf
        self.time0 = linear(c_embedding, 4 * nf, **of_time) if conditional else None
        self.time1: Any = linear(4 * nf, 4 * nf, **of_time) if conditional else None
        self.classes = linear(label_dim, 4 * nf, use_bias=False, **of_time) if label_dim else None
        self.end = linear(nf, 4 * nf, scale=0.0, use_bias=False, **of_time) if told_end else None
        skips = self.build_down(plan, (1 + 2 * len(self.fourier_features)) * num_channels)
        self.build_up(plan, skips, num_channels, init_scale)

    def first(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c2"]:
        """The images, with the sines and cosines of `fourier_features` where it has any."""
        return image_fourier(x, self.fourier_features) if self.fourier_features else x

    def embed(self, c_noise: Float[Array, " b"], condition: Mapping[str, Array]) -> Float[Array, "b e"] | None:
        """The activated embedding of the noise and the class; None for a network that does not see the noise."""
        if self.time0 is None:
            return None
        time = self.time0(self.features(c_noise, condition))
        if self.end is not None:
            length = (
                condition["end"][:, 0].astype(time.dtype) if "end" in condition else jnp.zeros(len(time), time.dtype)
            )
            time += self.end(positional(length, self.nf, fastest=self.fastest_frequency))
        time = self.time1(self.act(time))
        if self.classes is not None and "label" in condition:
            # A one-hot vector's norm becomes that of as many numbers of variance 1, for which the weights are drawn.
            time += self.classes(condition["label"].astype(time.dtype) * math.sqrt(self.label_dim))
        return self.act(time)

    def features(self, c_noise: Float[Array, " b"], condition: Mapping[str, Array]) -> Float[Array, "b e"]:
        """The embedding of c_noise and, in a subclass, of its conditions."""
        if self.fourier is not None:
            return self.fourier(c_noise)
        return positional(c_noise, self.nf, fastest=self.fastest_frequency)

    def scaled(self, h: Float[Array, "b h w c"], c_noise: Float[Array, " b"]) -> Float[Array, "b h w c"]:
        """The output, divided by sigma with scale_by_sigma."""
        if not self.scale_by_sigma:
            return h
        sigma = c_noise if self.levels is None else sigma_of_level(c_noise, *self.levels)
        return h / sigma[:, None, None, None]
