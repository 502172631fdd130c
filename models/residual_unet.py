"""The U-Net of Nichol and Dhariwal 2021 (arXiv:2102.09672) and of ADM, as far as OpenAI's form and EDM's agree.

Its downward half and middle stand by themselves too: ADM's classifier is built on them (`models.noisy_classifier`).
"""

import itertools
from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Num

from limits import Sides, sides
from models.attention import Attention
from models.blocks import ResBlock
from models.checks import check_call, check_centered
from models.embeddings import positional
from models.layers import NONLINEARITIES, GroupNorm, Keys, conv3x3, linear, precise
from models.ncsnpp import Level
from models.resample import Downsample, Upsample
from models.resolutions import level_sizes, shorter_sides

EPSILON = 1e-5  # of every norm, where the networks of Song et al. have 1e-6


class Bricks:
    """Makes the parts of one network: residual blocks, counted for their dropout, changes of size, attention.

    Args:
      nf: a quarter of the features of the time embedding.
      groups: of the norm over so many channels.
      attend: (channels, "down", "middle" or "up") -> attention.
      scale_shift: the noise scales and shifts behind each block's second norm; False: it is added before it.
      resblock_updown: residual blocks double and halve; False: convolutions do.
      dropout: rate within residual blocks.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        nf: int,
        groups: Callable[[int], int],
        attend: Callable[[int, str], Attention],
        scale_shift: bool,
        resblock_updown: bool,
        dropout: float,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
    ):
        if nf < 4 or nf % 2:
            raise ValueError(f"nf={nf}: the time embedding is half sines, half cosines; choose an even nf of 4 or more")
        self.nf, self.groups, self.attend, self.act = nf, groups, attend, NONLINEARITIES["swish"]
        self.scale_shift, self.resblock_updown, self.dropout = scale_shift, resblock_updown, dropout
        self.make = {"dtype": dtype, "rngs": rngs}
        self.dropout_index = itertools.count()

    def block(self, c_in: int, c_out: int, resample: str | None = None) -> ResBlock:
        """The next residual block."""
        return ResBlock(
            c_in,
            c_out,
            c_time=4 * self.nf,
            groups=self.groups,
            act=self.act,
            dropout_rate=self.dropout,
            dropout_index=next(self.dropout_index),
            init_scale=0.0,
            shortcut_scale=1.0,
            skip_rescale=False,
            resample=resample,
            scale_shift=self.scale_shift,
            resample_shortcut=False,
            epsilon=EPSILON,
            **self.make,
        )

    def resize(self, c: int, way: str) -> nnx.Module:
        """What doubles ("up") or halves ("down") the size of c channels."""
        if self.resblock_updown:
            return self.block(c, c, way)
        if way == "up":
            return Upsample(c, c, conv=True, fir_kernel=None, **self.make)
        return Downsample(c, c, conv=True, fir_kernel=None, padding=(1, 1), **self.make)

    def norm(self, c: int) -> GroupNorm:
        """A norm over c channels."""
        return GroupNorm(c, self.groups(c), epsilon=EPSILON)


class ResidualEncoder(nnx.Module):
    """From the image down to the middle: residual blocks told the noise, attention behind each at chosen sizes.

    The embedding of c_noise has cosines first; the class, and what describes an augmentation, are added to it. Initial
    weights are drawn as in this project's other networks, not uniformly as in the originals; what ends a branch starts
    at nothing. Options are those of the networks built on it.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        bricks: Bricks,
        *,
        image_size: Sides,
        num_channels: int,
        ch_mult: Sequence[float],
        num_res_blocks: int,
        attn_resolutions: Sequence[int],
        label_dim: int = 0,
        augment_dim: int = 0,
    ):
        sizes = level_sizes(image_size, ch_mult, attn_resolutions, least=0.5)
        self.shape, self.nf = (*sides(image_size), num_channels), bricks.nf
        self.act = bricks.act
        self.label_dim, self.augment_dim = label_dim, augment_dim
        nf, make = bricks.nf, bricks.make

        of_time = make | {"dtype": precise(make["dtype"])}
        self.time0, self.time1 = linear(nf, 4 * nf, **of_time), linear(4 * nf, 4 * nf, **of_time)
        self.label = linear(label_dim, 4 * nf, use_bias=False, **of_time) if label_dim else None
        self.augment = linear(augment_dim, nf, use_bias=False, **of_time) if augment_dim else None

        widths = [int(nf * multiple) for multiple in ch_mult]
        c = widths[0]
        self.conv_in = conv3x3(num_channels, c, **make)
        self.down = nnx.List()
        for width, size in zip(widths, sizes, strict=True):
            level = Level()
            for _ in range(num_res_blocks):
                level.blocks.append(bricks.block(c, width))
                c = width
                if size in attn_resolutions:
                    level.attention.append(bricks.attend(c, "down"))
            if size != sizes[-1]:
                level.resize = bricks.resize(c, "down")
            self.down.append(level)

        self.middle = nnx.List([bricks.block(c, c), bricks.attend(c, "middle"), bricks.block(c, c)])

    @property
    def condition_sizes(self) -> dict[str, int]:
        """Features of each condition it takes, by name."""
        return {name: size for name, size in (("label", self.label_dim), ("augment", self.augment_dim)) if size}

    def encode(
        self, x: Float[Array, "b h w c"], time: Float[Array, "b e"], keys: Key[Array, " b"] | None
    ) -> tuple[Float[Array, "b h2 w2 c2"], list[Array]]:
        """The middle's features, and every feature map on the way there; `time` as `embed` gives it."""
        h = self.conv_in(x)
        skips = [h]
        for level in self.down:
            for i, block in enumerate(level.blocks):
                h = block(h, time, keys)
                h = level.attention[i](h) if level.attention else h
                skips.append(h)
            if level.resize is not None:
                h = resized(level, h, time, keys)
                skips.append(h)
        first, attend, second = self.middle
        return second(attend(first(h, time, keys)), time, keys), skips

    def embed(self, c_noise: Float[Array, " b"], condition: Mapping[str, Array]) -> Float[Array, "b e"]:
        """The activated time embedding, class and augmentation in it."""
        features = positional(c_noise, self.nf, adm=True)
        if self.augment is not None and "augment" in condition:
            features += self.augment(condition["augment"].astype(features.dtype))
        time = self.time1(self.act(self.time0(features)))
        if self.label is not None and "label" in condition:
            time += self.label(condition["label"].astype(time.dtype))
        return self.act(time)


def resized(level: Level, h: Array, time: Array, keys: Array | None) -> Array:
    """h at the size of the next level."""
    return level.resize(h, time, keys) if isinstance(level.resize, ResBlock) else level.resize(h)


class ResidualUNet(ResidualEncoder):
    """The encoder, and a decoder that takes up every feature map of it.

    Args, beside those of the networks that are built on this one:
      out_channels: of the output, which starts at nothing.
      groups, attend, scale_shift, resblock_updown: see `Bricks`.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        out_channels: int,
        nf: int,
        ch_mult: Sequence[float],
        num_res_blocks: int,
        attn_resolutions: Sequence[int],
        groups: Callable[[int], int],
        attend: Callable[[int, str], Attention],
        scale_shift: bool,
        resblock_updown: bool,
        label_dim: int,
        augment_dim: int = 0,
        centered: bool,
        dropout: float,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
    ):
        check_centered(centered)
        bricks = Bricks(
            nf=nf,
            groups=groups,
            attend=attend,
            scale_shift=scale_shift,
            resblock_updown=resblock_updown,
            dropout=dropout,
            dtype=dtype,
            rngs=rngs,
        )
        super().__init__(
            bricks,
            image_size=image_size,
            num_channels=num_channels,
            ch_mult=ch_mult,
            num_res_blocks=num_res_blocks,
            attn_resolutions=attn_resolutions,
            label_dim=label_dim,
            augment_dim=augment_dim,
        )
        sizes = shorter_sides(image_size, len(ch_mult))
        levels = [(int(nf * multiple), size) for multiple, size in zip(ch_mult, sizes, strict=True)]
        skips = [levels[0][0]]
        for width, size in levels:
            skips += [width] * (num_res_blocks + (size != levels[-1][1]))

        c = levels[-1][0]
        self.up = nnx.List()
        for width, size in reversed(levels):
            level = Level()
            for _ in range(num_res_blocks + 1):
                level.blocks.append(bricks.block(c + skips.pop(), width))
                c = width
                if size in attn_resolutions:
                    level.attention.append(attend(c, "up"))
            if size != sizes[0]:
                level.resize = bricks.resize(c, "up")
            self.up.append(level)

        self.norm_out = bricks.norm(c)
        self.conv_out = conv3x3(c, out_channels, scale=0.0, **bricks.make)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Num[Array, " b"],
        condition: Mapping[str, Array] | None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b h w c2"]:
        """The network's output for images x at noise c_noise; dropout where `keys` gives each example its key."""
        check_call(x, c_noise, condition, keys, self.shape, self.condition_sizes)
        time = self.embed(c_noise.astype(x.dtype), condition or {})
        h, skips = self.encode(x, time, keys)
        for level in self.up:
            for i, block in enumerate(level.blocks):
                h = block(jnp.concatenate([h, skips.pop()], axis=-1), time, keys)
                h = level.attention[i](h) if level.attention else h
            h = h if level.resize is None else resized(level, h, time, keys)

        return self.conv_out(self.act(self.norm_out(h))).astype(x.dtype)
