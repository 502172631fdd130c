"""Sets of fewer points than there are places for: what fills up a set reaches no point of it, wherever it goes."""

import importlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import default
from data.source import take
from evaluation import ingredients
from experiment import Experiment, build, likelihood, rules
from experiment.sampling import Drawer, sampler
from models.materialize import network_jit
from tests.experiment.command import call
from tests.experiment.test_shapes import SHORT
from tests.models.test_networks import variables_away_from_zero
from training import losses
from training.draws import Draws
from training.examples import Encoder
from training.model import batch_scores

POINTS, NUMBERS = 6, (1, 2, 3, 4, 5, 6) * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 files, of one to six points each."""
    path = tmp_path_factory.mktemp("sets")
    for i, number in enumerate(NUMBERS):
        np.save(path / f"{i:02d}.npy", np.random.default_rng(i).standard_normal((number, 2)))
    return path


def config_of(folder: Path, points: int = POINTS, **fields: Any) -> ConfigDict:
    config = importlib.import_module("configs.shapes.digit_points").get_config()
    with config.unlocked():
        config.data.update(
            dataset="point_sets", path=str(folder), points=points, coordinates=2, varying=True, test_fraction=0.3
        )
        config.model.update(width=8, depth=1, num_heads=2, time_features=8)
        config.update_from_flattened_dict(fields)
    return config


def batch_of(experiment: Experiment, filling: float = np.nan) -> dict[str, Any]:
    """All training sets, of which absent points have these numbers."""
    found = take(experiment.source.train, np.arange(len(experiment.source.train)))
    there = found["present"][..., None]
    return {"image": jnp.asarray(np.where(there, found["image"], filling)), "present": jnp.asarray(found["present"])}


@pytest.mark.parametrize("loss", ["simple", "flow_matching"])
def test_the_loss_is_the_mean_over_the_points_that_there_are(folder: Path, loss: str) -> None:
    """A network of zeros that predicts the noise, or the velocity, misses all of it; what fills up a set is not heard.

    The velocity of sets at the origin along x_t = (1 - t) x_0 + t eps is eps.
    """
    flow = {"sde.name": "flow", "model.prediction": "velocity", "training.loss": "flow_matching"}
    chosen = flow if loss == "flow_matching" else {"model.prediction": "eps"}
    experiment = build(config_of(folder, **chosen))
    created = losses.create(loss, experiment.sde)
    encoder = Encoder(experiment.codec, conditioner=experiment.conditioner)
    scores = batch_scores(created, experiment.network, experiment.parameterization, encoder)
    key, batch = jax.random.key(0), batch_of(experiment)
    there = np.asarray(batch["present"])
    assert len(set(there.sum(axis=1))) > 3
    drawn = Draws.of(key, jnp.arange(len(there)), len(there)).eps(jnp.zeros(batch["image"].shape))
    at_origin = {**batch, "image": jnp.where(there[..., None], 0.0 * drawn, jnp.nan)}
    silent = experiment.network.init(jax.random.key(1))
    found = np.asarray(jax.jit(lambda v: scores(v, at_origin, key, True)["loss"])(silent))
    wanted = [np.mean(np.square(eps[own])) for eps, own in zip(np.asarray(drawn), there, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=2e-4)  # its last layer begins at 1e-5, nearly 0

    variables = variables_away_from_zero(experiment.network)

    def total(params: Any, batch: Any) -> jax.Array:
        return scores(variables | {"params": params}, batch, key, True)["loss"].sum()

    descend = jax.jit(jax.value_and_grad(total))
    (value, gradient), (other, same) = (
        descend(variables["params"], batch_of(experiment, filling)) for filling in (np.nan, 1e6)
    )
    assert np.isfinite(value) and value == other
    for name in gradient:
        np.testing.assert_array_equal(gradient[name], same[name])


def test_samples_have_the_numbers_of_the_training_sets_and_nan_elsewhere(folder: Path) -> None:
    """Each is told a number by its own, whichever are drawn with it; other points of the prior move no point."""
    experiment = build(config_of(folder))
    told = experiment.told(0, 400)
    numbers, training = told["present"].sum(axis=1), [record["present"].sum() for record in experiment.source.train]
    for number in NUMBERS[:POINTS]:
        share = np.mean(np.equal(training, number))
        assert abs(np.mean(numbers == number) - share) <= 4 * np.sqrt(share * (1 - share) / 400)
    np.testing.assert_array_equal(experiment.told(7, 5)["present"], told["present"][7:12])
    variables = variables_away_from_zero(experiment.network)
    drawn = Drawer(experiment, variables, "dpmpp_2m", 8).all_of(jax.random.key(0), 8).x
    np.testing.assert_array_equal(np.isnan(drawn), np.repeat(~told["present"][:8, :, None], 2, axis=2))
    about = ingredients.of_drawn(experiment, 8)
    assert (
        about["present"] != ingredients.of_drawn(build(config_of(folder, **{"data.test_fraction": 0.6})), 8)["present"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dpmpp_2m", "euler_maruyama", "ode", "heun"])
def test_no_number_of_an_absent_point_reaches_another(folder: Path, method: str) -> None:
    """Points of the prior differ at absent points alone: samples are the same to the bit."""
    experiment = build(config_of(folder, **{"sampling.steps": 5}))
    variables, told = variables_away_from_zero(experiment.network), experiment.told(0, 8)
    there = told["present"][..., None]
    z = np.random.default_rng(0).standard_normal((8, POINTS, 2)).astype("f4")
    run = network_jit(lambda v, z, told: sampler(experiment, v, method, None, told)(jax.random.key(0), z).x, None)
    found, other = (np.asarray(run(variables, of, told)) for of in (z, np.where(there, z, 1e3).astype("f4")))
    np.testing.assert_array_equal(found, other)
    assert not found[np.broadcast_to(~there, found.shape)].any() and np.all(found[np.broadcast_to(there, found.shape)])


@pytest.mark.slow
def test_a_set_that_is_filled_up_is_the_set_without(folder: Path, tmp_path: Path) -> None:
    """Samples and densities are those of a network of so many points.

    Steps of the adaptive solver differ, since absent points err by nothing: 0.5 % at a tolerance of 1e-5, where each
    coordinate of an absent point would count 1.3 bits. The network predicts the noise, so that x alone would change the
    density of absent points too.
    """
    options = {"eval.bpd_probe": "exact", "eval.rtol": 1e-5, "eval.atol": 1e-5, "model.prediction": "eps"}
    whole, key = build(config_of(folder, **options)), jax.random.key(0)
    variables, rng = variables_away_from_zero(whole.network), np.random.default_rng(0)
    z, x = rng.standard_normal((2, 2, POINTS, 2)).astype("f4")
    for number in (2, 5):
        for i in range(9):
            np.save(tmp_path / f"{i}.npy", np.zeros((number, 2)))
        alone = build(config_of(tmp_path, number, **options | {"data.varying": False}))
        told = {"present": np.broadcast_to(np.arange(POINTS) < number, (2, POINTS))}
        filled = np.where(told["present"][..., None], x, np.nan)
        runs: Any = (whole, z, filled, told), (alone, z[:, :number], x[:, :number], {})
        drawn, bits = [], []
        for experiment, start, data, fields in runs:
            draw = sampler(experiment, variables, "dpmpp_2m", None, fields)
            drawn.append(np.asarray(draw(key, jnp.asarray(start)).x)[:, :number])
            batch = {"image": jnp.asarray(data)} | {name: jnp.asarray(each) for name, each in fields.items()}
            bits.append(likelihood.bits(experiment, variables, batch, jax.random.split(key, 2))["bits"])
        np.testing.assert_allclose(*drawn, atol=1e-5)
        np.testing.assert_allclose(*bits, rtol=5e-3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "mlp"}, "data.varying is True, and model.name 'mlp' .* take point_transformer"),
        ({"training.loss": "variational", "training.continuous": False, "model.num_scales": 50}, "take 'simple', or"),
        ({"sampling.method": "pc", "sampling.corrector": "langevin"}, "take 'ald' or 'none'"),
        ({"eval.enable_vlb": True}, "which bits/dim alone leave out"),
    ],
)
def test_what_knows_of_no_absent_points_is_refused_in_one_line(folder: Path, fields: dict, message: str) -> None:
    config = config_of(folder)
    with pytest.raises(ValueError, match=message) as error:
        with config.unlocked():
            if "model" in fields:
                default.with_network(config, fields["model"], width=8, depth=1)
            else:
                config.update_from_flattened_dict(fields)
        experiment = build(config)
        loss = losses.LOSSES[config.training.loss]
        rules.check(rules.of_loss(experiment, loss(experiment.noising({}, sde=experiment.sde))))
        rules.check(rules.of_samplers(experiment, [config.sampling.method]))
        rules.check(rules.of_evaluation(experiment))
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_every_mode(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    given = (
        *("--config=configs/shapes/digit_points.py", f"--workdir={tmp_path}", "--config.training.n_iters=4"),
        *("--config.data.dataset=point_sets", f"--config.data.path={folder}", "--config.data.points=6"),
        *("--config.data.coordinates=2", "--config.data.varying=True", "--config.data.test_fraction=0.3"),
        *("--config.model.width=8", "--config.model.depth=1", "--config.eval.bpd_max_examples=4"),
        *(flag for flag in SHORT if "length" not in flag),
    )
    for mode in ("train", "sample", "evaluate", "compare"):
        code, _, err = call(capsys, f"--mode={mode}", *given)
        assert code == 0, (mode, err)
    with np.load(next((tmp_path / "samples").glob("dpmpp*.npz"))) as drawn:
        numbers = np.isfinite(drawn["samples"]).all(axis=2).sum(axis=1)
    assert set(numbers) <= set(NUMBERS) and len(set(numbers)) > 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert np.isfinite(report["bits_per_dim"]["mean"])
    assert 0 < report["samplers"]["dpmpp_2m"]["further"]["coverage"] <= 1
    code, _, err = call(capsys, "--mode=edit", *given)
    assert code == 2 and "points of its sets may be absent" in err and err.count("\n") == 1
