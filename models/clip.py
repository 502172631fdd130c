"""CLIP (Radford et al. 2021, arXiv:2103.00020): how well an image and a text fit; plain, or of noisy images.

Both towers end in one space, where the logit of a pair is exp(logit_scale) times the cosine of their angle. The CLIP of
GLIDE (Nichol et al. 2022, arXiv:2112.10741, sec. 2.4) was trained on noised images and is told the noise level, so that
its gradient guides at every level.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key, Num

from limits import Sides, check_known, sides
from models.checks import check_centered, check_keys, check_options
from models.layers import Keys, linear
from models.text_encoder import TextEncoder
from models.transformer import Transformer, layer_norm

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and deviation of red, green and blue in [0, 1] by which both publications normalise images."""

FIRST_SCALE = np.log(1 / 0.07)
"""The initial logit scale (sec. 2.5 there)."""


class ImageTower(nnx.Module):
    """A vision transformer (Dosovitskiy et al. 2021, arXiv:2010.11929): patches to one vector, that of the first token.

    The first token is learned; where the network is told the noise, there is one for each noise level.
    """

    def __init__(
        self,
        image_size: Sides,
        num_channels: int,
        patch_size: int,
        width: int,
        layers: int,
        heads: int,
        c_out: int,
        num_scales: int,
        *,
        mlp_width: int | None,
        activation: str,
        key_bias: bool,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
    ):
        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        height, wide = (side // patch_size for side in sides(image_size))
        deviation = width**-0.5
        self.patches = nnx.Conv(
            num_channels,
            width,
            (patch_size, patch_size),
            strides=patch_size,
            padding="VALID",
            use_bias=False,
            **make,
        )
        self.first = nnx.Param(deviation * jax.random.normal(rngs.params(), (num_scales or 1, width)))
        self.position = nnx.Param(deviation * jax.random.normal(rngs.params(), (1 + height * wide, width)))
        self.norm_in = layer_norm(width, **make)
        self.transformer = Transformer(
            width, layers, heads, mlp_width=mlp_width, activation=activation, key_bias=key_bias, **make
        )
        self.norm_out = layer_norm(width, **make)
        self.projection = linear(width, c_out, scale=(width + c_out) / (2 * width), use_bias=False, **make)

    def __call__(self, x: Float[Array, "b h w c"], c_noise: Num[Array, " b"] | None) -> Float[Array, "b e"]:
        """Features of images that are normalised."""
        patches = self.patches(x).reshape(len(x), -1, self.position.shape[1])
        first = jnp.broadcast_to(self._first(c_noise).astype(patches.dtype), (len(x), patches.shape[-1]))
        h = jnp.concatenate([first[:, None], patches], axis=1) + self.position[...].astype(patches.dtype)
        h = self.transformer(self.norm_in(h), causal=False)[-1]
        return self.projection(self.norm_out(h[:, 0]))

    def _first(self, c_noise: Num[Array, " b"] | None) -> Float[Array, "_ d"]:
        """The first token, between the levels' at a noise between two levels, and an end's beyond them."""
        table = self.first[...]
        if c_noise is None:
            return table
        place = jnp.clip(c_noise.astype(table.dtype), 0, len(table) - 1)
        below = jnp.floor(place)
        rest = (place - below)[:, None]
        lower, upper = below.astype(jnp.int32), jnp.ceil(place).astype(jnp.int32)
        return (1 - rest) * table[lower] + rest * table[upper]


class CLIP(nnx.Module):
    """Two towers, of images and of texts, and the scale of their logits.

    The defaults are those of OpenAI's ViT-B/32, 151,277,313 parameters. Images are in [-1, 1] and are normalised here
    by the mean and deviation of those of the publication; noised ones likewise.

    Args:
      image_size, num_channels: images are [b, height, width, 3].
      patch_size: side of a patch, which divides both sides of the image.
      image_width, image_layers, image_heads, image_mlp: of the image tower, as `models.text_encoder` has them.
      vocabulary, tokens, text_width, text_layers, text_heads, text_mlp, end_token: of the text tower, likewise.
      activation, key_bias: of both.
      projection_dim: features of the common space.
      num_scales: noise levels that it is told, c_noise being their index from 0, and between two levels a number
        between; GLIDE: 1000. 0: it is told none, as OpenAI's.
      centered: must be True, data in [-1, 1].
      dtype: of the computation ("bfloat16"); None: that of inputs and parameters. Features and logits are at least
        float32.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        image_size: Sides = 224,
        num_channels: int = 3,
        patch_size: int = 32,
        image_width: int = 768,
        image_layers: int = 12,
        image_heads: int = 12,
        image_mlp: int | None = None,
        vocabulary: int = 49408,
        tokens: int = 77,
        text_width: int = 512,
        text_layers: int = 12,
        text_heads: int = 8,
        text_mlp: int | None = None,
        activation: str = "quick_gelu",
        projection_dim: int = 512,
        end_token: int | None = None,
        key_bias: bool = True,
        num_scales: int = 0,
        centered: bool = True,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        check_options(type(self), locals())
        check_centered(centered)
        if num_channels != len(PIXEL_MEAN):
            raise ValueError(f"num_channels={num_channels}: CLIP looks at images in red, green and blue")
        if not projection_dim:
            raise ValueError("projection_dim=0: both towers of CLIP end in one space, which has at least one feature")
        if any(side % patch_size for side in sides(image_size)):
            raise ValueError(f"image_size={image_size} is no multiple of patch_size={patch_size}")
        make: dict[str, Any] = {"activation": activation, "key_bias": key_bias, "dtype": dtype, "rngs": rngs}
        self.image = ImageTower(
            image_size,
            num_channels,
            patch_size,
            image_width,
            image_layers,
            image_heads,
            projection_dim,
            num_scales,
            mlp_width=image_mlp,
            **make,
        )
        self.text = TextEncoder(
            vocabulary=vocabulary,
            tokens=tokens,
            text_width=text_width,
            text_layers=text_layers,
            text_heads=text_heads,
            text_mlp=text_mlp,
            projection_dim=projection_dim,
            end_token=end_token,
            **make,
        )
        self.logit_scale = nnx.Param(jnp.asarray(FIRST_SCALE, jnp.float32))
        self.shape, self.told = (*sides(image_size), num_channels), bool(num_scales)

    def encode_image(self, x: Float[Array, "b h w c"], c_noise: Num[Array, " b"] | None = None) -> Float[Array, "b e"]:
        """The features of images in [-1, 1], of any length, at noise c_noise where the network is told the noise.

        Raises ValueError for images of another shape, or a noise where it is told none or the other way round.
        """
        if x.shape[1:] != self.shape:
            raise ValueError(f"this CLIP takes images of shape {self.shape}, received {x.shape[1:]}")
        if (c_noise is not None) != self.told:
            known = "is told the noise of every image" if self.told else "is told no noise"
            received = "no c_noise" if c_noise is None else f"c_noise of shape {c_noise.shape}"
            raise ValueError(f"this CLIP {known}: received {received}")
        mean, deviation = (jnp.asarray(numbers, x.dtype) for numbers in (PIXEL_MEAN, PIXEL_STD))
        found = self.image(((x + 1) / 2 - mean) / deviation, c_noise)
        return found.astype(jnp.promote_types(found.dtype, jnp.float32))

    def encode_text(self, ids: Int[Array, "b n"]) -> Float[Array, "b e"]:
        """The features of texts, of any length; what pads them behind the end token is looked at by none."""
        projected = self.text(ids).projected
        assert projected is not None  # projection_dim is not 0
        return projected

    def agreement(self, image: Float[Array, "*b e"], text: Float[Array, "*b e"]) -> Float[Array, "*b"]:
        """The logit of each image with its text, by their features: exp(logit_scale) times the cosine."""
        return jnp.exp(self.logit_scale[...]) * jnp.sum(unit(image) * unit(text), axis=-1)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Num[Array, " b"] | None = None,
        condition: Mapping[str, Array] | None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b k"]:
        """The logit of each image with each text of `condition["tokens"]` [k, n]; it has no dropout.

        A condition's "mask" is not needed: no token looks at the padding behind it. c_noise is left unread where the
        network is told no noise.

        Raises ValueError for images of another shape, or a condition without tokens.
        """
        check_keys(x, keys)
        for name in condition or {}:
            check_known("condition", name, ("tokens", "mask"))
        if not condition or "tokens" not in condition:
            raise ValueError("CLIP compares images with texts: the condition must hold their tokens [k, n] as 'tokens'")
        image = self.encode_image(x, c_noise if self.told else None)
        return self.agreement(image[:, None], self.encode_text(condition["tokens"])[None])


def unit(features: Float[Array, "*b e"]) -> Float[Array, "*b e"]:
    """The features at length 1."""
    return features / jnp.linalg.norm(features, axis=-1, keepdims=True)
