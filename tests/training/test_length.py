"""What fits the length of a run: the fall of the learning rate may be lengthened with it, and not outlived."""

import importlib
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import main
from configs.vp import digits, toy_mixture8_mlp
from experiment import Refusal
from experiment.experiment import num_scales
from experiment.ranges import check_config
from experiment.workdir import Workdir
from training import length, optimizer
from training.state import TrainState

ROOT = Path(__file__).parents[2]
FILES = sorted(
    str(file.relative_to(ROOT))
    for file in (ROOT / "configs").glob("*/**/*.py")
    if "def get_config() -> ConfigDict" in file.read_text()
)


def _config(n_iters: int, decay_steps: int) -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    config.model.update(width=8, depth=1)
    config.training.update(batch_size=8, n_iters=n_iters, log_freq=1, eval_freq=0, snapshot_sampling=False)
    config.training.update(snapshot_freq=4, snapshot_freq_for_preemption=4)
    config.optim.update(decay_steps=decay_steps, warmup=0)
    return config


def _weights(workdir: Path, step: int) -> np.ndarray:
    with Workdir(workdir).store(read_only=True) as store:
        tree = store.restore(None, step)[1]
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree["params"])])


@pytest.mark.slow
def test_a_run_is_lengthened_with_the_fall_of_its_rate(tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    main.run("train", _config(4, 4), str(workdir))
    saved = (workdir / "config.json").read_bytes()
    with pytest.raises(Refusal) as refusal:
        main.prepare("train", _config(8, 4), str(workdir))
    line = str(refusal.value)
    assert "training.n_iters is 8 and optim.decay_steps 4" in line and "\n" not in line
    assert "fallen to 0 at step 4" in line and "--config.optim.decay_steps=8" in line
    assert (workdir / "config.json").read_bytes() == saved
    main.run("train", _config(8, 8), str(workdir))
    assert json.loads((workdir / "config.json").read_text())["optim"]["decay_steps"] == 8
    # Adam's first steps are about as long as the rate: cos^2(pi n / 16) of 2e-3 for n = 4 to 7 adds up to 0.00199.
    moved = np.abs(_weights(workdir, 8) - _weights(workdir, 4)).max()
    assert 5e-4 < moved < 4e-3


@pytest.mark.parametrize(
    ("saved", "now", "accepted"),
    [
        ((20, 20), (40, 40), True),
        ((20, 20), (40, 30), True),  # which the length refuses, not the folder
        ((20, 20), (20, 40), False),
        ((20, 20), (40, 10), False),
        ((20, 0), (40, 40), False),  # a rate that did not fall
        ((20, 20), (40, 0), False),
    ],
)
def test_what_a_folder_takes_for_longer(
    saved: tuple[int, int], now: tuple[int, int], accepted: bool, tmp_path: Path
) -> None:
    workdir = Workdir(tmp_path / "run")
    workdir.begin(_config(*saved))
    if accepted:
        workdir.check(_config(*now), training=True)
    else:
        with pytest.raises(ValueError, match=rf"optim\.decay_steps \(saved {saved[1]}, now {now[1]}\)"):
            workdir.check(_config(*now), training=True)


def test_behind_an_import_the_optimiser_counts_from_its_beginning() -> None:
    params = {"w": np.zeros(3)}
    fresh = TrainState.create({"params": params, "fixed": {}}, optimizer.create())._replace(step=np.int32(100))
    length.check_decay(_config(120, 20), fresh)
    with pytest.raises(ValueError, match=r"n_iters is 121 and .*decay_steps 20: .* 0 at step 120, and the 1 steps"):
        length.check_decay(_config(121, 20), fresh)
    length.check_decay(_config(90, 20), fresh)  # nothing is left to do
    length.check_decay(_config(1000, 0), fresh)  # it does not fall


def test_stages_at_whose_end_two_times_are_one() -> None:
    config = _config(140, 0)
    config.training.update(loss="easy_consistency", doubling_steps=10)
    with pytest.raises(ValueError, match=r"doubling_steps is 10, .*ect_q 2 .*n_iters 140: behind 13 stages.* 11 or"):
        length.check_stages(config)
    config.training.doubling_steps = 11
    length.check_stages(config)
    config.training.update(doubling_steps=1, loss="simple")
    length.check_stages(config)


def test_what_a_short_run_does_not_come_to() -> None:
    config = _config(20, 20)
    assert length.doubts(config, 0) == []
    config.optim.warmup = 80
    assert "the learning rate ends at 25% of optim.lr" in length.doubts(config, 0)[0]
    config.optim.update(warmup=0, warmup_images=1600.0)
    assert "lasts 200 steps" in length.doubts(config, 0)[0]
    config = _config(1200, 0)
    config.model.update(ema_rate=0.998, ema_warmup=False)
    assert "9% of the averaged weights" in length.doubts(config, 0)[0]  # 0.998^1200 = 0.0905
    config.model.update(ema_halflife_images=9600.0, ema_rampup=0.0)
    assert "50% of the averaged weights" in length.doubts(config, 0)[0]  # 1200 times 8 images
    config.model.ema_rampup = 0.05
    assert length.doubts(config, 0) == []
    config.training.update(ema_stds=(0.05, 0.1), ema_snapshot_freq=100)
    assert "12 snapshots of the averages" in length.doubts(config, 0)[0]
    config.training.ema_snapshot_freq = 75
    assert length.doubts(config, 0) == []
    config.training.time_sampling = "loss_aware"
    config.training.update(loss="continuous_consistency", tangent_warmup=12_000)
    assert "the map is trained by 10% of its tangent" in length.doubts(config, 0)[0]
    config.training.tangent_warmup = 300
    assert length.doubts(config, 0) == []
    config.training.loss = "easy_consistency"
    assert "in a single stage r stays far from t" in length.doubts(config, 0)[0]
    for options in ({"ect_q": 256}, {"ect_q": 2, "doubling_steps": 150}):
        config.training.update(options)
        assert length.doubts(config, 0) == []
    config.training.loss = "simple"
    assert length.doubts(config, 900) == [] and "levels stay uniform" in length.doubts(config, 1000)[0]


@pytest.mark.parametrize("file", FILES)
def test_no_config_of_ours_is_refused_or_doubtful(file: str) -> None:
    config = importlib.import_module(file.removesuffix(".py").replace("/", ".")).get_config()
    check_config(config)
    length.check_decay(config, None)
    assert length.doubts(config, num_scales(config)) == []


def test_nan_is_what_it_was(tmp_path: Path) -> None:
    """A run of an older version, begun with NaN, is not told that NaN differs from NaN."""
    config, workdir = digits.get_config(), Workdir(tmp_path / "run")
    config.optim.lr = float("nan")
    workdir.begin(config)
    workdir.check(config, training=True)
    config.optim.lr = 1.0
    with pytest.raises(ValueError, match=r"optim\.lr \(saved nan, now 1\.0\)"):
        workdir.check(config, training=True)
