"""What all U-Nets here have in common: from the image down to its smallest size, and up again past what was kept.

`models.ncsnpp` and those that follow it add pyramids of images; `models.residual_unet` is without them.
"""

import abc
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key, Num

from models.blocks import ResBlock, residual
from models.checks import Sizes, check_call
from models.layers import GroupNorm, conv3x3, linear
from models.resample import Resample


class Level(nnx.Module):
    """The parts of one resolution on the way down or up; what an option leaves out is None.

    blocks and attention: residual blocks, attention after each (down), each or the last (up), or an empty list.
    resize: ResBlock or plain resampling to the next level. pyramid: resampling of the image pyramid.
    combine: 1x1 convolution that brings the input pyramid in. norm, conv: what this level adds to the output pyramid.
    """

    def __init__(self) -> None:
        self.blocks: nnx.List = nnx.List()
        self.attention: nnx.List = nnx.List()
        absent: Any = nnx.data(None)
        self.resize = self.pyramid = self.combine = self.norm = self.conv = absent

    def resized(self, h: Array, time: Array | None, keys: Array | None) -> Array:
        """h at the size of the next level; as it is at the last one."""
        if self.resize is None:
            return h
        return self.resize(h, time, keys) if isinstance(self.resize, ResBlock) else self.resize(h)


@dataclass(frozen=True)
class Plan:
    """How large the levels of one network are, and how their parts are made.

    Attributes:
      sizes, widths: the shorter side of the image at each level, and its channels; c_first: those of the first layer.
      num_res_blocks: residual blocks a level on the way down; one more on the way up.
      attn_resolutions: the sizes that attend.
      block: makes a residual block of (c_in, c_out, dropout_index=, resample=, groups0=).
      attend: makes the attention of (channels, "down", "middle" or "up", size).
      resize: makes what changes the size of (c_in, c_out, "up" or "down"); None: residual blocks do.
      norm: makes the norm over so many channels.
      make: the dtype and the source of keys of all that is made here.
      conv: makes a convolution of (c_in, c_out).
      fir_kernel: taps of the filter of the pyramids.
      attention_groups: see `models.ncsnpp`.
    """

    sizes: Sequence[int]
    widths: Sequence[int]
    c_first: int
    num_res_blocks: int
    attn_resolutions: Sequence[int]
    block: Callable[..., ResBlock]
    attend: Callable[[int, str, int], Any]
    resize: Callable[[int, int, str], Resample] | None
    norm: Callable[[int], GroupNorm]
    make: dict[str, Any]
    conv: Callable[..., nnx.Conv] = conv3x3
    fir_kernel: tuple[float, ...] | None = None
    attention_groups: int | None = None
    dropout_index: Iterator[int] = field(default_factory=itertools.count)

    def next_block(self, c_in: int, c_out: int, **options: Any) -> ResBlock:
        """The next residual block; blocks are counted for their dropout."""
        return self.block(c_in, c_out, dropout_index=next(self.dropout_index), **options)

    def next_resize(self, channels: int, way: str) -> nnx.Module:
        """What brings so many channels to the next level."""
        return (
            self.resize(channels, channels, way) if self.resize else self.next_block(channels, channels, resample=way)
        )


class UNet(nnx.Module):
    """Residual blocks told the noise, attention behind them at chosen sizes, and what was kept on the way down.

    A network sets what it adds before it calls `build_down` and `build_up`, and says in `embed` what it is told.
    """

    shape: tuple[int, ...]
    norm_out: Any
    conv_out: Any
    act: Callable[[Array], Array]
    label_dim = augment_dim = 0
    end: Any = None
    attend_each_block = True
    centered = True
    skip_rescale = False
    progressive = progressive_input = "none"
    progressive_combine = "sum"

    def build_down(self, plan: Plan, c_image: int) -> list[int]:
        """Make the way down and the middle, of images of `c_image` channels; the channels of what is kept, in order."""
        c, c_pyramid, skips = plan.c_first, self.shape[-1], [plan.c_first]
        self.conv_in = plan.conv(c_image, c, **plan.make)
        self.down: nnx.List = nnx.List()
        for size, width in zip(plan.sizes, plan.widths, strict=True):
            level = Level()
            for _ in range(plan.num_res_blocks):
                level.blocks.append(plan.next_block(c, width))
                c = width
                if size in plan.attn_resolutions:
                    level.attention.append(plan.attend(c, "down", size))
                skips.append(c)
            if size != plan.sizes[-1]:
                level.resize = plan.next_resize(c, "down")
                shrink = {"way": "down", "fir_kernel": plan.fir_kernel, **plan.make}
                if self.progressive_input == "input_skip":
                    level.pyramid = Resample(c_pyramid, c_pyramid, conv=False, **shrink)
                    level.combine = linear(c_pyramid, c, **plan.make)
                    c = 2 * c if self.progressive_combine == "cat" else c
                elif self.progressive_input == "residual":
                    level.pyramid = Resample(c_pyramid, c, conv=True, **shrink)
                    c_pyramid = c
                skips.append(c)
            self.down.append(level)
        attend = plan.attend(c, "middle", plan.sizes[-1])
        self.middle = nnx.List([plan.next_block(c, c), attend, plan.next_block(c, c)])
        return skips

    def build_up(self, plan: Plan, skips: list[int], c_out: int, init_scale: float) -> None:
        """Make the way up, past what was kept, to an output of `c_out` channels whose last layer has `init_scale`."""
        c = c_pyramid = plan.widths[-1]
        self.up: nnx.List = nnx.List()
        for size, width in reversed(list(zip(plan.sizes, plan.widths, strict=True))):
            level, attends, lowest = Level(), size in plan.attn_resolutions, size == plan.sizes[-1]
            for j in range(plan.num_res_blocks + 1):
                c_skip, most = skips.pop(), plan.attention_groups
                groups0 = min(c + c_skip // 4, most) if attends and most else None
                level.blocks.append(plan.next_block(c + c_skip, width, groups0=groups0))
                c = width
                if attends and (self.attend_each_block or j == plan.num_res_blocks):
                    level.attention.append(plan.attend(c, "up", size))
            grow = {"way": "up", "fir_kernel": plan.fir_kernel, **plan.make}
            if self.progressive == "output_skip" or (self.progressive == "residual" and lowest):
                level.norm = plan.norm(c)
            if self.progressive == "output_skip":
                level.conv = plan.conv(c, c_out, scale=init_scale, **plan.make)
                if not lowest:
                    level.pyramid = Resample(c_out, c_out, conv=False, **grow)
            elif self.progressive == "residual":
                if lowest:
                    level.conv = plan.conv(c, c, **plan.make)
                else:
                    level.pyramid = Resample(c_pyramid, c, conv=True, **grow)
                c_pyramid = c
            if size != plan.sizes[0]:
                level.resize = plan.next_resize(c, "up")
            self.up.append(level)
        summed = self.progressive == "output_skip"
        self.norm_out = None if summed else plan.norm(c)
        self.conv_out = None if summed else plan.conv(c, c_out, scale=init_scale, **plan.make)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Num[Array, " b"],
        condition: Mapping[str, Array] | None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b h w c2"]:
        """The network's output for images x at noise c_noise; dropout where `keys` gives each example its key."""
        self.check(x, c_noise, condition, keys)
        c_noise, told = c_noise.astype(x.dtype), self.read(condition or {}, len(x))
        time, text = self.embed(c_noise, told), told.get("text")
        h, skips = self.encode(self.joined(x if self.centered else 2 * x - 1, told), time, keys, text)
        return self.scaled(self.decode(h, skips, time, keys, text).astype(x.dtype), c_noise)

    def check(self, x: Array, c_noise: Array, condition: Mapping[str, Array] | None, keys: Array | None) -> None:
        """Raise ValueError unless it can be called so."""
        check_call(x, c_noise, condition, keys, self.shape, self.condition_sizes)

    def read(self, condition: Mapping[str, Array], batch: int) -> Mapping[str, Array]:
        """What the parts are told, of the condition of so many examples: here it is that.

        `embed` and `joined` see all of it, attention the entry "text", the words' features [b, n, d].
        """
        return condition

    def joined(self, x: Float[Array, "b h w c"], told: Mapping[str, Array]) -> Float[Array, "b h w c2"]:
        """The images with others that the network is told beside them, on the last axis: here the images alone."""
        return x

    @property
    def condition_sizes(self) -> Sizes:
        """The shape of each condition it takes, without that of the batch, by name."""
        sizes = {"label": self.label_dim, "augment": self.augment_dim, "end": int(self.end is not None)}
        return {name: (size,) for name, size in sizes.items() if size}

    @abc.abstractmethod
    def embed(self, c_noise: Float[Array, " b"], condition: Mapping[str, Array]) -> Float[Array, "b e"] | None:
        """The activated embedding of the noise and of the conditions; None where the blocks are told nothing."""

    def first(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c2"]:
        """What the first layer sees of the images."""
        return x

    def scaled(self, h: Float[Array, "b h w c"], c_noise: Float[Array, " b"]) -> Float[Array, "b h w c"]:
        """The output, of what the last layer gives."""
        return h

    def encode(
        self,
        x: Float[Array, "b h w c"],
        time: Float[Array, "b e"] | None,
        keys: Key[Array, " b"] | None,
        text: Float[Array, "b n d"] | None = None,
    ) -> tuple[Float[Array, "b h2 w2 c2"], list[Array]]:
        """The middle's features, and every feature map on the way there; `time` as `embed` gives it."""
        pyramid, h = x, self.conv_in(self.first(x))
        skips = [h]
        for level in self.down:
            for i, block in enumerate(level.blocks):
                h = block(h, time, keys)
                h = level.attention[i](h, text) if level.attention else h
                skips.append(h)
            if level.resize is None:
                continue
            h = level.resized(h, time, keys)
            if level.pyramid is not None:
                pyramid = level.pyramid(pyramid)
            if self.progressive_input == "input_skip":
                image = level.combine(pyramid)
                h = image + h if self.progressive_combine == "sum" else jnp.concatenate([image, h], axis=-1)
            elif self.progressive_input == "residual":
                h = pyramid = residual(pyramid, h, self.skip_rescale)
            skips.append(h)
        first, attend, second = self.middle
        return second(attend(first(h, time, keys), text), time, keys), skips

    def decode(
        self,
        h: Float[Array, "b h2 w2 c2"],
        skips: list[Array],
        time: Float[Array, "b e"] | None,
        keys: Key[Array, " b"] | None,
        text: Float[Array, "b n d"] | None = None,
    ) -> Float[Array, "b h w c"]:
        """What the last layer gives, from the middle's features and what was kept, which is taken off its list."""
        pyramid: Any = None
        for level in self.up:
            for i, block in enumerate(level.blocks):
                h = block(jnp.concatenate([h, skips.pop()], axis=-1), time, keys)
                if level.attention and (self.attend_each_block or i == len(level.blocks) - 1):
                    h = level.attention[i if self.attend_each_block else 0](h, text)
            if self.progressive == "output_skip":
                image = level.conv(self.act(level.norm(h)))
                pyramid = image if pyramid is None else level.pyramid(pyramid) + image
            elif self.progressive == "residual" and pyramid is None:
                pyramid = level.conv(self.act(level.norm(h)))
            elif self.progressive == "residual":
                h = pyramid = residual(level.pyramid(pyramid), h, self.skip_rescale)
            h = level.resized(h, time, keys)
        return pyramid if self.conv_out is None else self.conv_out(self.act(self.norm_out(h)))
