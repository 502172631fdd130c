"""--mode=edit with prompts: what words do within a mask, what stays outside of it, and which network is told what."""

from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import main
from configs.vp import digits
from data.source import take
from editing.tasks import inputs
from editing.telling import method_of, told_of
from experiment import Refusal, build
from experiment.workdir import Workdir
from tests.editing.test_edit import _quick_to_compile, edited  # noqa: F401  (the first is of all tests here)
from tests.editing.test_edit import tiny as tiny_of_classes
from tests.experiment.test_texts import tiny as tiny_of_words

RED, BLUE = "a small red three on grey", "a large blue seven in the centre on white"


def tiny(inpaint: bool = False, **sampling) -> ConfigDict:
    config = tiny_of_words(**{"guidance": 1.0, **sampling})
    with config.unlocked():
        config.model.inpaint = inpaint
    config.edit.update(count=2, images=2, mask="left")
    return config


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of a network that reads texts, with drawn weights."""
    return run_of(tiny(), tmp_path_factory.mktemp("run") / "run")


def run_of(config: ConfigDict, path: Path) -> str:
    """A run of it, whose weights need nothing compiled."""
    shapes, rng = build(config).network.abstract(), np.random.default_rng(0)
    assert not shapes["fixed"]
    params = {name: np.float32(0.2 * rng.standard_normal(leaf.shape)) for name, leaf in shapes["params"].items()}
    workdir = Workdir(path)
    workdir.begin(config)
    with workdir.store() as store:
        store.save(7, {"ema": params, "fixed": {}})
    return str(path)


def prompts(folder: Path, *texts: str) -> str:
    (folder / "prompts.txt").write_text("\n".join(texts))
    return f"@{folder / 'prompts.txt'}"


def grid_of(workdir: str, task: str, guidance: str = "") -> Path:
    return Path(workdir) / "edits" / f"{task}_step_7_seed_0{guidance}.npz"


@pytest.mark.slow
def test_each_picture_is_edited_by_its_own_prompt_and_stays_as_it_is_elsewhere(reader: str, tmp_path: Path) -> None:
    config = tiny(prompt=prompts(tmp_path, RED, BLUE))
    images = take(build(config).source.test, np.arange(2))["image"]
    found = edited(reader, config)
    np.testing.assert_array_equal(found[:, :, :, :8], np.repeat(images[:, None, :, :8], 2, axis=1))
    with np.load(grid_of(reader, "inpaint")) as array:
        assert list(array["texts"]) == [RED, BLUE] and str(array["task"]) == "inpaint by blend"
        assert str(array["edit.paste"]) == "True"
    config.sampling.prompt = prompts(tmp_path, BLUE, BLUE)
    other = edited(reader, config)
    np.testing.assert_array_equal(other[1], found[1])
    assert (other[0] != found[0]).any(), "the first picture had another prompt"


@pytest.mark.slow
def test_variations_are_told_the_prompt_and_guided_away_from_the_negative_one(reader: str) -> None:
    same = [edited(reader, tiny(prompt=RED), task="vary", strength=0.01)]
    images = take(build(tiny()).source.test, np.arange(2))["image"]
    assert np.abs(same[0].astype(float) - images[:, None]).mean() < 8
    found = [edited(reader, tiny(prompt=text), task="vary", strength=0.9) for text in (RED, BLUE)]
    assert (found[0] != found[1]).any()
    guided = []
    for negative in ("", BLUE):
        config = tiny(prompt=RED, guidance=3.0, negative_prompt=negative)
        config.edit.update(task="vary", strength=0.9)
        main.run("edit", config, reader)
        guided.append(np.load(grid_of(reader, "vary", "_guidance_3"))["results"])
    assert (guided[0] != guided[1]).any() and (guided[0] != found[0]).any()


@pytest.mark.slow
def test_pictures_and_masks_of_folders(reader: str, tmp_path: Path) -> None:
    """Three pictures, one of them grey, each with a mask and a prompt of its own."""
    rng, known = np.random.default_rng(0), np.random.default_rng(1).random((3, 16, 16)) < 0.6
    pictures = rng.integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    pictures[1] = pictures[1, ..., :1]
    for name in ("pictures", "masks"):
        (tmp_path / name).mkdir()
    for i in range(3):
        Image.fromarray(pictures[i, ..., 0] if i == 1 else pictures[i]).save(tmp_path / "pictures" / f"{i}.png")
        Image.fromarray(np.uint8(255 * known[i])).save(tmp_path / "masks" / f"{i}.png")
    config = tiny(prompt=prompts(tmp_path, RED, BLUE, RED))
    folders = {"image": str(tmp_path / "pictures"), "mask": str(tmp_path / "masks")}
    for method in ("blend", "replacement"):
        found = edited(reader, config, method=method, paste=False, **folders)
        for i in range(3):
            np.testing.assert_array_equal(found[i][:, known[i]], np.repeat(pictures[i, known[i]][None], 2, axis=0))
            assert (found[i][:, ~known[i]] != pictures[i, ~known[i]]).any()
    (tmp_path / "masks" / "2.png").unlink()
    with pytest.raises(Refusal, match=r"edit.mask .*masks' holds 2 masks, and there are 3 pictures; give each one"):
        main.run("edit", config, reader)


def test_a_network_that_fills_in_is_told_what_is_known() -> None:
    config = tiny(inpaint=True, prompt=RED)
    experiment = build(config)
    read = inputs(experiment, config.edit)
    assert method_of(experiment) == "consistent"
    told = told_of(experiment, read, 1)
    np.testing.assert_array_equal(told["known_mask"][0, ..., 0], np.arange(16)[None, :] < np.full((16, 1), 8))
    condition = experiment.condition(told)
    np.testing.assert_array_equal(condition["known_image"][0, :, :8], read.originals[1, :, :8])
    assert not condition["known_image"][0, :, 8:].any() and condition["mask"].any()
    assert not experiment.untold(told)["mask"].any(), "without the text, what is known stays known"
    np.testing.assert_array_equal(experiment.untold(told)["known_mask"], condition["known_mask"])


def test_without_a_prompt_the_network_is_told_no_text() -> None:
    config = tiny()
    experiment = build(config)
    told = told_of(experiment, inputs(experiment, config.edit), 0)
    assert not told["mask"].any() and method_of(experiment) == "dps"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", "told", "blend"])
def test_it_fills_in_and_keeps_what_is_known(method: str, tmp_path: Path) -> None:
    config = tiny(inpaint=True, prompt=RED, guidance=2.0)
    workdir = run_of(config, tmp_path / "run")
    config.edit.method = method
    main.run("edit", config, workdir)
    found = np.load(grid_of(workdir, "inpaint", "_guidance_2"))["results"]
    images = take(build(config).source.test, np.arange(2))["image"]
    np.testing.assert_array_equal(found[:, :, :, :8], np.repeat(images[:, None, :, :8], 2, axis=1))


@pytest.mark.slow
def test_an_edit_may_begin_with_the_picture_noised(reader: str) -> None:
    """Little noise changes little of what is hidden, too."""
    images = take(build(tiny()).source.test, np.arange(2))["image"]
    near, by_replacement, far = (
        edited(reader, tiny(prompt=RED), inpaint_strength=strength, method=method)[:, :, :, 8:].astype(float)
        for strength, method in ((0.01, "blend"), (0.01, "replacement"), (1.0, "blend"))
    )
    hidden = images[:, None, :, 8:]
    assert np.abs(near - hidden).mean() < 8 < np.abs(far - hidden).mean()
    assert np.abs(by_replacement - hidden).mean() < 8


@pytest.mark.parametrize(
    ("edit", "sampling", "message"),
    [
        ({}, {"guidance": 3.0}, "sampling.prompt '': without a text there is nothing to be guided to; give it one"),
        ({"method": "told"}, {"prompt": RED}, "'told', which leads nothing, and the network is not told what is known"),
        ({"inpaint_strength": 0.0}, {"prompt": RED}, "edit.inpaint_strength is 0.0; it must be"),
        ({"method": "blend"}, {"prompt": RED, "method": "ode"}, "acts between steps"),
        ({"method": "blend", "noise": 0.1}, {"prompt": RED}, "blend: takes exact measurements, and noise is 0.1"),
        ({}, {"prompt": "a purple cow"}, "purple"),
        ({"image": "."}, {"prompt": RED}, "edit.image is '.', which is not a file, nor a folder that holds some"),
    ],
)
def test_what_words_cannot_edit_is_refused_in_one_line(reader: str, edit: dict, sampling: dict, message: str) -> None:
    config = tiny(**sampling)
    config.edit.update(edit)
    with pytest.raises(Refusal) as refusal:
        main.run("edit", config, reader)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_network_without_words_keeps_its_methods(tmp_path: Path) -> None:
    config = tiny_of_classes(digits.get_config())
    config.edit.method = "auto"
    assert method_of(build(config)) == "dps"
