"""Paths as people write them: ~ is the home folder, nothing is no folder, and source code is no place for a run."""

import json
from pathlib import Path
from typing import Any

import pytest

import data
import modes
from configs.vp import digits, toy_mixture8_mlp
from experiment import build, config_files
from experiment.workdir import Workdir
from tests.experiment.command import ROOT, call
from training import loop

EVERY_PATH = (
    *("data.path", "data.test_path", "data.data_dir", "eval.inception", "eval.reference_stats", "sampling.guide"),
    *("edit.image", "edit.other", "edit.mask", "sde.betas", "training.teacher", "training.begin_with"),
    *("sampling.upsampler", "data.alphabet"),
)
ELSEWHERE = ("data.data_dir", "data.alphabet")
"""These fields are paths of other kinds of data sets than a folder of pictures."""


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """What should have been refused does not train."""
    monkeypatch.setattr(loop, "train", lambda *_: pytest.fail("a wrong path was let through"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and another one to work in."""
    for name in ("home", "cwd"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path / "home"


def test_a_tilde_is_the_home_folder_in_every_path_of_a_command(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    given: list[Any] = []
    monkeypatch.setitem(modes.MODES, "import", lambda *arguments: given.append(arguments) or (lambda: None))
    config = digits.get_config()
    with config.unlocked():
        config.sde.update(name="discrete", schedule="table")
        config.data.dataset = "folder"
    (home / "mine.py").write_text(
        "from ml_collections import ConfigDict\n\n\ndef get_config():\n"
        f"    return ConfigDict({{k: v for k, v in {config.to_dict()!r}.items()}})\n".replace(" inf", " float('inf')")
    )
    fields = [f"--config.{field}=~/{field}" for field in EVERY_PATH if field not in ELSEWHERE]
    arguments = ("--mode=import", "--config=~/mine.py", "--workdir=~/run", "--checkpoint=~/file.pth", *fields)
    code, _, err = call(capsys, *arguments)
    assert code == 0, err
    ((found, workdir, checkpoint),) = given
    with found.unlocked():
        found.data.update({field.removeprefix("data."): f"~/{field}" for field in ELSEWHERE})
    found = config_files.canonical(found)
    for field in EVERY_PATH:
        section, name = field.split(".")
        assert found[section][name] == f"{home}/{field}"
    assert workdir.path == home / "run" and checkpoint == f"{home}/file.pth"
    assert list(Path.cwd().iterdir()) == []


def test_a_run_begins_in_the_home_folder(home: Path, capsys: pytest.CaptureFixture) -> None:
    """The config that is saved holds whole paths, and an older one with ~ in it is the same."""
    config = toy_mixture8_mlp.get_config()
    config.eval.reference_stats = "~/of.npz"
    Workdir("~/run").begin(config)
    assert (home / "run" / "config.json").exists() and list(Path.cwd().iterdir()) == []
    assert Workdir(home / "run").config().eval.reference_stats == f"{home}/of.npz"
    with config.unlocked():
        config.data.update(path="~/pictures", dataset="folder")
    Workdir("~/run").begin(config)
    assert json.loads((home / "run" / "config.json").read_text())["data"]["path"] == "~/pictures"
    Workdir("~/run").check(config_files.canonical(config), training=True)
    config.data.path = "~/others"
    with pytest.raises(ValueError, match=rf"data\.path \(saved {home}/pictures, now {home}/others\)"):
        Workdir("~/run").check(config_files.canonical(config), training=True)
    config = toy_mixture8_mlp.get_config()
    Workdir("~/run").begin(config)
    config.sampling.guide = "~/run"
    assert build(config).guide.network.name == "mlp"


def test_a_home_folder_that_is_not_there_is_refused(home: Path, capsys: pytest.CaptureFixture) -> None:
    config = f"--config={ROOT}/configs/vp/digits.py"
    for wrong in (
        "--workdir=~nobody-here/run",
        "--config.eval.inception=~nobody-here/x",
        "--checkpoint=~nobody-here/x",
    ):
        code, _, err = call(capsys, "--mode=import", config, "--workdir=run", wrong)
        assert code == 2 and "'~nobody-here/" in err and "no such user" in err and err.count("\n") == 1, err
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_path_is_no_folder(empty: str, home: Path, capsys: pytest.CaptureFixture) -> None:
    """Neither of a run nor of pictures: both would be the current one."""
    config = f"--config={ROOT}/configs/vp/digits.py"
    for mode in ("train", "sample", "stats", "import"):
        code, _, err = call(capsys, f"--mode={mode}", config, f"--workdir={empty}")
        assert code == 2 and "the folder of the run is" in err and err.count("\n") == 1
    arguments = (f"--config={ROOT}/configs/vp/folder_ddpmpp.py", "--workdir=run", f"--config.data.path={empty}")
    code, _, err = call(capsys, "--mode=train", *arguments)
    assert code == 2 and "data.path is" in err and err.count("\n") == 1
    with pytest.raises(ValueError, match=r"data\.path is"):
        data.create("folder", path=empty, image_size=8)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    "folder", ["", "checkpoints", "configs/vp", "configs/vp/run", "tests/reference", "models/../data"]
)
def test_the_source_code_is_no_folder_of_a_run(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "link").symlink_to(ROOT)
    monkeypatch.chdir(ROOT)
    before = {path: path.stat().st_mtime_ns for path in (ROOT, ROOT / "checkpoints", ROOT / "configs" / "vp")}
    for path in (ROOT / folder, tmp_path / "link" / folder, Path(folder)):
        code, _, err = call(capsys, "--mode=train", "--config=configs/vp/digits.py", f"--workdir={path}")
        assert code == 2 and "source code" in err and err.count("\n") == 1, err
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_folder_beside_the_source_code_may_be_a_run(tmp_path: Path) -> None:
    for path in (ROOT / "runs" / "digits", ROOT / "checkpoints_of_mine", tmp_path):
        assert Workdir(path).path == path
