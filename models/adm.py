"""The U-Net of ADM (Dhariwal and Nichol 2021, arXiv:2105.05233) as EDM has it (their DhariwalUNet)."""

from collections.abc import Sequence

from flax import nnx
from jax.typing import DTypeLike

from limits import Sides
from models.attention import Attention
from models.checks import check_options
from models.layers import Keys
from models.residual_unet import EPSILON, ResidualUNet


class ADM(ResidualUNet):
    """Residual blocks that the noise scales and shifts, many-headed attention behind each block at chosen sizes.

    The defaults are EDM's ImageNet-64, but for its classes: 296 M parameters with label_dim 1000. OpenAI's own form,
    which differs in its norms and heads, is `models.guided_unet`.

    Args:
      image_size, num_channels: images are [b, height, width, num_channels]; one number is the side of square ones.
      out_channels: of the output, where not num_channels: twice as many with a learned variance.
      nf, ch_mult: channels, and their multiple at each resolution; each level halves the image.
      num_res_blocks: residual blocks a level on the way down; one more on the way up.
      attn_resolutions: shorter sides of the features that attend, behind each block; the smallest ones always do once.
      head_channels: of one attention head; what attends must have at least as many.
      label_dim: classes; condition["label"] is one-hot [b, label_dim], zeros where it is missing. 0: takes none.
      augment_dim: numbers that describe an augmentation; condition["augment"] likewise.
      centered: must be True: the preconditioning's c_in has scaled the images.
      dropout: rate within residual blocks, only where keys are given.
      dtype: of the computation ("bfloat16"); None: that of inputs and parameters. The output has the dtype of x.

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
        check_options(type(self), locals())

        def groups(channels: int) -> int:
            return min(channels // 4, 32)

        def attend(channels: int, _way: str) -> Attention:
            if channels < head_channels:
                raise ValueError(
                    f"{channels} channels are less than one attention head of head_channels={head_channels}: "
                    "choose a larger nf, or attn_resolutions at which ch_mult is larger"
                )
            heads = channels // head_channels
            options = {"groups": groups, "init_scale": 0.0, "skip_rescale": False, "epsilon": EPSILON}
            return Attention(channels, heads=heads, dtype=dtype, rngs=rngs, **options)

        super().__init__(
            image_size=image_size,
            num_channels=num_channels,
            out_channels=out_channels or num_channels,
            nf=nf,
            ch_mult=ch_mult,
            num_res_blocks=num_res_blocks,
            attn_resolutions=attn_resolutions,
            groups=groups,
            attend=attend,
            scale_shift=True,
            resblock_updown=True,
            label_dim=label_dim,
            augment_dim=augment_dim,
            centered=centered,
            dropout=dropout,
            dtype=dtype,
            rngs=rngs,
        )
