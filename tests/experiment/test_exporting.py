"""--mode=export of runs that are told texts: the folders that they came from, and what has no pipeline there."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import main
from checkpoints import diffusers_text_unet, safetensors_file
from configs.stable_diffusion import folder as folder_config
from configs.text import scenes
from experiment import Refusal
from experiment.config_files import from_file
from experiment.workdir import Workdir
from tests.checkpoints.test_text_pipeline import same
from tests.experiment.given_autoencoder import write_run
from tests.experiment.test_stable_diffusion import rewritten
from tests.experiment.test_text_encoder import tiny

REFERENCE = Path(__file__).parents[1] / "reference" / "latent"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd_pipeline", "sd_pipeline_v", "sdxl"])
def test_an_imported_run_is_exported_as_the_folder_it_came_from(name: str, tmp_path: Path) -> None:
    """The folder itself is there no more; the one that is written is imported again as the same config."""
    theirs, model, run = REFERENCE / name / "model", tmp_path / "model", tmp_path / "run"
    shutil.copytree(theirs, model)
    rewritten(model / "text_encoder", "model")  # half precision in two files, which a pipeline would not find
    main.run("import", from_file(f"configs/stable_diffusion/folder.py:{model}"), str(run), str(model))
    shutil.rmtree(model)
    asked = main.config_of(None, str(run))
    main.run("export", asked, str(run))
    written = run / "diffusers_step_0"
    tower = safetensors_file.load(written / "text_encoder" / "model.safetensors")
    whole = {key: np.array(array, np.float32) for key, array in tower.items()}  # half precision holds these weights
    safetensors_file.save(written / "text_encoder" / "model.safetensors", whole)
    same(written, theirs)
    again, first = (folder_config.get_config(str(folder)).to_dict() for folder in (written, theirs))
    assert again == first
    with pytest.raises(Refusal, match="nothing is overwritten"):
        main.run("export", asked, str(run))


def test_a_network_of_pictures_is_exported_part_by_part(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the text encoder that it was trained with, and no index, as diffusers has no such pipeline."""
    run = tmp_path / "run"
    write_run(run, tiny(clip_skip=1))
    main.run("export", main.config_of(None, str(run)), str(run))
    assert "works on pictures and not on latents, diffusers has no scheduler of its noise" in caplog.text
    assert "give its pipeline clip_skip=1 at each call" in caplog.text
    folder = run / "diffusers_step_1"
    assert {part.name for part in folder.iterdir()} == {"unet", "text_encoder", "tokenizer"}
    name, options = diffusers_text_unet.describe(folder)
    assert (name, options["text_dim"], options["num_channels"]) == ("cross_attention_unet", 24, 3)
    tower = json.loads((folder / "text_encoder" / "config.json").read_text())
    assert tower["hidden_size"] == 24


def test_a_network_that_reads_tokens_itself_is_none_of_diffusers(tmp_path: Path) -> None:
    Workdir(tmp_path).begin(scenes.get_config())
    with pytest.raises(Refusal, match=r"diffusers has no counterpart of the network 'glide'; of .* it has$"):
        main.prepare("export", main.config_of(None, str(tmp_path)), str(tmp_path))
