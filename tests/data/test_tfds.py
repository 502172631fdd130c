"""Reads datasets in the layout that TFDS itself writes; nothing here, writing included, needs TensorFlow."""

import importlib
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data
from data.fingerprint import of_records
from data.pipeline import batches
from data.source import Unreadable, take
from experiment.build import _source as build_source
from tests.experiment.command import run

ROOT = Path(__file__).parents[2]


def prepare(
    data_dir: Path,
    images: dict[str, list[np.ndarray]],
    *,
    name: str,
    shape: tuple,
    fmt: str = "png",
    features: Callable | None = None,
    values: dict | None = None,
    config: str | None = None,
):
    """A TFDS dataset of array_record files; `features` beside the image and their `values`, else those of CIFAR-10."""
    import tensorflow_datasets as tfds

    def examples(split):
        for i, image in enumerate(images[split]):
            encoded = io.BytesIO()
            Image.fromarray(image.squeeze()).save(encoded, fmt)  # given bytes, TFDS needs no TensorFlow
            own = {"id": f"{split}_{i:05d}", "label": i % 10} if values is None else values
            yield i, {"image": encoded.getvalue()} | own

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("3.0.2")
        if config:
            BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)]

        def _info(self):
            own = {"id": tfds.features.Text(), "label": tfds.features.ClassLabel(num_classes=10)}
            own = {"image": tfds.features.Image(shape=shape)} | (features(tfds.features) if features else own)
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(own))

        def _split_generators(self, _):
            return {split: examples(split) for split in images}

        def _generate_examples(self):
            raise NotImplementedError

    Prepared.name = name
    Prepared(data_dir=data_dir, file_format="array_record").download_and_prepare()


def noise(count: int, *shape: int) -> list[np.ndarray]:
    return list(np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8))


def of_celeb_a(features) -> dict:
    """CelebA's features, fewer of them."""
    return {
        "attributes": features.FeaturesDict({"Bald": np.bool_, "Smiling": np.bool_}),
        "landmarks": features.FeaturesDict({"nose_x": np.int64}),
    }


def nothing(features) -> dict:
    """LSUN's: no feature but the image."""
    return {}


def smooth(height: int, width: int) -> np.ndarray:
    """A picture that survives JPEG: red grows downwards, green to the right."""
    red, green = np.meshgrid(np.linspace(0, 255, height), np.linspace(0, 255, width), indexing="ij")
    return np.stack([red, green, np.full_like(red, 128)], axis=-1).astype(np.uint8)


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
    assert source.class_names == tuple("0123456789")
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


def test_images_that_are_not_square(cifar):
    data_dir, images = cifar
    source = data.create("tfds:cifar10", data_dir=data_dir, crop=(10, 32), image_size=(5, 16))
    assert source.shape == source.train[0]["image"].shape == (5, 16, 3)
    source = data.create("tfds:cifar10", data_dir=data_dir, crop=(10, 32))
    middles = {image[11:21].tobytes() for image in images["test"]}
    assert {source.test[i]["image"].tobytes() for i in range(12)} == middles
    with pytest.raises(ValueError, match=r"crop=\(10, 33\) does not fit"):
        data.create("tfds:cifar10", data_dir=data_dir, crop=(10, 33))


def test_grey_images_of_several_sizes(tmp_path):
    images = {split: [noise(1, 20 + i, 30, 1)[0] for i in range(4)] for split in ("train", "test")}
    prepare(tmp_path, images, name="varied", shape=(None, None, 1))
    with pytest.raises(ValueError, match=r"vary in size .* give image_size"):
        data.create("tfds:varied", data_dir=tmp_path)
    source = data.create("tfds:varied", data_dir=tmp_path, image_size=16)
    assert source.shape == source.test[3]["image"].shape == (16, 16, 1)


def prepared(name: str, data_dir: Path) -> Path:
    """Small data in the format, with the features and under the name that the recipe's own data set has in TFDS."""
    if name == "celeb_a":
        images = {split: [smooth(218, 178)] * 3 for split in ("train", "validation", "test")}
        values = {"attributes": {"Bald": False, "Smiling": True}, "landmarks": {"nose_x": 90}}
        prepare(data_dir, images, name=name, shape=(218, 178, 3), fmt="jpeg", features=of_celeb_a, values=values)
    elif name.startswith("lsun"):
        images = {split: [smooth(300, 256), smooth(256, 341)] for split in ("train", "validation")}
        kind, config = name.split("/")
        prepare(
            data_dir,
            images,
            name=kind,
            config=config,
            shape=(None, None, 3),
            fmt="jpeg",
            features=lambda f: {},
            values={},
        )
    else:
        kind, config = name.split("/")
        size = int(config)
        prepare(
            data_dir,
            {"train": [smooth(size, size)] * 2},
            name=kind,
            config=config,
            shape=(size, size, 3),
            features=lambda f: {"image/filename": f.Text()},
            values={"image/filename": "a.png"},
        )
    return data_dir


@pytest.mark.parametrize(
    ("recipe", "counts"),
    [
        ("ve/celeba_ncsnpp", (3, 3)),
        ("ve/bedroom_ncsnpp_continuous", (2, 2)),
        ("ve/church_ncsnpp_continuous", (2, 2)),
        ("ve/ncsnv2/bedroom", (2, 2)),
        ("vp/ddpm/celebahq", (2, 0)),
        ("ve/celebahq_ncsnpp_continuous", (2, 0)),
        ("ve/ffhq_256_ncsnpp_continuous", (2, 0)),
    ],
)
def test_the_recipes_read_their_data_sets(recipe: str, counts: tuple[int, int], tmp_path) -> None:
    """A picture whose red and green are its coordinates: shape, and where the crop begins and ends (2.5 %, JPEG)."""
    config = importlib.import_module("configs." + recipe.replace("/", ".")).get_config()
    if config.data.dataset == "folder":
        for i in range(2):
            Image.fromarray(smooth(300, 256)).save(tmp_path / f"{i}.png")
        config.data.path = str(tmp_path)
    else:
        config.data.data_dir = str(prepared(config.data.dataset.partition(":")[2], tmp_path))
    source = build_source(config)
    size = config.data.image_size
    assert (source.shape, source.levels, len(source.train), len(source.test)) == ((size, size, 3), 256, *counts)
    image = source.train[0]["image"].astype(float)
    assert image.shape == (size, size, 3) and image.dtype == float
    if recipe == "ve/celeba_ncsnpp":
        height, width, side = 218, 178, 140
    elif image[0, size // 2, 0] > 10:  # red does not begin at nothing: a tall picture
        height, width, side = 300, 256, 256
    else:
        height, width, side = (256, 341, 256) if "lsun" in config.data.dataset else (256, 256, 256)
    ends = [255 * ((whole - side) / 2 + at * side) / whole for whole in (height, width) for at in (0, 1)]
    found = image[0, :, 0].mean(), image[-1, :, 0].mean(), image[:, 0, 1].mean(), image[:, -1, 1].mean()
    np.testing.assert_allclose(found, ends, atol=6)
    if counts[1]:
        assert source.test[0]["image"].shape == source.shape


def test_cropping_alone_and_crops_that_do_not_fit(cifar):
    source = data.create("tfds:cifar10", data_dir=cifar[0], crop=20)
    whole = data.create("tfds:cifar10", data_dir=cifar[0])
    assert source.shape == (20, 20, 3)
    np.testing.assert_array_equal(source.train[3]["image"], whole.train[3]["image"][6:26, 6:26])
    with pytest.raises(
        ValueError, match=r"crop=40 does not fit into the images of TFDS dataset 'cifar10', \(32, 32, 3\)"
    ):
        data.create("tfds:cifar10", data_dir=cifar[0], crop=40)


def test_no_test_split_is_an_empty_test_set(cifar):
    source = data.create("tfds:cifar10", data_dir=cifar[0], test_split="")
    assert len(source.train) == 30 and len(source.test) == 0


@pytest.mark.slow
def test_training_from_it_through_the_command_line(cifar, tmp_path):
    """A CIFAR-10 recipe, the discrete one of DDPM++, with the smallest network: four steps and a checkpoint."""
    network = ("nf=4", "ch_mult=(1,)", "num_res_blocks=1", "attn_resolutions=()")
    arguments = [
        "--config=configs/vp/cifar10_ddpmpp.py",
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.data_dir={cifar[0]}",
        *(f"--config.model.{option}" for option in network),
        "--config.training.batch_size=8",
        "--config.training.n_jitted_steps=1",
        "--config.training.snapshot_sampling=False",
        *(f"--config.training.{field}=2" for field in ("log_freq", "eval_freq", "snapshot_freq_for_preemption")),
        "--config.training.snapshot_freq=4",
        "--config.training.n_iters=4",
        "--config.eval.batch_size=12",
    ]
    code, _, err = run("--mode=train", *arguments)
    assert code == 0, err
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line] + [
        line["test_loss"] for line in lines if "test_loss" in line
    ]
    assert len(losses) == 4 and np.all(np.isfinite(losses)) and max(losses) < 3
    assert any((tmp_path / "run" / "checkpoints").iterdir())


def test_captions_are_features_of_text(tmp_path):
    """A text, the first of several within another feature as in COCO, and a name that has a slash itself."""
    prepare(
        tmp_path,
        {"train": noise(2, 8, 8, 3)},
        name="told",
        shape=(8, 8, 3),
        features=lambda f: {"title": f.Text(), "captions": f.Sequence({"text": f.Text()}), "image/name": f.Text()},
        values={"title": "ein Hügel", "captions": {"text": ["a hill", "grass"]}, "image/name": "a.png"},
    )

    def of(key: str, **options) -> data.Source:
        return data.create("tfds:told", data_dir=tmp_path, test_split="", caption_key=key, **options)

    for key, said in (("title", "ein Hügel"), ("captions/text", "a hill"), ("image/name", "a.png")):
        assert [of(key, in_memory=memory).train[1]["caption"] for memory in (False, True)] == [said] * 2
    assert set(of("").train[1]) == {"image"}
    assert len({of_records(of(key).train) for key in ("", "title", "captions/text")}) == 3
    for key, message in (
        ("text", "no feature 'text'; it has .*captions"),
        ("captions/texts", "no feature"),
        ("image", "not a text"),
    ):
        with pytest.raises(ValueError, match=message):
            of(key)


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


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


SHARD = "cifar10-train.array_record-00000-of-00001"


@pytest.mark.parametrize(
    ("name", "harm", "reason"),
    [
        (SHARD, Path.unlink, "No such file"),
        (SHARD, cut, "Corrupted"),
        (SHARD, lambda file: file.write_bytes(b""), "64KB"),
        (SHARD, directory, "Is a directory"),
        (SHARD, lambda file: shutil.copy(str(file).replace("train", "test"), file), "holds 12 examples, .* says 30"),
        ("dataset_info.json", Path.unlink, "DatasetInfoFileError"),
        ("dataset_info.json", cut, "ParseError"),
        ("dataset_info.json", lambda file: file.write_text("{}"), "version"),
        ("dataset_info.json", lambda file: file.write_bytes(b"\xff\xfe"), "UnicodeDecodeError"),
        ("features.json", cut, "JSONDecodeError"),
        ("features.json", lambda file: file.write_text("[1]"), "ParseError"),
    ],
)
def test_a_damaged_folder_is_one_line_that_names_the_file(cifar, tmp_path, name, harm, reason):
    copy = shutil.copytree(cifar[0], tmp_path / "tfds")
    file = copy / "cifar10" / "3.0.2" / name
    harm(file)
    with pytest.raises(ValueError, match=rf"{file}.*prepare .*again.*{reason}|{file} {reason}.*prepare") as error:
        data.create("tfds:cifar10", data_dir=copy)
    assert "\n" not in str(error.value)


def test_a_record_that_is_damaged_is_named_with_its_file(cifar, tmp_path):
    copy = shutil.copytree(cifar[0], tmp_path / "tfds")
    file = copy / "cifar10" / "3.0.2" / SHARD
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    options = {"data_dir": copy, "train_split": "train[10:]", "test_split": ""}
    records = data.create("tfds:cifar10", **options).train
    with pytest.raises(Unreadable, match=rf"cannot read image \d+ of cifar10 train\[10:\] in {re.escape(str(file))}: "):
        take(records, np.arange(20))
    with pytest.raises(ValueError, match=re.escape(str(file))):
        data.create("tfds:cifar10", **options, in_memory=True)


def test_an_image_of_another_shape_than_the_data_set_says_is_named(cifar, tmp_path):
    copy = shutil.copytree(cifar[0], tmp_path / "tfds")
    file = copy / "cifar10" / "3.0.2" / "features.json"
    file.write_text(re.sub(r'"32",(\s*)"32"', r'"16",\1"16"', file.read_text()))
    records = data.create("tfds:cifar10", data_dir=copy).train
    with pytest.raises(Unreadable, match=rf"image 4 of cifar10 train in .*{SHARD}: it is \(32, 32, 3\).*\(16, 16, 3\)"):
        records[4]


def texts_of(data_dir: Path, splits: dict[str, list[str]]) -> None:
    """A TFDS data set of texts, as array_record files."""
    import tensorflow_datasets as tfds

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"text": tfds.features.Text(), "title": tfds.features.Text(), "count": np.int64}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, _):
            return {split: self._of(texts) for split, texts in splits.items()}

        def _of(self, texts):
            yield from ((i, {"text": text, "title": f"no. {i}", "count": i}) for i, text in enumerate(texts))

        def _generate_examples(self):
            raise NotImplementedError

    Prepared.name = "letters"
    Prepared(data_dir=data_dir, file_format="array_record").download_and_prepare()


def test_texts_in_chunks(tmp_path):
    texts_of(tmp_path, {"train": ["der Fuß", "die Katze"], "test": ["der Fuß der Katze"], "other": ["xyz"]})
    options = {"data_dir": str(tmp_path), "length": 4}
    source = data.create("tfds_text:letters", **options)
    train, test = (source.alphabet.decode(records.symbols) for records in (source.train, source.test))
    assert sorted(train.split("\n")) == ["der Fuß", "die Katze"] and test == "der Fuß der Katze"
    assert (source.name, source.shape, len(source.train)) == ("tfds_text:letters", (4,), 4)
    assert len(data.create("tfds_text", dataset="letters", test_split="", **options).test) == 0
    for wrong, message in [
        ({"text_key": "count"}, "has no text 'count'; its texts are text, title"),
        ({"test_split": "other"}, r"the test text has 3 characters|'x' \(U\+0078\) at place 0"),
        ({"train_split": "none"}, "has no split 'none'; it has .*train"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            data.create("tfds_text:letters", **options | wrong)
        assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="TFDS dataset 'text8' is not prepared in"):
        data.create("tfds_text:text8", **options)
