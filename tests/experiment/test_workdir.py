"""Which configs may continue a run."""

import json
from pathlib import Path

import pytest

from configs.vp import digits
from experiment.config_files import canonical
from experiment.fields import override
from experiment.workdir import Workdir, flatten


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    begun = Workdir(tmp_path / "run")
    begun.begin(digits.get_config())
    return begun


def test_the_same_config_continues(workdir: Workdir) -> None:
    for training in (True, False):
        workdir.check(digits.get_config(), training=training)


def test_a_square_size_is_one_number_or_two(workdir: Workdir) -> None:
    """Whichever a run was begun with and is used with; what is built, kept and compared afterwards has one number."""
    for saved in (8, [8, 8]):
        fields = json.loads(workdir.config_file.read_text())
        fields["data"]["image_size"] = saved
        workdir.config_file.write_text(json.dumps(fields))
        assert workdir.config().data.image_size == 8
        for size in ("8", "(8, 8)"):
            given = override(digits.get_config(), [("data.image_size", size)])
            for training in (True, False):
                workdir.check(given, training=training)
            assert canonical(given).data.image_size == 8
        with pytest.raises(ValueError, match=r"data\.image_size \(saved 8, now \[8, 16\]\)"):
            workdir.check(override(digits.get_config(), [("data.image_size", "(8, 16)")]), training=False)


def test_a_run_may_grow_but_not_shrink(workdir: Workdir) -> None:
    config = digits.get_config()
    config.training.n_iters += 1
    workdir.check(config, training=True)
    config.training.n_iters -= 2
    with pytest.raises(ValueError, match=r"training\.n_iters"):
        workdir.check(config, training=True)


def test_how_a_run_uses_its_devices_may_change(workdir: Workdir) -> None:
    config = digits.get_config()
    config.training.parallelism, config.training.remat, config.training.accumulate = "fsdp", True, 2
    workdir.check(config, training=True)


def test_what_changes_no_trained_number_may_change(workdir: Workdir) -> None:
    """How often something is written, what is kept and drawn, how it is evaluated; of the data, how they are read."""
    config = digits.get_config()
    training = config.training
    training.log_freq, training.eval_freq, training.snapshot_freq, training.snapshot_freq_for_preemption = 7, 0, 9, 3
    training.keep_checkpoints, training.snapshot_sampling = 1, False
    config.sampling.method, config.sampling.steps, config.eval.seed, config.edit.factor = "ode", 3, 9, 4
    with config.unlocked():
        config.published.bits_per_dim = 2.0
    workdir.check(config, training=True)
    for section, name, value in (
        ("training", "batch_size", 7),
        ("training", "label_dropout", 0.5),
        ("training", "n_jitted_steps", 2),
        ("optim", "lr", 1.0),
        ("model", "ema_rate", 0.5),
        ("data", "random_flip", True),
        ("sde", "t_min", 0.1),
    ):
        config = digits.get_config()
        config[section][name] = value
        with pytest.raises(ValueError, match=rf"{section}\.{name} \(saved .*, now {value}\)"):
            workdir.check(config, training=True)
    config = digits.get_config()
    config.seed = 1
    with pytest.raises(ValueError, match=r"seed \(saved 42, now 1\)"):
        workdir.check(config, training=True)


def test_the_saved_config_is_the_one_that_was_given(workdir: Workdir) -> None:
    """Tuples at any depth, infinities, None and kinds of numbers come back from the file."""
    config = digits.get_config()
    with config.unlocked():
        config.sampling.s_max, config.model.num_groups, config.optim.lr = float("inf"), None, 1.0
        config.published.table = ((1, 2.0), ("a", None))
    workdir.begin(config)
    found, given = workdir.config(), flatten(config.to_dict())
    assert found.to_dict() == config.to_dict() and found.is_locked
    assert {n: type(v) for n, v in flatten(found.to_dict()).items()} == {n: type(v) for n, v in given.items()}
    assert type(found.model.ch_mult) is tuple and type(found.published.table[0]) is tuple
    workdir.check(config, training=True)


def test_a_name_that_is_a_number_is_a_name() -> None:
    """Such as of eval.measure_options="{1: {}}", which a rule then refuses in one line."""
    assert flatten({"eval": {"measure_options": {1: {"power": (2, 3)}}}}) == {"eval.measure_options.1.power": [2, 3]}


def test_a_run_older_than_a_section_or_field_gets_its_default(workdir: Workdir) -> None:
    saved = json.loads(workdir.config_file.read_text())
    del saved["edit"], saved["training"]["weight"], saved["model"]["ema_rampup"], saved["sampling"]["guide"]
    workdir.config_file.write_text(json.dumps(saved))
    assert workdir.config().to_dict() == digits.get_config().to_dict()
    saved["sde"] = {"name": "edm"}  # whose constructor has no t_min
    workdir.config_file.write_text(json.dumps(saved))
    assert workdir.config().sde.to_dict() == {"name": "edm"}


def test_a_field_that_was_renamed_is_read_by_its_new_name(workdir: Workdir) -> None:
    saved = json.loads(workdir.config_file.read_text())
    saved["visualize"]["levels"] = saved["visualize"].pop("places") - 2
    workdir.config_file.write_text(json.dumps(saved))
    found, expected = workdir.config(), digits.get_config()
    expected.visualize.places -= 2
    assert found.to_dict() == expected.to_dict()
    workdir.check(found, training=True)


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
