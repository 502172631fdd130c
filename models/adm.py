"""The U-Net of ADM (Dhariwal and Nichol 2021, arXiv:2105.05233) as EDM has it (their DhariwalUNet)."""

from collections.abc import Sequence

from flax import nnx
from jax.typing import DTypeLike

from limits import Sides
from models.checks import check_options
from models.layers import Keys, quarter
from models.residual_unet import ResidualUNet


class ADM(ResidualUNet):
    """Residual blocks that the noise scales and shifts, many-headed attention behind each block at chosen sizes.

    The defaults are EDM's ImageNet-64, but for its classes: 296 M parameters with label_dim 1000. OpenAI's own form,
    which differs in its norms and heads, is `models.guided_unet`.

    Args, beside those of `models.guided_unet.GuidedUNet` that it has too:
      out_channels: of the output, where not num_channels: twice as many with a learned variance.
      head_channels: of one attention head; what attends must have at least as many.
      augment_dim: numbers that describe an augmentation; condition["augment"] is [b, augment_dim], zeros where it is
        missing. 0: takes none.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
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
        options = check_options(type(self), locals())

        def heads(channels: int, way: str) -> int:
            if channels < head_channels:
                raise ValueError(
                    f"{channels} channels are less than one attention head of head_channels={head_channels}: "
                    "choose a larger nf, or attn_resolutions at which ch_mult is larger"
                )
            return channels // head_channels

        options |= {"out_channels": out_channels or num_channels}
        del options["head_channels"]
        super().__init__(**options, groups=quarter, heads=heads)
