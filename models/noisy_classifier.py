"""The classifier of noisy images of ADM (Dhariwal and Nichol 2021, arXiv:2105.05233, sec. 4.3, App. H)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Num

from limits import Sides, check_known, sides
from models.checks import check_call, check_options
from models.layers import GroupNorm, Keys, linear, quarter
from models.residual_unet import EPSILON, ResidualUNet, heads_of_width

POOLS = ("attention", "mean")


class AttentionPool(nnx.Module):
    """One vector of a feature map: its mean attends to every place and to itself (Radford et al. 2021, sec. 2.4).

    The tokens are the mean and the pixels, a trained position added to each; only the mean asks, in heads of equal
    width, so the cost is linear in the pixels. Logits and softmax are in at least float32.
    """

    def __init__(
        self,
        pixels: int,
        channels: int,
        c_out: int,
        *,
        heads: int,
        scale: float,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
    ):
        tokens = jax.random.normal(rngs.params(), (pixels + 1, channels))
        self.position = nnx.Param(tokens * channels**-0.5)
        self.query, self.key, self.value = (linear(channels, channels, dtype=dtype, rngs=rngs) for _ in range(3))
        self.out = linear(channels, c_out, scale=scale, dtype=dtype, rngs=rngs)
        self.heads = heads

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b c2"]:
        """Pool."""
        b, _, _, c = x.shape
        pixels = x.reshape(b, -1, c)
        tokens = jnp.concatenate([pixels.mean(axis=1, keepdims=True), pixels], axis=1)
        tokens = tokens + self.position[...].astype(tokens.dtype)
        query = self.query(tokens[:, 0]).reshape(b, self.heads, -1)
        key, value = (part(tokens).reshape(b, tokens.shape[1], self.heads, -1) for part in (self.key, self.value))
        at_least_float32 = jnp.promote_types(query.dtype, jnp.float32)
        query = query * query.shape[-1] ** -0.5
        weights = jax.nn.softmax(jnp.einsum("bhc,bkhc->bhk", query, key, preferred_element_type=at_least_float32))
        return self.out(jnp.einsum("bhk,bkhc->bhc", weights.astype(value.dtype), value).reshape(b, c))


class NoisyClassifier(ResidualUNet):
    """ADM's U-Net down to its middle, then one vector of all places, then the classes.

    The noise scales and shifts, blocks halve the image, attention has heads of one width. Groups of the norms are a
    quarter of the channels, 32 at most: the published ones from 128 channels on. The defaults are the published ones
    for images of 64 pixels but for their depth, there 4. The logits begin at nothing, every class as likely.

    Images are noised and of about unit size at every noise level, as `sde_lib.classifier` scales them.

    Args, beside those of `models.guided_unet.GuidedUNet` that it has too:
      label_dim: classes.
      nf, num_res_blocks: classifier_width and classifier_depth, blocks a level.
      pool: "attention", or "mean", over all places behind the last norm.
      centered: data in [-1, 1], or in [0, 1]: both are classified as they come.
      dtype: of the computation; None: that of inputs and parameters. The logits are at least float32.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        label_dim: int,
        nf: int = 128,
        ch_mult: Sequence[float] = (1, 2, 3, 4),
        num_res_blocks: int = 2,
        attn_resolutions: Sequence[int] = (32, 16, 8),
        head_channels: int = 64,
        pool: str = "attention",
        centered: bool = True,
        dropout: float = 0.0,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        options = check_options(type(self), locals())
        check_known("pool", pool, POOLS)
        if label_dim < 2:
            raise ValueError(f"label_dim={label_dim}: a classifier tells 2 or more classes apart")
        heads = heads_of_width(head_channels)
        for name in ("label_dim", "head_channels", "pool", "centered"):  # it is told no class, and takes either range
            del options[name]
        super().__init__(**options, out_channels=None, groups=quarter, heads=heads)
        c, pixels = int(nf * ch_mult[-1]), math.prod(side >> (len(ch_mult) - 1) for side in sides(image_size))
        self.classes, self.pool = label_dim, pool
        self.norm_out = GroupNorm(c, quarter(c), epsilon=EPSILON)
        make: dict[str, Any] = {"scale": 0.0, "dtype": dtype, "rngs": rngs}
        if pool == "attention":
            self.head: nnx.Module = AttentionPool(pixels, c, label_dim, heads=heads(c, "middle"), **make)
        else:
            self.head = linear(c, label_dim, **make)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Num[Array, " b"],
        condition: Mapping[str, Array] | None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b k"]:
        """The logits of images x at noise c_noise; it takes no condition. Dropout where `keys` are given."""
        check_call(x, c_noise, condition, keys, self.shape, self.condition_sizes)
        h, _ = self.encode(x, self.embed(c_noise.astype(x.dtype), {}), keys)
        h = self.act(self.norm_out(h))
        logits = self.head(h if self.pool == "attention" else h.mean(axis=(1, 2)))
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
