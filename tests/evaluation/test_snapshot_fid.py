"""The FID of snapshots: of as many samples as asked for, as the pictures that they are, beside the reference."""

from pathlib import Path

import numpy as np
import pytest

from configs.vp import digits
from evaluation import features, snapshot_fid, stats
from experiment import Failure, build
from experiment.sampling import Drawn
from metrics.fid import moments
from metrics.inception import Features
from metrics.sample_set import Reference


class Inception:
    """The mean grey level of a picture in place of its features."""

    sha256, resize = "abc", "pytorch"

    def __call__(self, images: np.ndarray) -> Features:
        grey = np.asarray(images, np.float32).mean((1, 2, 3))[:, None]
        return Features(grey.repeat(2048, 1), grey, grey)


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of 10 samples in batches of 4, all at level i of 0 to 16 in batch i, or not finite where `broken`."""
    drawn = []

    class Drawer:
        def __init__(self, experiment, variables, method, size):
            self.broken, self.size = variables["broken"], size

        def start(self, key, i):
            drawn.append(i)
            return i

        def fetch(self, i):
            if self.broken:
                raise Failure("samples of x are not finite")
            return Drawn(np.full((self.size, 8, 8, 1), i, np.uint8), np.ones(4), 0.0)

    file = tmp_path / "stats.npz"
    stats.save_statistics(file, Reference(moments(np.zeros((3, 2048))), moments(np.zeros((3, 2023))), None, {}))
    known = np.load(file)
    np.savez(file, mu=known["mu"], sigma=known["sigma"])
    monkeypatch.setattr(snapshot_fid, "Drawer", Drawer)
    monkeypatch.setattr(features, "load_inception", lambda path, resize, expected: Inception())
    # the roots of covariances of 2048 numbers take seconds; test_fid.py has the distance itself
    monkeypatch.setattr(snapshot_fid, "frechet_distance", lambda a, b: float(b.mean[0] - a.mean[0]))
    config = digits.get_config()
    config.model.update(nf=4, ch_mult=(1,), num_res_blocks=1, attn_resolutions=())
    config.training.snapshot_fid_samples = 10
    config.eval.update(inception="weights.pth", reference_stats=str(file), batch_size=4)
    return snapshot_fid.prepare(build(config)), drawn


def test_it_is_of_the_pictures_of_as_many_samples(measure) -> None:
    """Levels 0, 1, 2 of 17 stand for 0, 16, 32 of 255 (rounded): of 4, 4 and 2 samples the mean is 12.8."""
    fid, drawn = measure
    assert fid({"broken": False}) == pytest.approx((4 * 0 + 4 * 16 + 2 * 32) / 10, abs=1e-5)
    assert drawn == [0, 1, 2]


def test_samples_that_are_not_finite_have_none(measure) -> None:
    assert measure[0]({"broken": True}) is None


def test_it_says_what_it_depends_on(measure, tmp_path: Path) -> None:
    about = measure[0].about
    assert about["samples"] == 10 and about["inception_sha256"] == "abc" and about["method"]
    assert len(about["reference_sha256"]) == 64 and about["settings"]["t_min"] > 0
