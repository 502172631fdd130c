"""Which pictures of a folder are read: links, loops, hidden files, and what is left out is said."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data


def picture(file: Path, grey: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), grey, np.uint8)).save(file)


def read(path: Path, **options) -> data.Source:
    return data.create("folder", **({"path": str(path), "image_size": 8, "test_fraction": 0} | options))


def names(path: Path, **options) -> list[str]:
    return [str(file.relative_to(path)) for file in read(path, **options).train.files]


@pytest.fixture
def lines(monkeypatch) -> list[str]:
    """What is logged."""
    found: list[str] = []
    monkeypatch.setattr("absl.logging.warning", lambda text, *values: found.append(text % values))
    return found


def test_linked_folders_are_followed_each_once_whatever_loops(tmp_path, lines):
    """Links to a sibling outside, to the folder itself, to one above, to each other, and from within what is linked."""
    root, outside = tmp_path / "pictures", tmp_path / "outside"
    for file in (root / "b" / "1.png", root / "0.png", outside / "deep" / "2.png", tmp_path / "far" / "3.png"):
        picture(file)
    (root / "linked").symlink_to(outside)
    (root / "again").symlink_to(root / "b")  # known by its own name, though "again" comes first
    (root / "b" / "loop").symlink_to(root)
    (outside / "deep" / "back").symlink_to(outside)
    (outside / "further").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "to").symlink_to(outside)
    (root / "4.png").symlink_to(tmp_path / "far" / "3.png")
    expected = ["0.png", "4.png", "b/1.png", "linked/deep/2.png", "linked/further/3.png"]
    assert names(root) == expected
    (line,) = lines
    assert f"{root}: 4 linked folders are met more than once and read once" in line


def test_of_two_links_to_one_folder_the_first_by_name_counts(tmp_path):
    root = tmp_path / "pictures"
    picture(tmp_path / "outside" / "1.png")
    root.mkdir()
    for name in ("c", "a", "b"):
        (root / name).symlink_to(tmp_path / "outside")
    assert names(root) == ["a/1.png"]


def test_linked_folders_are_classes(tmp_path):
    for name, place in (("cats", tmp_path / "elsewhere" / "x"), ("dogs", tmp_path / "pictures" / "dogs")):
        for i in range(3):
            picture(place / f"{i}.png", grey=10 if name == "cats" else 20)
    (tmp_path / "pictures" / "cats").symlink_to(tmp_path / "elsewhere" / "x")
    source = read(tmp_path / "pictures", classes=True)
    examples = [source.train[i] for i in range(6)]
    assert source.num_classes == 2
    assert [(int(e["label"]), int(e["image"][0, 0, 0])) for e in examples] == [(0, 10)] * 3 + [(1, 20)] * 3


def test_the_order_of_names_is_that_of_their_parts(tmp_path):
    """As paths are compared: a folder comes before a name that goes on from its own."""
    for name in ("a/x.png", "a-b.png", "a.png", "B/x.png"):
        picture(tmp_path / name)
    expected = sorted(tmp_path.rglob("*.png"))
    assert [tmp_path / name for name in names(tmp_path)] == expected


def test_other_kinds_are_counted_and_named(tmp_path, lines):
    for i in range(3):
        picture(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.TIF").write_bytes(b"")
    for name in ("a.gif", "b.gif", "c.heic", "README", ".DS_Store", "._0.png", ".thumbnails/0.png", "dataset.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nothing")
    assert names(tmp_path) == ["0.png", "1.png", "2.png"]
    (line,) = lines
    assert line.startswith(f"{tmp_path}: 3 pictures are read (.bmp, .jpeg, .jpg, .png, .webp), left out are 3 ")
    for count in ("3 .tif", "3 hidden", "2 .gif", "1 .heic", "1 without a suffix", "1 broken links"):
        assert count in line
    assert "json" not in line and "\n" not in line


def test_where_nothing_is_left_the_error_says_what_there_was(tmp_path):
    for name in ("a.tif", "b.tif", "c.gif"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"no image file .* below {tmp_path}; left out are 2 \.tif, 1 \.gif"):
        read(tmp_path)


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    """Root may read everything, so the system is asked to refuse."""
    picture(tmp_path / "a" / "0.png")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ValueError, match=rf"{tmp_path}/a cannot be looked into .Permission denied"):
        read(tmp_path)
