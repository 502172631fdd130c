"""Our models of latents as folders of diffusers' LDMPipeline: unet/, vqvae/, scheduler/ and model_index.json.

The pipeline divides what its scheduler ends with by one number, the autoencoder's scaling factor, and decodes it. Its
autoencoder has the name vqvae whatever its class.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from checkpoints import diffusers, diffusers_autoencoder, diffusers_folder, diffusers_scheduler, diffusers_unet
from checkpoints.layout import effective_options
from models.functional import Network

CLASS = "LDMPipeline"
AUTOENCODER = "vqvae"


class Part(NamedTuple):
    """A network and its variables {"params", "fixed"}."""

    network: Network
    variables: Mapping[str, Mapping[str, Any]]


def scaled(autoencoder: Network, scale: Any, shift: Any) -> Network:
    """The autoencoder that says of its latents that they are scaled so.

    Raises:
      ValueError: latents that are moved, or scaled channel by channel.
    """
    if np.ndim(scale) or np.any(shift):
        raise ValueError(
            f"data.latent_scale is {scale} and data.latent_shift {shift}; diffusers' pipelines scale latents "
            "by one number and move none"
        )
    options = effective_options(autoencoder) | {"scaling_factor": float(scale), "shift_factor": 0.0}
    return Network.create(autoencoder.name, **options)


def write(path: Path, unet: Part, autoencoder: Part, scheduler: Mapping[str, Any]) -> None:
    """Write the folder for LDMPipeline.from_pretrained.

    Raises:
      ValueError: a network that diffusers does not have, or variables that are not the network's.
    """
    diffusers.write(path / "unet", *unet)
    diffusers_autoencoder.write(path / AUTOENCODER, *autoencoder)
    (path / "scheduler").mkdir()
    classes = {
        "unet": diffusers_unet.config_of(unet.network)["_class_name"],
        AUTOENCODER: diffusers_autoencoder.config_of(autoencoder.network)["_class_name"],
        "scheduler": scheduler["_class_name"],
    }
    index = {"_class_name": CLASS} | {part: ["diffusers", kind] for part, kind in classes.items()}
    for file, fields in (
        (path / "scheduler" / diffusers_scheduler.FILE, scheduler),
        (path / diffusers_folder.PIPELINE, index),
    ):
        file.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
