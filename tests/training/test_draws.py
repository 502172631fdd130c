"""What a training batch draws: everything by a key of its own, so that nothing depends on anything else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autoencoders.grey_levels import GreyLevels
from conditions import Labels
from models.functional import Network
from sde_lib import VP, Plain
from tests.oracles import compiled
from training import losses
from training.draws import Draws
from training.examples import Encoder
from training.model import TrainedModel
from training.times import Times

N, CLASSES = 4096, 3
NAMES = ("flip", "dequantize", "time", "noise", "dropout", "augment", "drop", "second")
BATCH = {"image": jnp.tile(jnp.array([0, 8], jnp.uint8), (N, 2, 1))[..., None], "label": jnp.ones(N, jnp.int32)}
NETWORK = Network.create("mlp", shape=(2, 2, 1), width=32, depth=1, dropout=0.5)
WEIGHTS = {name: jnp.ones(leaf.shape) for name, leaf in NETWORK.abstract()["params"].items()}


@compiled
def drawn(draws: Draws) -> dict[str, jax.Array]:
    """What the training's own encoder, times, noise and network make of each key, [N, numbers] each."""
    plain = Encoder(GreyLevels(17, True, "uniform"), random_flips=True, conditioner=Labels(CLASSES), dropout=0.5)
    examples, condition = plain(BATCH, draws, True)
    _, augmented = Encoder(GreyLevels(17, True, "none"), augment_probability=0.5)(BATCH, draws, True)
    columns = examples.x0[:, 0, :, 0]
    flipped = columns[:, 0] > columns[:, 1]
    columns = jnp.where(flipped[:, None], columns[:, ::-1], columns)  # as they were dequantised
    x, t = jnp.ones((N, 2, 2, 1)), jnp.full(N, 0.5)

    def apply(params: dict, x: jax.Array, c_noise: jax.Array) -> jax.Array:
        return NETWORK.apply({"params": params, "fixed": {}}, x, c_noise, keys=examples.draws.dropout)

    predict = TrainedModel(apply, WEIGHTS, Plain("eps", "t")).predict_fn(VP())
    found = {
        "flip": flipped,
        "dequantize": (columns + 1.0) * 8.5 - jnp.array([0.0, 8.0]),
        "time": losses.create("simple", VP()).draw_times(examples.draws),
        "noise": examples.draws.eps(examples.x0),
        "dropout": predict(x, t).eps[:, 0],
        "augment": augmented["augment"],
        "drop": condition["label"].sum(axis=1) == 0.0,
        "second": examples.draws.again().eps(examples.x0),
    }
    return {name: jnp.asarray(value, jnp.float32).reshape(N, -1) for name, value in found.items()}


def _draws(key: jax.Array) -> Draws:
    return Draws.of(key, jnp.arange(N), N)


@pytest.fixture(scope="module")
def steps() -> list[dict[str, np.ndarray]]:
    """The draws of two steps in a row."""
    return [jax.tree.map(np.asarray, drawn(_draws(jax.random.fold_in(jax.random.key(3), n)))) for n in (0, 1)]


def test_each_depends_on_its_own_key_alone(steps: list) -> None:
    """With other keys for one of them this one differs for most examples, and all others are the same bits."""
    draws, other = _draws(jax.random.fold_in(jax.random.key(3), 0)), _draws(jax.random.key(4))
    for changed in NAMES:
        found = drawn(draws._replace(**{changed: getattr(other, changed)}))
        for name in NAMES:
            differ = np.any(np.asarray(found[name]) != steps[0][name], axis=1).mean()
            assert differ > 0.4 if name == changed else differ == 0.0, (changed, name)


def test_no_two_keys_are_the_same() -> None:
    """Of all names, examples and two steps, and the key of the batch itself."""
    keys, others = [_draws(jax.random.fold_in(jax.random.key(3), n)) for n in (0, 1)], (*NAMES, "condition", "end")
    data = [
        np.asarray(jax.random.key_data(getattr(d, name))).reshape(-1, 2) for d in keys for name in (*others, "batch")
    ]
    assert len(np.unique(np.concatenate(data), axis=0)) == sum(map(len, data)) == 2 * (len(others) * N + 1)


def test_they_are_uncorrelated_with_each_other_the_next_example_and_the_next_step(steps: list) -> None:
    """Every pair of columns and of their squares; of 2000 correlations the largest is below 5 / sqrt(N)."""

    def columns(of: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        names = np.concatenate([[i] * of[name].shape[1] for i, name in enumerate(NAMES)])
        values = np.concatenate([of[name] for name in NAMES], axis=1).astype(np.float64)
        centred = values - values.mean(axis=0)
        spread = np.abs(centred) - np.abs(centred).mean(axis=0)
        both = np.concatenate([centred, spread], axis=1)
        return both / np.maximum(both.std(axis=0), 1e-9), np.tile(names, 2)

    (now, names), (then, _) = map(columns, steps)
    other = names[:, None] != names[None, :]
    for a, b, compared in ((now, now, other), (now[1:], now[:-1], True), (now, then, True)):
        correlations = np.where(compared, a.T @ b / len(a), 0.0)
        assert np.abs(correlations).max() < 5.0 / np.sqrt(N), np.unravel_index(
            np.abs(correlations).argmax(), (100, 100)
        )


def test_stratified_times_depend_on_the_key_of_the_batch_alone() -> None:
    draws, other = _draws(jax.random.key(3)), _draws(jax.random.key(4))
    times = Times(stratified=True)
    first = times(VP(), draws)
    same = draws._replace(**{name: getattr(other, name) for name in NAMES})
    np.testing.assert_array_equal(times(VP(), same), first)
    assert np.all(np.asarray(times(VP(), draws._replace(batch=other.batch))) != np.asarray(first))
