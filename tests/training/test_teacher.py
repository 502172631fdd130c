"""Runs that a training begins with: a teacher, and initial weights; and the target network that it keeps of itself."""

import dataclasses
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import main
from configs.vp import toy_mixture8_mlp
from experiment import Refusal, build
from experiment.workdir import Workdir
from training import losses
from training.losses.base import NoisedLoss
from training.preparation import prepare


@dataclasses.dataclass(frozen=True, eq=False)
class Imitation(NoisedLoss):
    """A student follows its teacher, and stays close to its own past."""

    takes_teacher = needs_teacher = needs_target = True
    ignores: ClassVar = ("reduce_mean",)

    def target_decay(self, step: jax.Array) -> jax.Array:
        return jnp.where(step == 0, 0.25, 0.5)

    def at(self, model, examples, t, eps):
        x = self.noised(examples.x0, t, eps)
        student, shown = model.predict_fn(self.process)(x, t), model.teacher(x, t)
        before = student if model.target is None else model.predict_fn(self.process, model.target)(x, t)
        late = 0.0 if model.step is None else model.step
        return {"loss": jnp.sum((student.x0 - shown.x0) ** 2 + (student.x0 - before.x0) ** 2, axis=1) + late}


def config_of(n_iters: int, **training) -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    config.model.update(width=8, depth=1)
    config.training.update(batch_size=8, n_iters=n_iters, log_freq=1, eval_freq=2, snapshot_sampling=False)
    config.training.update(snapshot_freq=2, snapshot_freq_for_preemption=2, **training)
    config.optim.update(decay_steps=0, warmup=0)
    return config


def saved(folder: Path, step: int) -> dict:
    with Workdir(folder).store(read_only=True) as store:
        return store.restore(None, step)[1]


@pytest.mark.slow
def test_a_student_has_a_teacher_and_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A continued run is that of one piece, whose checkpoints have the target but not the teacher."""
    monkeypatch.setitem(losses.LOSSES, "imitation", Imitation)
    teacher = str(tmp_path / "teacher")
    main.run("train", config_of(2), teacher)
    of_teacher = {"loss": "imitation", "teacher": teacher}
    main.run("train", config_of(4, **of_teacher), str(tmp_path / "whole"))
    main.run("train", config_of(2, **of_teacher), str(tmp_path / "parts"))
    main.run("train", config_of(4, **of_teacher), str(tmp_path / "parts"))
    whole, parts = (saved(tmp_path / name, 4) for name in ("whole", "parts"))
    assert "target" in whole and "teacher" not in whole
    jax.tree.map(np.testing.assert_array_equal, whole, parts)
    distance = [abs(whole["target"][n] - whole["params"][n]).max() for n in whole["params"]]
    assert 0.0 < max(distance) < 0.1

    main.run("train", config_of(4), teacher)  # its newest checkpoint is another one now
    with pytest.raises(Refusal, match=r"training\.teacher: the weights that it names are not .*teacher_checkpoint"):
        main.prepare("train", config_of(6, **of_teacher), str(tmp_path / "parts"))
    main.prepare("train", config_of(6, **of_teacher, teacher_checkpoint=2), str(tmp_path / "parts"))

    with pytest.raises(Refusal, match=r"'imitation', which learns from a teacher; give training\.teacher"):
        main.prepare("train", config_of(4, loss="imitation"), str(tmp_path / "without"))
    with pytest.raises(Refusal, match=r"loss is 'simple' and training\.teacher .*learns from data alone"):
        main.prepare("train", config_of(4, teacher=teacher), str(tmp_path / "without"))
    unlike = config_of(4, **of_teacher)
    unlike.training.teacher = str(tmp_path / "map")
    Workdir(unlike.training.teacher).begin(config_of(2, loss="improved_consistency"))
    with pytest.raises(Refusal, match=r"a consistency model, which says where a path ends and not its velocity"):
        main.prepare("train", unlike, str(tmp_path / "without"))
    with pytest.raises(Refusal, match=r"training\.teacher is .*which holds no run"):
        main.prepare("train", config_of(4, loss="imitation", teacher=str(tmp_path / "no")), str(tmp_path / "without"))


@pytest.mark.slow
def test_the_target_is_an_average_of_its_own_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mu (1/4, then 1/2) is that of the step before it is counted, and acts on the weights behind the step."""
    monkeypatch.setitem(losses.LOSSES, "imitation", Imitation)
    main.run("train", config_of(2), str(tmp_path / "teacher"))
    config = config_of(2, loss="imitation", teacher=str(tmp_path / "teacher"))
    config.training.update(snapshot_freq=1, snapshot_freq_for_preemption=1)
    main.run("train", config, str(tmp_path / "run"))
    first = prepare(build(config), Workdir(tmp_path / "new"))
    begun = first.state(lambda: first_network(config)).params
    one, two = (saved(tmp_path / "run", step) for step in (1, 2))
    for name, start in begun.items():
        after_one = 0.25 * start + 0.75 * one["params"][name]
        np.testing.assert_allclose(one["target"][name], after_one, atol=1e-6)
        np.testing.assert_allclose(two["target"][name], 0.5 * after_one + 0.5 * two["params"][name], atol=1e-6)


def first_network(config: ConfigDict) -> dict:
    """The weights that a run of this config draws."""
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    return build(config).network.init(key)


def test_a_run_begins_with_the_weights_of_another(tmp_path: Path) -> None:
    """What the other network has not is drawn; one that is no part of it is refused in one line."""
    main.run("train", config_of(2), str(tmp_path / "first"))
    config = config_of(2, begin_with=str(tmp_path / "first"))
    with config.unlocked():
        config.model.told_end = True
    prepared = prepare(build(config), Workdir(tmp_path / "second"))
    state, average = prepared.state(lambda: first_network(config)), saved(tmp_path / "first", 2)["ema"]
    assert set(state.params) == {*average, "end.kernel"} and int(state.step) == 0
    for name in average:
        np.testing.assert_array_equal(state.params[name], average[name])
        np.testing.assert_array_equal(state.ema[name], average[name])
    with config.unlocked():
        config.model.nonlinearity = "elu"
    with pytest.raises(Refusal, match=r"mean something else here: model.nonlinearity is '.*' there and 'elu' here"):
        main.prepare("train", config, str(tmp_path / "third"))
    config.model.update(nonlinearity="swish", noise_label="t")
    with pytest.raises(Refusal, match=r"mean something else here: model.noise_label is 't999' there and 't' here"):
        main.prepare("train", config, str(tmp_path / "third"))
    config.model.noise_label = "t999"
    config.model.width = 12
    with pytest.raises(Refusal, match=r"whose network is no part of this one: .*\(.*\) there, \(.*\) here"):
        main.prepare("train", config, str(tmp_path / "third"))
