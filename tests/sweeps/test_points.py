"""The points of a sweep are all combinations of its values, each a config; what is written wrongly is refused."""

import re

import pytest
from ml_collections import ConfigDict

from configs.vp import toy_mixture8_mlp
from sweeps.points import MOST, points


def sweep_of(*values: str) -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    config.sweep.axes = values
    return config


def test_every_combination_is_a_point_and_the_last_axis_changes_fastest() -> None:
    found = points(sweep_of("optim.lr=1e-3,3e-3", "model.width=8,16,32"))
    assert [(p.config.optim.lr, p.config.model.width) for p in found] == [
        (rate, width) for rate in (1e-3, 3e-3) for width in (8, 16, 32)
    ]
    assert [p.number for p in found] == list(range(6))
    assert found[0].folder == "0_lr=1e-3_width=8" and len({p.folder for p in found}) == 6
    plain = toy_mixture8_mlp.get_config()
    for point in found:
        plain.optim.lr, plain.model.width = point.config.optim.lr, point.config.model.width
        assert point.config.to_dict() == plain.to_dict() and point.config.is_locked


def test_a_value_is_written_as_on_the_command_line() -> None:
    found = points(sweep_of("eval.samplers=('pc', 'ode'),pc", "sampling.prompt='a fox, red',\"b\",''", "seed=3"))
    assert [p.config.eval.samplers for p in found][::3] == [("pc", "ode"), ("pc",)]
    assert [p.config.sampling.prompt for p in found][:3] == ["a fox, red", "b", ""]
    assert all(re.fullmatch(r"\d_[\w.+=-]+", p.folder, re.ASCII) for p in found)
    assert points(sweep_of("sampling.prompt='a :)',b"))[0].config.sampling.prompt == "a :)"
    long = points(sweep_of(f"sampling.prompt={'x' * 300},y"))
    assert max(len(p.folder) for p in long) < 110


def test_fields_may_change_together() -> None:
    found = points(sweep_of("training.n_iters, optim.decay_steps=(60,60),(90,90)", "training.batch_size=8,16"))
    assert [(p.config.training.n_iters, p.config.optim.decay_steps, p.config.training.batch_size) for p in found] == [
        (n, n, size) for n in (60, 90) for size in (8, 16)
    ]
    names = points(sweep_of("training.batch_size,eval.batch_size=(8,9)"))[0].folder
    assert "training.batch_size=8" in names and "eval.batch_size=9" in names


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((), ["sweep.axes is empty", "'optim.lr=1e-3,3e-3'"]),
        (("optim.lr",), ["has 'optim.lr'; each of its texts is 'FIELD=VALUE,VALUE,...'"]),
        (("=3",), ["has '=3'"]),
        (("optim.lr=1e-3,",), ["has 'optim.lr=1e-3,'"]),
        (("optim.lrr=1e-3",), ["unknown config field 'optim.lrr'; did you mean 'lr'?"]),
        (("optim.lr=1e-3,fast",), ["config.optim.lr is 'fast'; needed is a number"]),
        (("optim.lr=1e-3", "optim.lr=3e-3"), ["has 'optim.lr' twice"]),
        (("sweep.modes=train",), ["has 'sweep.modes', which says what is swept"]),
        (("optim.lr=1e-3,0.001",), ["two points that are the same run", "'1e-3'", "'0.001'"]),
        (("seed=1,2", "optim.lr=1e-3,1e-3"), ["the same run, {'seed': '1', 'optim.lr': '1e-3'} and {'seed': '1'"]),
        (("optim.lr=(1,2",), ["sweep.axes has 'optim.lr=(1,2', with no ')' behind '(1,2'"]),
        (("sampling.prompt='a, b",), ['no "\'" behind']),
        (("optim.lr=1,2)",), ["a ')' where no bracket is to close"]),
        (("training.n_iters,optim.lr=(1,2],(3,4)",), ["a ']' where ')' is to close"]),
        (("training.n_iters,optim.lr=(1,2),3",), ["'3' gives no value to each of training.n_iters, optim.lr"]),
        (("training.n_iters,optim.lr=(1,2,3)",), ["'(1,2,3)' gives no value", "(VALUE, VALUE)"]),
        (("seed=" + ",".join(map(str, range(MOST + 1))),), [f"has {MOST + 1} combinations"]),
    ],
)
def test_what_is_no_sweep_is_refused(values: tuple[str, ...], named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        points(sweep_of(*values))
    assert "\n" not in str(error.value)
    for part in named:
        assert part in str(error.value)
