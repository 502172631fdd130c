"""How signals, clips, volumes and point sets are shown: what is drawn is where it is in the data."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

import data
from autoencoders.grey_levels import GreyLevels
from experiment.pictures import aside, save_decoded
from experiment.showing import HEIGHT, MODALITIES, SIDE, WIDTH

FLOATS = {name: GreyLevels(None, True, "none", modality=name) for name in MODALITIES}


def test_every_data_set_has_a_modality_that_is_shown() -> None:
    for name in ("digits", "tones", "moving_digits", "digit_volumes", "digit_points", "toy_moons"):
        source = data.create(name)
        assert len(MODALITIES[source.modality].axes) == len(source.shape) == source.train[0]["image"].ndim, name


def test_a_wave_is_drawn_and_its_pitch_lies_where_it_is(tmp_path: Path) -> None:
    """A square wave is at the top, then at the bottom; a tone of a quarter of the rate is in the middle row."""
    time = np.arange(256)
    x = np.stack([np.where(time < 128, 1.0, -1.0), 0.5 * np.cos(np.pi / 2 * time)])[..., None].astype("f4")
    panels = MODALITIES["signal"].panels(x, FLOATS["signal"])
    assert panels.shape == (2, 2 * HEIGHT, WIDTH, 1) and panels.dtype == np.uint8
    wave, below = panels[0, :HEIGHT, :, 0], panels[1, HEIGHT:, :, 0]
    assert not wave[0, : WIDTH // 2 - 1].any() and (wave[1:, : WIDTH // 2 - 2] == 255).all()
    assert not wave[-1, WIDTH // 2 + 1 :].any()
    quarter = panels[1, :HEIGHT, :, 0]
    assert (quarter[: HEIGHT // 4 - 1] == 255).all() and not quarter[HEIGHT // 2].any()
    assert np.all(np.abs(below.argmin(axis=0) - HEIGHT / 2) < HEIGHT / 8) and below[0].min() == 255
    assert below.min() == round(255 * 20 * np.log10(4) / 60)  # a cosine of 1/2 is 12 dB below a level of 1
    early = np.where(time < 128, np.cos(np.pi / 8 * time), 0.0)[None, :, None].astype("f4")  # a low one, then silence
    below = MODALITIES["signal"].panels(early, FLOATS["signal"])[0, HEIGHT:, :, 0]
    assert below[:, : WIDTH // 4].argmin(axis=0).min() > 3 * HEIGHT / 4 and (below[:, -WIDTH // 4 :] == 255).all()
    save_decoded(tmp_path / "a.png", x, FLOATS["signal"], {}, rate=1000.0)
    rate, heard = wavfile.read(tmp_path / "a.wav")
    assert rate == 1000 and heard.shape == (2 * (256 + 100),) and abs(np.abs(heard).max() - 0.9) < 1e-6
    np.testing.assert_allclose(heard[356:612], 0.9 * x[1, :, 0], atol=1e-6)


@pytest.mark.parametrize("modality", ["clip", "volume"])
def test_frames_stand_beside_each_other_and_move_without_loss(modality: str, tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 17, (3, 4, 32, 32, 1), dtype=np.uint8)
    codec = GreyLevels(17, True, "uniform", levels.shape[1:], modality=modality)
    panels = MODALITIES[modality].panels(levels, codec)
    assert panels.shape == (3, 32, 4 * 33 - 1, 1)
    shown = np.asarray(codec.stretch(levels))
    for t in range(4):
        np.testing.assert_array_equal(panels[:, :, 33 * t : 33 * t + 32], shown[:, t])
    save_decoded(tmp_path / "a.png", levels, codec, {}, rate=10.0)
    with Image.open(tmp_path / "a.webp") as player:
        assert player.n_frames == 4
        for t in range(4):
            player.seek(t)
            frame = np.asarray(player.convert("RGB"))
            assert player.info["duration"] == 100
            np.testing.assert_array_equal(frame[2:34, 36:68, 0], shown[1, t, ..., 0])
    assert aside(tmp_path / "a.png", codec) == tmp_path / "a.png"
    assert {path.name for path in tmp_path.iterdir()} == {"a.1.png", "a.1.webp"}
    save_decoded(tmp_path / "b.png", levels, codec, {})
    assert not (tmp_path / "b.webp").exists()  # without a rate


def test_points_are_squares_where_they_lie() -> None:
    x = np.zeros((2, 4, 2), "f4")
    x[0] = [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    panels = MODALITIES["point_set"].panels(x, FLOATS["point_set"])
    assert panels.shape == (2, SIDE, SIDE, 1)
    rows, columns = np.nonzero(panels[0, ..., 0] == 0)
    assert len(rows) == 36 and rows.min() + rows.max() == columns.min() + columns.max() == SIDE - 1
    assert np.ptp(rows) == np.ptp(columns) > SIDE * 0.9
    assert (panels[1] == 0).sum() == 9  # all at one place
    x[0, 0] = [-1, -0.5]
    moved = MODALITIES["point_set"].panels(x, FLOATS["point_set"])[0, ..., 0]
    assert (np.nonzero(moved[: SIDE // 2] == 0)[0].size, np.nonzero(moved[-8:] == 0)[0].size) == (18, 9)  # y is upwards
    x[0, 0] = np.nan
    assert (MODALITIES["point_set"].panels(x, FLOATS["point_set"])[0] == 0).sum() == 27  # it is not there
    x[0, 0] = 0.0
    deep = np.concatenate([x, np.linspace(-1, 1, 8).reshape(2, 4, 1)], axis=-1)
    assert len(np.unique(MODALITIES["point_set"].panels(deep, FLOATS["point_set"]))) > 4
