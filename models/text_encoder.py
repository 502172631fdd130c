"""The text tower of CLIP (Radford et al. 2021, arXiv:2103.00020, sec. 2.4) and of OpenCLIP: tokens to features.

Diffusion models are told a text by the features of its tokens, and some by one vector of the whole text, its pooled
features: those at the end token. Two rules say where that is. OpenAI's code, and the transformers library where a
config's `eos_token_id` is 2, take the place of the largest number: right for the published vocabularies, whose end
token is the last one, and wrong once tokens are added behind it, as textual inversion does. Otherwise it is the first
place of the end token, which is also what pads a text.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from models.checks import check_options
from models.layers import Keys, linear
from models.transformer import Transformer, layer_norm


class TextFeatures(NamedTuple):
    """What a tower says of texts, in at least float32.

    Attributes:
      text: the features of the tokens that a diffusion model is told, of the layer that was asked for.
      hidden: the embeddings, and what leaves each layer; the last has not gone through the final norm.
      last: the last layer's, through the final norm.
      pooled: `last` at the end token.
      projected: `pooled` projected to the space that text and images share; None for a tower without a projection.
    """

    text: Float[Array, "b n d"]
    hidden: tuple[Float[Array, "b n d"], ...]
    last: Float[Array, "b n d"]
    pooled: Float[Array, "b d"]
    projected: Float[Array, "b e"] | None


class TextEncoder(nnx.Module):
    """A causal transformer over the tokens of a text.

    It is not called as networks of images are: `network.module(variables)(ids)`. The defaults are those of CLIP-L,
    which Stable Diffusion 1 reads: 123,060,480 parameters.

    Args:
      vocabulary: tokens that there are. tokens: the most tokens of a text.
      text_width, text_layers, text_heads: features, layers, and heads of equal width.
      text_mlp: features inside each layer's map; None for four times the width.
      activation: "quick_gelu" (OpenAI) or "gelu" (LAION's OpenCLIP), see `models.transformer`.
      projection_dim: features of the projection of the pooled ones; 0: there is none.
      end_token: the number of the end token, at whose first place features are pooled; None: they are pooled at the
        largest number.
      key_bias: whether the keys have a bias, which has no effect; GLIDE's have none.
      dtype: of the computation ("bfloat16"); None: float32.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        vocabulary: int = 49408,
        tokens: int = 77,
        text_width: int = 768,
        text_layers: int = 12,
        text_heads: int = 12,
        text_mlp: int | None = None,
        activation: str = "quick_gelu",
        projection_dim: int = 0,
        end_token: int | None = None,
        key_bias: bool = True,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        check_options(type(self), locals())
        if end_token is not None and end_token >= vocabulary:
            raise ValueError(f"end_token={end_token} is none of the vocabulary={vocabulary} tokens, counted from 0")
        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.token = nnx.Param(0.02 * jax.random.normal(rngs.params(), (vocabulary, text_width)))
        self.position = nnx.Param(0.01 * jax.random.normal(rngs.params(), (tokens, text_width)))
        self.transformer = Transformer(
            text_width,
            text_layers,
            text_heads,
            mlp_width=text_mlp,
            activation=activation,
            key_bias=key_bias,
            **make,
        )
        self.norm = layer_norm(text_width, **make)
        mean = (text_width + projection_dim) / 2
        self.projection = (
            linear(text_width, projection_dim, scale=mean / text_width, use_bias=False, **make)
            if projection_dim
            else None
        )
        self.tokens, self.end_token, self.dtype = tokens, end_token, dtype

    def __call__(
        self,
        ids: Int[Array, "b n"],
        mask: Bool[Array, "b n"] | None = None,
        *,
        skip: int = 0,
        norm: bool = True,
    ) -> TextFeatures:
        """The features of texts; under jit, what is not used of them is not computed.

        Stable Diffusion 1 and 2 are told the last layer's features through the final norm, and attend to the padding
        too: no mask. The file of Stable Diffusion 2 has one layer more, which is skipped. XL is told those of the last
        layer but one as they are: skip=1, norm=False. A `clip_skip` of diffusers is added to `skip`.

        Args:
          ids: the tokens' numbers, at most `tokens` of them; a number beyond the vocabulary gives NaN.
          mask: where there is a token; the others are looked at by none. None: everywhere.
          skip: how many of the last layers `text` leaves out.
          norm: whether `text` goes through the final norm.

        Raises ValueError for more tokens than `tokens`, a mask of another shape, or a skip of more layers than it has.
        """
        self._check(ids, mask, skip)
        h = self.token[...].at[ids].get(mode="fill", fill_value=jnp.nan) + self.position[: ids.shape[1]]
        h = h if self.dtype is None else h.astype(self.dtype)
        hidden = self.transformer(h, causal=True, mask=mask)
        last = self.norm(hidden[-1])
        asked = hidden[-1 - skip]
        at_end = ids == self.end_token if self.end_token is not None else ids
        pooled = jnp.take_along_axis(last, jnp.argmax(at_end, axis=1)[:, None, None], axis=1)[:, 0]
        found = TextFeatures(
            self.norm(asked) if norm else asked,
            hidden,
            last,
            pooled,
            None if self.projection is None else self.projection(pooled),
        )
        return jax.tree.map(lambda part: part.astype(jnp.promote_types(part.dtype, jnp.float32)), found)

    def _check(self, ids: Array, mask: Array | None, skip: int) -> None:
        if ids.ndim != 2 or ids.shape[1] > self.tokens:
            raise ValueError(f"this tower takes the tokens of texts [b, {self.tokens} at most], received {ids.shape}")
        if mask is not None and mask.shape != ids.shape:
            raise ValueError(f"the mask says of each token whether it is one, {ids.shape}; received {mask.shape}")
        layers = len(self.transformer.layers)
        if not 0 <= skip <= layers:
            raise ValueError(f"skip={skip}: of this tower's {layers} layers so many cannot be left out")
