"""What is refused of runs of maps: a consistency model has no velocity, and a student of few steps has one teacher."""

from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

import evaluation.run
from configs.vp import digits_classes, toy_mixture8_mlp
from evaluation import measures
from experiment import build, likelihood
from experiment.experiment import CONSISTENCY_LOSSES
from experiment.workdir import Workdir
from training import losses, teacher
from training.losses.continuous_consistency import ContinuousConsistency
from training.losses.paired import PairedLoss


def config_of(loss: str = "improved_consistency", **training) -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    config.model.update(width=8, depth=1)
    config.training.update(loss=loss, **training)
    return config


def test_every_loss_of_such_maps_is_known_to_be_one() -> None:
    """The experiments' room does not see the losses' own classes."""
    kinds = (PairedLoss, ContinuousConsistency)
    assert {*CONSISTENCY_LOSSES} == {name for name, kind in losses.LOSSES.items() if issubclass(kind, kinds)}


def test_it_has_no_bits_per_dim() -> None:
    experiment = build(config_of())
    assert experiment.is_consistency_model and not build(config_of("simple")).is_consistency_model
    for check in (likelihood.check, measures.chosen(experiment)["bits"].check):
        with pytest.raises(
            ValueError, match=r"'improved_consistency' .* has no bits/dim; set eval\.enable_bpd to False"
        ):
            check(experiment)


def test_its_jumps_are_not_guided() -> None:
    config = digits_classes.get_config()
    config.training.loss = "improved_consistency"
    config.sampling.update(method="renoise", evaluations=2, guidance=2.0)
    config.eval.samplers = ("renoise",)
    with pytest.raises(ValueError, match=r"guidance is 2\.0 .*'renoise' jumps as the network was trained to"):
        build(config)
    config.sampling.method = "heun"  # which --mode=sample draws, and an evaluation does not
    with pytest.raises(ValueError, match=r"guidance is 2\.0 .*'renoise' jumps as the network was trained to"):
        evaluation.run.check(build(config), likelihood=False)
    config.sampling.method = "renoise"
    config.training.loss = "simple"  # of a diffusion model a jump is a DDIM step
    evaluation.run.check(build(config), likelihood=False)


def test_a_round_of_progressive_distillation_halves_the_steps(tmp_path: Path) -> None:
    Workdir(tmp_path).begin(config_of("progressive_distillation", distilled_steps=4))
    student = config_of("progressive_distillation", distilled_steps=4, teacher=str(tmp_path))
    with pytest.raises(ValueError, match=r"a student of 4 steps, and training\.distilled_steps is 4; .* set it to 2"):
        teacher.of_config(build(student))


def test_a_sampler_of_evaluations_that_refuses_a_setting_is_named() -> None:
    config = config_of("simple")
    config.sampling.update(method="renoise", evaluations=2, grid="given", grid_noise=(0.821,))
    config.eval.samplers = ("renoise", "euler_maruyama")
    with pytest.raises(ValueError, match=r"give sampling\.grid_noise .*'euler_maruyama' is one of eval\.samplers"):
        build(config)


def test_a_run_stays_with_what_it_began_with(tmp_path: Path) -> None:
    """Before its first checkpoint it begins with what is named then."""
    workdir = Workdir(tmp_path)
    for folder, kept in (("first", "first"), ("second", "second"), ("third", "second")):
        workdir.begin(config_of("simple", begin_with=folder))
        assert workdir.config().training.begin_with == kept
        if folder == "second":
            with workdir.store() as store:
                store.save(1, {"params": {"w": np.zeros(2)}})
