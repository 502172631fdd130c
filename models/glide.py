"""GLIDE's U-Net, which reads the text itself (Nichol et al. 2022, arXiv:2112.10741): text to image, larger, filled in.

It is guided-diffusion's, told the tokens of a text through a transformer that is trained with it. The transformer's
last token, projected, is added to the time embedding, and in every attention the keys and values of all its tokens
stand before those of the pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from limits import Sides, sides
from models.attention import attend, of_heads
from models.checks import Sizes, check_options
from models.layers import Keys, linear, precise
from models.residual_unet import EPSILON, ResidualUNet, heads_of_width

EMBEDDING = 1.0
"""The deviation of the initial embeddings of tokens and places, which is that of PyTorch for tokens."""


class Block(nnx.Module):
    """One layer of the transformer: attention of all tokens to all, then a map of each, both residual."""

    def __init__(self, width: int, heads: int, *, init_scale: float, dtype: DTypeLike | None, rngs: nnx.Rngs | Keys):
        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.norm0 = nnx.LayerNorm(width, epsilon=EPSILON, **make)
        self.qkv, self.out = linear(width, 3 * width, **make), linear(width, width, scale=init_scale, **make)
        self.norm1 = nnx.LayerNorm(width, epsilon=EPSILON, **make)
        self.widen, self.narrow = linear(width, 4 * width, **make), linear(4 * width, width, scale=init_scale, **make)
        self.heads = heads

    def __call__(self, h: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        """The next layer's tokens."""
        h = h + self.out(attend(*of_heads(self.qkv(self.norm0(h)), 3, self.heads, "legacy")))
        return h + self.narrow(jax.nn.gelu(self.widen(self.norm1(h)), approximate=False))


class TextTransformer(nnx.Module):
    """Features of a text's tokens, and one vector of the whole text: its last token's, projected.

    No token is masked in the attention; a place without a token has an embedding of its own, learned as the others'.
    The last place, whose features stand for the text, is thus one without a token in all but the longest texts.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        width: int,
        layers: int,
        heads: int,
        c_out: int,
        *,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
    ):
        if width % heads:
            raise ValueError(f"text_width={width} cannot attend in text_heads={heads} heads of equal width")
        self.token, self.position, self.padding = (
            nnx.Param(EMBEDDING * jax.random.normal(rngs.params(), (count, width)))
            for count in (vocabulary, context, context)
        )
        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.layers = nnx.List([Block(width, heads, init_scale=0.5 / layers, **make) for _ in range(layers)])
        self.norm = nnx.LayerNorm(width, epsilon=EPSILON, **make)
        self.project = linear(width, c_out, dtype=precise(dtype), rngs=rngs)

    def __call__(
        self, tokens: Int[Array, "b n"], mask: Bool[Array, "b n"]
    ) -> tuple[Float[Array, "b n d"], Float[Array, "b e"]]:
        """The features of all tokens, and the vector of the text; where `mask` is False there is no token.

        A number beyond the vocabulary gives NaN.
        """
        words = jnp.asarray(self.token[...]).at[tokens].get(mode="fill", fill_value=jnp.nan)
        h = jnp.where(mask[..., None], words + self.position[...], self.padding[...])
        for layer in self.layers:
            h = layer(h)
        h = self.norm(h)
        return h, self.project(h[:, -1])


class GLIDE(ResidualUNet):
    """The text-to-image network, its upsampler and its inpainting variants, by `upsampling` and `inpaint`.

    The defaults are those of the published base network: 385,030,726 parameters. `c_noise` is the index of the noise
    level, 0 to 999. The condition has these entries:

      "tokens" [b, tokens], "mask" [b, tokens]: the numbers of the text's tokens, and where there is one. Without the
        mask there is one everywhere; without both the network is told no text, which is the published unconditional
        network: no token at all.
      "low_res" [b, height / upsampling, width / upsampling, num_channels]: with `upsampling`, the picture in [-1, 1]
        that is enlarged bilinearly and joined to the input. Without it the enlarged one is 0.
      "known_image" [b, height, width, num_channels], "known_mask" [b, height, width, 1]: with `inpaint`, the picture
        and 1 where it is known; joined to the input are their product and the mask. Without both nothing is known.

    Args, beside those of `models.guided_unet.GuidedUNet` that it has too:
      tokens: how many a text has (text_ctx: 128). vocabulary: how many there are.
      text_width, text_layers, text_heads: of the transformer (xf_width, xf_layers, xf_heads).
      upsampling: how many times larger than "low_res" its images are (super_res: 4); 0: it is told none.
      low_res_noise: the largest deviation of the noise on "low_res" in training (`conditions.low_res`), which the
        network itself does not look at.
      inpaint: whether it is told what is known of the image.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        tokens: int,
        nf: int = 192,
        ch_mult: Sequence[float] = (1, 2, 3, 4),
        num_res_blocks: int = 3,
        attn_resolutions: Sequence[int] = (32, 16, 8),
        head_channels: int = 64,
        scale_shift: bool = True,
        resblock_updown: bool = True,
        learned_variance: bool = True,
        num_groups: int = 32,
        vocabulary: int = 50257,
        text_width: int = 512,
        text_layers: int = 16,
        text_heads: int = 8,
        upsampling: int = 0,
        low_res_noise: float = 0.0,
        inpaint: bool = False,
        centered: bool = True,
        dropout: float = 0.0,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        options = check_options(type(self), locals())
        if upsampling and any(side % upsampling for side in sides(image_size)):
            raise ValueError(f"image_size={image_size} is no multiple of upsampling={upsampling}")
        if low_res_noise and not upsampling:
            raise ValueError(
                f"low_res_noise={low_res_noise} is of the picture that an upsampler is told, and upsampling is 0; set "
                "upsampling, or low_res_noise to 0"
            )
        of_text = ("vocabulary", "tokens", "text_width", "text_layers", "text_heads")
        own = (*of_text, "upsampling", "low_res_noise", "inpaint", "head_channels", "learned_variance", "num_groups")
        super().__init__(
            **{name: value for name, value in options.items() if name not in own},
            out_channels=num_channels * (1 + learned_variance),
            in_channels=num_channels * (1 + inpaint + bool(upsampling)) + inpaint,
            groups=lambda channels: num_groups,
            heads=heads_of_width(head_channels),
            fused="legacy",
            c_text=text_width,
        )
        self.tokens, self.upsampling, self.inpaint = tokens, upsampling, inpaint
        self.transformer = TextTransformer(
            vocabulary, tokens, text_width, text_layers, text_heads, 4 * nf, dtype=dtype, rngs=rngs
        )

    @property
    def condition_sizes(self) -> Sizes:
        """The shape of each condition it takes, without that of the batch, by name."""
        height, width, channels = self.shape
        sizes: dict[str, tuple[int, ...]] = {"tokens": (self.tokens,), "mask": (self.tokens,)}
        if self.upsampling:
            sizes["low_res"] = (height // self.upsampling, width // self.upsampling, channels)
        if self.inpaint:
            sizes |= {"known_image": self.shape, "known_mask": (height, width, 1)}
        return sizes

    def read(self, condition: Mapping[str, Array], batch: int) -> dict[str, Array]:
        """The condition, with the words' features "text" and the vector "pooled" of the text in place of its tokens."""
        shape = batch, self.tokens
        tokens = condition.get("tokens", jnp.zeros(shape, jnp.int32))
        mask = condition.get("mask", jnp.full(shape, "tokens" in condition)).astype(bool)
        text, pooled = self.transformer(tokens, mask)
        return {**condition, "text": text, "pooled": pooled}

    def joined(self, x: Float[Array, "b h w c"], told: Mapping[str, Array]) -> Float[Array, "b h w c2"]:
        """The images, what is known of them, its mask, and the enlarged picture."""
        parts = [x]
        if self.inpaint:
            mask = told.get("known_mask", jnp.zeros_like(x[..., :1])).astype(x.dtype)
            parts += [told.get("known_image", jnp.zeros_like(x)).astype(x.dtype) * mask, mask]
        if self.upsampling and "low_res" in told:
            low = told["low_res"].astype(x.dtype)
            parts.append(jax.image.resize(low, x.shape, "bilinear", antialias=False))
        elif self.upsampling:
            parts.append(jnp.zeros_like(x))
        return jnp.concatenate(parts, axis=-1)
