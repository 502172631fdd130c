"""One, two and eight devices, one and several steps a call: the same training, compiled once, its state donated."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.scaling import Scaler
from models.functional import Network
from sde_lib import VP
from training import optimizer, parallel
from training.objective import Objective
from training.state import TrainState
from training.step import batch_losses, make_train_step

BATCH, STEPS = 16, 4
KEY = jax.random.key(7)
IMAGES = np.random.default_rng(0).integers(0, 17, (STEPS, BATCH, 8, 8, 1)).astype(np.uint8)
NETWORK = Network.create("mlp", shape=(8, 8, 1), width=8, depth=1, dropout=0.3)
ADAM = optimizer.create(lr=1e-2, warmup=2)


def _train(devices: int, per_call: int) -> dict[str, Any]:
    """STEPS steps with dropout, flips and dequantisation on the first `devices` devices."""
    options = {"prediction": "eps", "noise_label": "t999", "random_flips": True, "axis_size": devices}
    losses = batch_losses(Objective(VP(), stratified=True), NETWORK, Scaler(17, True, "uniform"), **options)
    traces = []

    def counted(*arguments: Any) -> jax.Array:
        traces.append(1)
        return losses(*arguments)

    step = make_train_step(counted, ADAM, ema=partial(optimizer.ema_decay, 0.9, warmup=True), axis_size=devices)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "local_device_count", lambda: devices)
        run = parallel.compile_steps(step, per_call)
        state = parallel.replicate(TrainState.create(NETWORK.init(jax.random.key(1)), ADAM))
        metrics, donated = [], []
        for i in range(0, STEPS, per_call):
            before = jax.tree.leaves(state)
            state, values = run(state, parallel.split_batch({"image": IMAGES[i : i + per_call]}, per_call), KEY)
            donated.append(all(leaf.is_deleted() for leaf in before))
            metrics.append(jax.tree.map(np.asarray, values))
    copies = jax.tree.map(np.asarray, state)
    return {
        "copies": copies,
        "state": jax.tree.map(lambda leaf: leaf[0], copies),
        "loss": np.concatenate([m["loss"] for m in metrics], axis=1),
        "traces": len(traces),
        "donated": donated,
    }


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[tuple[int, int], dict]]:
    jax.config.update("jax_disable_most_optimizations", True)  # a third of the time to compile
    yield {case: _train(*case) for case in [(1, 1), (2, 1), (8, 1), (1, 2)]}
    jax.config.update("jax_disable_most_optimizations", False)


def _furthest(a: TrainState, b: TrainState) -> float:
    pairs = zip(jax.tree.leaves((a.params, a.ema)), jax.tree.leaves((b.params, b.ema)), strict=True)
    return max(float(np.abs(x - y).max()) for x, y in pairs)


@pytest.mark.parametrize("devices", [2, 8])
def test_any_number_of_devices_gives_the_same_parameters(runs: dict, devices: int) -> None:
    one, several = runs[1, 1], runs[devices, 1]
    assert _furthest(one["state"], several["state"]) < 1e-5
    np.testing.assert_allclose(several["loss"][0], one["loss"][0], rtol=1e-5)
    start = NETWORK.init(jax.random.key(1))["params"]
    assert max(np.abs(one["state"].params[n] - start[n]).max() for n in start) > 1e-2  # it did move
    for leaf in jax.tree.leaves(several["copies"]):
        assert leaf.shape[0] == devices and (leaf == leaf[:1]).all()  # all devices hold the same


def test_two_steps_a_call_are_one_and_one(runs: dict) -> None:
    assert _furthest(runs[1, 1]["state"], runs[1, 2]["state"]) < 1e-6
    assert int(runs[1, 2]["state"].step) == STEPS
    np.testing.assert_allclose(runs[1, 2]["loss"], runs[1, 1]["loss"], rtol=1e-5)


def test_a_train_step_traces_once_and_its_state_is_donated(runs: dict) -> None:
    for (_, per_call), run in runs.items():
        assert run["traces"] == per_call  # on CPU the steps of a call follow one another
        assert all(run["donated"])


def test_draws_differ_between_steps_examples_and_seeds() -> None:
    """An all-zero network shows the noise: its loss is the mean square of eps, different for every draw."""
    options = {"prediction": "eps", "noise_label": "t999", "random_flips": False, "axis_size": 1}
    losses = jax.jit(batch_losses(Objective(VP()), NETWORK, Scaler(17, True, "uniform"), **options), static_argnums=3)
    zero = jax.tree.map(jnp.zeros_like, NETWORK.init(jax.random.key(1)))
    keys = [jax.random.fold_in(KEY, n) for n in (0, 1)] + [jax.random.fold_in(jax.random.key(8), 0)]
    seen = np.concatenate([np.asarray(losses(zero, {"image": IMAGES[0]}, key, True)) for key in keys])
    assert len(np.unique(seen)) == len(seen)
    np.testing.assert_array_equal(losses(zero, {"image": IMAGES[0]}, keys[0], True), seen[:BATCH])


@pytest.mark.parametrize(("batch_size", "mend"), [(12, "try 8"), (3, "try 8"), (0, "try 8"), (30, "try 24")])
def test_a_batch_that_the_devices_do_not_divide_is_refused(batch_size: int, mend: str) -> None:
    with pytest.raises(ValueError, match=rf"batch_size is {batch_size}.*8 devices.*{mend}"):
        parallel.check_batch_size(batch_size)
    parallel.check_batch_size(24)
