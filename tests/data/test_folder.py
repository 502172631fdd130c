import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data
from data.images import check_image, load_image
from data.source import Unreadable


def photo(height: int, width: int, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Forty pictures of several formats, sizes and depths of folder."""
    for i in range(40):
        folder = tmp_path / "pictures" / ("deep/er" if i % 2 else "")
        folder.mkdir(parents=True, exist_ok=True)
        photo(40 + i, 50, seed=i).save(folder / f"{i:02d}.{('png', 'jpg', 'webp', 'bmp', 'JPEG')[i % 5]}")
    (tmp_path / "pictures" / "notes.txt").write_text("not a picture")
    return tmp_path / "pictures"


def names(records) -> list[str]:
    return [file.name for file in records.files]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_picture_in_one_shape(pictures, channels):
    source = data.create("folder", path=pictures, image_size=16, num_channels=channels, test_fraction=0.3)
    assert source.shape == (16, 16, channels) and source.levels == 256
    assert len(source.train) + len(source.test) == 40 and 4 <= len(source.test) <= 20
    for split in (source.train, source.test):
        for i in range(len(split)):
            image = split[i]["image"]
            assert image.shape == (16, 16, channels) and image.dtype == np.uint8


def test_the_split_is_a_matter_of_each_name_alone(pictures):
    before = data.create("folder", path=pictures, image_size=8, test_fraction=0.3)
    for i in range(40):
        photo(20, 20).save(pictures / f"new{i}.png")
    after = data.create("folder", path=pictures, image_size=8, test_fraction=0.3)
    assert set(names(before.train)) < set(names(after.train))
    assert set(names(before.test)) < set(names(after.test))


def test_a_test_folder_of_its_own(pictures):
    source = data.create("folder", path=pictures, test_path=pictures / "deep", image_size=8)
    assert (len(source.train), len(source.test)) == (40, 20)


def test_crop_is_central_and_resize_averages(tmp_path):
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, 32:96] = 100  # the central square, of which nothing outside may shine through
    pixels[:, 32:96:2] += 100  # a pattern that subsampling would alias
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png", channels=3, size=8)
    assert np.abs(image.astype(int) - 150)[:, 1:-1].max() <= 2


def test_a_picture_of_the_right_size_is_left_alone(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_image(tmp_path / "a.png", channels=3, size=16), pixels)


def test_a_rotated_photograph_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees to show
    photo(20, 40).save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg", channels=3).shape == (40, 20, 3)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_a_file_cut_short_is_named_at_once(pictures, suffix):
    victim = pictures / f"victim.{suffix}"
    photo(64, 64).save(victim)
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size * 2 // 3])
    with pytest.raises(ValueError, match=rf"1 image file\(s\) cannot be read.* {victim}") as error:
        data.create("folder", path=pictures, image_size=8)
    assert "\n" not in str(error.value)


def test_a_flipped_bit_in_a_png_is_named_at_once(pictures):
    content = bytearray((pictures / "00.png").read_bytes())
    content[len(content) // 2] ^= 1
    (pictures / "00.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"00\.png"):
        data.create("folder", path=pictures, image_size=8)


def test_a_file_damaged_later_is_named_when_read(pictures):
    source = data.create("folder", path=pictures, image_size=8, test_fraction=0, verify=False)
    victim = source.train.files[3]
    victim.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=f"cannot read the image {victim}"):
        source.train[3]


def png(file: Path, width: int, height: int, depth: int, colour: int, cut: int | None = None) -> None:
    """A PNG of sound chunks, black, whose compressed data are `cut`."""
    row = b"\0" * (1 + (width * depth * (3 if colour else 1) + 7) // 8)
    chunks = (
        (b"IHDR", struct.pack(">2I5B", width, height, depth, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * height, 9)[:cut]),
        (b"IEND", b""),
    )
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def bilevel(file: Path, width: int, height: int) -> None:
    png(file, width, height, depth=1, colour=0)


UNREADABLE = {
    "grey16.png": (lambda f: Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(f), "more than 8 bits"),
    "float.bmp": (lambda f: Image.fromarray(np.ones((8, 8), np.float32)).save(f, "TIFF"), "more than 8 bits"),
    "short.png": (lambda f: png(f, 64, 64, depth=8, colour=2, cut=20), "truncated"),
    "bomb.png": (lambda f: bilevel(f, 12_000, 12_000), "12000 x 12000 pixels, and 67108864 are allowed"),
    "great.png": (lambda f: bilevel(f, 20_000, 20_000), "far more than 67108864 pixels"),
    "text.jpg": (lambda f: f.write_text("no picture"), "not a picture"),
    "empty.webp": (lambda f: f.write_bytes(b""), "not a picture"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_named_by_the_check_and_by_the_reader(tmp_path, name):
    """The check passes nothing that the reader refuses, both say why, and neither decodes what is too large."""
    for i in range(3):
        photo(8, 8, seed=i).save(tmp_path / f"{i}.png")
    write, reason = UNREADABLE[name]
    write(tmp_path / name)
    options = {"path": tmp_path, "image_size": 8, "test_fraction": 0}
    with pytest.raises(ValueError, match=rf"1 image file\(s\) cannot be read.*{name} \(.*{reason}") as error:
        data.create("folder", **options)
    assert "\n" not in str(error.value)
    records = data.create("folder", **options, verify=False).train
    with pytest.raises(Unreadable, match=rf"{name}: .*{reason}"):
        records[names(records).index(name)]


@pytest.mark.parametrize("side", [8193, 12_000, 20_000])
def test_the_size_is_looked_at_before_a_pixel_is_decoded(tmp_path, monkeypatch, side):
    bilevel(tmp_path / "a.png", side, side)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("pixels were decoded"))
    for read in (partial(load_image, size=8), check_image):
        with pytest.raises(ValueError, match="67108864"):
            read(tmp_path / "a.png", channels=1)


def test_a_large_picture_is_read(tmp_path):
    bilevel(tmp_path / "a.png", 8192, 4096)
    assert load_image(tmp_path / "a.png", channels=1, size=4).shape == (4, 4, 1)


def test_sixteen_bits_are_refused_rather_than_clipped(tmp_path):
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="8 bits"):
        load_image(tmp_path / "a.png", channels=1)


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        data.create("folder", path=tmp_path / "nowhere", image_size=8)
    with pytest.raises(ValueError, match=f"no image file .* below {tmp_path}"):
        data.create("folder", path=tmp_path, image_size=8)
    photo(8, 8).save(tmp_path / "only.png")
    with pytest.raises(ValueError, match=r"test_fraction=0\.1 splits"):
        data.create("folder", path=tmp_path, image_size=8)
    with pytest.raises(ValueError, match="num_channels"):
        data.create("folder", path=tmp_path, image_size=8, num_channels=4)


def test_folders_are_classes_in_the_order_of_their_names(tmp_path):
    for name, count in (("zebra", 12), ("ant", 9), ("ant/small", 3)):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.fromarray(np.full((8, 8, 3), 7 * i, np.uint8)).save(tmp_path / name / f"{i}.png")
    source = data.create("folder", path=str(tmp_path), image_size=8, test_fraction=0.3, classes=True)
    assert source.num_classes == 2 and len(source.train) + len(source.test) == 24
    labels = [int(records[i]["label"]) for records in (source.train, source.test) for i in range(len(records))]
    assert labels.count(0) == labels.count(1) == 12
    for records in (source.train, source.test):
        for i, file in enumerate(records.files):
            assert records[i]["label"] == (file.relative_to(tmp_path).parts[0] == "zebra")
    assert data.create("folder", path=str(tmp_path), image_size=8).num_classes == 0
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "stray.png")
    with pytest.raises(ValueError, match=r"stray\.png lies in no class"):
        data.create("folder", path=str(tmp_path), image_size=8, classes=True)
