"""The text encoders of a pipeline's folder, each with its tokenizer, and what is made of their features.

Folders of diffusers hold `text_encoder/` beside `tokenizer/`, XL's also `text_encoder_2/` beside `tokenizer_2/`; a
tower of CLIP may also lie alone in a folder with the files of its tokenizer. Stable Diffusion 1 and 2 are told the last
layer of their tower through the final norm. XL is told the layer before the last one of both towers as it is, side by
side, and the projected features of the second. Without a prompt the former are told the features of the empty text; XL
is told zeros, unless model_index.json says `force_zeros_for_empty_prompt` false (diffusers 0.42,
`StableDiffusionXLPipeline.encode_prompt`).
"""

import dataclasses
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from checkpoints import safetensors_file, text_encoder
from checkpoints.diffusers_folder import PIPELINE, load_weights, save_folder, weight_files
from checkpoints.diffusers_scheduler import load_json

SECOND = "_2"
"""What the names of XL's second tower and its tokenizer end with."""
ZEROS = "force_zeros_for_empty_prompt"
TOKENIZER_FILES = (
    *("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    "added_tokens.json",
)


class Part(NamedTuple):
    """The folder of a tower, and that of its tokenizer."""

    tower: Path
    tokenizer: Path


@dataclasses.dataclass(frozen=True)
class TextFolder:
    """The text encoders of a folder.

    Attributes:
      path: the folder.
      parts: its towers, whose features stand side by side.
      pooled: whether a network is told them as XL is, with the projected features of the last tower.
      zeros: whether zeros tell of no text, in place of the features of the empty one.
    """

    path: Path
    parts: tuple[Part, ...]
    pooled: bool = False
    zeros: bool = False


def find(path: str | Path) -> TextFolder | None:
    """The text encoders of a folder; None where it holds no tower.

    Raises:
      ValueError: a tower without its tokenizer, or one that model_index.json names and that is not there.
    """
    path = Path(path)
    index = load_json(path / PIPELINE) if (path / PIPELINE).exists() else {}
    named = [end for end in ("", SECOND) if _names(index, f"text_encoder{end}")]
    there = [end for end in ("", SECOND) if (path / f"text_encoder{end}" / "config.json").exists()]
    if missing := [f"text_encoder{end}/" for end in named if end not in there]:
        raise ValueError(f"{path} lacks {' and '.join(missing)}, which its {PIPELINE} names; fetch the whole folder")
    if there:
        parts = tuple(Part(path / f"text_encoder{end}", path / f"tokenizer{end}") for end in there)
    elif text_encoder.find(path) == path:
        parts = (Part(path, path),)
    else:
        return None
    for tower, tokenizer in parts:
        if not any((tokenizer / file).exists() for file in TOKENIZER_FILES[:3]):
            raise ValueError(
                f"{tower} is a text encoder without its tokenizer: {tokenizer} has neither vocab.json and merges.txt "
                "nor tokenizer.json; put them there"
            )
    pooled = SECOND in there
    return TextFolder(path, parts, pooled, pooled and bool(index.get(ZEROS, True)))


def _names(index: dict[str, Any], part: str) -> bool:
    """Whether a model_index.json names a part that is not null."""
    return isinstance(index.get(part), list) and any(index[part])


def copy(found: TextFolder, folder: Path) -> None:
    """Copy towers and tokenizers, the files that are read of them and no others, as a pipeline's folder.

    Raises:
      ValueError: a tower without weights, or with a file of them that is cut short.
      OSError: a file is not there, or cannot be written.
    """
    for end, (tower, tokenizer) in _with_ends(found):
        files = [tower / "config.json", *weight_files(tower, **text_encoder.FILES)]
        for file in files:
            if file.suffix == ".safetensors":
                safetensors_file.load(file)  # which names one that is cut short where it lies
        _copy_files(files, folder / f"text_encoder{end}")
        _copy_files(_tables(tokenizer), folder / f"tokenizer{end}")
    write_index(folder, found)


def write(found: TextFolder, folder: Path) -> None:
    """Write towers and tokenizers as a pipeline's folder, the weights of each tower in one file of safetensors.

    So diffusers finds them by their usual name, whether they came in half precision, in several files or as a pickle.
    Raises what `copy` does.
    """
    for end, (tower, tokenizer) in _with_ends(found):
        _, arrays = load_weights(tower, **text_encoder.FILES)
        files, weights = {"config.json": load_json(tower / "config.json")}, text_encoder.FILES["safetensors"]
        save_folder(folder / f"text_encoder{end}", arrays, files, weights)
        _copy_files(_tables(tokenizer), folder / f"tokenizer{end}")


def _with_ends(found: TextFolder) -> list[tuple[str, Part]]:
    """The towers with what the names of their folders end with."""
    last = len(found.parts) - 1
    return [(SECOND if found.pooled and i == last else "", part) for i, part in enumerate(found.parts)]


def _tables(tokenizer: Path) -> list[Path]:
    """The files of a tokenizer that are there."""
    return [file for name in TOKENIZER_FILES if (file := tokenizer / name).exists()]


def _copy_files(files: Iterable[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)


def write_index(folder: Path, found: TextFolder) -> None:
    """Write what model_index.json says of the towers alone."""
    if found.pooled:
        (folder / PIPELINE).write_text(json.dumps({ZEROS: found.zeros}) + "\n")
