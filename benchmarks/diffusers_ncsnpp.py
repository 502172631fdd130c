"""The NCSN++ of the diffusers library, at the size of ours: what its users would train instead.

Not the same function. The blocks are ours (residual blocks of BigGAN, group norm over a quarter of the channels, FIR
filters, attention, Fourier features of the level, the output divided by it), but images enter and leave at every size
as in the published 256-pixel networks (input_skip, output_skip), where the CIFAR-10 one adds a residual on the way in.
At CIFAR-10's size it has 61.89 M parameters and 21.73 GFLOP an image, against 62.76 M and 21.75.
"""

import inspect

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from models.functional import Network
from models.ncsnpp import NCSNpp
from models.resolutions import shorter_sides

NEEDED = {
    "embedding_type": "fourier",
    "fir": True,
    "progressive_input": "residual",
    "scale_by_sigma": True,
    "channels": (),
}


class Output(nn.Module):
    """A network of diffusers whose answer is the array itself."""

    def __init__(self, network: UNet2DModel):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """As the network does."""
        return self.network(x, level, return_dict=False)[0]


def like(network: Network) -> Output:
    """A network of random weights with the sizes of ours.

    Raises ValueError where ours is another kind of network than NCSN++ with Fourier features and filters.
    """
    if network.name != "ncsnpp":
        raise ValueError(f"model.name is {network.name!r}; diffusers' network is like ncsnpp")
    defaults = inspect.signature(NCSNpp.__init__).parameters.items()
    options = {name: parameter.default for name, parameter in defaults} | dict(network.options)
    unlike = [f"{name}={options[name]!r}" for name, value in NEEDED.items() if options[name] != value]
    if unlike:
        raise ValueError(f"diffusers' network is unlike ours with {', '.join(unlike)}; it has {NEEDED}")
    sizes = shorter_sides(options["image_size"], len(options["ch_mult"]))
    attends = [size in options["attn_resolutions"] for size in sizes]
    torch.manual_seed(0)
    return Output(
        UNet2DModel(
            sample_size=options["image_size"],
            in_channels=options["num_channels"],
            out_channels=options["num_channels"],
            block_out_channels=tuple(options["nf"] * multiple for multiple in options["ch_mult"]),
            layers_per_block=options["num_res_blocks"],
            down_block_types=tuple(f"{'Attn' if a else ''}SkipDownBlock2D" for a in attends),
            up_block_types=tuple(f"{'Attn' if a else ''}SkipUpBlock2D" for a in reversed(attends)),
            dropout=options["dropout"],
            time_embedding_type="fourier",
            freq_shift=0,
            flip_sin_to_cos=True,
            center_input_sample=False,
            downsample_padding=1,
            mid_block_scale_factor=2**0.5,
            act_fn="silu",
            attention_head_dim=None,  # one head, as ours
            norm_num_groups=None,
            norm_eps=1e-6,
        )
    )
