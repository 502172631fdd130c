"""Text-conditional models as folders of diffusers' pipelines: the recorded folders, part by part."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import (
    diffusers,
    diffusers_autoencoder,
    diffusers_text_pipeline,
    diffusers_text_unet,
    importing,
    safetensors_file,
    text_folder,
)
from checkpoints.diffusers_pipeline import Part
from checkpoints.diffusers_text_pipeline import Parts
from models.functional import Network

REFERENCE = Path(__file__).parents[1] / "reference" / "latent"


def part_of(folder: Path, module: Any) -> Part:
    name, options = module.describe(folder)
    network = Network.create(name, **options)
    return Part(network, importing.read(folder, network).variables(ema=True))


def parts_of(name: str) -> Parts:
    folder = REFERENCE / name / "model"
    scheduler = diffusers.scheduler_of(folder)
    assert scheduler
    unet, vae = part_of(folder / "unet", diffusers_text_unet), part_of(folder / "vae", diffusers_autoencoder)
    return Parts(unet, vae, text_folder.find(folder), json.loads(scheduler.text))


def tensors(folder: Path) -> dict[str, np.ndarray]:
    """Every tensor of a folder and of those in it, by its place."""
    return {
        f"{file.relative_to(folder)}/{name}": array
        for file in sorted(folder.rglob("*.safetensors"))
        for name, array in safetensors_file.load(file).items()
    }


def same(written: Path, theirs: Path) -> None:
    """The tensors of all parts, what every json file of theirs says, and the tokenizers' files."""
    ours, given = tensors(written), tensors(theirs)
    assert ours.keys() == given.keys()
    for name, array in given.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)
    for file in sorted(path.relative_to(theirs) for path in theirs.rglob("*.json")):
        fields, found = (json.loads((root / file).read_text()) for root in (theirs, written))
        left = ("_diffusers_version", "add_watermarker", "force_upcast")  # the last two: what diffusers takes anyway
        said = {field: found.get(field) for field in fields if field not in left}
        assert said == {field: value for field, value in fields.items() if field not in left}, file
    for table in theirs.glob("tokenizer*/merges.txt"):
        assert (written / table.relative_to(theirs)).read_bytes() == table.read_bytes()


@pytest.mark.parametrize("name", ["sd_pipeline", "sdxl"])
def test_a_folder_read_and_written_is_the_folder(name: str, tmp_path: Path) -> None:
    """It is as diffusers has saved it, the index too, by which `from_pretrained` finds the class of each part."""
    parts = parts_of(name)
    assert not diffusers_text_pipeline.no_pipeline(parts)
    diffusers_text_pipeline.write(tmp_path / "out", parts)
    same(tmp_path / "out", REFERENCE / name / "model")


def test_what_is_no_pipeline_says_why_and_is_written_part_by_part(tmp_path: Path) -> None:
    whole = parts_of("sd_pipeline")
    beside = Network.create(whole.unet.network.name, **dict(whole.unet.network.options) | {"image_channels": 3})
    for parts, reason in (
        (whole._replace(autoencoder=None), "works on pictures and not on latents"),
        (whole._replace(scheduler=None), "no scheduler of its noise"),
        (whole._replace(texts=None), r"no text encoder is named \(data\.text_encoder\)"),
        (whole._replace(texts=parts_of("sdxl").texts), "is told no pooled text"),
        (whole._replace(unet=Part(beside, {})), "is told 3 channels beside x"),
    ):
        (found,) = diffusers_text_pipeline.no_pipeline(parts)
        assert re.search(reason, found), found
    diffusers_text_pipeline.write(tmp_path / "out", whole._replace(autoencoder=None))
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert there == {"unet", "text_encoder", "tokenizer", "scheduler"}, (
        "and no index, which would name what is not there"
    )
