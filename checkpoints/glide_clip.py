"""The CLIP of noised images that OpenAI published with GLIDE: two `.pt` (or `.safetensors`), one a tower, in a folder.

Their names begin with `clip_text` and `clip_image`. No file says how many heads a tower has; published heads have 64
features. The scale of the logits is in neither: it is 100. The image tower has a first token for each noise level, of
which the network is told the index. Texts are pooled at the end token, 49407, which is the largest number that the
tokenizer gives although the table of tokens goes on behind it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from checkpoints import compvis
from checkpoints.layout import Place, fill, places_of
from checkpoints.published import Weights
from models import MATCHERS
from models.functional import Network

FILES = ("clip_text", "clip_image")
KINDS = (".pt", ".safetensors")
HEAD = 64
LOGIT_SCALE = np.log(100.0)

OUTSIDE = {
    "text.token": "text.input.w_voc",
    "text.position": "text.input.w_pos",
    "text.norm": "text.output.ln",
    "text.projection": "text.output.f",
    "image.patches": "image.input.patch_proj",
    "image.first": "image.input.w_t",
    "image.position": "image.input.w_pos",
    "image.norm_in": "image.input.ln",
    "image.norm_out": "image.output.ln",
    "image.projection": "image.output.f",
    "logit_scale": "logit_scale",
}
PARTS = {
    "norm0": "f_attn.ln",
    "query": "f_attn.f_q",
    "key": "f_attn.f_k",
    "value": "f_attn.f_v",
    "out": "f_attn.f_c",
    "norm1": "f_mlp.ln",
    "widen": "f_mlp.f_1",
    "narrow": "f_mlp.f_2",
}


def place(module: str, array: str) -> Place:
    """Return where the two files keep an array of `models.clip.CLIP`; a name begins with its file's tower."""
    if (bare := f"{module}.{array}".lstrip(".")) in OUTSIDE:
        return Place(OUTSIDE[bare])
    if module == "image.patches":
        return Place(OUTSIDE[module])
    if module in OUTSIDE:
        theirs = OUTSIDE[module]
    else:
        tower, _, _, number, part = module.split(".")
        theirs = f"{tower}.block_{number}.{PARTS[part]}"
    norm = theirs.endswith(".ln")
    return Place(f"{theirs}.{'b' if array == 'bias' else 'g' if norm else 'w'}")


def load(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of both files in a folder, each name beginning with `text.` or `image.`, and the scale of the logits.

    Raises:
      ValueError: a damaged file, or a folder with several of a tower.
      OSError: a folder that lacks one of them.
    """
    arrays: dict[str, np.ndarray] = {"logit_scale": np.asarray(LOGIT_SCALE, np.float32)}
    for start, file in zip(FILES, files_of(path), strict=True):
        tower = start.removeprefix("clip_")
        for name, array in compvis.load(file).items():
            if isinstance(array, np.ndarray):
                arrays[f"{tower}.{name.removeprefix('blocks.')}"] = array
    return arrays


def files_of(path: str | Path) -> list[Path]:
    """The files of the text tower and of the image tower in a folder.

    Raises:
      ValueError: a folder with several of a tower.
      OSError: a folder that lacks one of them.
    """
    found = []
    for start in FILES:
        files = [file for file in sorted(Path(path).glob(f"{start}*")) if file.suffix in KINDS]
        if not files:
            raise FileNotFoundError(f"{path} holds no {start}*.pt: GLIDE's CLIP is two files in one folder")
        if len(files) > 1:
            raise ValueError(f"{path} holds {len(files)} files {start}*, {', '.join(f.name for f in files)}: keep one")
        found += files
    return found


def describe(
    path: str | Path, *, text_heads: int | None = None, image_heads: int | None = None
) -> tuple[str, dict[str, Any]]:
    """(name, options) of our network for a folder; None: heads as published.

    Raises:
      ValueError: files that are not GLIDE's CLIP.
      OSError: a folder that lacks one of them.
    """
    arrays = load(path)
    needed = [
        OUTSIDE[name] for name in ("text.token", "text.position", "image.patches", "image.first", "image.position")
    ]
    if missing := [name for name in needed if name not in arrays]:
        raise ValueError(f"{path} does not hold GLIDE's CLIP: {', '.join(missing)} is missing")
    (vocabulary, text), (tokens, _), (image, channels, patch, _), (levels, _), (places, _) = (
        arrays[name].shape for name in needed
    )
    side = patch * round((places - 1) ** 0.5)
    return "clip", {
        "image_size": side,
        "num_channels": channels,
        "patch_size": patch,
        "image_width": image,
        "image_layers": _layers(arrays, "image"),
        "image_heads": image_heads or max(1, image // HEAD),
        "vocabulary": vocabulary,
        "tokens": tokens,
        "text_width": text,
        "text_layers": _layers(arrays, "text"),
        "text_heads": text_heads or max(1, text // HEAD),
        "activation": "gelu",
        "projection_dim": len(arrays[f"{OUTSIDE['text.projection']}.w"]),
        "key_bias": False,
        "num_scales": levels,
    }


def _layers(arrays: dict[str, np.ndarray], tower: str) -> int:
    return len({name.split(".")[1] for name in arrays if name.startswith(f"{tower}.block_")})


def read(path: str | Path, network: Network) -> Weights:
    """The weights in a folder, for the network that the config names.

    Raises:
      ValueError: another network than CLIP, or weights that do not fit.
      OSError: a folder that lacks a file.
    """
    if network.name not in MATCHERS:
        raise ValueError(f"{path} is read for the CLIP in it, and model.name is {network.name!r}")
    found = fill(str(path), network, places_of(network, place), load(path))
    return Weights(found["params"], found["params"], found["fixed"], 0, {}, Path(path))
