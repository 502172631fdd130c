"""A folder of diffusers: where its network lies in it, and the files that hold its weights."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from checkpoints import safetensors_file, torch_file
from checkpoints.diffusers_scheduler import load_json

WEIGHTS = "diffusion_pytorch_model"
PIPELINE = "model_index.json"
TOLD = "UNet2DConditionModel"
"""The class of networks that are told a text (`checkpoints.diffusers_text_unet`)."""
AUTOENCODERS = ("vae", "vqvae")
"""The folders in a pipeline that hold one."""


def load_weights(
    folder: Path, *, safetensors: str = WEIGHTS, pickle: str = WEIGHTS
) -> tuple[Path, dict[str, np.ndarray]]:
    """The tensors of a folder by name, and the file that holds them or lists the files that do.

    Safetensors come before pickles, and whole precision, in one file or in several, before half. The files of the two
    kinds are called as `safetensors` and `pickle` say.

    Raises:
      ValueError: there is none of these files, or one that is damaged.
      OSError: a file of the list is not there.
    """
    file, load, shards = _weights(folder, safetensors, pickle)
    return file, {name: array for shard in shards for name, array in load(shard).items()}


def weight_files(folder: Path, *, safetensors: str = WEIGHTS, pickle: str = WEIGHTS) -> list[Path]:
    """The files that `load_weights` reads; it raises what that does of files that are not there."""
    file, _, shards = _weights(folder, safetensors, pickle)
    return list(dict.fromkeys((file, *shards)))


def _weights(folder: Path, safetensors: str, pickle: str) -> tuple[Path, Callable[[Path], dict], list[Path]]:
    """The file that holds a folder's weights or lists the files that do, what reads one of these, and they."""
    for variant in ("", ".fp16"):
        for called, kind, load in (
            (safetensors, "safetensors", safetensors_file.load),
            (pickle, "bin", torch_file.load),
        ):
            file = folder / f"{called}{variant}.{kind}"
            if file.exists():
                return file, load, [file]
            for name in dict.fromkeys((f"{kind}{variant}.index.json", f"{kind}.index{variant}.json")):
                if (index := folder / f"{called}.{name}").exists():
                    return index, load, _shards(index)
    raise ValueError(f"{folder} holds neither {safetensors}.safetensors nor {pickle}.bin")


def _shards(index: Path) -> list[Path]:
    """The files that an index lists, which lie beside it."""
    listed = load_json(index).get("weight_map")
    names = sorted(set(listed.values())) if isinstance(listed, dict) else []
    if not names or any(Path(name).name != name for name in names):
        raise ValueError(f"{index} has no weight_map from tensors to files beside it")
    return [index.parent / name for name in names]


def network_folder(path: Path, *, beside: tuple[str, ...] = AUTOENCODERS, told: bool = False) -> Path:
    """The folder of the network; a pipeline is refused that has more than is taken `beside` it.

    With `told` a network that is told a text may have anything beside it.
    """
    path = path.parent if path.is_file() else path
    for folder in (path, path / "unet"):
        if (folder / "config.json").exists():
            if not (told and load_json(folder / "config.json").get("_class_name") == TOLD):
                _check_pipeline(root_of(folder) / PIPELINE, beside)
            return folder
    raise FileNotFoundError(f"{path} is no diffusers folder: there is no config.json in it")


def root_of(folder: str | Path) -> Path:
    """The folder of a pipeline, of itself or of its unet/."""
    folder = Path(folder)
    return folder.parent if folder.name == "unet" else folder


def _check_pipeline(file: Path, taken: tuple[str, ...]) -> None:
    """Refuse a pipeline that has more than a network, a scheduler and what is taken beside: it is told of others."""
    if not file.exists():
        return
    index = load_json(file)
    parts = sorted(name for name, part in index.items() if isinstance(part, list) and any(part))
    others = [name for name in parts if name not in ("unet", "scheduler", *taken)]
    if others:
        mend = "only pipelines whose network is told nothing can be imported"
        if set(others) <= set(AUTOENCODERS):
            mend = f"its network works on latents: write --config=configs/latent/folder.py:{file.parent}"
        elif any(name.startswith("text_encoder") for name in others):
            mend = f"its network is told a text: write --config=configs/stable_diffusion/folder.py:{file.parent}"
        raise ValueError(
            f"{file}: _class_name is {index.get('_class_name')!r}, with {', '.join(others)} beside unet and scheduler; "
            f"{mend}"
        )


def save_folder(
    path: str | Path, arrays: Mapping[str, np.ndarray], files: Mapping[str, Mapping[str, Any]], weights: str = WEIGHTS
) -> None:
    """Write weights, in a file called as `weights` says, and beside them the fields of json files by their names."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    safetensors_file.save(folder / f"{weights}.safetensors", arrays)
    for name, fields in files.items():
        (folder / name).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
