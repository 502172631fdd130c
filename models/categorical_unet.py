"""A U-Net of images of categories, with the two outputs of D3PM (Austin et al. 2021, arXiv:2107.03006, App. B.9)."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key, Num

from limits import Sides, check_known
from models import logistic
from models.checks import check_options
from models.layers import Keys, quarter
from models.residual_unet import ResidualUNet, heads_of_width

HEADS = ("logits", "logistic")


class CategoricalUNet(ResidualUNet):
    """The U-Net of ADM between categories: images [b, h, w, c] of them to logits [b, h, w, c, K].

    What the network adds stands beside the category that it sees, from which it begins:

        head "logits":    one_hot(x) + f(x)
        head "logistic":  the truncated logistic of mean tanh(c_x + f0(x)) and logarithm of the scale f1(x)

    with c_x the centre of the category in [-1, 1]; where the mask is, there is none, and these are f alone. "logistic"
    knows the order of the categories and has two outputs for each number, whatever K is. Nothing here knows of a chain.

    Args, beside those of `models.guided_unet.GuidedUNet` that it has too:
      num_categories: K, of those that it predicts.
      masked: whether it reads one more, the mask, whose number is K.
      ordered: whether neighbouring categories are alike, as grey levels are: the first layer sees c_x. False: it sees
        one channel for each category, and "logistic" is refused.
      head: "logits" or "logistic".
      head_epsilon: what the published code adds within a logarithm of "logistic", 1e-6; 0: the exact logits.
      head_channels: of one attention head; None: one head.
      told_noise: whether it is told the noise; False: c_noise is not looked at.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        num_categories: int,
        masked: bool = False,
        ordered: bool = True,
        head: str = "logits",
        head_epsilon: float = 0.0,
        nf: int = 128,
        ch_mult: Sequence[float] = (1, 2, 2, 2),
        num_res_blocks: int = 2,
        attn_resolutions: Sequence[int] = (16,),
        head_channels: int | None = None,
        told_noise: bool = True,
        label_dim: int = 0,
        dropout: float = 0.1,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        options = check_options(type(self), locals())
        check_known("head", head, HEADS)
        if head == "logistic" and not ordered:
            raise ValueError("head='logistic' is of ordered categories; set ordered=True, or head='logits'")
        own = "num_categories masked ordered head head_epsilon head_channels told_noise"
        for name in own.split():
            del options[name]
        self.categories, self.masked, self.ordered = num_categories, masked, ordered
        self.head, self.head_epsilon, self.told_noise = head, head_epsilon, told_noise
        super().__init__(
            **options,
            in_channels=num_channels * ((1 if ordered else num_categories) + masked),
            out_channels=num_channels * (num_categories if head == "logits" else 2),
            groups=quarter,
            heads=heads_of_width(head_channels) if head_channels else lambda channels, way: 1,
        )

    def __call__(
        self,
        x: Int[Array, "b h w c"],
        c_noise: Num[Array, " b"],
        condition: Mapping[str, Array] | None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b h w c k"]:
        """The logits of each number's category; dropout where `keys` gives each example its key."""
        self.check(x, c_noise, condition, keys)
        label = (c_noise if self.told_noise else jnp.zeros_like(c_noise)).astype(self.time0.kernel[...].dtype)
        time = self.embed(label, condition or {})
        out = self.decode(*self.encode(self.seen(x), time, keys), time, keys)
        return self.of_output(out.astype(jnp.promote_types(out.dtype, jnp.float32)), x)

    def seen(self, x: Int[Array, "b h w c"]) -> Float[Array, "b h w c2"]:
        """What the first layer sees: centres and where the mask is, or one channel for each category."""
        if not self.ordered:
            return jax.nn.one_hot(x, self.categories + self.masked).reshape(*x.shape[:3], -1)
        if not self.masked:
            return logistic.centres(x, self.categories)
        mask = x == self.categories
        centres = jnp.where(mask, 0.0, logistic.centres(x, self.categories))
        return jnp.concatenate([centres, mask.astype(centres.dtype)], axis=-1)

    def of_output(self, out: Float[Array, "b h w c2"], x: Int[Array, "b h w c"]) -> Float[Array, "b h w c k"]:
        """The logits, of what the last layer gives for x."""
        if self.head == "logits":
            return out.reshape(*x.shape, self.categories) + jax.nn.one_hot(x, self.categories, dtype=out.dtype)
        mean, log_scale = jnp.split(out, 2, axis=-1)
        centres = jnp.where(x == self.categories, 0.0, logistic.centres(x, self.categories, out.dtype))
        return logistic.logits(jnp.tanh(centres + mean), log_scale, self.categories, epsilon=self.head_epsilon)
