"""A folder that cannot be written is refused in one line before anything is computed; no half file is left."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict

import main
from autoencoders.grey_levels import GreyLevels
from configs.vp import toy_mixture8_mlp
from evaluation.rounds import Rounds
from experiment import Refusal, writing
from experiment.pictures import save_array, save_decoded
from experiment.workdir import Workdir, write_text
from tests.experiment.command import contents
from training import loop
from training.trackers import Tracked
from training.trackers.tensorboard import TensorBoard


def _config() -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    config.training.batch_size, config.model.width, config.model.depth = 8, 4, 1
    return config


def _refused(mode: str, folder: Path | str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(loop, "train", lambda *_: pytest.fail("it was let through"))
    with pytest.raises(Refusal) as refusal:
        main.run(mode, _config(), str(folder), "none.pth")
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def _begun(folder: Path) -> Path:
    Workdir(folder).begin(_config())
    return folder


@pytest.mark.parametrize(
    ("mode", "place"),
    [
        ("train", ""),
        ("train", "checkpoints"),
        ("train", "tensorboard"),
        ("train", "samples"),
        ("import", "checkpoints"),
        ("sample", "samples"),
        ("evaluate", "evaluation"),
        ("edit", "edits"),
        ("compare", "comparison"),
        ("reproduce", "evaluation"),
        ("stats", "stats"),
    ],
)
def test_a_file_in_the_place_of_a_folder(
    mode: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _begun(tmp_path / "run") if place else tmp_path / "run"
    (folder / place).write_text("mine")
    before = contents(tmp_path)
    assert f"{folder / place} is a file, and a folder is written there; " in _refused(mode, folder, monkeypatch)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("mode", "place"), [("train", "metrics.jsonl"), ("evaluate", "report.json"), ("compare", "comparison.md")]
)
def test_a_folder_in_the_place_of_a_file(
    mode: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _begun(tmp_path / "run")
    (folder / place).mkdir()
    assert f"{folder / place} is a folder, and a file is written there; " in _refused(mode, folder, monkeypatch)


@pytest.mark.parametrize("mode", ["train", "import", "sample", "evaluate", "edit", "compare", "export"])
def test_a_folder_that_may_not_be_written(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write where permissions forbid it, so the system's answers are replaced."""
    folder = _begun(tmp_path / "run")
    access, space = os.access, os.statvfs
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and access(path, mode))
    assert f"{folder} cannot be written: {folder} may not be written by this user" in _refused(
        mode, folder, monkeypatch
    )
    monkeypatch.setattr(os, "access", access)
    full = os.statvfs_result((*space(folder)[:4], 0, *space(folder)[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    assert f"there is no space left on the disk of {folder}" in _refused(mode, folder, monkeypatch)


def test_a_new_folder_below_a_file_or_a_link_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    below = tmp_path / "file" / "run"
    assert f"{below} cannot be written: {tmp_path / 'file'} is a file" in _refused("train", below, monkeypatch)
    assert f"{tmp_path / 'link'} is a link to nothing" in _refused("train", tmp_path / "link", monkeypatch)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize("address", ["gs://bucket/run", "s3://bucket/run", "http://host/run"])
def test_an_address_is_no_folder(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"the folder of the run is '{address}', an address that only" in _refused("train", address, monkeypatch)


class _Full:
    """A file of which the disk takes so many bytes."""

    def __init__(self, file: Any, left: int):
        self.file, self.left = file, left

    def write(self, data: bytes) -> int:
        self.left -= len(data)
        if self.left < 0:
            raise OSError(28, "No space left on device")
        return self.file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> "_Full":
        return self

    def __exit__(self, *_: Any) -> None:
        self.file.close()


CODEC = GreyLevels(levels=None, centered=False, dequantization="none", modality="vector")
ARRAY = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda folder: write_text(folder / "file", "text" * 1000),
    "array": lambda folder: save_array(folder / "file", {}, x=ARRAY),
    "picture": lambda folder: save_decoded(folder / "file", ARRAY, CODEC, {}),
}


@pytest.mark.parametrize("left", [0, 150, 500])
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_leaves_the_old_file_and_is_named(
    write: Callable, left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("old")
    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *a, **k: _Full(real(self, *a, **k), left) if "w" in a[0] else real(self, *a, **k)
    )
    with pytest.raises(OSError, match="No space left on device") as error:
        write(tmp_path)
    assert error.value.filename == str(tmp_path / "file")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "old"


def test_a_round_that_the_disk_does_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever NumPy makes of it; the rounds before stay."""
    rounds = Rounds(tmp_path / "rounds", {}, 4, 2)
    rounds.write(0, x=np.zeros(2))

    def fails(file: Any, **_: Any) -> None:
        with zipfile.ZipFile(file, "w") as archive, archive.open("x", "w"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(OSError, match=r"No space left on device.*round_00001\.npz"):
        rounds.write(1, x=np.zeros(2))
    assert sorted(path.name for path in rounds.folder.iterdir()) == ["about.json", "round_00000.npz"]
    assert rounds.missing() == [1]


def test_curves_on_a_full_disk_raise_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard's part is written here and now, not in a thread of which nobody hears again."""
    tracker = TensorBoard(Tracked(tmp_path, 0, {}))
    tracker.write(1, {"loss": 1.0})
    (events,) = (tmp_path / "tensorboard").iterdir()
    size = events.stat().st_size
    assert size > 50
    writer = tracker._board._py_recordio_writer
    writer._writer = _Full(writer._writer, 0)
    with pytest.raises(OSError, match="No space left on device"):
        tracker.write(2, {"loss": 1.0})


def test_what_can_be_written_is_let_through(tmp_path: Path) -> None:
    writing.check(tmp_path / "a" / "b", "c/", "d.json")
    assert not list(tmp_path.iterdir())


def test_two_that_write_one_file_at_once_do_not_meet(tmp_path: Path) -> None:
    """Two machines with a folder in common may do so; what the one that ends last has written is kept."""
    path = tmp_path / "results.md"
    with writing.replacing(path) as one:
        one.write(b"one")
        with writing.replacing(path) as another:
            another.write(b"another")
        assert path.read_bytes() == b"another"
    assert path.read_bytes() == b"one" and list(tmp_path.iterdir()) == [path]
