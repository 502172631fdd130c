"""GLIDE's recorded networks, read by the importer that users have."""

import functools
import json
from pathlib import Path

import numpy as np

from checkpoints import guided_diffusion, safetensors_file
from models.functional import Network, Variables

FOLDER = Path(__file__).parents[1] / "reference" / "networks" / "glide"
VARIANTS = {
    "": {},
    "inpaint": {"inpaint": True},
    "superres": {"upsampling": 4},
    "superres_inpaint": {"upsampling": 4, "inpaint": True},
}


def network(variant: str = "") -> Network:
    """That of the flags which the public code was given."""
    flags = json.loads((FOLDER / "flags.json").read_text())
    return Network.create(
        "glide",
        image_size=flags["image_size"],
        num_channels=flags["in_channels"],
        nf=flags["model_channels"],
        ch_mult=flags["channel_mult"],
        num_res_blocks=flags["num_res_blocks"],
        attn_resolutions=[flags["image_size"] // factor for factor in flags["attention_resolutions"]],
        head_channels=flags["num_head_channels"],
        scale_shift=flags["use_scale_shift_norm"],
        resblock_updown=flags["resblock_updown"],
        learned_variance=flags["out_channels"] == 2 * flags["in_channels"],
        vocabulary=flags["n_vocab"],
        tokens=flags["text_ctx"],
        text_width=flags["xf_width"],
        text_layers=flags["xf_layers"],
        text_heads=flags["xf_heads"],
        **VARIANTS[variant],
    )


@functools.cache
def arrays_of(variant: str = "") -> dict:
    """The tensors of a variant, whose first convolution alone is not the base's."""
    arrays = safetensors_file.load(FOLDER / "text2im.safetensors")
    others = safetensors_file.load(FOLDER / "variant_overrides.safetensors")
    of_variant = {name.removeprefix(f"{variant}/"): a for name, a in others.items() if name.startswith(f"{variant}/")}
    return arrays | of_variant


def variables(variant: str = "") -> Variables:
    """Its numbers."""
    return guided_diffusion.variables(variant, network(variant), arrays_of(variant))


def nhwc(image: np.ndarray) -> np.ndarray:
    """Images N, C, H, W as N, H, W, C."""
    return image.transpose(0, 2, 3, 1)
