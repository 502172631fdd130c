"""Ranges of checkpoints: those there are, those to come, those that never do."""

import pytest
from ml_collections import ConfigDict

from configs import default
from configs.vp import digits
from evaluation import run
from experiment import rules


class Saving:
    """A store in which a checkpoint appears with every look."""

    directory = "there"

    def __init__(self, *looks):
        self.looks = list(looks)

    def steps(self):
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


def _config(**fields: int) -> ConfigDict:
    config = default.get_config().eval
    config.update(fields)
    return config


def _steps(store: Saving, **fields: int) -> list[int | None]:
    waits = []
    found = list(run.steps_to_evaluate(store, _config(**fields), 10, sleep=waits.append))
    store.waits = waits
    return found


def test_one_step_or_the_newest() -> None:
    assert _steps(Saving([1, 2])) == [-1]
    assert _steps(Saving([1, 2]), checkpoint=1) == [1]
    assert _steps(Saving([0, 2]), checkpoint=0) == [0]


def test_a_range_is_taken_in_order() -> None:
    store = Saving([10, 20, 30, 40])
    assert _steps(store, begin_step=15, end_step=35) == [20, 30] and store.waits == []
    assert _steps(Saving([10, 20, 30, 40]), end_step=40) == [10, 20, 30, 40]
    assert _steps(Saving([10, 15, 20, 22, 25]), end_step=25) == [10, 20, 25], "archived ones, and the end"


def test_new_checkpoints_are_waited_for() -> None:
    """20 comes after two looks, 30, the last one wanted, right away; nothing is waited for after it."""
    store = Saving([10], [10], [10], [10, 20], [10, 20, 30])
    assert _steps(store, end_step=30, wait_minutes=1) == [10, 20, 30]
    assert store.waits == [run.POLL_SECONDS] * 2


def test_waiting_ends() -> None:
    store = Saving([10])
    assert _steps(store, end_step=30, wait_minutes=1) == [10]
    assert sum(store.waits) == pytest.approx(60, abs=run.POLL_SECONDS)


def test_a_range_without_checkpoints_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"no archived checkpoint of steps 50 to 60 in there; there are \[10\]"):
        _steps(Saving([10]), begin_step=50, end_step=60)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"begin_step": 5, "end_step": 4}, "a range without a step"),
        ({"checkpoint": 3, "end_step": 4}, "not both"),
        ({"wait_minutes": 4}, "needs its last step"),
        ({"begin_step": 4}, "needs its last step"),
    ],
)
def test_ranges_that_make_no_sense(fields: dict, named: str) -> None:
    config = digits.get_config()
    config.eval.update(fields)
    with pytest.raises(ValueError, match=named):
        rules.check(rules.of_config(config))
