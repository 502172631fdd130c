"""The autoencoders of latent diffusion (Rombach et al. 2022, arXiv:2112.10752): images to a smaller grid, and back.

Both are built of the U-Nets' blocks, told nothing of a noise. The published downsampling pads one row below and one
column on the right, so that a latent looks further that way; every norm has an epsilon of 1e-6.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key, Num

from limits import Sides, sides
from models.attention import Attention
from models.blocks import ResBlock
from models.checks import check_centered, check_keys, check_options
from models.layers import NONLINEARITIES, GroupNorm, Keys, conv3x3, linear
from models.resample import Resample
from models.resolutions import level_sizes, level_widths
from models.unet import Level, Plan

ENDS = 1 / 3
"""Initial scale of what ends a branch or the network: the variance that PyTorch draws, as in the published training."""

Image = Float[Array, "b h w c"]
DropoutKeys = Key[Array, " b"] | None


class Same(nnx.Module):
    """What stands in the place of the middle's attention where there is none."""

    def __call__(self, x: Image) -> Image:
        """x as it is."""
        return x


class Encoder(nnx.Module):
    """From images down to the smallest size: residual blocks at each level, the middle, and the last convolution."""

    def __init__(self, plan: Plan, c_image: int, c_out: int):
        c = plan.c_first
        self.conv_in = conv3x3(c_image, c, **plan.make)
        self.down: nnx.List = nnx.List()
        for size, width in zip(plan.sizes, plan.widths, strict=True):
            way = "down" if size != plan.sizes[-1] else None
            self.down.append(_level(plan, c, width, plan.num_res_blocks, size, way))
            c = width
        self.middle = _middle(plan, c)
        self.norm_out = plan.norm(c)
        self.conv_out = conv3x3(c, c_out, scale=ENDS, **plan.make)

    def __call__(self, x: Image, keys: DropoutKeys) -> Image:
        """Features of the smallest size."""
        h = self.conv_in(x)
        for level in self.down:
            h = _through(level, h, keys)
        h = _through_middle(self.middle, h, keys)
        return self.conv_out(jax.nn.silu(self.norm_out(h)))


class Decoder(nnx.Module):
    """From the smallest size up to images: the middle, one more residual block a level than on the way down."""

    def __init__(self, plan: Plan, c_in: int, c_image: int, tanh_out: bool):
        c = plan.widths[-1]
        self.conv_in = conv3x3(c_in, c, **plan.make)
        self.middle = _middle(plan, c)
        self.up: nnx.List = nnx.List()
        for size, width in reversed(list(zip(plan.sizes, plan.widths, strict=True))):
            way = "up" if size != plan.sizes[0] else None
            self.up.append(_level(plan, c, width, plan.num_res_blocks + 1, size, way))
            c = width
        self.norm_out = plan.norm(c)
        self.conv_out = conv3x3(c, c_image, scale=ENDS, **plan.make)
        self.tanh_out = tanh_out

    def __call__(self, z: Image, keys: DropoutKeys) -> Image:
        """Images."""
        h = _through_middle(self.middle, self.conv_in(z), keys)
        for level in self.up:
            h = _through(level, h, keys)
        x = self.conv_out(jax.nn.silu(self.norm_out(h)))
        return jnp.tanh(x) if self.tanh_out else x


def _level(plan: Plan, c: int, width: int, blocks: int, size: int, way: str | None) -> Level:
    level = Level()
    for c_in in (c, *[width] * (blocks - 1)):
        level.blocks.append(plan.next_block(c_in, width))
        if size in plan.attn_resolutions:
            level.attention.append(plan.attend(width, "level", size))
    if way:
        level.resize = plan.next_resize(width, way)
    return level


def _middle(plan: Plan, c: int) -> nnx.List:
    return nnx.List([plan.next_block(c, c), plan.attend(c, "middle", plan.sizes[-1]), plan.next_block(c, c)])


def _through(level: Level, h: Array, keys: DropoutKeys) -> Array:
    for i, block in enumerate(level.blocks):
        h = block(h, None, keys)
        h = level.attention[i](h) if level.attention else h
    return level.resized(h, None, keys)


def _through_middle(middle: nnx.List, h: Array, keys: DropoutKeys) -> Array:
    first, attend, second = middle
    return second(attend(first(h, None, keys)), None, keys)


class Autoencoder(nnx.Module):
    """What the two have in common: encoder, decoder, and the 1x1 convolutions on both sides of the latent space.

    It takes images of any size that its levels can halve, not of `image_size` alone, which names those that attend.

    Args:
      image_size, num_channels: images are [b, height, width, num_channels]; one number is the side of square ones.
      nf, ch_mult: channels (ch), and their multiple at each resolution; the latent grid is 2^(levels - 1) times
        smaller. channels: those of each level in their place, with ch_mult ().
      num_res_blocks: residual blocks a level on the way down; one more on the way up.
      attn_resolutions: shorter sides of the features that attend, of images of `image_size`, behind each block.
      mid_attention: whether the middle attends, over all places at once.
      z_channels: of what the decoder takes. embed_dim: channels of the latents.
      quant_conv, post_quant_conv: whether a 1x1 convolution joins the two, behind the encoder and before the decoder.
      tanh_out: the decoder's output goes through tanh.
      num_groups: of every norm; published: 32.
      scaling_factor, shift_factor: what a published file says of its latents, which a diffusion model sees as
        (latent - shift_factor) * scaling_factor; a scaling_factor of 0 is unknown. The network uses neither.
      dropout: rate within residual blocks, only where keys are given; published: 0.
      centered: must be True, data in [-1, 1].
      dtype: of the computation ("bfloat16"); None: that of inputs and parameters. The output has the dtype of x.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        encoded: int,
        nf: int,
        ch_mult: Sequence[int],
        channels: Sequence[int],
        num_res_blocks: int,
        attn_resolutions: Sequence[int],
        mid_attention: bool,
        z_channels: int,
        embed_dim: int,
        quant_conv: bool,
        post_quant_conv: bool,
        tanh_out: bool,
        num_groups: int,
        dropout: float,
        centered: bool,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
        decoded: int = 1,
    ):
        check_centered(centered)
        if not (quant_conv and post_quant_conv) and z_channels != embed_dim:
            raise ValueError(
                f"z_channels={z_channels} and embed_dim={embed_dim}: only a quant_conv and a post_quant_conv change "
                "the channels; set both to True, or the two numbers equal"
            )
        widths = level_widths(nf, ch_mult, channels)
        option = "ch_mult" if ch_mult else "channels"
        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        part: dict[str, Any] = {"groups": lambda c: num_groups, "init_scale": ENDS, "skip_rescale": False, **make}

        def attend(c: int, place: str, size: int) -> Any:
            return Attention(c, **part) if mid_attention or place != "middle" else Same()

        plan = Plan(
            sizes=level_sizes(image_size, tuple(ch_mult or channels), attn_resolutions, option=option),
            widths=widths,
            c_first=nf,
            num_res_blocks=num_res_blocks,
            attn_resolutions=attn_resolutions,
            block=functools.partial(
                ResBlock,
                c_time=0,
                act=NONLINEARITIES["swish"],
                dropout_rate=dropout,
                shortcut_scale=1.0,
                **part,
            ),
            attend=attend,
            resize=functools.partial(Resample, conv=True, fir_kernel=None, padding=(0, 1), **make),
            norm=lambda c: GroupNorm(c, num_groups),
            make=make,
        )
        self.num_channels, self.embed_dim, self.factor = num_channels, embed_dim, 2 ** (len(widths) - 1)
        self.image_shape = (*sides(image_size), num_channels)
        self.encoder = Encoder(plan, num_channels, encoded * z_channels)
        self.quant_conv = linear(encoded * z_channels, encoded * embed_dim, **make) if quant_conv else None
        self.post_quant_conv = linear(embed_dim, z_channels, **make) if post_quant_conv else None
        self.decoder = Decoder(plan, z_channels, decoded * num_channels, tanh_out)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the latents of an image of `image_size`."""
        height, width, _ = self.image_shape
        return height // self.factor, width // self.factor, self.embed_dim

    def encode(self, x: Float[Array, "b h w c"], *, keys: Key[Array, " b"] | None = None) -> Float[Array, "b h2 w2 c2"]:
        """What the encoder says of images in [-1, 1], behind quant_conv; dropout where `keys` are given.

        Raises ValueError for images of other channels, or of a size that cannot be halved so often.
        """
        if x.shape[3] != self.num_channels or x.shape[1] % self.factor or x.shape[2] % self.factor:
            raise ValueError(
                f"this autoencoder takes images of {self.num_channels} channels whose sides are multiples of "
                f"{self.factor}, received {x.shape[1:]}"
            )
        check_keys(x, keys)
        h = self.encoder(x, keys)
        return (h if self.quant_conv is None else self.quant_conv(h)).astype(x.dtype)

    def decode(self, z: Float[Array, "b h w c"], *, keys: Key[Array, " b"] | None = None) -> Float[Array, "b h2 w2 c2"]:
        """Images of latents; no scaling factor is applied. Raises ValueError for latents of other channels."""
        if z.shape[3] != self.embed_dim:
            raise ValueError(f"the latents of this autoencoder have {self.embed_dim} channels, received {z.shape[1:]}")
        check_keys(z, keys)
        h = z if self.post_quant_conv is None else self.post_quant_conv(z)
        return self.decoder(h, keys).astype(z.dtype)


class AutoencoderKL(Autoencoder):
    """The autoencoder whose latents are drawn from a Gaussian: the encoder says its mean and log-variance.

    The defaults are Stable Diffusion's f8: 83,653,863 parameters. Args: see `Autoencoder`.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        nf: int = 128,
        ch_mult: Sequence[int] = (1, 2, 4, 4),
        channels: Sequence[int] = (),
        num_res_blocks: int = 2,
        attn_resolutions: Sequence[int] = (),
        mid_attention: bool = True,
        z_channels: int = 4,
        embed_dim: int = 4,
        quant_conv: bool = True,
        post_quant_conv: bool = True,
        tanh_out: bool = False,
        num_groups: int = 32,
        scaling_factor: float = 0.0,
        shift_factor: float = 0.0,
        dropout: float = 0.0,
        centered: bool = True,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        options = check_options(type(self), locals())
        super().__init__(**_without(options, "scaling_factor", "shift_factor"), encoded=2)

    def encode(self, x: Float[Array, "b h w c"], *, keys: Key[Array, " b"] | None = None) -> Float[Array, "b h2 w2 c2"]:
        """Mean, then log-variance, of the latents of images, joined on the last axis: 2 embed_dim channels.

        The log-variance is as the network says it; `autoencoders.posterior.Posterior` bounds it. Raises ValueError
        for images of other channels, or of a size that cannot be halved so often.
        """
        return super().encode(x, keys=keys)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Num[Array, " b"] | None = None,
        condition: Mapping[str, Array] | None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b h w c"]:
        """The images decoded from the means of their latents; of noise and condition it is told nothing."""
        return self.decode(self.encode(x, keys=keys)[..., : self.embed_dim], keys=keys)


class Codebook(nnx.Module):
    """The vectors of a vector-quantised latent space."""

    def __init__(self, size: int, features: int, *, rngs: nnx.Rngs | Keys):
        draws = jax.random.uniform(rngs.params(), (size, features), minval=-1 / size, maxval=1 / size)
        self.embedding = nnx.Param(draws)

    def __call__(self, h: Float[Array, "b h w c"]) -> tuple[Float[Array, "b h w c"], Int[Array, "b h w"]]:
        """The nearest vector of each place, and its number; the gradient of the vectors reaches the codebook alone.

        Distances are in at least float32 at the highest precision of the matrix product, since the rounding of an
        accelerator's default would choose other codes. They are computed row by row of the grid: those of a whole batch
        to a codebook of 8192 would take a gigabyte.
        """
        at_least_float32 = jnp.promote_types(h.dtype, jnp.float32)
        book = lax.stop_gradient(self.embedding[...]).astype(at_least_float32)
        half_norms = jnp.square(book).sum(axis=1) / 2

        def nearest(row: Array) -> Array:  # |h - e|^2 / 2 without |h|^2, which all share
            return jnp.argmin(half_norms - jnp.matmul(row, book.T, precision="highest"), axis=-1)

        rows = lax.stop_gradient(h).astype(at_least_float32).swapaxes(0, 1)
        codes = lax.map(nearest, rows).swapaxes(0, 1)
        return self.of_codes(codes), codes

    def of_codes(self, codes: Int[Array, "b h w"]) -> Float[Array, "b h w c"]:
        """The vectors of these numbers."""
        return self.embedding[...][codes]


def straight_through(h: Float[Array, "*d"], quantized: Float[Array, "*d"]) -> Float[Array, "*d"]:
    """The quantised vectors, exactly, whose gradient goes to h as if they were it (van den Oord et al. 2017, sec. 3.2).

    None of it reaches the codebook, which learns from its own loss. The published h + stop(quantized - h) is rounded.
    """
    return lax.stop_gradient(quantized) + (h - lax.stop_gradient(h))


class AutoencoderVQ(Autoencoder):
    """The autoencoder whose latents are vectors of a codebook, as in VQGAN (Esser et al. 2021, arXiv:2012.09841).

    What a diffusion model learns is h, before it is quantised: `encode` gives that, and `decode` quantises first. The
    defaults are latent diffusion's f4: 55,322,782 parameters.

    Args, beside those of `Autoencoder`:
      num_codes: vectors in the codebook (n_embed), each of embed_dim numbers.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        nf: int = 128,
        ch_mult: Sequence[int] = (1, 2, 4),
        channels: Sequence[int] = (),
        num_res_blocks: int = 2,
        attn_resolutions: Sequence[int] = (),
        mid_attention: bool = True,
        z_channels: int = 3,
        embed_dim: int = 3,
        num_codes: int = 8192,
        quant_conv: bool = True,
        post_quant_conv: bool = True,
        tanh_out: bool = False,
        num_groups: int = 32,
        scaling_factor: float = 0.0,
        shift_factor: float = 0.0,
        dropout: float = 0.0,
        centered: bool = True,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        options = check_options(type(self), locals())
        super().__init__(**_without(options, "scaling_factor", "shift_factor", "num_codes"), encoded=1)
        self.codebook = Codebook(num_codes, embed_dim, rngs=rngs)

    def quantize(self, h: Float[Array, "b h w c"]) -> tuple[Float[Array, "b h w c"], Int[Array, "b h w"]]:
        """The nearest vector of the codebook at each place of what `encode` gave, and its number.

        The gradient of the vectors reaches the codebook alone; `straight_through` makes of them what the decoder takes.
        """
        return self.codebook(h)

    def decode(
        self, z: Float[Array, "b h w c"], *, quantize: bool = True, keys: Key[Array, " b"] | None = None
    ) -> Float[Array, "b h2 w2 c2"]:
        """Images of latents, which are quantised first unless `quantize` is False; their gradient passes straight on.

        No scaling factor is applied. Raises ValueError for latents of other channels.
        """
        return super().decode(straight_through(z, self.quantize(z)[0]) if quantize else z, keys=keys)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Num[Array, " b"] | None = None,
        condition: Mapping[str, Array] | None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b h w c"]:
        """The images decoded from their quantised latents; of noise and condition it is told nothing."""
        return self.decode(self.encode(x, keys=keys), keys=keys)


def _without(options: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in names}
