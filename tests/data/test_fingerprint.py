"""What changes the fingerprint of a set of examples, and what does not."""

import hashlib
import os
import shutil

import numpy as np
import pytest
from PIL import Image

import data
from data import Arrays, fingerprint
from data.source import Unreadable
from tests.data.test_tfds import noise, prepare


def arrays(**changes) -> dict[str, np.ndarray]:
    images = np.arange(5 * 4 * 4 * 3, dtype=np.uint8).reshape(5, 4, 4, 3)
    return {"image": images, "label": np.arange(5, dtype=np.int32)} | changes


def one_pixel(images: np.ndarray) -> np.ndarray:
    changed = images.copy()
    changed[3, 2, 1, 0] += 1
    return changed


def as_records(arrays: dict[str, np.ndarray]) -> list[dict]:
    return [{name: array[i] for name, array in arrays.items()} for i in range(len(arrays["image"]))]


@pytest.mark.parametrize("records", [Arrays, as_records])
def test_every_number_kind_name_and_place_of_examples_counts(records):
    plain = arrays()
    others = [
        arrays(image=one_pixel(plain["image"])),
        arrays(image=plain["image"][::-1]),
        arrays(image=plain["image"].astype(np.int32)),
        arrays(image=plain["image"].view(np.int8)),
        arrays(image=plain["image"].reshape(5, 2, 8, 3)),
        arrays(label=plain["label"][::-1]),
        {"image": plain["image"]},
        {"image": plain["image"], "class": plain["label"]},
        {name: array[:4] for name, array in plain.items()},
    ]
    found = [fingerprint.of_records(records(each)) for each in [plain, *others]]
    assert len(set(found)) == len(found)
    again = {"label": plain["label"].copy(), "image": np.asfortranarray(plain["image"])}  # the same, laid out otherwise
    assert fingerprint.of_records(records(again)) == found[0]


def test_a_file_is_known_by_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert fingerprint.of_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(FileNotFoundError, match="nothing"):
        fingerprint.of_file(tmp_path / "nothing")


def classes(path, count: int = 3):
    for name in ("cats", "dogs"):
        (path / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(noise(len(name) + i, 9, 9, 3)[0]).save(path / name / f"{i}.bmp")
    return path


def of_folder(path, **options) -> str:
    options = {"image_size": 8, "test_fraction": 0, "classes": True} | options
    return fingerprint.of_records(data.create("folder", path=str(path), **options).train)


def test_a_moved_folder_is_the_same_and_a_changed_one_is_not(tmp_path):
    path = classes(tmp_path / "pictures")
    before = of_folder(path)
    shutil.copytree(path, tmp_path / "elsewhere")
    assert of_folder(tmp_path / "elsewhere") == of_folder(path, verify=False) == before
    others = [of_folder(path, image_size=4), of_folder(path, num_channels=1), of_folder(path, classes=False)]
    assert len({before, *others}) == 4

    file, stat = path / "cats" / "1.bmp", (path / "cats" / "1.bmp").stat()
    content = bytearray(file.read_bytes())
    content[-5] ^= 1  # one bit of a pixel; size and times stay
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_size == stat.st_size
    assert of_folder(path) != before

    (path / "cats").rename(path / "wolves")  # the labels 0 and 1 change places
    assert of_folder(path) not in (before, of_folder(tmp_path / "elsewhere"))


def test_a_file_that_has_gone_is_named(tmp_path):
    records = data.create("folder", path=str(classes(tmp_path / "pictures")), image_size=8, test_fraction=0).train
    records.files[4].unlink()
    with pytest.raises(Unreadable, match=f"cannot read {records.files[4]}: No such file"):
        fingerprint.of_records(records)


def test_it_is_computed_once_for_each_set(tmp_path, monkeypatch):
    path, read = classes(tmp_path / "pictures"), []
    real = fingerprint.of_file
    monkeypatch.setattr(fingerprint, "of_file", lambda file: read.append(file) or real(file))
    records = data.create("folder", path=str(path), image_size=8, test_fraction=0).train
    assert fingerprint.of_records(records) == fingerprint.of_records(records)
    assert len(read) == 6


def test_stored_files_of_tfds(tmp_path):
    images = {"train": noise(8, 12, 12, 3)}
    prepare(tmp_path / "a", images, name="small", shape=(12, 12, 3))
    shutil.copytree(tmp_path / "a", tmp_path / "b")

    def of(folder: str, split: str = "train", **options) -> str:
        source = data.create("tfds:small", data_dir=tmp_path / folder, train_split=split, test_split="", **options)
        return fingerprint.of_records(source.train)

    before = of("a")
    assert of("b") == of("b", in_memory=True) == before
    others = [of("a", "train[:50%]"), of("a", "train[50%:]"), of("a", image_size=6), of("a", crop=6)]
    others.append(of("a", label_key="id"))
    assert len({before, *others}) == 6

    (shard,) = (tmp_path / "b").rglob("*.array_record*")
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 1
    shard.write_bytes(content)
    assert of("b") != before


def test_crops_of_the_photographs():
    def of(split: str = "train", **options) -> str:
        options = {"train_length": 20, "test_length": 20} | options
        return fingerprint.of_records(getattr(data.create("photo_patches", **options), split))

    assert of() == of(test_length=3)
    assert len({of(), of(size=16), of(train_length=19), of("test")}) == 4
