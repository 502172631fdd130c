"""Models of an autoencoder's latents: the codec, the encoded data set and its cache, the scale, a swapped codec."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
from autoencoders import GreyLevels, Latents, of_one_space
from data.source import take
from experiment import Refusal, build, encoded, load, load_autoencoder
from experiment.build import of_run
from experiment.weights import load_run
from experiment.workdir import Workdir
from tests.experiment.given_autoencoder import latent_config, write_autoencoder


class Halving:
    """An autoencoder in closed form: latents are half of the first channel, twice, with the deviation 0.1."""

    shape = (2, 2, 2)
    has_posterior = True
    tile = 0

    def encode(self, pictures):
        half = 0.5 * np.repeat(np.asarray(pictures)[..., :1], 2, axis=3)
        return np.concatenate([half, np.full_like(half, 2.0 * np.log(0.1))], axis=3)

    def decode(self, z):
        return jnp.asarray(2.0 * z[..., :1])

    def about(self):
        return {"weights": "none"}


LEVELS = GreyLevels(256, True, "none", (2, 2, 1))
PICTURES = np.random.default_rng(0).integers(0, 256, (4, 2, 2, 1), dtype=np.uint8)


def test_x_is_the_shifted_and_scaled_draw_of_the_posterior() -> None:
    codec = Latents(LEVELS, Halving(), scale=(3.0, 5.0), shift=0.25)
    moments = Halving().encode(LEVELS.encode(PICTURES))
    mean = (moments[..., :2] - 0.25) * np.array([3.0, 5.0])
    np.testing.assert_allclose(codec.encode(moments), mean, rtol=1e-6)
    np.testing.assert_allclose(codec.of_pictures(LEVELS.encode(PICTURES)), mean, rtol=1e-6)
    many = np.repeat(moments[:1], 4000, axis=0)
    error = np.asarray(codec.encode(many, jax.random.split(jax.random.key(0), 4000))) - mean[0]
    assert np.abs(error.mean(axis=0)).max() < 5 * 0.5 / np.sqrt(4000)
    np.testing.assert_allclose(error.std(axis=0), np.broadcast_to([0.3, 0.5], (2, 2, 2)), rtol=5 / np.sqrt(8000))
    np.testing.assert_array_equal(codec.decode(mean.astype(np.float32)), PICTURES)
    rows = codec.decode(np.stack([mean, mean]).astype(np.float32))
    np.testing.assert_array_equal(rows, np.stack([PICTURES, PICTURES]))


def test_latents_have_no_bits_of_pixels() -> None:
    codec = Latents(LEVELS, Halving())
    with pytest.raises(ValueError, match="no bits/dim of pixels"):
        codec.bits_offset()
    unit, of_a_bit = codec.information
    assert unit == "nats per latent dimension" and of_a_bit == pytest.approx(np.log(2.0))


def test_a_space_is_that_of_one_autoencoder_scale_and_shift() -> None:
    one = Latents(LEVELS, Halving())
    assert of_one_space(one, Latents(LEVELS, Halving())) and of_one_space(LEVELS, GreyLevels(17, True, "uniform"))
    other = Halving()
    other.about = lambda: {"weights": "others"}  # type: ignore[method-assign]
    for different in (Latents(LEVELS, Halving(), 2.0), Latents(LEVELS, Halving(), 1.0, 1.0), Latents(LEVELS, other)):
        assert not of_one_space(one, different)
    assert not of_one_space(one, LEVELS)


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("codec") / "first"
    write_autoencoder(folder)
    return folder


def test_records_hold_what_the_encoder_says_of_each_picture_and_its_mirror_image(codec: Path) -> None:
    config = latent_config(codec)
    config.data.random_flip = True
    experiment = build(config)
    found, places = experiment.encoded, np.array([5, 0, 3])
    batch, pictures = take(found.train, places), take(experiment.source.train, places)["image"]
    own = Workdir(codec)
    network = build(own.config()).network
    module = network.module(load_run(own, network, own.config())[1])
    y = 2.0 * pictures / 16.0 - 1.0
    np.testing.assert_allclose(batch["encoded"], module.encode(y.astype(np.float32)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(batch["mirrored"], module.encode(y[:, :, ::-1].astype(np.float32)), rtol=1e-4, atol=1e-5)
    assert "mirrored" not in take(found.test, places) and "image" not in batch and len(batch["label"]) == 3
    assert found.shape == experiment.codec.shape == (4, 4, 2) and found.levels is None
    assert dict(experiment.network.options)["num_channels"] == 2


def test_a_cache_is_of_its_data_and_its_codec(codec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is used again as long as pictures and encoder are the same, and by whoever asks."""
    experiment, calls = build(latent_config(codec)), []
    small = dataclasses.replace(
        experiment.source, train=experiment.source.test, test=encoded_part(experiment.source.test, 20)
    )
    plain = encoded.Encoded.take
    monkeypatch.setattr(encoded.Encoded, "take", lambda self, rows: calls.append(len(rows)) or plain(self, rows))

    def kept(source, codec):
        calls.clear()
        return encoded.kept(encoded.source(source, codec), tmp_path, 150)

    first = kept(small, experiment.codec)
    assert calls == [150, 150, 20] and len(first.train) == 297
    whole = plain(encoded.source(small, experiment.codec).train, np.arange(297))
    assert isinstance(first.train.arrays["encoded"], np.memmap)  # type: ignore[attr-defined]
    for name, values in whole.items():
        np.testing.assert_allclose(first.train.arrays[name], values, rtol=1e-4, atol=1e-5)  # type: ignore[attr-defined]
    for same in (experiment.codec, dataclasses.replace(experiment.codec, scale=2.0, shift=0.5)):
        kept(small, same)  # moments have no scale
        assert calls == []
    kept(dataclasses.replace(small, test=encoded_part(experiment.source.test, 21)), experiment.codec)
    assert calls == [21]
    write_autoencoder(tmp_path / "other", seed=1)
    kept(small, build(latent_config(tmp_path / "other")).codec)
    assert calls == [150, 150, 20]
    (about,) = [path for path in tmp_path.glob("*/about.json") if json.loads(path.read_text())["examples"] == 21]
    about.write_text("{}")
    kept(dataclasses.replace(small, test=encoded_part(experiment.source.test, 21)), experiment.codec)
    assert calls == [21]


def encoded_part(records, count: int):
    """The first records of a set in memory."""
    return type(records)({name: values[:count] for name, values in records.arrays.items()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.centered": False}, r"data\.codec is .*set data\.centered to True"),
        ({"data.augment": 0.1}, r"data\.codec is .* and data\.augment 0\.1"),
        ({"sampling.threshold": "clip"}, r"sampling\.threshold is 'clip', and latents have no range"),
        ({"data.codec": "absent"}, r"data\.codec is 'absent', which holds no run"),
        ({"data.codec": "level"}, r"data\.codec is 'level', which holds no run"),
        ({"data.latent_scale": -1.0}, r"data\.latent_scale is -1\.0.*number above 0"),
    ],
)
def test_what_does_not_go_with_latents_is_refused(codec: Path, changes: dict, message: str) -> None:
    config = latent_config(codec)
    with config.ignore_type():
        config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        build(config)


def test_a_codec_is_an_autoencoder(codec: Path, tmp_path: Path) -> None:
    diffusion = latent_config(codec)
    Workdir(tmp_path).begin(diffusion)
    with pytest.raises(ValueError, match=r"whose network is 'ncsnpp'; it must be levels or categories, or the folder"):
        build(latent_config(tmp_path))


def test_an_autoencoder_is_loaded_by_itself(codec: Path) -> None:
    found, experiment = load_autoencoder(codec), build(latent_config(codec))
    pictures = take(experiment.source.train, np.arange(4))["image"]
    x = found.of_pictures(found.pictures.encode(pictures))
    np.testing.assert_array_equal(x, take(experiment.encoded.train, np.arange(4))["encoded"][..., :2])
    assert found.decode(x).shape == pictures.shape and found.decode(x).dtype == np.uint8
    assert (found.scale, found.shift) == (1.0, 0.0)
    assert load_autoencoder(codec, image_size=(16, 12)).shape == (8, 6, 2)


def test_a_loaded_autoencoder_keeps_the_factors_of_its_file(tmp_path: Path) -> None:
    config = write_autoencoder(tmp_path / "scaled")
    with config.unlocked():
        config.model.update(scaling_factor=0.5, shift_factor=0.25)
    Workdir(tmp_path / "scaled").begin(config)
    found = load_autoencoder(tmp_path / "scaled")
    assert (found.scale, found.shift) == (0.5, 0.25)


def test_what_is_loaded_as_an_autoencoder_is_one(codec: Path, tmp_path: Path) -> None:
    Workdir(tmp_path / "latent").begin(latent_config(codec))
    with pytest.raises(ValueError, match=r"model\.name 'ncsnpp', which is no autoencoder"):
        load_autoencoder(tmp_path / "latent")
    with pytest.raises(ValueError, match=r"the folder is .*nothing', which holds no run"):
        load_autoencoder(tmp_path / "nothing")
    with pytest.raises(ValueError, match="15"):
        load_autoencoder(codec, image_size=15)
    with pytest.raises(ValueError, match=r"load_autoencoder reads it"):
        load(codec)


@pytest.fixture(scope="module")
def trained(codec: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latent") / "run"
    main.run("train", latent_config(codec), str(folder))
    return folder


@pytest.mark.slow
def test_the_scale_is_measured_of_the_first_batch_and_stays(trained: Path, codec: Path) -> None:
    saved = Workdir(trained).config()
    run = load(trained)
    assert run.codec.scale == saved.data.latent_scale and run.codec.shift == saved.data.latent_shift
    rows = take(run.experiment.encoded.train, np.arange(1000))
    x = np.asarray(run.codec.encode(rows["encoded"], jax.random.split(jax.random.key(0), 1000)))
    assert abs(x.mean()) < 0.2 and abs(x.std() - 1.0) < 0.2
    again = latent_config(codec)  # whose scale and shift are None
    again.training.n_iters, again.training.snapshot_freq, again.training.snapshot_freq_for_preemption = 3, 3, 3
    before = (trained / "config.json").read_text()
    main.run("train", again, str(trained))
    after = Workdir(trained).config().data
    assert (after.latent_scale, after.latent_shift) == (saved.data.latent_scale, saved.data.latent_shift)
    assert before != (trained / "config.json").read_text()  # of the steps
    given = latent_config(codec)
    given.data.latent_scale = 2.0
    with pytest.raises(Refusal, match=r"data\.latent_scale \(saved 0\.\d+|data\.latent_scale \(saved \d"):
        main.run("train", given, str(trained))


@pytest.mark.slow
def test_samples_are_pictures(trained: Path) -> None:
    run = load(trained)
    drawn = run.sampler()(jax.random.key(0), 3)
    assert drawn.x.shape == (3, 8, 8, 1) and drawn.x.dtype == np.uint8
    with pytest.raises(ValueError, match="no bits/dim of pixels"):
        run.log_likelihood(drawn.x)


@pytest.mark.slow
def test_a_swapped_codec_is_refused_by_name(trained: Path, tmp_path: Path) -> None:
    write_autoencoder(tmp_path / "other", seed=1)
    config = Workdir(trained).config()
    config.data.codec = str(tmp_path / "other")
    for mode in ("train", "sample", "evaluate"):
        with pytest.raises(Refusal, match=r"data\.codec: the weights that it names are not those with which"):
            main.run(mode, config, str(trained))
    config.data.codec = "levels"
    with pytest.raises(Refusal, match=r"data\.codec \(saved .*, now levels\)"):
        main.run("sample", config, str(trained))


@pytest.mark.slow
def test_the_likelihood_of_latents_is_labelled(trained: Path) -> None:
    config = Workdir(trained).config()
    config.eval.enable_vlb = True
    main.run("evaluate", config, str(trained))
    report = json.loads((trained / "report.json").read_text())
    for name in ("bits_per_dim", "variational_bound"):
        assert report[name]["unit"] == "nats per latent dimension" and np.isfinite(report[name]["mean"])
    text = (trained / "report.md").read_text()
    assert "nats per latent dimension**" in text and "bits/dim" not in text
    assert report["samplers"]["ddim"]["frechet_distance"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("cached", [False, True], ids=["as read", "cached"])
def test_a_continued_training_on_latents_is_the_uninterrupted_one(codec: Path, tmp_path: Path, cached: bool) -> None:
    """Bit for bit: scale, order, mirror images, draws of the posterior."""
    config = latent_config(codec)
    config.data.random_flip, config.data.latent_cache = True, str(tmp_path / "cache") if cached else ""
    for folder, lengths in (("whole", (4,)), ("parts", (2, 4))):
        for length in lengths:
            config.training.n_iters = length
            main.run("train", config, str(tmp_path / folder))
    trees = []
    for folder in ("whole", "parts"):
        with Workdir(tmp_path / folder).store(read_only=True) as store:
            trees.append(store.restore(None, 4)[1])
    assert jax.tree.structure(trees[0]) == jax.tree.structure(trees[1])
    jax.tree.map(np.testing.assert_array_equal, *trees)
    scales = {Workdir(tmp_path / folder).config().data.latent_scale for folder in ("whole", "parts")}
    assert len(scales) == 1 and (tmp_path / "cache").exists() == cached


def test_a_run_that_is_used_knows_its_scale(codec: Path, tmp_path: Path) -> None:
    """That of an import is not measured by anybody."""
    config = latent_config(codec)
    workdir = Workdir(tmp_path)
    workdir.begin(config)
    with pytest.raises(ValueError, match=r"data\.latent_scale is None .* says neither; give both"):
        of_run(config, workdir)
    config.data.latent_scale, config.data.latent_shift = 2.0, 0.5
    Workdir(tmp_path / "other").begin(config)
    assert of_run(config, Workdir(tmp_path / "other")).codec.scale == 2.0
