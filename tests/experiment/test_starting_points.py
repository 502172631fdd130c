"""Samples start at the noise of a file, and keep the x from which they were decoded."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import main
from configs.ve import digits as ve_digits
from configs.vp import toy_mixture8_mlp as toy
from experiment import Experiment, Refusal, build, load
from experiment.starting_points import starting_points
from experiment.workdir import Workdir


def config() -> ConfigDict:
    """Two numbers an example and the smallest network."""
    config = toy.get_config()
    config.model.update(width=8, depth=1)
    config.sampling.update(method="ddim", evaluations=3, keep_latents=True)
    config.eval.update(batch_size=4, samplers=("ddim",))
    return config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = Workdir(tmp_path_factory.mktemp("runs") / "toy")
    workdir.begin(config())
    variables = build(config()).network.init(jax.random.key(0))
    with workdir.store() as store:
        store.save(3, {"ema": variables["params"], "fixed": variables["fixed"]})
    return workdir.path


def file(folder: Path, noise: object, name: str = "start.npy") -> str:
    np.save(folder / name, noise)
    return str(folder / name)


def test_samples_start_at_the_points_of_a_file(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    noise = np.random.default_rng(0).standard_normal((6, 2))
    started = config()
    started.sampling.start = file(tmp_path, noise)
    main.run("sample", started, str(run))  # in two batches, the second of which is filled up
    drawn = np.load(run / "samples" / "ddim_step_3_seed_0.npz")
    assert drawn["samples"].shape == (6, 2) and str(drawn["start"]) == started.sampling.start
    own = load(run)
    expected = own.sampler(keep_latents=False)(jax.random.key(5), np.float32(noise[:4]))
    assert expected.latents is None
    np.testing.assert_allclose(drawn["samples"][:4], expected.x, rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(own.codec.decode(drawn["latents"])), drawn["samples"])
    first = (run / "samples" / "ddim_step_3_seed_0.npz").read_bytes()
    started.sampling.start = file(tmp_path, noise[:1])
    main.run("sample", started, str(run))
    assert (run / "samples" / "ddim_step_3_seed_0.1.npz").read_bytes() == first, "nothing is overwritten"
    assert "1 samples of ddim" in capsys.readouterr().out


def images() -> Experiment:
    return build(ve_digits.get_config())


def test_the_noise_has_deviation_one_whatever_the_process(tmp_path: Path) -> None:
    noise = np.float16(np.random.default_rng(1).standard_normal((3, 8, 8, 1)))
    points = starting_points(file(tmp_path, noise), images())
    assert points.dtype == np.float32 and images().sde.prior_std > 2
    np.testing.assert_array_equal(points, images().sde.prior_std * np.float32(noise))


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (np.zeros((3, 8, 8)), r"shape \(3, 8, 8\); needed is \[n, 8, 8, 1\] with at least one start$"),
        (np.zeros((2, 1, 8, 8)), r"shape \(2, 1, 8, 8\); needed .*PyTorch has the channels ahead: transpose"),
        (np.zeros((0, 8, 8, 1)), "at least one start"),
        (np.zeros((2, 8, 8, 1), np.int32), "is int32; needed is one array of floating-point numbers"),
        (np.repeat([0.0, np.nan], 64).reshape(2, 8, 8, 1), "not finite in float32, the first in start 1"),
        (np.full((1, 8, 8, 1), 1e300), "not finite in float32, the first in start 0"),
        (np.array([{}]), "cannot be read as an array"),
    ],
)
def test_what_is_no_noise_is_one_line(noise: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as error:
        starting_points(file(tmp_path, noise), images())
    assert "\n" not in str(error.value) and str(tmp_path / "start.npy") in str(error.value)


def test_what_is_no_file_of_noise_is_refused_before_anything_is_drawn(run: Path, tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("no array")
    np.savez(tmp_path / "several.npz", a=np.zeros(2))
    for name, message in (
        ("text.npy", "text.npy cannot be read as an array"),
        ("several.npz", r"several.npz is NpzFile of several arrays; needed is one array"),
        ("absent.npy", "No such file"),
    ):
        started = config()
        started.sampling.start = str(tmp_path / name)
        with pytest.raises(Refusal, match=message) as refusal:
            main.prepare("sample", started, str(run))
        assert re.search(name, str(refusal.value))
