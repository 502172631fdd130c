"""NCSN (Song and Ermon 2019, arXiv:1907.05600): the same RefineNet, told the noise by class-conditional norms."""

from flax import nnx
from jax.typing import DTypeLike

from limits import Sides
from models.checks import check_options
from models.layers import Keys
from models.ncsnv2 import NCSNv2


class NCSN(NCSNv2):
    """NCSNv2's stages with a norm before every convolution, refinement included, and mean pooling.

    c_noise is the index of the noise level, 0 the noisiest, rounded to a whole number: each of the num_scales levels
    has its own scales and shifts. Options as in NCSNv2; the output is the score itself unless scale_by_sigma is set.
    """

    class_conditional = True
    max_pool = False

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        num_scales: int,
        nf: int = 128,
        normalization: str = "instance++",
        nonlinearity: str = "elu",
        centered: bool = True,
        scale_by_sigma: bool = False,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        super().__init__(**check_options(type(self), locals()))
