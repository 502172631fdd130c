import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import data
from data.source import take

ROOT = Path(__file__).parents[2]


def test_digits():
    source = data.create("digits")
    assert (source.name, source.shape, source.levels) == ("digits", (8, 8, 1), 17)
    assert source.class_names == tuple("0123456789")
    assert (len(source.train), len(source.test)) == (1500, 297)
    train, test = take(source.train, np.arange(1500)), take(source.test, np.arange(297))
    for split in (train, test):
        assert split["image"].dtype == np.uint8 and split["image"].shape[1:] == (8, 8, 1)
        assert split["image"].min() == 0 and split["image"].max() == 16
        assert split["label"].dtype == np.int32 and set(split["label"]) == set(range(10))
    from sklearn.datasets import load_digits

    expected = load_digits().images
    order = np.random.default_rng(0).permutation(1797)
    np.testing.assert_array_equal(train["image"][..., 0], expected[order[:1500]])
    np.testing.assert_array_equal(test["image"][..., 0], expected[order[1500:]])


def test_photo_patches_are_pure_functions_of_split_and_index():
    short, long = (data.create("photo_patches", train_length=n, test_length=n) for n in (20, 300))
    for split in ("train", "test"):
        a, b = getattr(short, split), getattr(long, split)
        assert (len(a), len(b)) == (20, 300)
        many = b.take(np.arange(300))["image"]
        assert many.shape == (300, 32, 32, 3) and many.dtype == np.uint8
        for i in (0, 7, 19):
            np.testing.assert_array_equal(a[i]["image"], many[i])
            np.testing.assert_array_equal(b[i]["image"], many[i])
    assert len({crop.tobytes() for crop in many}) == 300


def test_photo_patches_train_and_test_share_no_pixel():
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images
    source = data.create("photo_patches", size=64)
    for records, columns in ((source.train, range(0, 512)), (source.test, range(512, 640))):
        for i in range(5):
            crop, corner = records[i]["image"], records.corners[i]
            photo, y, x = corner[0], corner[1], corner[2] + columns.start
            assert x + 64 <= columns.stop
            np.testing.assert_array_equal(crop, photos[photo][y : y + 64, x : x + 64])


def test_a_crop_larger_than_its_region_is_refused():
    with pytest.raises(ValueError, match=r"data.size is 129; it must be at least 1 and fit into \(427, 128\)"):
        data.create("photo_patches", size=129)


@pytest.mark.parametrize("name", [name for name in data.SOURCES if name.startswith("toy_")])
def test_toys(name):
    source = data.create(name, train_length=50_000)
    points = source.train.arrays["image"]
    assert points.dtype == np.float32 and points.shape == (50_000, 2) and source.levels is None
    assert np.abs(points.mean(0)).max() < 0.03 and abs(points.var(0).mean() - 1) < 0.03
    assert not set(map(bytes, points)) & set(map(bytes, source.test.arrays["image"]))
    np.testing.assert_array_equal(points, data.create(name, train_length=50_000).train.arrays["image"])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("CIFAR10", {}, "'CIFAR10' (did you mean 'tfds:cifar10'?); known: clips, digit_points"),
        ("digit", {}, "did you mean 'digits'?"),
        ("digits:3", {}, "unknown dataset 'digits:3'"),
        ("digits", {"size": 3}, "unknown option of dataset digits 'size'; known: none"),
        ("photo_patches", {"sizes": 3}, "'sizes' (did you mean 'size'?)"),
        ("toy_moons", {"shape": 3}, "unknown option of dataset toy_moons 'shape'"),
        ("folder", {"path": "x"}, "needs the option 'image_size'"),
    ],
)
def test_an_unknown_name_or_option_is_one_line_with_the_known_ones(name, options, message):
    with pytest.raises(ValueError) as error:
        data.create(name, **options)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_importing_loads_no_dataset_library():
    heavy = ("sklearn", "tensorflow", "tensorflow_datasets", "grain", "jax")
    code = f"import sys, data; found = set(sys.modules) & set({heavy}); assert not found, found"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
