"""A run goes on with the data and the files that it was begun with, and says by name what differs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import main
from configs import toy
from configs.categorical import pydoc_masked
from configs.vp import digits, digits_classes
from experiment import Refusal, build, inputs
from experiment.workdir import Workdir
from training import preparation


def pictures(folder: Path, count: int = 3) -> Path:
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            noise = np.random.default_rng(len(folder.name) * i).integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(noise).save(folder / name / f"{i}.png")
    return folder


def of_folder(folder: Path, *, conditional: bool = False) -> ConfigDict:
    config = (digits_classes if conditional else digits).get_config()
    with config.unlocked():
        config.data.update(dataset="folder", path=str(folder), classes=True, test_fraction=0.0)
        if conditional:
            config.model.label_dim = 2
    config.model.update(nf=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=())
    config.training.eval_freq = 0
    config.eval.enable_bpd = False
    return config


def begun(config: ConfigDict, path: Path) -> Workdir:
    """The folder of a run of this config that has just begun."""
    workdir, experiment = Workdir(path), build(config)
    used = preparation.prepare(experiment, workdir).inputs
    workdir.begin(config)
    inputs.write(workdir, used)
    return workdir


def refusal(mode: str, config: ConfigDict, workdir: Workdir) -> str:
    with pytest.raises(Refusal) as refused:
        main.prepare(mode, config, str(workdir.path))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def add(folder: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "dogs" / "new.png")


def rename(folder: Path) -> None:
    (folder / "cats").rename(folder / "wolves")


def paint(folder: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "dogs" / "1.png")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (add, "the training set had 6 examples and has 7"),
        (rename, "class 0 was 'cats' and is 'dogs', class 1 was 'dogs' and is 'wolves'"),
        (paint, "the training set has 6 examples as before, but other ones (in content, label or order)"),
    ],
)
def test_changed_data_are_refused_by_name_or_accepted_and_recorded(tmp_path, change, said):
    folder = pictures(tmp_path / "data")
    config = of_folder(folder)
    workdir = begun(config, tmp_path / "run")
    main.prepare("train", config, str(workdir.path))  # the same data go on
    change(folder)
    line = refusal("train", config, workdir)
    assert said in line and str(workdir.path) in line and "data.changed=accept" in line
    config.data.changed = "accept"
    begun(config, workdir.path)
    assert workdir.config().data.changed == "refuse"  # it was said for one start
    main.prepare("train", workdir.config(), str(workdir.path))


def test_the_test_set_counts_too_and_the_place_does_not(tmp_path):
    config = of_folder(pictures(tmp_path / "data"))
    pictures(tmp_path / "more", 1)
    config.data.unlock()
    config.data.test_path = str(tmp_path / "more")
    workdir = begun(config, tmp_path / "run")
    add(tmp_path / "more")
    assert "the test set had 2 examples and has 3" in refusal("train", config, workdir)
    (tmp_path / "more" / "dogs" / "new.png").unlink()
    (tmp_path / "data").rename(tmp_path / "moved")
    config.data.path = str(tmp_path / "moved")
    main.prepare("train", config, str(workdir.path))
    config.data.path = str(tmp_path / "more")
    assert "the training set had 6 examples and has 2" in refusal("train", config, workdir)
    workdir.inputs_file.unlink()  # a run too old to say what they were: then by where they were
    assert "data.path" in refusal("train", config, workdir)


def test_an_older_run_is_continued_and_given_its_record(tmp_path):
    folder = pictures(tmp_path / "data")
    config = of_folder(folder)
    workdir = begun(config, tmp_path / "run")
    workdir.inputs_file.unlink()
    add(folder)
    begun(config, workdir.path)
    assert json.loads(workdir.inputs_file.read_text())["data"]["train"]["examples"] == 7


@pytest.mark.parametrize("mode", ["evaluate", "edit"])
def test_classes_of_other_names_are_not_those_that_a_network_knows(tmp_path, mode):
    folder = pictures(tmp_path / "data")
    told, untold = of_folder(folder, conditional=True), of_folder(folder)
    told.edit.images = untold.edit.images = 1
    for config in (told, untold):
        with config.unlocked():
            config.data.test_path = str(folder)
    runs = begun(told, tmp_path / "told"), begun(untold, tmp_path / "untold")
    rename(folder)
    line = refusal(mode, told, runs[0])
    assert "class 0 was 'cats' and is 'dogs'" in line and "data.changed=accept" in line
    assert "no checkpoint" in refusal(mode, untold, runs[1])  # which is told of no class
    told.data.changed = "accept"
    assert "no checkpoint" in refusal(mode, told, runs[0])


@pytest.mark.parametrize("mode", ["sample", "evaluate", "compare", "edit"])
def test_a_text_of_other_symbols_is_not_the_one_that_a_network_was_trained_on(tmp_path, mode):
    """As many characters as before, so that the network fits, but each of another number."""
    config, file = pydoc_masked.get_config(), tmp_path / "mine.txt"
    with config.unlocked():
        config.data.update(dataset="text", path=str(file), length=8)
    config.model.update(width=8, depth=1, num_heads=1, taps=0)
    file.write_text("abcdefgh" * 20)
    workdir = begun(config, tmp_path / "run")
    assert json.loads(workdir.inputs_file.read_text())["data"]["alphabet"] == ["characters", "abcdefgh"]
    file.write_text("bcdefghi" * 20)
    assert re.search("had 8 characters, and there are 8 characters.*restore the text", refusal(mode, config, workdir))


def test_a_guide_knows_classes_by_the_same_numbers(tmp_path):
    config = of_folder(pictures(tmp_path / "data"), conditional=True)
    of_guide = of_folder(pictures(tmp_path / "of_guide"), conditional=True)
    workdir, guide = begun(config, tmp_path / "run"), begun(of_guide, tmp_path / "guide")
    config.sampling.guide = str(guide.path)
    assert "no checkpoint" in refusal("sample", config, workdir)
    rename(tmp_path / "of_guide")
    of_guide.data.changed = "accept"
    begun(of_guide, guide.path)
    line = refusal("sample", config, workdir)
    assert "sampling.guide" in line and "class 1 was 'dogs' and is 'wolves'" in line


def of_table(file: Path) -> ConfigDict:
    config = toy.get_config()
    with config.unlocked():
        config.data.update(dataset="toy_moons", train_length=64, test_length=8)
        config.sde = ConfigDict({"name": "discrete", "schedule": "table", "betas": str(file)})
        config.model.update(num_scales=10, width=8, noise_label="index")
    config.training.update(batch_size=8, n_iters=2, continuous=False, snapshot_sampling=False, eval_freq=0, log_freq=1)
    config.eval.enable_bpd = False
    return config


def test_a_named_file_that_changed_is_refused_wherever_the_run_is_used(tmp_path):
    file = tmp_path / "betas.txt"
    np.savetxt(file, np.linspace(0.01, 0.2, 10))
    config, workdir = of_table(file), Workdir(tmp_path / "run")
    main.run("train", config, str(workdir.path))
    recorded = json.loads(workdir.inputs_file.read_text())
    assert recorded["data"]["train"]["examples"] == 64
    config.training.n_iters = 3
    main.prepare("train", config, str(workdir.path))
    main.prepare("sample", config, str(workdir.path))

    np.savetxt(file, np.linspace(0.01, 0.3, 10))
    for mode in ("train", "sample", "evaluate", "edit", "compare", "export"):
        line = refusal(mode, config, workdir)
        assert line.startswith("sde.betas: ") and str(file) in line and "another --workdir" in line
    config.data.changed = "accept"  # which is of the data alone
    assert "sde.betas" in refusal("train", config, workdir)

    of_others = of_table(tmp_path / "others.txt")
    np.savetxt(tmp_path / "others.txt", np.linspace(0.01, 0.3, 10))
    other = begun(of_others, tmp_path / "other")
    of_others.sampling.guide = str(workdir.path)  # begun with other numbers than its file now holds
    assert refusal("sample", of_others, other).startswith("sde.betas: ")


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", '{"data": 3}', '{"data": {"train": {"examples": 3}}}', '{"files": 1}']
)
def test_a_damaged_record_is_named(tmp_path, content):
    config = of_folder(pictures(tmp_path / "data"))
    workdir = begun(config, tmp_path / "run")
    workdir.inputs_file.write_text(content)
    line = refusal("train", config, workdir)
    assert line.startswith(f"{workdir.inputs_file} is ") and "remove it" in line


def test_another_word_for_changed_data(tmp_path):
    config = of_folder(pictures(tmp_path / "data"))
    workdir = begun(config, tmp_path / "run")
    config.data.changed = "yes"
    add(tmp_path / "data")
    line = refusal("train", config, workdir)
    assert "data.changed" in line and "'yes'" in line and "accept" in line
