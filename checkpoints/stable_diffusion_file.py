"""Whole Stable Diffusions in single files of CompVis and Stability: which networks they hold, and their text encoders.

Nothing in such a file says what it is of. Most options are seen in names and shapes. What leaves no trace there is that
of the published families, which differ in two traits: Stable Diffusion 2 and XL keep the maps at the ends of their
transformers as matrices, and XL is told size and pooled text. Every group norm has `GROUPS` groups; attention has
`HEADS` heads in version 1, and later heads `HEAD` wide. What a network predicts leaves no trace either: eps in version
1 and XL; of version 2 there are files that predict v, for pictures of 768 pixels, and others that predict eps, for 512.
"""

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from checkpoints import compvis, compvis_unet, diffusers_scheduler, text_encoder, text_folder
from checkpoints.diffusers_scheduler import Scheduler
from models.cross_attention_unet import SIZE_NUMBERS
from models.functional import Network

GROUPS, HEADS, HEAD = 32, 8, 64
SIZE_FEATURES = 256
LEADING = {"set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "leading"}
NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}
PADDING = {False: "<|endoftext|>", True: "!"}
"""What pads a text of OpenAI's tower, and of OpenCLIP's."""


class Family(NamedTuple):
    """What files of one version have in common and do not say.

    Attributes:
      name: of the family.
      image_size: the side of a picture.
      prediction: what the network predicts, in diffusers' words.
      guidance: the scale that its pipeline of diffusers takes.
      scale: of the latents.
      scheduler: the class of diffusers that samples as its published code.
    """

    name: str
    image_size: int
    prediction: str
    guidance: float
    scale: float
    scheduler: str


SD1 = Family("1", 512, "epsilon", 7.5, 0.18215, "DDIMScheduler")
SD2 = Family("2", 768, "v_prediction", 7.5, 0.18215, "DDIMScheduler")
XL = Family("XL", 1024, "epsilon", 5.0, 0.13025, "EulerDiscreteScheduler")


class Whole(NamedTuple):
    """What a file holds: its family, and the options of its U-Net and of its autoencoder, without the sizes."""

    family: Family
    unet: dict[str, Any]
    autoencoder: dict[str, Any]


def describe(path: str | Path) -> Whole:
    """What a file holds.

    Raises:
      ValueError: a file without a U-Net that is told a text, or without an autoencoder.
      OSError: no such file.
    """
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder, and no single file; configs/stable_diffusion/folder.py:FOLDER reads it")
    return of_shapes(
        {name: array.shape for name, array in compvis.load(path).items() if isinstance(array, np.ndarray)}, str(path)
    )


def of_shapes(shapes: Mapping[str, tuple[int, ...]], path: str) -> Whole:
    """What a file with tensors of these shapes holds; `path` is for the message of what `describe` raises."""
    try:
        unet = _unet(_below(shapes, compvis_unet.PREFIX))
        family = XL if unet["pooled_dim"] else SD2 if unet["linear_projections"] else SD1
        return Whole(family, unet, _autoencoder(_below(shapes, compvis.FIRST_STAGE)) | {"scaling_factor": family.scale})
    except KeyError as error:
        raise ValueError(
            f"{path} is no whole Stable Diffusion of CompVis or Stability, in which a U-Net that is told a text stands "
            f"beside its autoencoder: {error.args[0]} is missing"
        ) from None


def named(text: str) -> tuple[str, str]:
    """The file, and what its network predicts, that "FILE" or "FILE,PREDICTION" names; "" where it does not say."""
    file, _, prediction = (text, "", "") if Path(text).exists() else text.partition(",")
    return file, prediction


def scheduler(path: str | Path, family: Family, prediction: str = "") -> Scheduler:
    """What diffusers writes as the scheduler of such a file, predicting what is given in place of the family's."""
    written = {
        "_class_name": family.scheduler,
        "clip_sample": False,
        "prediction_type": prediction or family.prediction,
    }
    return diffusers_scheduler.of_fields(written | NOISE | LEADING, Path(path))


def _below(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors whose names begin so, by what follows."""
    return {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}


def _count(names: Iterable[str], pattern: str) -> int:
    """How many different numbers stand in names at the group of this pattern."""
    return len({found[1] for name in names if (found := re.match(pattern, name))})


def _unet(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The options of the U-Net; KeyError with the name of a tensor that is missing."""
    nf, c_in, *_ = shapes["input_blocks.0.0.weight"]
    c_out = shapes["out.2.weight"][0]
    levels: list[list[tuple[int, int]]] = [[]]  # of each residual block on the way down its channels and depth
    for number in range(1, _count(shapes, r"input_blocks\.(\d+)\.")):
        block = f"input_blocks.{number}"
        if f"{block}.0.op.weight" in shapes:
            levels.append([])
            continue
        depth = _count(shapes, rf"input_blocks\.{number}\.1\.transformer_blocks\.(\d+)\.")
        levels[-1].append((shapes[f"{block}.0.in_layers.2.weight"][0], depth))
    text = next((shape for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")), None)
    if text is None:
        raise KeyError("the attention to a text (attn2.to_k.weight)")
    linear = any(name.endswith("proj_in.weight") and len(shape) == 2 for name, shape in shapes.items())
    pooled = shapes.get("label_emb.0.0.weight", (0, 0))[1]
    widths = [level[0][0] for level in levels]
    return {
        "num_channels": c_out,
        "image_channels": c_in - c_out,
        "nf": nf,
        "ch_mult": tuple(width // nf for width in widths),
        "num_res_blocks": len(levels[0]),
        "depths": tuple(level[0][1] for level in levels),
        "middle_depth": _count(shapes, r"middle_block\.1\.transformer_blocks\.(\d+)\."),
        "num_heads": tuple(width // HEAD for width in widths) if linear else (HEADS,),
        "text_dim": text[1],
        "pooled_dim": pooled - SIZE_NUMBERS * SIZE_FEATURES if pooled else 0,
        "linear_projections": linear,
        "num_groups": GROUPS,
    } | ({"size_features": SIZE_FEATURES} if pooled else {})


def _autoencoder(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The options of the KL autoencoder; KeyError with the name of a tensor that is missing."""
    nf, channels, *_ = shapes["encoder.conv_in.weight"]
    levels = _count(shapes, r"encoder\.down\.(\d+)\.")
    return {
        "num_channels": channels,
        "nf": nf,
        "ch_mult": tuple(shapes[f"encoder.down.{level}.block.0.conv1.weight"][0] // nf for level in range(levels)),
        "num_res_blocks": _count(shapes, r"encoder\.down\.0\.block\.(\d+)\."),
        "attn_resolutions": (),
        "z_channels": shapes["decoder.conv_in.weight"][1],
        "embed_dim": shapes["quant_conv.weight"][0] // 2,
        "num_groups": GROUPS,
    }


def write_text(path: str | Path, tokenizer: str | Path, folder: Path) -> None:
    """Write the text towers of a file as a pipeline's folder, each with its tokenizer, made of one table of CLIP.

    Args:
      path: the file.
      tokenizer: a folder with vocab.json and merges.txt, or tokenizer.json, which all published versions share but for
        what pads a text.
      folder: where to.

    Raises:
      ValueError: a file without a text tower, or another number of them than one or XL's two.
      OSError: no such file.
    """
    arrays = {name: array for name, array in compvis.load(path).items() if isinstance(array, np.ndarray)}
    found = text_encoder.towers(arrays)
    if len(found) not in (1, 2):
        raise ValueError(f"{path} holds {len(found) or 'no'} text encoders of CLIP; a Stable Diffusion has one, XL two")
    parts = []
    for tower, end in zip(found, ("", text_folder.SECOND), strict=False):
        name, options = text_encoder.state_dict_options(arrays, tower)
        network = Network.create(name, **options)
        part = text_folder.Part(folder / f"text_encoder{end}", folder / f"tokenizer{end}")
        text_encoder.write(part.tower, network, text_encoder.variables(str(path), network, tower, arrays))
        _write_tokenizer(Path(tokenizer), part.tokenizer, PADDING[tower.openai], options["tokens"])
        parts.append(part)
    pooled = len(parts) > 1
    text_folder.write_index(folder, text_folder.TextFolder(folder, tuple(parts), pooled, pooled))


def _write_tokenizer(table: Path, folder: Path, padding: str, length: int) -> None:
    folder.mkdir(parents=True)
    files = [table / name for name in text_folder.TOKENIZER_FILES[:3] if (table / name).exists()]
    if not files:
        raise ValueError(
            f"{table} holds no table of CLIP's byte pairs: neither vocab.json and merges.txt nor tokenizer.json"
        )
    for file in files:
        shutil.copyfile(file, folder / file.name)
    fields = {"model_max_length": length, "pad_token": padding}
    (folder / "tokenizer_config.json").write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
