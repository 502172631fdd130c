"""Unconditional U-Nets of diffusers (UNet2DModel), DDPM's, NCSN++'s and latent diffusion's; and ours as such folders.

A folder holds config.json and diffusion_pytorch_model.safetensors (or .bin, a pickle read without running it), and
beside them, or beside their folder unet/, the scheduler that says what noise the network was trained on. DDPM's
timestep is our noise label, the index 0 to n - 1 of its chain; NCSN++'s timestep is sigma and its output, divided by
sigma, the score. Latent diffusion's U-Net is ADM's, `guided_unet`, whose map of query, key and value is three there.
The weights are the averaged ones; the folders hold no others.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checkpoints import diffusers_scheduler
from checkpoints.diffusers_folder import AUTOENCODERS, load_weights, network_folder, root_of, save_folder
from checkpoints.diffusers_names import apart, fused, new_names, their_module
from checkpoints.diffusers_scheduler import Scheduler, load_json
from checkpoints.diffusers_unet import config_of, level_channels, network_options
from checkpoints.layout import Place, check_network, effective_options, fill, places_of, spill
from checkpoints.published import Weights
from models.functional import Network


def places(network: Network) -> dict[str, Place]:
    """Where diffusers keeps each of the network's arrays."""

    def place(module: str, array: str) -> Place:
        if network.name == "ncsnpp":  # the sum of the images ends in what diffusers calls its output layers
            last = len(level_channels(effective_options(network))) - 1
            module = re.sub(rf"up\.{last}\.(norm|conv)", r"\1_out", module)
        theirs = their_module(module)
        return Place(f"{theirs}.{array}", 2 if re.search(r"conv_shortcut|down_blocks.*skip_conv", theirs) else 0)

    return places_of(network, place)


def read(path: str | Path, network: Network) -> Weights:
    """The weights of a diffusers folder, for the network that the config names.

    Raises:
      ValueError: a folder without weights, another network than the config's, or weights that do not fit.
      OSError: no such folder.
    """
    folder = network_folder(Path(path))
    config, name, options = _network(folder)
    check_network(str(folder), network, name, options)
    file, arrays = load_weights(folder)
    arrays = new_names(str(file), arrays)
    arrays = fused(arrays) if network.name == "guided_unet" else arrays
    variables = fill(str(file), network, places(network), arrays)
    return Weights(variables["params"], variables["params"], variables["fixed"], 0, {"config": config}, file)


def scheduler_of(path: str | Path) -> Scheduler | None:
    """The scheduler beside a folder's network; None where the folder has none.

    Raises:
      ValueError: a scheduler, or a pipeline, that has no counterpart here.
      OSError: no such folder.
    """
    folder = network_folder(Path(path), told=True)
    file = diffusers_scheduler.find(folder)
    return diffusers_scheduler.read(file) if file else None


def describe(path: str | Path, *, latents: bool = False) -> tuple[str, dict[str, Any], Scheduler]:
    """(name, options) of our network for a folder, and its scheduler: all that a config says of a model.

    With `latents` it is the network of a pipeline that has an autoencoder beside it.

    Raises:
      ValueError: a network, a scheduler or a pipeline that has no counterpart here, two that do not fit each other, or
        a folder without a scheduler; the message names file and field.
      OSError: no such folder.
    """
    folder = network_folder(Path(path), beside=AUTOENCODERS if latents else ())
    _, name, options = _network(folder)
    scheduler = scheduler_of(folder)
    if scheduler is None:
        raise ValueError(
            f"{folder} does not say what noise its network was trained on: there is no {diffusers_scheduler.FILE} in "
            'it or in scheduler/; write one, {"_class_name": "DDPMScheduler"} for the 1000 levels of Ho et al., or '
            "take a config that says it"
        )
    if scheduler.is_chain != (name in ("ddpm", "guided_unet")):
        kind = "fourier" if name == "ncsnpp" else "positional"
        told = "the index of a level" if scheduler.is_chain else "sigma"
        raise ValueError(
            f"{folder / 'config.json'} has time_embedding_type {kind!r}, and the {scheduler.name} of {scheduler.file} "
            f"tells the network {told}; the two do not belong together"
        )
    if scheduler.is_chain and not options["centered"]:
        raise ValueError(
            f"{folder / 'config.json'} has center_input_sample True, for data in [0, 1], and a {scheduler.name} goes "
            "with data in [-1, 1]"
        )
    return name, options, scheduler


def _network(folder: Path) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """config.json, and (name, options) of our network for it; the message of a ValueError names the file."""
    config = load_json(folder / "config.json")
    try:
        return config, *network_options(config)
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from None


def autoencoder_of(path: str | Path) -> Path | None:
    """The folder of the autoencoder on whose latents a folder's network works; None where it works on pictures.

    Raises:
      ValueError: a pipeline that has no counterpart here.
      OSError: no such folder.
    """
    root = root_of(network_folder(Path(path), told=True))
    return next((root / name for name in AUTOENCODERS if (root / name / "config.json").exists()), None)


def write(
    path: str | Path,
    network: Network,
    variables: Mapping[str, Mapping[str, Any]],
    scheduler: Mapping[str, Any] | None = None,
) -> None:
    """Write a network and its variables {"params", "fixed"} as a folder for UNet2DModel.from_pretrained.

    `scheduler`: the fields of the scheduler_config.json beside it, for SCHEDULER.from_pretrained of the same folder.

    Raises:
      ValueError: a network that diffusers does not have, or variables that are not the network's.
    """
    config = config_of(network)
    arrays = apart(spill(network, places(network), variables))
    save_folder(
        path, arrays, {"config.json": config} | ({} if scheduler is None else {diffusers_scheduler.FILE: scheduler})
    )
