"""Signals, clips, volumes and point sets: what the embedded ones are drawn from, and what of files is refused."""

import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

import data
from data.fingerprint import of_records
from data.source import take
from data.tones import power as expected_power


def test_tones_have_the_power_that_is_said_of_them_and_no_beginning() -> None:
    """Power lies in the harmonics alone, as 1 : 1/4 : 1/9 : 1/16; 4000 signals leave 1.6 % of the noise's power."""
    source = data.create("tones", length=128, train_length=4000, test_length=2)
    x, label = source.train.arrays["image"][..., 0], source.train.arrays["label"]
    assert source.shape == (128, 1) and abs(np.mean(x**2) - 1.0) < 0.01 and abs(x.mean()) < 1e-3
    for note, periods in enumerate((4, 5, 6, 8)):
        power = np.mean(np.abs(np.fft.rfft(x[label == note], axis=1)) ** 2, axis=0) / 128
        harmonics = periods * np.arange(1, 5)
        others = np.delete(power, harmonics)
        assert abs(others.mean() / 0.05**2 - 1.0) < 0.02 and others.max() < 2 * others.mean()
        np.testing.assert_allclose((power[harmonics] - 0.05**2) / power[periods], 1 / np.arange(1, 5) ** 2, rtol=0.02)
        expected = expected_power(128, note)  # whose sum over all 128 frequencies is the variance (Parseval)
        np.testing.assert_allclose(expected[0] + 2 * expected[1:-1].sum() + expected[-1], 128.0)
        np.testing.assert_allclose(power[:65][harmonics], expected[harmonics], rtol=0.02)
    # Phases are uniform: their mean unit vector over 1000 signals of a note stays within 4 standard errors of 0.
    phases = np.angle(np.fft.rfft(x[label == 0], axis=1)[:, [4, 8]])
    assert np.abs(np.mean(np.exp(1j * phases), axis=0)).max() < 4 / np.sqrt(len(phases))
    longer = data.create("tones", length=128, train_length=5000, test_length=2)
    np.testing.assert_array_equal(longer.train.arrays["image"][:4000], source.train.arrays["image"])
    with pytest.raises(ValueError, match=r"data.length is 48; .* 64 samples"):
        data.create("tones", length=48)


def test_a_digit_moves_evenly_turns_round_at_the_border_and_stays_whole() -> None:
    source = data.create("moving_digits", frames=6, size=20, train_length=64, test_length=8)
    assert source.shape == (6, 20, 20, 1) and source.modality == "clip" and source.num_classes == 10
    batch = take(source.train, np.arange(64))
    clips, still = batch["image"], data.create("digits").train.arrays
    assert clips.shape == (64, *source.shape) and clips.dtype == np.uint8
    for clip, label, digit in zip(clips, batch["label"], source.train.digit[:, 0], strict=True):
        assert label == still["label"][digit]
        assert {int(frame.sum()) for frame in clip} == {int(still["image"][digit].sum())}
    weights = clips[..., 0].astype(float)
    middle = (weights * np.arange(20)).sum((2, 3)) / weights.sum((2, 3))
    steps = np.abs(np.diff(middle, axis=1))  # an even speed in whole pixels: steps differ by 1 but where it turns
    assert steps.max() <= 3.0 and (np.ptp(steps, axis=1) <= 1.0 + 1e-9).mean() > 0.5
    np.testing.assert_array_equal(source.test.images, data.create("digits").test.arrays["image"])
    # In 10 frames a digit goes as far at the end as at the beginning, but for two turns of two pixels at most and a
    # rounding: it never stays at a border. How fast it is along one axis says nothing of the other.
    long = data.create("moving_digits", frames=40, size=20, train_length=64, test_length=1)
    weights = take(long.train, np.arange(64))["image"][..., 0].astype(float)
    steps = np.abs(np.diff((weights * np.arange(20)).sum((2, 3)) / weights.sum((2, 3)), axis=1))
    across = np.abs(np.diff((weights * np.arange(20)[:, None]).sum((2, 3)) / weights.sum((2, 3)), axis=1))
    for each in (steps, across):
        first, last = each[:, :10].sum(axis=1), each[:, -10:].sum(axis=1)
        assert first.max() > 15.0 and np.abs(first - last).max() <= 6.0
    assert abs(np.corrcoef(steps.sum(axis=1), across.sum(axis=1))[0, 1]) < 5 / np.sqrt(64)
    both = data.create("moving_digits", count=2, train_length=4, test_length=1)
    assert both.num_classes == 0 and set(take(both.train, np.arange(2))) == {"image"}
    # Where two digits meet, the lighter pixel is seen: neither ever hides any of the ink of the other.
    close = data.create("moving_digits", count=2, size=10, frames=2, train_length=64, test_length=1).train
    inks = still["image"].sum(axis=(1, 2, 3))[close.digit]
    seen = take(close, np.arange(64))["image"].sum(axis=(2, 3, 4))
    assert np.all(seen >= inks.max(axis=1, keepdims=True)) and np.any(seen < inks.sum(axis=1, keepdims=True))
    volumes = data.create("digit_volumes", depth=5, train_length=4, test_length=1)
    assert volumes.shape == (5, 12, 12, 1) == volumes.train[3]["image"].shape and volumes.modality == "volume"
    assert len({of_records(s.train) for s in (source, both, volumes)}) == 3


def test_points_lie_where_the_ink_is_in_any_order() -> None:
    """Each pixel has its share of 20000 points of the ink, within 5 standard errors."""
    source = data.create("digit_points", points=20_000, train_length=1, test_length=1)
    x, y = source.train[0]["image"].T
    image = data.create("digits").train.arrays["image"][0, ..., 0].astype(float)
    found, _, _ = np.histogram2d(4 - 2 * y, 2 * x + 4, bins=8, range=((0, 8), (0, 8)))
    share = image / image.sum()
    assert np.all(np.abs(found / 20_000 - share) <= 5 * np.sqrt(share * (1 - share) / 20_000))
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 5 / np.sqrt(20_000)
    for along in (x, y):  # anywhere in a pixel alike
        assert abs(np.mean(2 * along % 1) - 0.5) < 5 / np.sqrt(12 * 20_000)
    few = data.create("digit_points", points=8, train_length=3001, test_length=1)
    assert few.train[1500]["label"] == few.train[0]["label"] and few.train.arrays["image"].std() < 1.5
    assert (few.train[1500]["image"] != few.train[0]["image"]).any()


def refused(message: str, name: str, **options: object) -> None:
    with pytest.raises(ValueError, match=message) as error:
        data.create(name, **options)
    assert "\n" not in str(error.value)


def test_recordings_are_cut_into_signals_and_the_rest_is_refused_in_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    loud = rng.integers(-(2**15), 2**15, (25, 1), dtype=np.int16)
    wavfile.write(tmp_path / "a.wav", 8000, loud[:, 0])
    wavfile.write(tmp_path / "b.wav", 8000, np.concatenate([loud[:12], loud[12:24]], axis=1) / np.float32(2**15))
    given = {"path": str(tmp_path), "length": 10, "rate": 8000, "test_fraction": 0.0}
    source = data.create("sounds", **given, gain=2.0)
    assert len(source.train) == 3 and source.shape == (10, 1) and source.levels is None and source.rate == 8000
    np.testing.assert_allclose(source.train[1]["image"], 2.0 * loud[10:20] / 2**15, rtol=1e-6)
    mean = (loud[:10].astype(float) + loud[12:22]) / 2  # of two channels
    np.testing.assert_allclose(source.train[2]["image"], 2.0 * mean / 2**15, rtol=1e-5)
    wavfile.write(tmp_path / "c.wav", 22050, loud)
    refused("c.wav has 22050 samples a second, and data.rate is 8000; resample it", "sounds", **given)
    (tmp_path / "c.wav").unlink()
    refused("a.wav has 25 samples, and data.length is 30", "sounds", **given | {"length": 30})
    refused(r"a.wav has 1 channel\(s\), and data.channels is 2", "sounds", **given, channels=2)
    refused("test_fraction=0.99 splits the 2", "sounds", **given | {"test_fraction": 0.99})
    (tmp_path / "d.wav").write_bytes(b"RIFFsomething")
    refused("d.wav cannot be read as a wav file", "sounds", **given)
    (tmp_path / "empty").mkdir()
    given["path"] = f"{tmp_path}/empty"
    refused(r"there is no file below .*empty whose name ends in \.wav", "sounds", **given)


@pytest.mark.parametrize("bits", [8, 16, 24, 32, -32])
def test_samples_of_every_width_mean_the_same(bits: int, tmp_path: Path) -> None:
    """PCM of so many bits, of which 8 are around 128, or floats."""
    x = np.array([-1.0, -0.5, 0.0, 0.25])
    stored = x if bits < 0 else x * 2 ** (bits - 1) + 128 * (bits == 8)
    kind = {8: "u1", 16: "<i2", 24: "<i4", 32: "<i4", -32: "<f4"}[bits]
    raw = stored.astype(kind)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, abs(bits) // 8, 8000, 4, "NONE", ""))
        file.writeframes(raw.view("u1").reshape(4, -1)[:, : abs(bits) // 8].tobytes())
    if bits < 0:
        wavfile.write(tmp_path / "a.wav", 8000, raw)
    found = data.create("sounds", path=str(tmp_path), length=4, rate=8000, test_fraction=0.0).train[0]["image"]
    assert found.dtype == np.float32 and found[:, 0].tolist() == x.tolist()


def test_animated_pictures_are_cut_into_clips(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (7, 6, 6, 3), dtype=np.uint8)
    frames = [Image.fromarray(frame) for frame in levels]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True, exact=True)
    given = {"path": str(tmp_path), "frames": 3, "size": 6, "test_fraction": 0.0}
    source = data.create("clips", **given)
    assert len(source.train) == 2 and source.shape == (3, 6, 6, 3) and source.levels == 256
    np.testing.assert_array_equal(source.train[1]["image"], levels[3:6])
    grey = data.create("clips", **given, channels=1).train[0]["image"]
    assert np.abs(grey[..., 0] - levels[:3] @ (0.299, 0.587, 0.114)).max() < 1.0  # Rec. 601, rounded
    refused(r"a.webp has 7 frame\(s\), and data.frames is 8", "clips", **given | {"frames": 8})
    refused("data.channels is 2; it must be 1", "clips", **given, channels=2)


def test_arrays_of_another_shape_are_refused_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(8.0).reshape(4, 2))
    given = {"path": str(tmp_path), "points": 4, "test_fraction": 0.0}
    found = data.create("point_sets", **given).train[0]["image"]
    assert found.dtype == np.float32 and found.tolist() == np.arange(8.0).reshape(4, 2).tolist()
    refused(r"a.npy holds \(4, 2\), and data.points .* ask for \(5, 2\)", "point_sets", **given | {"points": 5})
    varying = given | {"points": 5, "varying": True}
    source = data.create("point_sets", **varying)
    record = source.train[0]
    assert source.padded and record["present"].tolist() == [True] * 4 + [False]
    np.testing.assert_array_equal(record["image"][:4], found)
    assert record["image"].shape == source.shape == (5, 2) and np.isnan(record["image"][4]).all()
    refused("data.varying to True, which takes sets of fewer points", "point_sets", **given | {"points": 5})
    refused("ask for 1 to 3 points of 2 coordinates", "point_sets", **varying | {"points": 3})
    np.save(tmp_path / "a.npy", np.zeros((0, 2)))
    refused(r"a.npy holds \(0, 2\)", "point_sets", **varying)
    cube = {"path": str(tmp_path), "depth": 2, "height": 2, "width": 2, "test_fraction": 0.0}
    np.save(tmp_path / "a.npy", np.arange(8.0).reshape(2, 2, 2))
    refused("holds float64; needed is uint8", "volumes", **cube)
    np.save(tmp_path / "a.npy", np.arange(8, dtype=np.uint8).reshape(2, 2, 2))
    assert data.create("volumes", **cube).train[0]["image"].shape == (2, 2, 2, 1)
