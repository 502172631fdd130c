"""The archived checkpoint with the lowest FID is named, and never deleted."""

import json
from pathlib import Path

import pytest

import main
from configs.vp import digits, toy_mixture8_mlp
from experiment import Refusal, build
from experiment.workdir import Workdir
from training import loop
from training.best import FILE, Best
from training.preparation import prepare

ABOUT = {"samples": 7, "resize": "tf1"}


class Measured:
    """Stands for the FID of samples: the next of the given numbers, None for samples that are not finite."""

    about = ABOUT

    def __init__(self, *fids: float | None):
        self._fids = iter(fids)

    def __call__(self, variables: dict) -> float | None:
        assert set(variables) == {"params", "fixed"}
        return next(self._fids)


def train(workdir: Workdir, n_iters: int, measure: Measured) -> None:
    config = toy_mixture8_mlp.get_config()
    config.model.update(width=8, depth=1)
    config.training.update(batch_size=8, n_iters=n_iters, eval_freq=0, log_freq=1, snapshot_freq=2, keep_checkpoints=1)
    config.training.update(snapshot_freq_for_preemption=100, snapshot_sampling=False)
    config.optim.warmup = 0
    experiment = build(config)
    loop.train(experiment, workdir, prepare(experiment, workdir), measure)


@pytest.mark.slow
def test_the_best_is_named_recorded_and_kept(tmp_path: Path) -> None:
    """Step 5 is archived as the last one; a longer training would delete it, were it not the best."""
    workdir = Workdir(tmp_path)
    train(workdir, 5, Measured(5.0, None, 1.0))
    train(workdir, 9, Measured(2.0, 4.0, 6.0))
    saved = json.loads((tmp_path / FILE).read_text())
    assert (saved["step"], saved["fid"], saved["about"]) == (5, 1.0, ABOUT)
    assert saved["all"] == {"2": 5.0, "5": 1.0, "6": 2.0, "8": 4.0, "9": 6.0}
    with workdir.store(read_only=True) as store:
        assert store.steps() == [2, 4, 5, 6, 8, 9]
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {r["step"]: r["fid_7"] for r in records if "fid_7" in r} == {2: 5.0, 5: 1.0, 6: 2.0, 8: 4.0, 9: 6.0}


def test_a_number_of_a_step_that_was_not_saved_is_taken_back(tmp_path: Path) -> None:
    first = Best(tmp_path, ABOUT, 0)
    assert first.add(10, 5.0) and not first.add(20, 6.0) and first.add(30, 4.0)
    again = Best(tmp_path, ABOUT, 25)
    assert again.step == 10 and not again.add(30, 5.5) and again.add(40, 3.0)
    assert json.loads((tmp_path / FILE).read_text())["all"] == {"10": 5.0, "20": 6.0, "30": 5.5, "40": 3.0}


@pytest.mark.parametrize("text", [None, "", "[]", '{"all": {"1": "x"}}'])
def test_numbers_of_another_kind_and_damaged_ones_are_set_aside(text: str | None, tmp_path: Path) -> None:
    Best(tmp_path, ABOUT, 0).add(10, 5.0)
    if text is not None:
        (tmp_path / FILE).write_text(text)
    other = Best(tmp_path, ABOUT | {"samples": 8}, 20)
    assert other.step is None and other.add(30, 9.0) and (tmp_path / "best_fid.1.json").exists()
    assert text is not None or other.kept == [10]


@pytest.mark.parametrize(
    ("training", "evaluation", "message"),
    [
        ({"snapshot_fid_samples": 100}, {}, r"snapshot_fid_samples is 100, and eval\.inception is empty"),
        ({"snapshot_fid_samples": 100}, {"inception": "x"}, r"snapshot_fid_samples is 100, and eval\.reference_stats"),
        ({"snapshot_fid_samples": 100}, {"inception": "x", "reference_stats": "y"}, "there is no such file"),
        ({"snapshot_fid_samples": 1}, {}, r"snapshot_fid_samples is 1"),
        ({"snapshot_fid_samples": -5}, {}, r"snapshot_fid_samples is -5"),
    ],
)
def test_what_a_fid_needs_is_asked_for_at_the_start(training: dict, evaluation: dict, message: str, tmp_path) -> None:
    config = digits.get_config()
    config.training.update(training)
    config.eval.update(evaluation)
    with pytest.raises(Refusal, match=message):
        main.run("train", config, str(tmp_path / "run"))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
