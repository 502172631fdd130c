"""The U-Net of text-conditional latent diffusion (Rombach et al. 2022, arXiv:2112.10752), Stable Diffusion's."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from limits import Sides, sides
from models.blocks import ResBlock
from models.checks import Sizes, check_call, check_centered, check_even, check_options
from models.embeddings import positional
from models.layers import NONLINEARITIES, GroupNorm, Keys, linear, precise
from models.resample import Resample
from models.residual_unet import EPSILON
from models.resolutions import level_sizes
from models.spatial_transformer import SpatialTransformer
from models.unet import Plan, UNet

SIZE_NUMBERS = 6
"""Height and width of the original picture, top and left of its crop, height and width that are asked for."""


class CrossAttentionUNet(UNet):
    """Residual blocks told the noise, and behind each at chosen levels a transformer that is told a text or a class.

    The defaults are those of Stable Diffusion 1: 859,520,964 parameters with 4 channels. `c_noise` is the index of the
    noise level, 0 to n - 1. It takes latents of any size that its levels can halve, not of `image_size` alone.

    The condition has the entry "text" [b, n, text_dim], any number n of tokens' features, or "label", the class;
    "pooled" [b, pooled_dim] and "size" [b, 6] where pooled_dim is not 0; and "image" [b, h, w, image_channels] where
    image_channels is not 0. What is missing in it is zeros. A text of zeros, however long, tells nothing.

    Args:
      image_size, num_channels: x is [b, height, width, num_channels], and so is the output; one number is the side of a
        square.
      image_channels: of an image that it is told beside x, whose channels stand behind those of x. Stable Diffusion's
        inpainting has 5: the mask, 1 where it paints, and the latents of the picture without what the mask covers.
      nf, ch_mult: channels, and their multiple at each level.
      num_res_blocks: residual blocks a level on the way down; one more on the way up.
      depths: transformer blocks of each level behind each residual block; 0: none. Stable Diffusion XL: (0, 2, 10).
      middle_depth: of those in the middle.
      num_heads: of attention at each level, whose last number the middle has too, or one number for all of them. Heads
        64 channels wide are 5, 10, 20 and 20 of Stable Diffusion 2.
      text_dim: features of a token of the text: 768, 1024 and 2048 in Stable Diffusion 1, 2 and XL. 0: a class is told.
      pooled_dim: features of the whole text, which with six numbers on size and crop is added to the time embedding:
        1280 in Stable Diffusion XL. 0: neither is told.
      size_features: of the embedding of each of the six numbers.
      label_dim: classes, in place of a text; condition["label"] is one-hot [b, label_dim], zeros where no class is
        told, which the network knows as one class more: 1000 in latent diffusion's ImageNet, whose table has 1001 rows.
      label_features: of the one token that a class is.
      linear_projections: how published files keep the maps at the ends of the transformers: as matrices (Stable
        Diffusion 2 and XL), or as 1x1 convolutions. The function is the same.
      num_groups: of every norm, whose multiple each width must be; 32 in all that is published.
      centered: must be True, data in [-1, 1], or latents.
      dropout: rate within residual blocks, only where keys are given.
      dtype: of the computation ("bfloat16"); None: that of inputs and parameters. The output has the dtype of x.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        image_channels: int = 0,
        nf: int = 320,
        ch_mult: Sequence[int] = (1, 2, 4, 4),
        num_res_blocks: int = 2,
        depths: Sequence[int] = (1, 1, 1, 0),
        middle_depth: int = 1,
        num_heads: Sequence[int] = (8,),
        text_dim: int = 768,
        pooled_dim: int = 0,
        size_features: int = 256,
        label_dim: int = 0,
        label_features: int = 512,
        linear_projections: bool = False,
        num_groups: int = 32,
        centered: bool = True,
        dropout: float = 0.0,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        check_options(type(self), locals())
        check_centered(centered)
        check_even("nf", nf)
        check_even("size_features", size_features)
        if len(depths) != len(ch_mult) or len(num_heads) not in (1, len(ch_mult)):
            raise ValueError(
                f"depths={tuple(depths)} and num_heads={tuple(num_heads)} of {len(ch_mult)} levels "
                f"(ch_mult={tuple(ch_mult)}): give one depth a level, and one number of heads a level or one for all"
            )
        if bool(text_dim) == bool(label_dim):
            raise ValueError(
                f"text_dim={text_dim} and label_dim={label_dim}: the network is told either a text or a class; set one "
                "of them to 0"
            )
        sizes, widths = level_sizes(image_size, ch_mult, ()), [nf * multiple for multiple in ch_mult]
        heads = tuple(num_heads) * (len(sizes) // len(num_heads))
        by_size = {size: level for level, size in enumerate(sizes)}
        self.shape, self.nf, self.act = (*sides(image_size), num_channels), nf, NONLINEARITIES["swish"]
        self.image_channels, self.factor = image_channels, 2 ** (len(sizes) - 1)
        self.text_dim, self.pooled_dim, self.label_dim = text_dim, pooled_dim, label_dim
        self.size_features = size_features

        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        of_time: dict[str, Any] = make | {"dtype": precise(dtype)}
        self.time0, self.time1 = linear(nf, 4 * nf, **of_time), linear(4 * nf, 4 * nf, **of_time)
        c_added = pooled_dim + SIZE_NUMBERS * size_features
        self.added0 = linear(c_added, 4 * nf, **of_time) if pooled_dim else None
        self.added1 = linear(4 * nf, 4 * nf, **of_time) if pooled_dim else None
        table: dict[str, Any] = {
            "scale": (label_dim + 1 + label_features) / 2,
            "use_bias": False,
        }  # the variance of each entry is 1
        self.label = linear(label_dim + 1, label_features, **table, **of_time) if label_dim else None

        part: dict[str, Any] = {"groups": lambda channels: num_groups, **make}

        def transformer(channels: int, place: str, size: int) -> SpatialTransformer:
            level = by_size[size]
            return SpatialTransformer(
                channels,
                c_text=text_dim or label_features,
                depth=middle_depth if place == "middle" else depths[level],
                heads=heads[level],
                **part,
            )

        plan = Plan(
            sizes=sizes,
            widths=widths,
            c_first=nf,
            num_res_blocks=num_res_blocks,
            attn_resolutions=[size for size, depth in zip(sizes, depths, strict=True) if depth],
            block=functools.partial(
                ResBlock,
                c_time=4 * nf,
                act=self.act,
                dropout_rate=dropout,
                init_scale=0.0,
                shortcut_scale=1.0,
                skip_rescale=False,
                epsilon=EPSILON,
                **part,
            ),
            attend=transformer,
            resize=functools.partial(Resample, conv=True, fir_kernel=None, padding=(1, 1), **make),
            norm=lambda channels: GroupNorm(channels, num_groups, epsilon=EPSILON),
            make=make,
        )
        skips = self.build_down(plan, num_channels + image_channels)
        self.build_up(plan, skips, num_channels, init_scale=0.0)

    def check(self, x: Array, c_noise: Array, condition: Mapping[str, Array] | None, keys: Array | None) -> None:
        """Raise ValueError unless it can be called so: latents may have any size that can be halved so often."""
        size = x.shape[1:3]
        sizes: dict[str, Any] = dict(self.condition_sizes)
        if self.image_channels:
            sizes["image"] = (*size, self.image_channels)
        check_call(x, c_noise, condition, keys, (*size, self.shape[-1]), sizes)
        if any(side % self.factor for side in size):
            raise ValueError(
                f"this network takes latents whose sides are multiples of {self.factor}, received {x.shape[1:]}"
            )

    @property
    def condition_sizes(self) -> Sizes:
        """The shape of each condition it takes, without that of the batch, by name; None is any length."""
        sizes: dict[str, tuple[int | None, ...]] = (
            {"label": (self.label_dim,)} if self.label_dim else {"text": (None, self.text_dim)}
        )
        if self.pooled_dim:
            sizes |= {"pooled": (self.pooled_dim,), "size": (SIZE_NUMBERS,)}
        return sizes | ({"image": (None, None, self.image_channels)} if self.image_channels else {})

    def read(self, condition: Mapping[str, Array], batch: int) -> dict[str, Array]:
        """The condition, in which the text is never missing; a class is the one token of it."""
        if self.label is None:
            return {"text": jnp.zeros((batch, 1, self.text_dim)), **condition}
        label = condition.get("label", jnp.zeros((batch, self.label_dim)))
        none = 1 - label.sum(axis=-1, keepdims=True)
        return {**condition, "text": self.label(jnp.concatenate([label, none], axis=-1))[:, None]}

    def joined(self, x: Float[Array, "b h w c"], told: Mapping[str, Array]) -> Float[Array, "b h w c2"]:
        """The latents, and behind them the image that is told beside them."""
        if not self.image_channels:
            return x
        image = told.get("image", jnp.zeros((*x.shape[:-1], self.image_channels)))
        return jnp.concatenate([x, image.astype(x.dtype)], axis=-1)

    def embed(self, c_noise: Float[Array, " b"], condition: Mapping[str, Array]) -> Float[Array, "b e"]:
        """The activated time embedding, pooled text and sizes in it."""
        time = self.time1(self.act(self.time0(positional(c_noise, self.nf, adm=True))))
        if self.added0 is not None and self.added1 is not None:
            pooled, size = (
                condition.get(name, jnp.zeros((len(c_noise), features))).astype(c_noise.dtype)
                for name, features in (("pooled", self.pooled_dim), ("size", SIZE_NUMBERS))
            )
            waves = positional(size.reshape(-1), self.size_features, adm=True).reshape(len(size), -1)
            time += self.added1(self.act(self.added0(jnp.concatenate([pooled, waves], axis=-1))))
        return self.act(time)
