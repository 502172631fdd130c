"""The U-Net of ADM (Dhariwal and Nichol 2021, arXiv:2105.05233) as EDM has it (their DhariwalUNet)."""

import itertools
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Num

from models.attention import Attention
from models.blocks import ResBlock
from models.checks import check_call, check_centered, check_dropout
from models.embeddings import positional
from models.layers import NONLINEARITIES, GroupNorm, Keys, conv3x3, linear
from models.ncsnpp import Level, level_sizes

EPSILON = 1e-5  # of every norm, where the networks of Song et al. have 1e-6


class ADM(nnx.Module):
    """Residual blocks that the noise scales and shifts, many-headed attention behind each block at chosen sizes.

    The defaults are EDM's ImageNet-64, but for its classes: 296 M parameters with label_dim 1000. Initial weights are
    drawn as in this project's other networks, not uniformly as in the original.

    Args:
      image_size, num_channels: images are [b, image_size, image_size, num_channels].
      out_channels: of the output, where not num_channels: twice as many with a learned variance.
      nf, ch_mult: channels, and their multiple at each resolution; each level halves the image.
      num_res_blocks: residual blocks a level on the way down; one more on the way up.
      attn_resolutions: sizes at which features attend, behind each block; the smallest one always does once.
      head_channels: of one attention head; what attends must have at least as many.
      label_dim: classes; condition["label"] is one-hot [b, label_dim], zeros where it is missing. 0: takes none.
      augment_dim: numbers that describe an augmentation; condition["augment"] likewise.
      centered: must be True: the preconditioning's c_in has scaled the images.
      dropout: rate within residual blocks, only where keys are given.
      dtype: of the computation; None: that of inputs and parameters. The output has the dtype of x.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        image_size: int,
        num_channels: int,
        out_channels: int | None = None,
        nf: int = 192,
        ch_mult: Sequence[int] = (1, 2, 3, 4),
        num_res_blocks: int = 3,
        attn_resolutions: Sequence[int] = (32, 16, 8),
        head_channels: int = 64,
        label_dim: int = 0,
        augment_dim: int = 0,
        centered: bool = True,
        dropout: float = 0.1,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        check_centered(centered)
        check_dropout(dropout)
        sizes = level_sizes(image_size, ch_mult, attn_resolutions)
        if num_res_blocks < 1:
            raise ValueError(f"num_res_blocks={num_res_blocks}: each level needs at least 1")
        if nf < 4 or nf % 2:
            raise ValueError(f"nf={nf}: the time embedding is half sines, half cosines; choose an even nf of 4 or more")
        self.shape, self.nf = (image_size, image_size, num_channels), nf
        self.act = NONLINEARITIES["swish"]
        self.label_dim, self.augment_dim = label_dim, augment_dim
        make = {"dtype": dtype, "rngs": rngs}
        dropout_index = itertools.count()

        def groups(channels: int) -> int:
            return min(channels // 4, 32)

        def block(c_in: int, c_out: int, resample: str | None = None) -> ResBlock:
            return ResBlock(
                c_in,
                c_out,
                c_time=4 * nf,
                groups=groups,
                act=self.act,
                dropout_rate=dropout,
                dropout_index=next(dropout_index),
                init_scale=0.0,
                shortcut_scale=1.0,
                skip_rescale=False,
                resample=resample,
                scale_shift=True,
                resample_shortcut=False,
                epsilon=EPSILON,
                **make,
            )

        def attend(channels: int) -> Attention:
            if channels < head_channels:
                raise ValueError(
                    f"{channels} channels are less than one attention head of head_channels={head_channels}: "
                    "choose a larger nf, or attn_resolutions at which ch_mult is larger"
                )
            heads = channels // head_channels
            options = {"groups": groups, "init_scale": 0.0, "skip_rescale": False, "epsilon": EPSILON}
            return Attention(channels, heads=heads, **options, **make)

        self.time0, self.time1 = linear(nf, 4 * nf, **make), linear(4 * nf, 4 * nf, **make)
        self.label = linear(label_dim, 4 * nf, use_bias=False, **make) if label_dim else None
        self.augment = linear(augment_dim, nf, use_bias=False, **make) if augment_dim else None

        c = nf * ch_mult[0]
        self.conv_in = conv3x3(num_channels, c, **make)
        skips = [c]
        self.down = nnx.List()
        for i, size in enumerate(sizes):
            level = Level()
            for _ in range(num_res_blocks):
                level.blocks.append(block(c, nf * ch_mult[i]))
                c = nf * ch_mult[i]
                if size in attn_resolutions:
                    level.attention.append(attend(c))
                skips.append(c)
            if size != sizes[-1]:
                level.resize = block(c, c, "down")
                skips.append(c)
            self.down.append(level)

        self.middle = nnx.List([block(c, c), attend(c), block(c, c)])

        self.up = nnx.List()
        for i, size in reversed(list(enumerate(sizes))):
            level = Level()
            for _ in range(num_res_blocks + 1):
                level.blocks.append(block(c + skips.pop(), nf * ch_mult[i]))
                c = nf * ch_mult[i]
                if size in attn_resolutions:
                    level.attention.append(attend(c))
            if size != sizes[0]:
                level.resize = block(c, c, "up")
            self.up.append(level)

        self.norm_out = GroupNorm(c, groups(c), epsilon=EPSILON)
        self.conv_out = conv3x3(c, out_channels or num_channels, scale=0.0, **make)

    @property
    def condition_sizes(self) -> dict[str, int]:
        """Features of each condition it takes, by name."""
        return {name: size for name, size in (("label", self.label_dim), ("augment", self.augment_dim)) if size}

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
        time = self._time(c_noise.astype(x.dtype), condition or {})

        h = self.conv_in(x)
        skips = [h]
        for level in self.down:
            for i, block in enumerate(level.blocks):
                h = block(h, time, keys)
                h = level.attention[i](h) if level.attention else h
                skips.append(h)
            if level.resize is not None:
                h = level.resize(h, time, keys)
                skips.append(h)

        first, attend, second = self.middle
        h = second(attend(first(h, time, keys)), time, keys)

        for level in self.up:
            for i, block in enumerate(level.blocks):
                h = block(jnp.concatenate([h, skips.pop()], axis=-1), time, keys)
                h = level.attention[i](h) if level.attention else h
            h = h if level.resize is None else level.resize(h, time, keys)

        return self.conv_out(self.act(self.norm_out(h))).astype(x.dtype)

    def _time(self, c_noise: Array, condition: Mapping[str, Array]) -> Array:
        features = positional(c_noise, self.nf, adm=True)
        if self.augment is not None and "augment" in condition:
            features += self.augment(condition["augment"].astype(features.dtype))
        time = self.time1(self.act(self.time0(features)))
        if self.label is not None and "label" in condition:
            time += self.label(condition["label"].astype(time.dtype))
        return self.act(time)
