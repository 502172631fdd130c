"""NCSNv2 (Song and Ermon 2020, arXiv:2006.09011): a dilated RefineNet that never sees the noise level."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Num

from limits import Sides, check_known, sides
from models.checks import check_call, check_options
from models.embeddings import sigma_of_level
from models.layers import NONLINEARITIES, Keys
from models.refinenet import NORMS, Levels, Make, Norm, Refine, Residual
from models.resolutions import check_halvings


class NCSNv2(nnx.Module):
    """The network for images up to 64 px: 29,694,083 parameters with three channels; NCSNv2_128, _256 go deeper.

    Every stage is two residual blocks; `stages` gives each a multiple of nf and a dilation. Stages of dilation 1 but
    the first halve the image, dilated ones keep it. Refinement blocks lead back, from the last stage to the first.

    Args:
      image_size, num_channels: images are [b, height, width, num_channels]; one number is the side of square ones.
      nf: channels of the first stage.
      normalization: "instance++", "instance", "group" or "variance".
      nonlinearity: "elu", "swish", "relu" or "lrelu".
      centered: data in [-1, 1]; False: in [0, 1], mapped to it.
      scale_by_sigma: divide the output by sigma, the network's only sight of the noise. With num_scales, c_noise is
        the index of a noise level, the noisiest first: sigma_max (sigma_min / sigma_max)^(index / (num_scales - 1)).
        Without, c_noise is sigma itself.
      dtype: of the computation ("bfloat16"); None: that of inputs and parameters. The output has the dtype of x.

    It has no dropout. Raises ValueError for options no network can be built from.
    """

    stages: Sequence[tuple[int, int]] = ((1, 1), (2, 1), (2, 2), (2, 4))
    class_conditional = False
    max_pool = True

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        nf: int = 128,
        normalization: str = "instance++",
        nonlinearity: str = "elu",
        centered: bool = True,
        scale_by_sigma: bool = True,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        num_scales: int | None = None,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        check_options(type(self), locals())
        check_known("normalization", normalization, NORMS)
        check_known("nonlinearity", nonlinearity, NONLINEARITIES)
        halvings = sum(dilation == 1 for _, dilation in self.stages[1:])
        check_halvings(image_size, halvings, f"{type(self).__name__} does")
        if self.class_conditional and not num_scales:
            raise ValueError(f"num_scales={num_scales}: its norms have a row for each noise level; give their number")
        if scale_by_sigma and num_scales and None in (sigma_min, sigma_max):
            raise ValueError(
                "scale_by_sigma with num_scales finds sigma from the index: give sigma_min and sigma_max "
                f"(received {sigma_min}, {sigma_max})"
            )
        self.shape = (*sides(image_size), num_channels)
        self.act, self.centered, self.scale_by_sigma = NONLINEARITIES[nonlinearity], centered, scale_by_sigma
        self.levels: tuple[Any, ...] | None = (sigma_min, sigma_max, num_scales) if num_scales else None
        self.classes = num_scales if num_scales and self.class_conditional else 0
        make = Make(normalization, self.classes, self.act, self.max_pool, dtype, rngs)

        widths = [nf * multiple for multiple, _ in self.stages]
        self.conv_in = make.conv(num_channels, nf)
        self.down: nnx.List = nnx.List()
        for i, (_, dilation) in enumerate(self.stages):
            first = Residual(widths[max(i - 1, 0)], widths[i], starts=i > 0, dilation=dilation, make=make)
            self.down.append(
                nnx.List([first, Residual(widths[i], widths[i], starts=False, dilation=dilation, make=make)])
            )
        self.up: nnx.List = nnx.List()
        below: list[int] = []
        for i in reversed(range(len(widths))):
            c_out = widths[max(i - 1, 0)]
            self.up.append(Refine([widths[i], *below], c_out, end=i == 0, make=make))
            below = [c_out]
        self.norm_out: Norm = make.norm(nf)
        self.conv_out = make.conv(nf, num_channels)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Num[Array, " b"],
        condition: None = None,
        *,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b h w c"]:
        """The network's output for images x; `keys` are accepted and not used."""
        check_call(x, c_noise, condition, keys, self.shape, {})
        levels: Levels = None
        if self.classes:
            levels = jnp.clip(jnp.round(c_noise), 0, self.classes - 1).astype(int)
        h = self.conv_in(x if self.centered else 2 * x - 1)
        stages = []
        for blocks in self.down:
            for block in blocks:
                h = block(h, levels)
            stages.append(h)
        inputs: list[Array] = []
        for refine in self.up:
            inputs = [refine([stages.pop(), *inputs], levels)]
        h = self.conv_out(self.act(self.norm_out(inputs[0], levels))).astype(x.dtype)
        if not self.scale_by_sigma:
            return h
        sigma = c_noise.astype(x.dtype)
        sigma = sigma if self.levels is None else sigma_of_level(sigma, *self.levels)
        return h / sigma[:, None, None, None]


class NCSNv2_128(NCSNv2):  # noqa: N801
    """For 96 to 128 px: one stage more, the dilated ones twice as wide."""

    stages = ((1, 1), (2, 1), (2, 1), (4, 2), (4, 4))


class NCSNv2_256(NCSNv2):  # noqa: N801
    """For 160 to 256 px: another stage that halves."""

    stages = ((1, 1), (2, 1), (2, 1), (2, 1), (4, 2), (4, 4))
