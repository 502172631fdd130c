"""Our text-conditional models as folders of diffusers' Stable Diffusion pipelines, 1, 2 and XL, and of inpainting.

A folder has unet/ and, of what there is, vae/, text_encoder/ and tokenizer/ (of XL a second of each) and scheduler/.
Each is read by `from_pretrained` of its own class. Where they make a pipeline of diffusers, model_index.json says
which, and the folder as a whole is read by that.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from checkpoints import diffusers_autoencoder, diffusers_folder, diffusers_scheduler, diffusers_text_unet, text_folder
from checkpoints.diffusers_pipeline import Part
from checkpoints.layout import effective_options
from checkpoints.text_folder import SECOND, ZEROS, TextFolder

AUTOENCODER = "AutoencoderKL"
NOT_THERE = ("safety_checker", "feature_extractor")
"""Parts of versions 1 and 2 that a pipeline may be without, which its index must then say."""
CLASSES = {
    (False, 0): "StableDiffusionPipeline",
    (False, 5): "StableDiffusionInpaintPipeline",
    (True, 0): "StableDiffusionXLPipeline",
    (True, 5): "StableDiffusionXLInpaintPipeline",
}
"""By whether the network is told a pooled text, and by the channels that it is told beside x."""


class Parts(NamedTuple):
    """What a folder is written of.

    Attributes:
      unet: the network that is told texts.
      autoencoder: that of its latents; None where the network works on pictures.
      texts: the folder of its text encoders; None where nothing says what reads texts for it.
      scheduler: the fields of scheduler_config.json; None where diffusers has no such noise.
    """

    unet: Part
    autoencoder: Part | None
    texts: TextFolder | None
    scheduler: Mapping[str, Any] | None


def no_pipeline(parts: Parts) -> list[str]:
    """Why these parts are no pipeline of diffusers, each reason a clause; nothing where they are one.

    Raises:
      ValueError: a network that diffusers does not have.
    """
    diffusers_text_unet.config_of(parts.unet.network)
    options, found = effective_options(parts.unet.network), []
    pooled, beside = bool(options["pooled_dim"]), options["image_channels"]
    if parts.autoencoder is None:
        found.append("its network works on pictures and not on latents")
    elif (kind := diffusers_autoencoder.config_of(parts.autoencoder.network)["_class_name"]) != AUTOENCODER:
        found.append(f"its autoencoder is a {kind} and no {AUTOENCODER}")
    if parts.scheduler is None:
        found.append("diffusers has no scheduler of its noise")
    if parts.texts is None:
        found.append("no text encoder is named (data.text_encoder)")
    elif parts.texts.pooled != pooled:
        found.append(f"its network is told {'a' if pooled else 'no'} pooled text, against the way of its text encoders")
    if (pooled, beside) not in CLASSES:
        found.append(f"its network is told {beside} channels beside x")
    return found


def write(path: Path, parts: Parts) -> None:
    """Write the folder, with a model_index.json where the parts make a pipeline.

    Raises:
      ValueError: a network that diffusers does not have, variables that are not the network's, or a text encoder whose
        weights are damaged.
      OSError: the text encoder is not there any more.
    """
    whole = not no_pipeline(parts)
    diffusers_text_unet.write(path / "unet", *parts.unet)
    if parts.autoencoder:
        diffusers_autoencoder.write(path / "vae", *parts.autoencoder)
    if parts.texts:
        text_folder.write(parts.texts, path)
    if parts.scheduler:
        _write_json(path / "scheduler" / diffusers_scheduler.FILE, parts.scheduler)
    if whole:
        _write_json(path / diffusers_folder.PIPELINE, _index(parts))


def _index(parts: Parts) -> dict[str, Any]:
    """The model_index.json of parts that make a pipeline."""
    assert parts.scheduler and parts.texts  # or they would make none
    options = effective_options(parts.unet.network)
    pooled = bool(options["pooled_dim"])
    index: dict[str, Any] = {
        "_class_name": CLASSES[pooled, options["image_channels"]],
        "scheduler": ["diffusers", parts.scheduler["_class_name"]],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", diffusers_text_unet.CLASS],
        "vae": ["diffusers", AUTOENCODER],
    }
    if not pooled:
        return index | {part: [None, None] for part in NOT_THERE} | {"requires_safety_checker": False}
    second = {"text_encoder": "CLIPTextModelWithProjection", "tokenizer": "CLIPTokenizer"}
    return index | {ZEROS: parts.texts.zeros} | {f"{k}{SECOND}": ["transformers", c] for k, c in second.items()}


def _write_json(file: Path, fields: Mapping[str, Any]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
