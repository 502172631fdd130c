"""The U-Net of Nichol and Dhariwal 2021 (arXiv:2102.09672) and of ADM, as far as OpenAI's form and EDM's agree.

Its downward half and middle stand by themselves too: ADM's classifier is built on them (`models.noisy_classifier`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from limits import Sides, sides
from models.attention import Attention
from models.blocks import ResBlock
from models.checks import check_centered, check_even
from models.embeddings import positional
from models.layers import NONLINEARITIES, GroupNorm, Keys, conv3x3, linear, precise
from models.resample import Resample
from models.resolutions import level_sizes
from models.unet import Plan, UNet

EPSILON = 1e-5  # of every norm, where the networks of Song et al. have 1e-6


def heads_of_width(width: int) -> Callable[[int, str], int]:
    """The number of attention heads of that width in so many channels; ValueError where they do not divide."""

    def heads(channels: int, way: str) -> int:
        if channels % width:
            raise ValueError(f"{channels} channels cannot attend in heads of head_channels={width}")
        return channels // width

    return heads


class ResidualUNet(UNet):
    """Residual blocks told the noise, attention behind each at chosen sizes, without pyramids.

    The embedding of c_noise has cosines first; the class, and what describes an augmentation, are added to it. Initial
    weights are drawn as in this project's other networks, not uniformly as in the originals; what ends a branch starts
    at nothing.

    Args, beside those of the networks that are built on this one:
      out_channels: of the output, which starts at nothing; None: there is no way up.
      groups: of the norm over so many channels.
      heads: (channels, "down", "middle" or "up") -> the number of attention heads.
      fused: how one map gives query, key and value, see `Attention`.
      in_channels: of what the first layer sees, where images are joined with others; None: num_channels.
      c_text: features of the words that the attention sees too, see `Attention`; 0: there are none.
      scale_shift: the noise scales and shifts behind each block's second norm; False: it is added before it.
      resblock_updown: residual blocks double and halve; False: convolutions do.
      conv: makes the convolutions of (c_in, c_out).
      attention: (way, size) -> what makes the attention there, with the arguments of `Attention`.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        out_channels: int | None,
        nf: int,
        ch_mult: Sequence[float],
        num_res_blocks: int,
        attn_resolutions: Sequence[int],
        groups: Callable[[int], int],
        heads: Callable[[int, str], int],
        fused: str | None = None,
        in_channels: int | None = None,
        c_text: int = 0,
        scale_shift: bool = True,
        resblock_updown: bool = True,
        conv: Callable[..., nnx.Conv] = conv3x3,
        attention: Callable[[str, int], Callable[..., Any]] = lambda way, size: Attention,
        label_dim: int = 0,
        augment_dim: int = 0,
        centered: bool = True,
        dropout: float,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | Keys,
    ):
        check_centered(centered)
        check_even("nf", nf)
        widths = [int(nf * multiple) for multiple in ch_mult]
        sizes = level_sizes(image_size, ch_mult, attn_resolutions, least=0.5)
        self.shape, self.nf, self.act = (*sides(image_size), num_channels), nf, NONLINEARITIES["swish"]
        self.label_dim, self.augment_dim = label_dim, augment_dim

        make: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        of_time: dict[str, Any] = make | {"dtype": precise(dtype)}
        self.time0, self.time1 = linear(nf, 4 * nf, **of_time), linear(4 * nf, 4 * nf, **of_time)
        self.label = linear(label_dim, 4 * nf, use_bias=False, **of_time) if label_dim else None
        self.augment = linear(augment_dim, nf, use_bias=False, **of_time) if augment_dim else None

        part: dict[str, Any] = {"groups": groups, "init_scale": 0.0, "skip_rescale": False, "epsilon": EPSILON, **make}
        plan = Plan(
            sizes=sizes,
            widths=widths,
            c_first=widths[0],
            num_res_blocks=num_res_blocks,
            attn_resolutions=attn_resolutions,
            block=partial(
                ResBlock,
                c_time=4 * nf,
                act=self.act,
                dropout_rate=dropout,
                shortcut_scale=1.0,
                scale_shift=scale_shift,
                resample_shortcut=False,
                conv=conv,
                **part,
            ),
            attend=lambda c, way, size: attention(way, size)(
                c, heads=heads(c, way), fused=fused, c_text=c_text, **part
            ),
            resize=None if resblock_updown else partial(Resample, conv=True, fir_kernel=None, padding=(1, 1), **make),
            norm=lambda channels: GroupNorm(channels, groups(channels), epsilon=EPSILON),
            make=make,
            conv=conv,
        )
        skips = self.build_down(plan, in_channels or num_channels)
        if out_channels is not None:
            self.build_up(plan, skips, out_channels, init_scale=0.0)

    def embed(self, c_noise: Float[Array, " b"], condition: Mapping[str, Array]) -> Float[Array, "b e"]:
        """The activated time embedding; class, augmentation and the "pooled" text of `read` are in it."""
        features = positional(c_noise, self.nf, adm=True)
        if self.augment is not None and "augment" in condition:
            features += self.augment(condition["augment"].astype(features.dtype))
        time = self.time1(self.act(self.time0(features)))
        if self.label is not None and "label" in condition:
            time += self.label(condition["label"].astype(time.dtype))
        if "pooled" in condition:
            time += condition["pooled"].astype(time.dtype)
        return self.act(time)
