"""The U-Net of DDPM (Ho et al. 2020) as Song et al. 2021 trained it."""

from collections.abc import Sequence

from flax import nnx
from jax.typing import DTypeLike

from limits import Sides
from models.checks import check_options
from models.layers import Keys
from models.ncsnpp import NCSNpp


class DDPM(NCSNpp):
    """NCSN++ without what came after DDPM, and with num_groups in every group norm: nf must be a multiple of them.

    Song et al. attend once a level on the way up, behind its last block: 35,218,947 parameters on CIFAR-10. Ho et al.,
    and diffusers with them, attend_each_block: 35,746,307. Options as in NCSNpp; labels are positional.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        nf: int = 128,
        ch_mult: Sequence[int] = (1, 2, 2, 2),
        channels: Sequence[int] = (),
        num_res_blocks: int = 2,
        attn_resolutions: Sequence[int] = (16,),
        attend_each_block: bool = False,
        num_groups: int = 32,
        dropout: float = 0.1,
        resamp_with_conv: bool = True,
        conditional: bool = True,
        centered: bool = True,
        nonlinearity: str = "swish",
        label_dim: int = 0,
        scale_by_sigma: bool = False,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        num_scales: int | None = None,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        super().__init__(**check_options(type(self), locals()), skip_rescale=False, resblock_type="ddpm")
