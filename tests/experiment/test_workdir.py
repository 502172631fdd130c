"""Which configs may continue a run."""

import json
from pathlib import Path

import pytest

from configs.vp import digits
from experiment.workdir import Workdir


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    begun = Workdir(tmp_path / "run")
    begun.begin(digits.get_config())
    return begun


def test_the_same_config_continues(workdir: Workdir) -> None:
    for training in (True, False):
        workdir.check(digits.get_config(), training=training)


def test_a_run_may_grow_but_not_shrink(workdir: Workdir) -> None:
    config = digits.get_config()
    config.training.n_iters += 1
    workdir.check(config, training=True)
    config.training.n_iters -= 2
    with pytest.raises(ValueError, match=r"training\.n_iters"):
        workdir.check(config, training=True)


def test_how_a_run_uses_its_devices_may_change(workdir: Workdir) -> None:
    config = digits.get_config()
    config.training.parallelism, config.training.remat = "fsdp", True
    workdir.check(config, training=True)


def test_fields_added_and_removed_are_named(workdir: Workdir) -> None:
    config = digits.get_config()
    with config.unlocked():
        config.model.fir = True
        del config.model.nf
    for training in (True, False):
        with pytest.raises(
            ValueError, match=r"model\.fir \(saved nothing, now True\).*model\.nf \(saved 32, now nothing\)"
        ):
            workdir.check(config, training=training)


def test_sampling_looks_only_at_what_the_checkpoint_means(workdir: Workdir) -> None:
    config = digits.get_config()
    config.optim.lr, config.sampling.steps, config.eval.seed = 0.5, 7, 3
    workdir.check(config, training=False)
    config.data.centered = False
    with pytest.raises(ValueError, match=r"data\.centered \(saved True, now False\)"):
        workdir.check(config, training=False)


def test_a_field_newer_than_the_run_counts_as_its_default(workdir: Workdir) -> None:
    saved = json.loads(workdir.config_file.read_text())
    del saved["model"]["ema_rampup"], saved["training"]["weight"]
    workdir.config_file.write_text(json.dumps(saved))
    config = digits.get_config()
    workdir.check(config, training=True)
    config.training.weight = "p2"
    with pytest.raises(ValueError, match=r"training\.weight \(saved nothing, now p2\)"):
        workdir.check(config, training=True)
