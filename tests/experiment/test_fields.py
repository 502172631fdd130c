"""Any field of the config, and any option of what it names, can be set from a text."""

import math

import pytest
from ml_collections import ConfigDict

import data
import models
import sde_lib
from configs import default
from configs.diffusers import ddpm_cifar10_32
from configs.ve import digits as ve_digits
from configs.vp import digits, toy_mixture8_mlp
from experiment import fields
from experiment.workdir import flatten


def _set(config: ConfigDict, *changes: str) -> ConfigDict:
    return fields.override(
        config, [tuple(change.split("=", 1)) if "=" in change else (change, None) for change in changes]
    )


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("sde.beta_max=10", 10.0),
        ("sde.t_min=1e-4", 1e-4),
        ("model.fir=False", False),
        ("model.fir", True),
        ("model.label_dim=10", 10),
        ("model.num_groups=None", None),
        ("model.num_groups=4", 4),
        ("model.ch_mult=1,2,2", (1, 2, 2)),
        ("model.ch_mult=[1, 2]", (1, 2)),
        ("model.attn_resolutions=()", ()),
        ("model.fir_kernel=(1, 2.5, 1)", (1, 2.5, 1)),
        ("model.dtype=bfloat16", "bfloat16"),
        ("model.num_scales=1000", 1000),
        ("optim.grad_clip=1", 1.0),
        ("sampling.s_max=inf", math.inf),
        ("sampling.grid=20,15,10,5", "20,15,10,5"),
        ("eval.samplers=pc", ("pc",)),
        ("eval.samplers=('pc', 'ode')", ("pc", "ode")),
        ("eval.compare=dpmpp_2m/log_snr", ("dpmpp_2m/log_snr",)),
        ("eval.ema=false", False),
        ("seed=7", 7),
    ],
)
def test_a_text_becomes_a_value_of_the_fields_type(change: str, value: object) -> None:
    config, name = digits.get_config(), change.split("=")[0]
    changed = _set(config, change)
    *section, field = name.split(".")
    found = (changed[section[0]] if section else changed)[field]
    assert found == value and type(found) is type(value)
    assert changed.is_locked and config.to_dict() == digits.get_config().to_dict()
    flat, before = flatten(changed.to_dict()), flatten(config.to_dict())
    assert {n for n in flat.keys() | before.keys() if flat.get(n) != before.get(n)} <= {name}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["sde.beta_mx=3"], ["'sde.beta_mx'", "did you mean 'beta_max'?", "(vp)", "beta_min"]),
        (["sde.sigma_max=3"], ["'sde.sigma_max'", "(vp)", "beta_min"]),
        (["sde.schedule=cosine", "sde.beta_max=3"], ["'sde.beta_max'", "t_max"]),
        (["model.firr=1"], ["'model.firr'", "did you mean 'fir'?", "(ncsnpp)", "label_dim"]),
        (["model.name=mlp", "model.fir=1"], ["'model.fir'", "(mlp)", "width"]),
        (["model.image_size=16"], ["there is data.image_size"]),
        (["model.beta_max=20."], ["there is sde.beta_max"]),
        (["data.pth=x"], ["'data.pth'", "(digits)"]),
        (["data.dataset=folder", "data.pth=x"], ["did you mean 'path'?", "(folder)", "test_fraction"]),
        (["sampling.stepz=3"], ["did you mean 'steps'?", "karras_power"]),
        (["training.sde=vpsde"], ["'training.sde'", "batch_size"]),
        (["trainin.batch_size=3"], ["'trainin.batch_size'", "did you mean 'training'?"]),
        (["training.grad_clip=1"], ["there is optim.grad_clip"]),
        (["batch_size=3"], ["there is eval.batch_size and training.batch_size"]),
        (["model.nf.nf=3"], ["'model.nf.nf'"]),
        (["=3"], ["config field ''"]),
        (["sde.name=vpp", "sde.t_min=1"], ["'vpp'", "did you mean 'vp'?", "subvp"]),
        (["model.name=ncsn++", "model.nf=1"], ["'ncsn++'", "ncsnpp"]),
        (["data.dataset=digit", "data.crop=1"], ["'digit'", "did you mean 'digits'?"]),
        (["model.fir=maybe"], ["config.model.fir is 'maybe'", "True or False"]),
        (["model.nf=3.5"], ["config.model.nf is '3.5'", "a whole number"]),
        (["model.nf"], ["config.model.nf without a value", "a whole number"]),
        (["sde.beta_max=high"], ["config.sde.beta_max is 'high'", "a number"]),
        (["model.num_groups=few"], ["'few'", "a whole number or None"]),
        (["model.ch_mult=(1, 2.5)"], ["(1, 2.5)", "whole numbers"]),
        (["model.ch_mult=(1, True)"], ["whole numbers"]),
        (["model.fir_kernel=(1,"], ["(1,", "a tuple of numbers"]),
        (["training.batch_size=1e3"], ["'1e3'", "a whole number"]),
        (["sde=ve"], ["config.sde is 've'", "a dictionary"]),
    ],
)
def test_what_is_not_a_field_or_not_of_its_type_is_refused(changes: list[str], named: list[str]) -> None:
    for order in (changes, changes[::-1]):
        with pytest.raises(ValueError) as error:
            _set(digits.get_config(), *order)
        assert "\n" not in str(error.value)
        for words in named:
            assert words in str(error.value)


def test_a_name_of_the_same_command_decides_in_any_order() -> None:
    """The options of what is named at last are those that can be set."""
    for changes in (("sde.sigma_max=3.5", "sde.name=ve"), ("sde.name=ve", "sde.sigma_max=3.5")):
        assert _set(digits.get_config(), *changes).sde.to_dict() == {"name": "ve", "sigma_max": 3.5, "t_min": 1e-5}
    changed = _set(digits.get_config(), "data.crop=108", "data.dataset=tfds:celeb_a")
    assert changed.data.crop == 108
    changed = _set(toy_mixture8_mlp.get_config(), "data.image_size=8", "data.num_channels=1", "data.dataset=digits")
    assert (changed.data.image_size, changed.data.num_channels) == (8, 1)
    assert _set(ve_digits.get_config(), "sde={'name': 'vp'}", "sde.beta_max=9").sde.to_dict() == {
        "name": "vp",
        "beta_max": 9.0,
    }
    assert _set(ddpm_cifar10_32.get_config(), "sde.schedule=table", "sde.betas=(0.1, 0.2)").sde.betas == (0.1, 0.2)
    assert _set(ddpm_cifar10_32.get_config(), "sde.schedule=table", "sde.betas=my.npy").sde.betas == "my.npy"


def test_a_tuple_may_come_in_pieces_and_other_fields_count_as_said_last() -> None:
    changed = _set(digits.get_config(), "eval.samplers=pc", "seed=1", "eval.samplers=ode", "seed=2")
    assert changed.eval.samplers == ("pc", "ode") and changed.seed == 2


def test_a_whole_section_keeps_the_defaults_that_it_does_not_say() -> None:
    changed = _set(digits.get_config(), "sampling={'method': 'ode'}")
    assert changed.sampling.to_dict() == default.get_config().sampling.to_dict() | {"method": "ode"}


@pytest.mark.parametrize("section", ["sde", "model", "data"])
def test_every_option_of_every_constructor_can_be_set(section: str) -> None:
    """Each has a type that a text can be read as."""
    table = {"sde": (sde_lib.SDES, sde_lib), "model": (models.MODELS, models), "data": (data.SOURCES, data)}[section]
    for name in table[0]:
        options = table[1].options_of(name)
        config = default.get_config()
        with config.unlocked():
            config[section]["dataset" if section == "data" else "name"] = name
        known = fields.known(config, section)
        for option in options.keys() - set(fields.OF_DATA if section == "model" else ("dataset",)):
            assert fields._kinds(known[option]), f"{name}.{option} is {known[option]}"


def test_fields_that_nothing_reads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = digits.get_config()
    fields.check(config)
    with config.unlocked():
        config.sampling.stepz = 3
    with pytest.raises(ValueError, match=r"sampling\.stepz'; did you mean 'steps'"):
        fields.check(config)
