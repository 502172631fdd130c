"""Eight optimisation steps of the published code: warmup, clipping, Adam and the warmed-up moving average."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sde_lib
from models.functional import Network
from sde_lib import VE
from tests.models.published_weights import REFERENCE, compiled, load_pth, network_of, to_variables
from tests.training.given import losses_at
from training import losses, optimizer
from training.state import TrainState
from training.step import make_train_step

FOLDER = REFERENCE / "train"
RECORDED = np.load(FOLDER / "train.npz")


def _without_effect(name: str) -> bool:
    """The bias of attention keys: its gradient is rounding noise, which Adam turns into whole steps."""
    return name.endswith("key.bias")


def _named(network: Network, like: dict[str, np.ndarray], table: np.ndarray, names: list[str]) -> dict[str, tuple]:
    """{our name: checksums of that tensor}, by sending tensors filled with their row number through the mapping."""
    rows = {name: np.full(like[name].shape, i, np.float32) for i, name in enumerate(names)}
    rows |= {name: np.zeros_like(value) for name, value in like.items() if name not in rows}
    return {name: table[int(value.flat[0])] for name, value in to_variables(network, rows)["params"].items()}


@pytest.fixture(params=["float32", pytest.param("float64", marks=pytest.mark.slow)], scope="module")
def steps(request: pytest.FixtureRequest) -> dict[str, Any]:
    """States before and after every step, and the metrics."""
    with jax.enable_x64(request.param == "float64"):
        config = json.loads((FOLDER / "config.json").read_text())
        network = network_of(config)
        raw, ema = load_pth(FOLDER / "start.pth")
        start = {which: to_variables(network, weights) for which, weights in (("raw", raw), ("ema", ema))}
        start = jax.tree.map(lambda a: jnp.asarray(a, request.param), start)
        sde = VE(sigma_min=0.01, sigma_max=50.0)
        loss = losses.create("simple", sde, reduce_mean=config["training"]["reduce_mean"])

        def scores(variables: dict, batch: tuple, key: jax.Array, train: bool, state: None) -> dict[str, jax.Array]:
            apply = lambda x, c: network.apply(variables, x, c)  # noqa: E731
            return {"loss": losses_at(loss, sde_lib.Plain("score", "sigma").predict_fn(sde, apply), *batch)}

        adam = optimizer.create(**config["optim"])
        ema = optimizer.create_ema(ema_rate=config["model"]["ema_rate"], ema_warmup=True, batch_size=1)
        step = compiled(make_train_step(scores, adam, ema=ema, axis_size=1))
        state = TrainState.create(start["raw"], adam)._replace(ema=start["ema"]["params"])
        assert any(np.any(state.ema[name] != state.params[name]) for name in state.params)
        states, metrics = [state], []
        for images, t, z in zip(RECORDED["batch"], RECORDED["t"], RECORDED["z"], strict=True):
            batch = images.transpose(0, 2, 3, 1), t, z.transpose(0, 2, 3, 1)
            batch = tuple(jnp.asarray(a, request.param) for a in batch)
            state, values = step(state, batch, jax.random.key(0))
            states.append(state)
            metrics.append(values)
        return {
            "precision": request.param,
            "network": network,
            "raw": raw,
            "states": jax.tree.map(np.asarray, states),
            "loss": np.array([m["loss"] for m in metrics]),
            "grad_norm": np.array([m["grad_norm"] for m in metrics]),
            "config": config,
        }


@pytest.mark.slow
def test_losses_and_gradient_norms(steps: dict) -> None:
    suffix, rtol = ("", 1e-5) if steps["precision"] == "float32" else ("_f64", 1e-7)
    np.testing.assert_allclose(steps["loss"], RECORDED[f"loss{suffix}"], rtol=rtol)
    np.testing.assert_allclose(steps["grad_norm"], RECORDED[f"grad_norm{suffix}"], rtol=rtol)
    clipped = steps["grad_norm"] > steps["config"]["optim"]["grad_clip"]
    assert clipped.any() and not clipped.all()


@pytest.mark.slow
def test_parameters_after_five_steps(steps: dict) -> None:
    raw, ema = load_pth(FOLDER / "after5.pth")
    for which, weights in (("params", raw), ("ema", ema)):
        expected = to_variables(steps["network"], weights)["params"]
        found = getattr(steps["states"][5], which)
        for name in expected:
            if not _without_effect(name):
                np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=5e-6, err_msg=f"{which} {name}")


@pytest.mark.slow
@pytest.mark.parametrize("after", [5, 8])
def test_averages_and_checksums(steps: dict, after: int) -> None:
    """Every averaged tensor; of the raw ones sum and norm, each as far off as 5e-6 in every entry could make it."""
    network, state = steps["network"], steps["states"][after]
    fixed = {key: value for key, value in steps["raw"].items() if key.endswith("all_modules.0.W")}
    prefix = f"after{after}/ema/"
    recorded = {key.removeprefix(prefix): RECORDED[key] for key in RECORDED.files if key.startswith(prefix)}
    first = next(iter(fixed))
    if not next(iter(recorded)).startswith("module."):
        recorded = {f"module.{key}": value for key, value in recorded.items()}
    expected = to_variables(network, recorded | {first: fixed[first]})["params"]
    for name in (n for n in expected if not _without_effect(n)):
        np.testing.assert_allclose(state.ema[name], expected[name], rtol=0, atol=5e-6, err_msg=name)
    suffix = "" if steps["precision"] == "float32" else "_f64"
    names = [n if n.startswith("module.") else f"module.{n}" for n in RECORDED["checksum_model_names"]]
    sums = _named(network, steps["raw"], RECORDED[f"checksum_after{after}_model{suffix}"], names)
    for name in (n for n in sums if not _without_effect(n)):
        value = state.params[name].astype(np.float64)
        found = value.sum(), np.abs(value).sum(), np.linalg.norm(value)
        allowed = 5e-6 * np.array([value.size, value.size, value.size**0.5])
        assert (np.abs(np.subtract(found, sums[name])) <= allowed).all(), name


@pytest.mark.slow
def test_first_step_has_no_rate_and_the_average_warms_up(steps: dict) -> None:
    """lr min(n / warmup, 1) is 0 at n = 0; the average's decay is that of the recorded run."""
    before, after = steps["states"][:2]
    for name, value in before.params.items():
        np.testing.assert_array_equal(after.params[name], value)
    warming, constant = (optimizer.create_ema(ema_rate=0.999, ema_warmup=on, batch_size=1) for on in (True, False))
    decays = [float(warming(jnp.asarray(n))) for n in range(1, 9)]
    np.testing.assert_allclose(decays, RECORDED["ema_decay"], rtol=1e-6)
    assert float(constant(jnp.asarray(1))) == pytest.approx(0.999)


def test_learning_rate_is_the_published_one() -> None:
    """Adam with unit gradients moves every weight by the learning rate: -lr in each step."""
    config = json.loads((FOLDER / "config.json").read_text())["optim"]
    adam = optimizer.create(**config)
    params = {"w": jnp.zeros(3)}
    state = adam.init(params)
    moved = []
    for _ in range(8):
        updates, state = adam.update({"w": jnp.ones(3)}, state, params)
        moved.append(-float(updates["w"][0]))
    np.testing.assert_allclose(moved, RECORDED["lr"], rtol=1e-5)


def test_learning_rate_falls_as_half_a_cosine() -> None:
    adam = optimizer.create(lr=0.1, warmup=0, grad_clip=0.0, decay_steps=4)
    state, moved = adam.init(jnp.zeros(1)), []
    for _ in range(6):
        updates, state = adam.update(jnp.ones(1), state)
        moved.append(-float(updates[0]))
    np.testing.assert_allclose(
        moved, 0.05 * (1 + np.cos(np.pi * np.minimum(np.arange(6) / 4, 1))), rtol=2e-5, atol=1e-7
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"optimizer": "Adm"}, "'Adm'.*Adam, AdamW, RAdam, Muon"),
        ({"lr": 0.0}, r"lr is 0\.0"),
        ({"warmup": -1}, "warmup is -1"),
    ],
)
def test_wrong_options_are_named(options: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        optimizer.create(**options)
