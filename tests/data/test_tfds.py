"""Reads datasets in the layout that TFDS itself writes; nothing here, writing included, needs TensorFlow."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data
from data.pipeline import batches

ROOT = Path(__file__).parents[2]


def prepare(data_dir: Path, images: dict[str, list[np.ndarray]], *, name: str, shape: tuple, fmt: str = "png"):
    """A TFDS dataset of array_record files with the features of CIFAR-10."""
    import tensorflow_datasets as tfds

    def examples(split):
        for i, image in enumerate(images[split]):
            encoded = io.BytesIO()
            Image.fromarray(image.squeeze()).save(encoded, fmt)  # given bytes, TFDS needs no TensorFlow
            yield i, {"id": f"{split}_{i:05d}", "image": encoded.getvalue(), "label": i % 10}

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("3.0.2")

        def _info(self):
            features = {
                "id": tfds.features.Text(),
                "image": tfds.features.Image(shape=shape),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, _):
            return {split: examples(split) for split in images}

        def _generate_examples(self):
            raise NotImplementedError

    Prepared.name = name
    Prepared(data_dir=data_dir, file_format="array_record").download_and_prepare()


def noise(count: int, *shape: int) -> list[np.ndarray]:
    return list(np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8))


@pytest.fixture(scope="module")
def cifar(tmp_path_factory) -> tuple[Path, dict]:
    data_dir = tmp_path_factory.mktemp("tfds")
    images = {"train": noise(30, 32, 32, 3), "test": noise(12, 32, 32, 3)}
    prepare(data_dir, images, name="cifar10", shape=(32, 32, 3))
    return data_dir, images


@pytest.mark.parametrize("in_memory", [False, True])
def test_cifar10(cifar, in_memory):
    data_dir, images = cifar
    source = data.create("tfds:cifar10", data_dir=data_dir, in_memory=in_memory)
    assert (source.name, source.shape, source.levels) == ("tfds:cifar10", (32, 32, 3), 256)
    for split, count in (("train", 30), ("test", 12)):
        records = getattr(source, split)
        assert len(records) == count
        expected = {image.tobytes(): i % 10 for i, image in enumerate(images[split])}  # TFDS shuffles once
        read = {records[i]["image"].tobytes(): int(records[i]["label"]) for i in range(count)}
        assert read == expected
        assert records[0]["image"].dtype == np.uint8 and records[0]["label"].dtype == np.int32
    batch = next(batches(source.train, batch_size=8, seed=0))
    assert batch["image"].shape == (8, 32, 32, 3) and batch["label"].shape == (8,)


def test_split_expressions_and_resizing(cifar):
    data_dir, _ = cifar
    source = data.create(
        "tfds", dataset="cifar10", data_dir=data_dir, train_split="train[:50%]", test_split="train[50%:]", image_size=16
    )
    assert len(source.train) == len(source.test) == 15
    assert source.shape == source.train[0]["image"].shape == (16, 16, 3)


def test_grey_images_of_several_sizes(tmp_path):
    images = {split: [noise(1, 20 + i, 30, 1)[0] for i in range(4)] for split in ("train", "test")}
    prepare(tmp_path, images, name="varied", shape=(None, None, 1))
    with pytest.raises(ValueError, match=r"vary in size .* give image_size"):
        data.create("tfds:varied", data_dir=tmp_path)
    source = data.create("tfds:varied", data_dir=tmp_path, image_size=16)
    assert source.shape == source.test[3]["image"].shape == (16, 16, 1)


def test_a_damaged_image_is_named(tmp_path, monkeypatch):
    images = {split: noise(3, 8, 8, 3) for split in ("train", "test")}
    monkeypatch.setattr(Image.Image, "save", lambda self, file, fmt: file.write(b"\x89PNG nothing"))
    prepare(tmp_path, images, name="broken", shape=(8, 8, 3))
    source = data.create("tfds:broken", data_dir=tmp_path)
    with pytest.raises(ValueError, match="cannot read image 1 of broken train"):
        source.train[1]


def test_reading_loads_no_tensorflow(cifar):
    code = (
        "import sys, data; source = data.create('tfds:cifar10', data_dir=sys.argv[1]); source.train[0]; "
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(cifar[0])], cwd=ROOT, check=True)
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"dataset": "cifar100"}, FileNotFoundError, "'cifar100' is not prepared in {data_dir}: "),
        ({"dataset": "no/such"}, FileNotFoundError, "'no/such' is not prepared in {data_dir}: "),
        ({"dataset": "cifar10", "train_split": "trian"}, ValueError, "no split 'trian'; it has train, test"),
        ({"dataset": "cifar10", "image_key": "img"}, ValueError, "no feature 'img'; it has "),
        ({"dataset": "cifar10", "image_key": "label"}, ValueError, "'label' of TFDS dataset 'cifar10' is not an"),
    ],
)
def test_what_is_not_there_is_one_line(cifar, options, kind, message):
    with pytest.raises(kind) as error:
        data.create("tfds", data_dir=cifar[0], **options)
    assert message.format(data_dir=cifar[0]) in str(error.value) and "\n" not in str(error.value)


def test_a_dataset_of_another_file_format_is_named(cifar, tmp_path):
    copy = shutil.copytree(cifar[0], tmp_path / "tfds")
    for file in (copy / "cifar10" / "3.0.2").iterdir():
        if "array_record" in file.name:
            file.rename(file.with_name(file.name.replace("array_record", "tfrecord")))
        elif file.name == "dataset_info.json":
            file.write_text(file.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(ValueError, match="stored as tfrecord; prepare it again with file_format='array_record'"):
        data.create("tfds:cifar10", data_dir=copy)
