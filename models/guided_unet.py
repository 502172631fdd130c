"""The U-Net of OpenAI's improved-diffusion and guided-diffusion (arXiv:2102.09672, arXiv:2105.05233)."""

from collections.abc import Mapping, Sequence

from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from limits import Sides, check_known
from models.checks import check_options
from models.layers import Keys
from models.residual_unet import ResidualUNet, heads_of_width


class GuidedUNet(ResidualUNet):
    """The network of the published weights: 32 groups in every norm, heads by their number or their width.

    The defaults are those of both public codes. `c_noise` is the index of the noise level, 0 to n - 1, or in
    improved-diffusion, unless with rescale_timesteps False, 1000 / n of it. Latent diffusion's (Rombach et al. 2022,
    arXiv:2112.10752) is this network too, of latents in place of images.

    Args, with the public flag where its name is another:
      image_size, num_channels: images are [b, height, width, num_channels]; one number is the side of square ones.
      nf, ch_mult: channels (num_channels), and their multiple at each resolution (channel_mult), a half allowed.
      num_res_blocks: residual blocks a level on the way down; one more on the way up.
      attn_resolutions: shorter sides of the features that attend, behind each block; the smallest ones always do once.
      num_heads, num_heads_up: of attention, on the way up where another number (num_heads_upsample).
      head_channels: of one head, in place of the number of heads (num_head_channels).
      attention_order: of the features that one map gives for query, key and value: "legacy", a head's three beside each
        other, or "new", all queries first (use_new_attention_order). It is the order of trained weights, no more.
      scale_shift: the noise scales and shifts (use_scale_shift_norm); False: it is added.
      resblock_updown: residual blocks double and halve; False: convolutions do.
      learned_variance: the output has twice the channels: eps, then the v that interpolates between the smallest and
        the largest log-variance (learn_sigma).
      num_groups: of every norm, whose multiple each width must be; 32 in all that is published.
      label_dim: classes (class_cond: 1000); condition["label"] is one-hot [b, label_dim]. Published networks were never
        trained without it; where it is missing, nothing is added. 0: takes none.
      time_scale: what c_noise is multiplied by before its embedding: 1000 in openai/consistency_models, whose networks
        are told 1000 log(sigma) / 4, where EDM's preconditioning and the consistency models' own give log(sigma) / 4.
      centered: must be True, data in [-1, 1].
      dropout: rate within residual blocks, only where keys are given.
      dtype: of the computation ("bfloat16"); None: that of inputs and parameters. The output has the dtype of x.

    Raises ValueError for options no network can be built from.
    """

    def __init__(
        self,
        *,
        image_size: Sides,
        num_channels: int,
        nf: int = 128,
        ch_mult: Sequence[float] = (1, 2, 3, 4),
        num_res_blocks: int = 2,
        attn_resolutions: Sequence[int] = (16, 8),
        num_heads: int = 4,
        num_heads_up: int | None = None,
        head_channels: int | None = None,
        attention_order: str = "legacy",
        scale_shift: bool = True,
        resblock_updown: bool = False,
        learned_variance: bool = False,
        num_groups: int = 32,
        label_dim: int = 0,
        time_scale: float = 1.0,
        centered: bool = True,
        dropout: float = 0.0,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs | Keys,
    ):
        options = check_options(type(self), locals())
        check_known("attention_order", attention_order, ("legacy", "new"))

        def heads(channels: int, way: str) -> int:
            return num_heads_up if way == "up" and num_heads_up is not None else num_heads

        self.time_scale = time_scale
        own = ("num_heads", "num_heads_up", "head_channels", "attention_order", "learned_variance", "time_scale")
        for name in (*own, "num_groups"):
            del options[name]
        super().__init__(
            **options,
            out_channels=num_channels * (1 + learned_variance),
            groups=lambda channels: num_groups,
            heads=heads if head_channels is None else heads_of_width(head_channels),
            fused=attention_order,
        )

    def embed(self, c_noise: Float[Array, " b"], condition: Mapping[str, Array]) -> Float[Array, "b e"]:
        """The activated time embedding of `time_scale` c_noise, the class in it."""
        return super().embed(self.time_scale * c_noise, condition)
