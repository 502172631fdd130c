"""Pictures in zip files, and labels in a dataset.json, as NVIDIA's tools write them."""

import hashlib
import json
import pickle
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import data
from data import fingerprint
from data.pipeline import batches
from data.source import Unreadable

COUNT = 24
LABELS = [(7 * i) % 5 for i in range(COUNT)]
NAMES = [f"{i // 10:05d}/img{i:08d}.png" for i in range(COUNT)]


def pixels(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def described(path: Path, labels: Any = "all") -> Path:
    """A folder in the layout of the tool, ten pictures a folder; `labels` None for null."""
    for i, picture in enumerate(NAMES):
        (path / picture).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(i)).save(path / picture)
    pairs = [list(pair) for pair in zip(NAMES, LABELS, strict=True)] if labels == "all" else labels
    (path / "dataset.json").write_text(json.dumps({"labels": pairs}))
    return path


def zipped(path: Path, method: int = zipfile.ZIP_STORED, inside: str = "") -> Path:
    """The folder as a zip file beside it."""
    file = path.with_suffix(".zip")
    with zipfile.ZipFile(file, "w", method) as archive:
        for each in sorted(path.rglob("*")):
            archive.write(each, inside + str(each.relative_to(path)))
    return file


def read(path: Path, **options) -> data.Source:
    return data.create("folder", **({"path": str(path), "image_size": 8, "test_fraction": 0} | options))


def everything(source: data.Source) -> list[tuple[bytes, int]]:
    return [
        (records[i]["image"].tobytes(), int(records[i].get("label", -1)))
        for records in (source.train, source.test)
        for i in range(len(records))
    ]


@pytest.mark.parametrize("kind", ["folder", "stored", "deflated", "within a folder"])
def test_pictures_and_labels_as_the_tool_writes_them(tmp_path, kind):
    path = described(tmp_path / "set")
    if kind != "folder":
        method = zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED
        path = zipped(path, method, "top/" if kind == "within a folder" else "")
    source = read(path, classes=True)
    assert (source.num_classes, len(source.train), source.shape) == (5, COUNT, (8, 8, 3))
    assert everything(source) == [(pixels(i).tobytes(), LABELS[i]) for i in range(COUNT)]
    plain = read(path)
    assert plain.num_classes == 0 and "label" not in plain.train[0]


def test_a_zip_file_is_the_folder_it_was_made_of(tmp_path):
    """The same split, labels and fingerprint; another content is another one."""
    path = described(tmp_path / "set")
    options = {"classes": True, "test_fraction": 0.3}
    one, other = read(path, **options), read(zipped(path), **options)
    assert everything(one) == everything(other) and 0 < len(one.test) == len(other.test)
    assert fingerprint.of_records(one.train) == fingerprint.of_records(other.train)
    whole = read(zipped(path)).train
    content = (path / NAMES[0]).read_bytes()
    assert fingerprint.of_file(whole.files[0]) == hashlib.sha256(content).hexdigest()
    shutil.copy(path / NAMES[1], path / NAMES[0])
    assert fingerprint.of_records(read(zipped(path)).train) != fingerprint.of_records(whole)


def test_threads_and_other_processes_read_it(tmp_path):
    records = read(zipped(described(tmp_path / "set"), zipfile.ZIP_DEFLATED), classes=True).train
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda i: records[i % COUNT]["image"].tobytes(), range(20 * COUNT)))
    assert found == [pixels(i % COUNT).tobytes() for i in range(20 * COUNT)]
    assert next(batches(records, batch_size=8, seed=0))["image"].shape == (8, 8, 8, 3)
    copied = pickle.loads(pickle.dumps(records))
    assert copied[3]["image"].tobytes() == pixels(3).tobytes()


def test_a_test_set_of_its_own(tmp_path):
    path, test = zipped(described(tmp_path / "set")), described(tmp_path / "test")
    source = read(path, test_path=str(test), classes=True)
    assert everything(source)[:COUNT] == everything(source)[COUNT:]
    (test / "dataset.json").write_text(json.dumps({"labels": [[name, 5] for name in NAMES]}))
    with pytest.raises(ValueError, match=r"class 5 of .* is in the test set alone; known are 0 to 4"):
        read(path, test_path=str(test), classes=True)
    (test / "dataset.json").unlink()
    with pytest.raises(ValueError, match=r"one has its labels in a dataset\.json, and the other is without"):
        read(path, test_path=str(test), classes=True)


def test_without_labels_folders_are_classes(tmp_path):
    path = described(tmp_path / "set")
    (path / "dataset.json").unlink()
    source = read(zipped(path), classes=True)
    assert source.num_classes == 3 and [label for _, label in everything(source)] == [i // 10 for i in range(COUNT)]


def changed(i: int, label: Any) -> list:
    return [[name, label if j == i else LABELS[j]] for j, name in enumerate(NAMES)]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "says that the pictures have no labels"),
        (changed(3, 1.5), f"the label of {NAMES[3]} is 1.5; labels are integers from 0"),
        (changed(3, 2.0), f"the label of {NAMES[3]} is 2.0; labels are integers from 0"),
        (changed(3, True), "is True; labels are integers from 0"),
        (changed(3, -1), "is -1; labels are integers from 0"),
        (changed(3, 10**30), "labels are integers from 0 to 999999"),
        (changed(3, "3"), "is '3'; labels are integers from 0"),
        (changed(3, None), "is None; labels are integers from 0"),
        (changed(3, [0.0, 1.0] * 100), "labels are integers from 0"),
        (changed(0, 1)[1:], rf"1 picture\(s\) have no label, the first {NAMES[0]}"),
        ([], rf"{COUNT} picture\(s\) have no label"),
        ([*changed(0, 1), ["00000/none.png", 1]], "00000/none.png has a label, and there is no such picture"),
        ([*changed(0, 1), [NAMES[0], 1]], f"{NAMES[0]} has more than one label"),
        ([*changed(0, 1), [NAMES[0]]], "each is a name and a label"),
        (["a"], "each is a name and a label"),
        ({"a": 1}, "is not of the form"),
        (3, "is not of the form"),
    ],
)
def test_labels_that_are_none_are_refused_in_one_line(tmp_path, labels, message):
    path = described(tmp_path / "set", labels)
    with pytest.raises(ValueError, match=message) as error:
        read(path, classes=True)
    assert "\n" not in str(error.value) and f"{path}/dataset.json" in str(error.value)
    assert read(path).num_classes == 0


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_dataset_json_is_named(tmp_path, text):
    path = described(tmp_path / "set")
    (path / "dataset.json").write_bytes(text)
    with pytest.raises(ValueError, match=rf"^{path}/dataset\.json is not"):
        read(path, classes=True)


def test_two_of_them_are_refused(tmp_path):
    path = described(tmp_path / "set")
    shutil.copy(path / "dataset.json", path / "00001")
    with pytest.raises(ValueError, match=r"labels are in .*dataset\.json and in .*dataset\.json"):
        read(path, classes=True)


def test_what_is_no_zip_file_or_damaged_is_named(tmp_path):
    (tmp_path / "text.zip").write_text("no zip file")
    with pytest.raises(ValueError, match=r"text\.zip is not a zip file"):
        read(tmp_path / "text.zip")
    path = zipped(described(tmp_path / "set"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"set\.zip is not a zip file"):
        read(path)
    place = content.index(b"IDAT") + 20
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(ValueError, match=rf"1 image file\(s\) cannot be read, the first {path}/{NAMES[0]} .*CRC"):
        read(path)
    with pytest.raises(Unreadable, match=rf"cannot read the image {path}/{NAMES[0]}: .*CRC"):
        read(path, verify=False).train[0]
    with pytest.raises(Unreadable, match=rf"cannot read {path}/{NAMES[0]}: .*CRC"):
        fingerprint.of_records(read(path, verify=False).train)


def test_what_would_be_too_large_or_cannot_be_decompressed_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = described(tmp_path / "set")
    monkeypatch.setattr("data.archive.MAX_BYTES", 10_000)
    (path / NAMES[2]).write_bytes(b"\0" * 2_000_000)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("it was read"))
    records = read(zipped(path, zipfile.ZIP_DEFLATED), verify=False).train
    with pytest.raises(Unreadable, match=rf"{NAMES[2]}: it has 2000000 bytes, and 10000 are allowed"):
        records[2]
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(Unreadable, match="compressed by a rare method"):
            read(zipped(path, method), verify=False).train[0]


def test_hidden_files_of_a_zip_are_left_out_and_a_name_counts_once(tmp_path):
    file = tmp_path / "a.zip"
    picture = (described(tmp_path / "set") / NAMES[0]).read_bytes()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("./a.png", "b/c.PNG", ".hidden.png", "__MACOSX/._a.png", "d/.e/f.png", "notes.txt"):
            archive.writestr(name, picture)
        archive.writestr("QQQ", b"a name that begins with a zero byte is empty")
    file.write_bytes(file.read_bytes().replace(b"QQQ", b"\0QQ"))
    source = read(file)
    assert [str(f) for f in source.train.files] == [f"{file}/./a.png", f"{file}/b/c.PNG"]
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(file, "a") as archive:
        archive.writestr("b/c.PNG", picture)
    with pytest.raises(ValueError, match=r"holds 'b/c\.PNG' more than once"):
        read(file)
