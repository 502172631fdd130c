"""Reflow: the pairs of a teacher's flow, what they depend on, and a training on them; rectified flow's own arrays."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import main
import samplers
from configs.vp import toy_mixture8_mlp
from experiment import Experiment, Refusal, build, mapped
from experiment.workdir import Workdir
from samplers import flow_euler, sample
from sde_lib import Flow, Plain
from tests.oracles import compiled
from tests.training.given import losses_at
from training import losses, reflow
from training.examples import NOISE
from training.teacher import Teacher

ARRAYS = np.load(Path(__file__).parents[1] / "reference" / "flow" / "rectified_flow.npz")
EPS = 1e-3


def network(x: jax.Array, label: jax.Array) -> jax.Array:
    """The published code's tiny network, which is told 999 times its own time and predicts data less noise."""
    w1, a, b1, w2, b2 = (jnp.asarray(ARRAYS[f"net/{name}"]) for name in ("W1", "a", "b1", "W2", "b2"))
    hidden = jnp.tanh(x.reshape(len(x), -1) @ w1.T + 999.0 * label[:, None] * a + b1)
    return (hidden @ w2.T + b2).reshape(x.shape)


def test_the_loss_is_the_published_one(x64) -> None:
    """At its times u (1 - eps) + eps, which run from noise to data; it adds up halves of squares, or averages."""
    x0, eps, t = jnp.asarray(ARRAYS["x"]), jnp.asarray(ARRAYS["z0"]), ARRAYS["u"] * (1.0 - EPS) + EPS
    predict = Plain("velocity", "t").predict_fn(Flow(), lambda x, label: -network(x, 1.0 - label))
    found = losses_at(losses.create("flow_matching", Flow()), predict, x0, jnp.asarray(1.0 - t), eps)
    np.testing.assert_allclose(found.mean(), ARRAYS["loss/mean"], rtol=1e-9)
    np.testing.assert_allclose(0.5 * x0[0].size * found.mean(), ARRAYS["loss/half_sum"], rtol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_eulers_method_is_the_published_one(steps: int, x64) -> None:
    """Its N steps of 1 / N ask at nodes that begin at eps, so each is told a time too late by up to eps; ours not."""
    times = np.linspace(1.0, 0.0, steps + 1)

    def run(shift: float) -> jax.Array:
        plain = Plain("velocity", "t")
        predict = plain.predict_fn(Flow(), lambda x, label: -network(x, (1.0 - label) * (1.0 - shift) + shift))
        return sample(flow_euler(Flow(), predict), jax.random.key(0), jnp.asarray(ARRAYS["z0"]), times).x

    np.testing.assert_allclose(compiled(run)(EPS), ARRAYS[f"euler/{steps}"], rtol=1e-9)
    assert np.abs(np.asarray(compiled(run)(0.0)) - ARRAYS[f"euler/{steps}"]).max() > 1e-4


def config_of(n_iters: int, **training) -> ConfigDict:
    config = toy_mixture8_mlp.get_config()
    config.sde = ConfigDict({"name": "flow", "t_min": 1e-3})
    config.model.update(width=8, depth=1, prediction="velocity")
    with config.unlocked():
        config.data.test_length = 24
    config.training.update(loss="flow_matching", batch_size=8, n_iters=n_iters, log_freq=1, eval_freq=2)
    config.training.update(snapshot_sampling=False, snapshot_freq=2, snapshot_freq_for_preemption=2)
    config.training.update(reflow_pairs=40, reflow_evaluations=4)
    config.training.update(training)
    config.optim.update(decay_steps=0, warmup=0)
    return config


def teacher_of(config: ConfigDict) -> Teacher:
    """An untrained one, whose last layer is not 0."""
    experiment = build(config)
    variables = experiment.network.init(jax.random.key(5))
    return Teacher(experiment, jax.tree.map(lambda leaf: leaf + 0.1, variables))


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return teacher_of(config_of(2))


def student_of(**training) -> Experiment:
    return build(config_of(2, coupling="reflow", **training))


def test_pairs_are_joined_by_the_teachers_flow(teacher: Teacher, tmp_path: Path) -> None:
    """Whatever is drawn at once; they lie on the disk, as many to test with as the data set has behind them."""
    parts = [
        reflow.source(student_of(batch_size=size), teacher, Workdir(make(tmp_path / str(size)))) for size in (8, 24)
    ]
    for source in parts:
        assert len(source.train) == 40 and len(source.test) == 24
        assert all(isinstance(array, np.memmap) for array in source.train.arrays.values())
    for split in ("train", "test"):
        one, other = (getattr(source, split)[np.arange(24)] for source in parts)
        assert set(one) == {"image", NOISE}
        for name in one:
            np.testing.assert_allclose(one[name], other[name], atol=1e-5)
        process = teacher.experiment.sde
        model = teacher.experiment.predict_fn(teacher.variables)
        draw = samplers.create(process, model, samplers.Settings(method="heun", evaluations=4))
        ends = draw(jax.random.key(9), jnp.asarray(one[NOISE])).x
        np.testing.assert_allclose(ends, one["image"], atol=1e-5)
    noise = parts[0].train[np.arange(40)][NOISE]
    assert len(np.unique(noise, axis=0)) == 40 and abs(noise.mean()) < 0.4 and noise.std() == pytest.approx(1, abs=0.3)


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_they_are_drawn_again_where_anything_is_different(teacher: Teacher, tmp_path: Path, monkeypatch) -> None:
    """Every ingredient is changed alone; a folder that is damaged or was left half is drawn again too."""
    drawn = []

    def batches(experiment, teacher, total):
        drawn.append(total)
        yield 0, {"image": np.full((total, 2), len(drawn), np.float32), NOISE: np.zeros((total, 2), np.float32)}

    monkeypatch.setattr(reflow, "_batches", batches)
    workdir, first = Workdir(tmp_path), student_of()
    weights = jax.tree.map(lambda leaf: leaf + 1e-3, teacher.variables)
    others = [
        (first, Teacher(teacher.experiment, weights)),
        (first, Teacher(build(with_field("sde", "name", "gvp")), teacher.variables)),
        (first, Teacher(build(with_field("model", "prediction", "v")), teacher.variables)),
        (student_of(reflow_sampler="dpmpp_2m"), teacher),
        (student_of(reflow_sampler="ode"), teacher),
        (student_of(reflow_evaluations=5), teacher),
        (student_of(reflow_pairs=41), teacher),
        (build(with_field("data", "test_length", 25, coupling="reflow")), teacher),
        (build(with_field("", "seed", 43, coupling="reflow")), teacher),
    ]
    for n, given in enumerate(others):
        reflow.source(first, teacher, workdir)
        source = reflow.source(first, teacher, workdir)  # as it is
        assert len(drawn) == 2 * n + 1 and source.train[0]["image"][0] == len(drawn)
        source = reflow.source(*given, workdir)
        assert len(drawn) == 2 * n + 2 and source.train[0]["image"][0] == len(drawn), n
    for damage in ("", '{"weights": '):
        reflow.source(first, teacher, workdir)
        before = len(drawn)
        (tmp_path / reflow.FOLDER / mapped.ABOUT).write_text(damage)
        reflow.source(first, teacher, workdir)
        assert len(drawn) == before + 1

    def killed(experiment, teacher, total):
        yield 0, {"image": np.zeros((total, 2), np.float32)}
        raise KeyboardInterrupt

    monkeypatch.setattr(reflow, "_batches", killed)
    with pytest.raises(KeyboardInterrupt):
        reflow.source(student_of(reflow_pairs=50), teacher, workdir)
    assert json.loads((tmp_path / reflow.FOLDER / mapped.ABOUT).read_text())["train"] == 40


def with_field(section: str, field: str, value, **training) -> ConfigDict:
    config = config_of(2, **training)
    within = config[section] if section else config
    with within.unlocked():
        within[field] = value
    return config


def student(n_iters: int, **changed) -> ConfigDict:
    """The config of a mean flow of pairs."""
    config = config_of(n_iters, **{"loss": "mean_flow", "coupling": "reflow"} | changed)
    with config.unlocked():
        config.model.told_end = True
    return config


@pytest.mark.slow
def test_a_run_on_pairs_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    """Mean flows, of pairs that are drawn once, and of data."""
    teacher = str(tmp_path / "teacher")
    main.run("train", config_of(2), teacher)
    for name, given in (
        ("pairs", {"teacher": teacher, "teacher_checkpoint": 2}),
        ("data", {"coupling": "independent"}),
    ):
        whole, parts = tmp_path / name / "whole", tmp_path / name / "parts"
        main.run("train", student(4, **given), str(whole))
        main.run("train", student(2, **given), str(parts))
        drawn = {file: file.stat().st_mtime_ns for file in (parts / reflow.FOLDER).glob("*.npy")}
        assert len(drawn) == (2 if name == "pairs" else 0)
        main.run("train", student(4, **given), str(parts))
        assert all(file.stat().st_mtime_ns == time for file, time in drawn.items())
        states = []
        for folder in (whole, parts):
            with Workdir(folder).store(read_only=True) as store:
                states.append(store.restore(None, 4)[1])
        jax.tree.map(np.testing.assert_array_equal, *states)
        assert "teacher" not in states[0]


def test_what_cannot_be_joined_is_refused(teacher: Teacher, tmp_path: Path) -> None:
    for config, message in (
        (student(4), r"a trained run's flow joins; give training\.teacher"),
        (student(4, coupling="independent", teacher="somewhere"), r"training\.teacher .*learns from data alone"),
    ):
        with pytest.raises(Refusal, match=message):
            main.prepare("train", config, str(tmp_path / "new"))
    told = student(4)
    with told.unlocked():
        told.model.label_dim = 8
    with pytest.raises(ValueError, match=r"told of label, and the run in training\.teacher .* draws samples without"):
        reflow.check(build(told), teacher)
    assert not (tmp_path / "new").exists()
