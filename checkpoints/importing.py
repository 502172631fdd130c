"""One door to all published formats: the file says by its first bytes what it is."""

import importlib
import json
from pathlib import Path

from checkpoints import compvis, compvis_unet, diffusers_autoencoder, diffusers_text_unet, guided_diffusion, run_file
from checkpoints.published import Weights
from models import AUTOENCODERS, MATCHERS, TEXT_ENCODERS
from models.functional import Network


def detect(path: Path, network: str = "") -> str:
    """The format of a file or folder: the name of the module here that reads it, for a network of that name.

    Where a folder or file holds a diffusion model beside its autoencoder or its text encoder, the network says which of
    them is meant; files of CLIP are read for a network that is one.

    Raises:
      FileNotFoundError: nothing there.
      ValueError: none of the formats.
    """
    if run_file.is_one(path):
        return "run_file"
    if path.exists() and network in TEXT_ENCODERS:
        return "text_encoder"
    if path.exists() and network in MATCHERS:
        return "glide_clip" if path.is_dir() else "openai_clip"
    if path.is_dir():
        alone = not (path / "unet").exists()
        if (network in AUTOENCODERS or alone) and diffusers_autoencoder.find(path):
            return "diffusers_autoencoder"
        if diffusers_text_unet.find(path):
            return "diffusers_text_unet"
        if (path / "config.json").exists() or (path / "unet" / "config.json").exists():
            return "diffusers"
        raise ValueError(f"{path} is a folder without a config.json; diffusers' folders hold one beside their weights")
    with open(path, "rb") as file:
        start = file.read(2**20)  # the names of tensors come before their numbers, in archives of torch too
    if network == compvis_unet.NETWORK and compvis_unet.PREFIX.encode() in start:
        return "compvis_unet"
    if any(mark in start for mark in compvis.MARKS):
        return "compvis"
    if guided_diffusion.FIRST in start:
        return "guided_diffusion"
    if start[:4] == b"PK\x03\x04":
        return "score_sde_torch"
    if len(start) > 1 and start[0] == 0x80 and start[1] <= 5:  # a pickle of protocol 2 to 5
        legacy = start[2:4] == b"\x8a\x0a"  # a long integer: the magic number of torch < 1.6
        return "score_sde_torch" if legacy else "edm"
    if start and 0x81 <= start[0] <= 0x8F:  # a msgpack map
        return "score_sde_jax"
    raise ValueError(
        f"{path} is none of the formats that can be imported: checkpoint_N of score_sde (flax msgpack), .pth of "
        "score_sde_pytorch, .pkl of EDM, .pt of guided-diffusion, .ckpt and .safetensors of CompVis, a folder of "
        "diffusers, or a file of Run.save"
    )


def read(path: Path, network: Network) -> Weights:
    """The weights of a published file, checked against the network; nothing in it is run.

    Raises:
      OSError: no such file.
      ValueError: an unknown format, a pickle that names more than tensors, parameters that do not fit, listed.
    """
    kind = detect(path, network.name)
    try:
        return importlib.import_module(f"checkpoints.{kind}").read(path, network)
    except (json.JSONDecodeError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        detail = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is not laid out as {kind} files are: {type(error).__name__}: {detail}") from error
