"""The residual U-Net of signals: everything that it has of images is along one axis here."""

from collections.abc import Sequence
from functools import partial

from flax import nnx
from jax.typing import DTypeLike

from models.checks import check_axes, check_options
from models.layers import Keys, conv3, quarter
from models.residual_unet import ResidualUNet, heads_of_width
from models.resolutions import check_length


class UNet1D(ResidualUNet):
    """Signals [b, length, channels] told the noise: `ResidualUNet` with 3 taps for 3x3, and halves of one axis.

    Nothing in it knows a place: with `wrap` a signal that is turned around by a multiple of what the coarsest level
    stands for has its output turned around likewise, and without it that holds away from the ends.

    Args:
      shape: (length, channels) of one example.
      nf, ch_mult: channels, and their multiple at each resolution, the coarsest last.
      num_res_blocks: residual blocks a level on the way down; one more on the way up.
      attn_resolutions: lengths of the features that attend, behind each block; the shortest ones always do once.
      head_channels: of one head of attention.
      wrap: whether the ends of a signal are neighbours, as those of whole periods are; False: zeros lie beyond them.
      label_dim: classes; condition["label"] is one-hot [b, label_dim], zeros for none. 0: takes none.
      dropout: rate within residual blocks, only where keys are given.
      dtype: of the computation ("bfloat16"); None: that of inputs and parameters. The output has the dtype of x.

    Raises ValueError for options no network can be built from.
    """

    modalities = ("signal",)

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        nf: int = 64,
        ch_mult: Sequence[float] = (1, 2, 2, 4),
        num_res_blocks: int = 2,
        attn_resolutions: Sequence[int] = (),
        head_channels: int = 32,
        wrap: bool = False,
        label_dim: int = 0,
        dropout: float = 0.0,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        check_options(type(self), locals())
        check_axes(shape, "length", "channels")
        length, channels = shape
        check_length("shape", length, ch_mult)
        super().__init__(
            image_size=length,
            num_channels=channels,
            out_channels=channels,
            nf=nf,
            ch_mult=ch_mult,
            num_res_blocks=num_res_blocks,
            attn_resolutions=attn_resolutions,
            groups=quarter,
            heads=heads_of_width(head_channels),
            fused="new",
            conv=partial(conv3, wrap=wrap),
            label_dim=label_dim,
            dropout=dropout,
            dtype=dtype,
            rngs=rngs,
        )
        self.shape = tuple(shape)
