"""The U-Net of video (Ho et al. 2022, arXiv:2204.03458, sec. 3): space and time by turns, each as if alone.

Convolutions are 1x3x3 and attention in space sees one frame, so that all of these are the image network's own, of
frames in place of images; what joins the frames is attention in time, of each place to itself in all frames.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Num

from models.attention import Attention, attend, of_heads
from models.blocks import recomputed, residual
from models.checks import check_axes, check_options
from models.layers import GroupNorm, Keys, linear, quarter
from models.residual_unet import ResidualUNet, heads_of_width
from models.resolutions import level_sizes
from models.rotary import angles_of, rotated


class SpaceTimeAttention(nnx.Module):
    """Attention within each frame, where `space`, then of each place to the same place in all frames.

    Frames lie one after another on the first axis, so many of each clip. Their distance in time reaches the logits by
    rotary positions, where the published network learns a bias of each distance; both are relative.
    """

    remat = False

    def __init__(
        self,
        channels: int,
        *,
        frames: int,
        space: bool,
        heads: int,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
        **options: Any,
    ):
        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.space = Attention(channels, heads=heads, **make, **options) if space else None
        self.norm = GroupNorm(channels, options["groups"](channels), epsilon=options["epsilon"])
        self.qkv = linear(channels, 3 * channels, scale=0.2, **make)
        self.out = linear(channels, channels, scale=options["init_scale"], **make)
        self.heads, self.frames, self.skip_rescale = heads, frames, options["skip_rescale"]
        angles_of(1, channels // heads)  # a width that is odd is refused here

    @recomputed
    def __call__(self, x: Float[Array, "b*t h w c"], text: None = None) -> Float[Array, "b*t h w c"]:
        """Attend in space, then in time; there is no text."""
        x = x if self.space is None else self.space(x)
        n, h, w, c = x.shape
        of_place = self.norm(x).reshape(-1, self.frames, h * w, c).swapaxes(1, 2).reshape(-1, self.frames, c)
        query, key, value = of_heads(self.qkv(of_place), 3, self.heads, "new")
        angles = angles_of(self.frames, c // self.heads)
        attended = self.out(attend(rotated(query, angles), rotated(key, angles), value))
        return residual(
            x, attended.reshape(-1, h * w, self.frames, c).swapaxes(1, 2).reshape(n, h, w, c), self.skip_rescale
        )


class UNet3D(ResidualUNet):
    """Clips [b, frames, height, width, channels], or volumes whose slices are the frames, told the noise.

    Norms and dropout are of each frame by itself, as in the published joint training on clips and single images. The
    number of frames stays the same at every level.

    Args:
      shape: (frames, height, width, channels) of one example; of a volume its depth first.
      nf, ch_mult: channels, and their multiple at each resolution of the frames, the coarsest last.
      num_res_blocks: residual blocks a level on the way down; one more on the way up.
      attn_resolutions: shorter sides of the features that attend in space, behind each block; the smallest ones always
        do once. In time features attend behind each block of every level.
      head_channels: of one head of attention; an even number.
      label_dim: classes; condition["label"] is one-hot [b, label_dim], zeros for none. 0: takes none.
      centered: must be True, data in [-1, 1].
      dropout: rate within residual blocks, only where keys are given.
      dtype: of the computation ("bfloat16"); None: that of inputs and parameters. The output has the dtype of x.

    Raises ValueError for options no network can be built from.
    """

    modalities = ("clip", "volume")

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        nf: int = 64,
        ch_mult: Sequence[float] = (1, 2, 4),
        num_res_blocks: int = 2,
        attn_resolutions: Sequence[int] = (),
        head_channels: int = 32,
        label_dim: int = 0,
        centered: bool = True,
        dropout: float = 0.0,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        check_options(type(self), locals())
        check_axes(shape, "frames", "height", "width", "channels")
        frames, height, width, channels = shape
        sizes = level_sizes((height, width), ch_mult, attn_resolutions, least=0.5)

        def attention(way: str, size: int) -> Any:
            return partial(SpaceTimeAttention, frames=frames, space=way == "middle" or size in attn_resolutions)

        super().__init__(
            image_size=(height, width),
            num_channels=channels,
            out_channels=channels,
            nf=nf,
            ch_mult=ch_mult,
            num_res_blocks=num_res_blocks,
            attn_resolutions=sizes,
            groups=quarter,
            heads=heads_of_width(head_channels),
            fused="new",
            attention=attention,
            label_dim=label_dim,
            centered=centered,
            dropout=dropout,
            dtype=dtype,
            rngs=rngs,
        )
        self.shape = tuple(shape)

    def __call__(
        self,
        x: Float[Array, "b t h w c"],
        c_noise: Num[Array, " b"],
        condition: Mapping[str, Array] | None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b t h w c"]:
        """The network's output for clips x at noise c_noise; dropout where `keys` gives each example its key."""
        self.check(x, c_noise, condition, keys)
        frames = x.shape[1]
        time = jnp.repeat(self.embed(c_noise.astype(x.dtype), condition or {}), frames, axis=0)
        each = None if keys is None else jax.vmap(lambda key: jax.random.split(key, frames))(keys).reshape(-1)
        h, skips = self.encode(x.reshape(-1, *x.shape[2:]), time, each)
        return self.decode(h, skips, time, each).reshape(x.shape).astype(x.dtype)
