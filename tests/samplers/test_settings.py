"""Settings follow from what the constructors of samplers declare."""

import dataclasses
import functools
from typing import Annotated

import pytest

import samplers
from configs.vp import digits
from experiment.fields import override
from limits import Option, declared, whole
from samplers import CORRECTORS, METHODS, PREDICTORS, SCHEDULERS, SOLVERS, Settings
from samplers.settings import RANGES
from sde_lib import VP

TABLES = {**PREDICTORS, **CORRECTORS, **SOLVERS, **{name: kind.course for name, kind in SCHEDULERS.items()}}


def test_an_option_is_what_a_signature_declares_and_nobody_has_set() -> None:
    def sampler(sde, model, *, stages: Annotated[int, whole(1, 4)] = 2, inner: float = 0.5, kind: str = "a"):
        pass

    assert declared(sampler) == {"stages": Option(int, whole(1, 4), 2)}
    assert declared(functools.partial(sampler, stages=3)) == {}

    def of_settings(settings: Settings, *, stages: Annotated[int, whole(1, 4)] = 2):  # the former must be given
        pass

    assert declared(of_settings) == declared(sampler)


def test_every_declared_option_is_a_field_with_its_default_and_range() -> None:
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    options = {name: option for constructor in TABLES.values() for name, option in declared(constructor).items()}
    assert {"eta", "snr", "variance", "s_churn", "corrector_norm", "n_steps_each"} <= set(options)
    for name, option in options.items():
        assert (fields[name].default, RANGES[name]) == (option.default, option.range)


@pytest.mark.parametrize("method", (*METHODS, *SCHEDULERS))
def test_what_a_method_declares_decides_whether_its_samples_are_used_again(method: str) -> None:
    """Method 'pc' uses the options of its predictor and its corrector; those of other methods are left out."""
    settings = Settings(method, predictor="ancestral", corrector="ald", s_churn=1.0)
    names = ("ancestral", "ald") if method == "pc" else (method,)
    own = {option for name in names if name in TABLES for option in declared(TABLES[name])}
    every = {name for constructor in TABLES.values() for name in declared(constructor)}
    assert set(settings.used()) & every == own == set(settings.options)


def test_options_reach_the_constructor(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}

    def sampler(sde, model, *, eta: Annotated[float, RANGES["eta"]] = 0.0, **others):
        given.update(eta=eta, **others)
        return samplers.ddim(sde, model, eta=eta)

    monkeypatch.setitem(SOLVERS, "ddim", sampler)
    samplers.create(VP(), lambda x, t: x, Settings("ddim", eta=0.25))
    assert given == {"eta": 0.25}


def test_the_command_line_sets_an_option_that_the_config_does_not_mention() -> None:
    config = digits.get_config()
    with config.unlocked():
        del config.sampling["eta"]
    assert override(config, [("sampling.eta", "0.5")]).sampling.eta == 0.5
    with pytest.raises(ValueError, match="did you mean 'eta'"):
        override(config, [("sampling.etaa", "0.5")])
