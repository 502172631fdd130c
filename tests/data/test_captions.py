"""Captions of the user's own pictures: .txt files, metadata.jsonl, zip files; what does not fit is one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data
from data import fingerprint
from data.pipeline import batches

NAMES = ("a.png", "deep/b.png", "deep/c.d.png")
SAID = {"a.png": "a red kite", "deep/b.png": "ein Drache über dem Meer", "deep/c.d.png": "two kites, one below"}


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Three pictures, each with a .txt file of its own."""
    for i, name in enumerate(NAMES):
        file = tmp_path / "pictures" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 10 * i, np.uint8)).save(file)
        file.with_suffix(".txt").write_text(f"\ufeff {SAID[name].replace(' ', chr(10), 1)} \n", encoding="utf-8")
    return tmp_path / "pictures"


def with_metadata(path: Path, lines: list[str] | None = None) -> Path:
    """The same captions in a metadata.jsonl, other ones in .txt files."""
    for file in path.rglob("*.txt"):
        file.write_text("not this")
    lines = lines or [json.dumps({"file_name": name, "caption": SAID[name], "id": 3}) for name in NAMES]
    (path / "metadata.jsonl").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def read(path: Path, **options) -> data.Source:
    return data.create(
        "folder", **({"path": str(path), "image_size": 8, "test_fraction": 0, "captions": True} | options)
    )


def captions(source: data.Source) -> dict[str, str]:
    records = source.train
    return {str(file).rpartition("pictures/")[2]: records[i]["caption"] for i, file in enumerate(records.files)}


def as_zip(path: Path) -> Path:
    return Path(shutil.make_archive(str(path.parent / "packed"), "zip", path.parent, "pictures"))


@pytest.mark.parametrize("pack", [lambda path: path, as_zip])
@pytest.mark.parametrize("write", [lambda path: path, with_metadata])
def test_each_picture_has_its_caption(pictures, write, pack):
    source = read(pack(write(pictures)))
    assert captions(source) == SAID
    batch = next(batches(source.train, batch_size=3, seed=0))
    assert {(int(image[0, 0, 0]), str(said)) for image, said in zip(batch["image"], batch["caption"], strict=True)} == {
        (10 * i, SAID[name]) for i, name in enumerate(NAMES)
    }


def test_captions_are_read_only_where_they_are_wanted(pictures):
    assert set(read(with_metadata(pictures), captions=False).train[0]) == {"image"}


def test_another_caption_is_another_fingerprint(pictures):
    def found(**options) -> str:
        return fingerprint.of_records(read(pictures, **options).train)

    before, without = found(), found(captions=False)
    (pictures / "a.txt").write_text("a blue kite")
    assert len({before, without, found()}) == 3 and found(captions=False) == without


def test_test_pictures_have_captions_too(pictures):
    source = read(pictures, test_path=str(pictures / "deep"))
    assert [source.test[i]["caption"] for i in range(2)] == [SAID["deep/b.png"], SAID["deep/c.d.png"]]


def line_of(*fields: object) -> str:
    return json.dumps(dict(zip(("file_name", "caption"), fields, strict=False)))


FAULTS = {
    "no captions at all": (
        lambda p: [file.unlink() for file in p.rglob("*.txt")],
        "no captions in .*data.captions to False",
    ),
    "a caption alone": (
        lambda p: (p / "z.txt").write_text("z"),
        r"1 caption file\(s\) have no picture, the first .*z\.txt",
    ),
    "a picture alone": (lambda p: (p / "a.txt").unlink(), r"1 picture\(s\) have no caption, the first .*a\.png"),
    "an empty caption": (lambda p: (p / "a.txt").write_text(" \n"), r"a\.txt: the caption is empty"),
    "another encoding": (lambda p: (p / "a.txt").write_bytes(b"\xfcber"), r"a\.txt is not UTF-8"),
    "a book": (lambda p: (p / "a.txt").write_text("word " * 20_000), r"a\.txt has more than 65536 bytes"),
    "a line for no picture": (lambda p: with_metadata(p, [line_of("x.png", "x")]), r"line 1: x\.png .*no such picture"),
    "a picture without a line": (lambda p: with_metadata(p, [line_of("a.png", "x")]), r"2 picture\(s\).* deep/b\.png"),
    "a line twice": (lambda p: with_metadata(p, [line_of("a.png", "x")] * 2), r"line 2: a\.png has more than one"),
    "a line without a caption": (
        lambda p: with_metadata(p, [line_of("a.png")]),
        r'line 1 is .*each line is \{"file_name"',
    ),
    "a caption that is no text": (lambda p: with_metadata(p, [line_of("a.png", 5)]), r"line 1 is .*each line is"),
    "an empty line of a caption": (lambda p: with_metadata(p, [line_of("a.png", "")]), r"line 1: the caption is empty"),
    "no JSON": (lambda p: with_metadata(p, ["{"]), "line 1 is not JSON"),
    "two files": (lambda p: with_metadata(with_metadata(p) / "deep"), "leave one metadata.jsonl"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_one_line(pictures, fault):
    spoil, message = FAULTS[fault]
    spoil(pictures)
    with pytest.raises(ValueError, match=message) as error:
        read(pictures)
    assert "\n" not in str(error.value)
