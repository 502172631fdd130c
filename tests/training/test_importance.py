"""Importance sampling of noise levels by their losses: guided-diffusion's sampler, one device and several."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sde_lib
from autoencoders.grey_levels import GreyLevels
from checkpoints.store import Store
from sde_lib import VP, NoiseLevels, Plain
from tests.oracles import compiled
from tests.training.given import draws
from training import losses
from training.draws import AXIS, PLACE
from training.examples import Encoder
from training.model import batch_scores
from training.state import TrainState
from training.step import make_train_step
from training.times import LossHistory, level_times, uniform_numbers

LEVELS = NoiseLevels(sde_lib.create("discrete", schedule="cosine", n=6), 6)
RECORDED = np.load(Path(__file__).parents[1] / "reference" / "discrete" / "importance_sampler.npz")
CASES = sorted({name.split("/")[0] for name in RECORDED.files})


@pytest.mark.parametrize("case", CASES)
def test_the_sampler_is_the_published_one(case: str, x64) -> None:
    """p and counts after every update, the history at the end, 1e-12; batches of one level many times among them."""
    known = {name.split("/")[1]: RECORDED[name] for name in RECORDED.files if name.startswith(f"{case}/")}
    history = LossHistory.create(int(known["num_timesteps"]), int(known["history_per_term"]))
    uniform = float(known["uniform_prob"])
    update, p = compiled(LossHistory.updated), compiled(lambda h: h.probabilities(uniform))
    for k in range(len(known["p"])):
        np.testing.assert_allclose(p(history), known["p"][k], rtol=1e-12)
        np.testing.assert_allclose(1 / (len(history.counts) * p(history)), known["importance_weight"][k], rtol=1e-12)
        np.testing.assert_array_equal(history.counts, known["counts"][k])
        if k < len(known["timesteps"]):
            history = update(history, jnp.asarray(known["timesteps"][k], int), jnp.asarray(known["losses"][k]))
    np.testing.assert_allclose(history.losses, known["final_history"], rtol=1e-12)


def test_more_of_one_level_than_are_kept_leaves_the_last_ones() -> None:
    history = compiled(LossHistory.updated)(LossHistory.create(3, 4), jnp.asarray([1, 1]), jnp.asarray([8.0, 9.0]))
    level, losses = jnp.asarray([1, 0, 1, 1, 1, 1, 2, 1]), jnp.arange(8.0)
    found = compiled(LossHistory.updated)(history, level, losses)
    np.testing.assert_array_equal(found.losses, [[1, 0, 0, 0], [3, 4, 5, 7], [6, 0, 0, 0]])
    np.testing.assert_array_equal(found.counts, [1, 4, 1])


def test_levels_are_drawn_by_their_probabilities_and_weighted_so_that_the_expectation_stays() -> None:
    """40 000 draws of 5 levels: counts within 5 standard deviations; a level of probability 0 never."""
    n, p = 40_000, jnp.asarray([0.5, 0.0, 0.1, 0.3, 0.1])
    levels = sde_lib.NoiseLevels(sde_lib.create("discrete", schedule="cosine", n=5), 5)
    t = compiled(lambda k: level_times(levels, uniform_numbers(draws(k, n), False), p))(jax.random.key(5))
    counts = np.bincount(np.asarray(levels.sde.level_index(t, 5)), minlength=5)
    assert np.all(np.abs(counts - n * p) <= 5 * np.sqrt(n * p * (1 - p)))


class Linear:
    """A network of one number a channel, so that a step is a short sum; twice the channels where it has a variance."""

    def apply(self, variables, x, c_noise, condition=None, *, keys=None):
        scale = 1.0 + 0.1 * c_noise.reshape(-1, 1, 1, 1)
        return jnp.concatenate([x * variables["params"]["w"] / scale, jnp.tanh(x * variables["params"]["u"])], axis=-1)


def _setting(axis_size: int, micro_batches: int = 1):
    options = {"vlb_weight": 0.5, "time_sampling": "loss_aware", "loss_history": 2}
    loss = losses.create("hybrid", LEVELS, np.linspace(-1.0, 1.0, 11), **options)
    encoder, parts = Encoder(GreyLevels(11, True, "none")), axis_size * micro_batches
    scores = batch_scores(loss, Linear(), Plain("eps", "index"), encoder, parts=parts)
    adam = optax.sgd(1e-3)
    shares = {"axis_size": axis_size, "micro_batches": micro_batches}
    step = make_train_step(scores, adam, ema=lambda n: jnp.asarray(0.9), learn=loss.updated, **shares)
    start = {"params": {"w": jnp.asarray(0.5), "u": jnp.asarray(0.3)}, "fixed": {}}
    return step, TrainState.create(start, adam, loss.init())


@pytest.mark.slow
def test_all_devices_hold_the_history_of_the_whole_batch() -> None:
    """8 steps of 16 images on an axis of 4 and on one device: the same history, weights and losses; levels are warm."""
    images = np.random.default_rng(0).integers(0, 11, (8, 16, 2, 2, 1)).astype(np.uint8)
    step, state = _setting(1)
    step, alone = compiled(step), []
    for batch in images:
        state, metrics = step(state, {"image": batch}, jax.random.key(1))
        alone.append(float(metrics["loss"]))
    assert np.all(state.loss.counts == 2)
    several, start = _setting(4)
    run = compiled(jax.vmap(several, axis_name=AXIS, in_axes=(0, 0, None)))  # as pmap, in a tenth of its time
    replicated, losses = jax.tree.map(lambda a: np.broadcast_to(a, (4, *a.shape)), start), []
    for batch in images:
        replicated, metrics = run(
            replicated, {"image": batch.reshape(4, 4, 2, 2, 1), PLACE: np.arange(16).reshape(4, 4)}, jax.random.key(1)
        )
        losses.append(float(metrics["loss"][0]))
    for leaf in jax.tree.leaves(replicated.loss):
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape))
    np.testing.assert_allclose(losses, alone, rtol=1e-4)
    np.testing.assert_allclose(replicated.loss.losses[0], state.loss.losses, rtol=1e-4)
    np.testing.assert_allclose(replicated.params["w"][0], state.params["w"], rtol=1e-5)


@pytest.mark.slow
def test_micro_batches_leave_the_history_of_the_whole_batch() -> None:
    """Every other example is of one micro-batch, the rest of the other: the history has all in the batch's order."""
    images = np.random.default_rng(0).integers(0, 11, (3, 16, 2, 2, 1)).astype(np.uint8)
    (whole, alone), (step, state) = _setting(1), _setting(1, 2)
    (phase,) = step.phases
    whole, gradient, update = compiled(whole), compiled(phase.gradient), compiled(phase.update)
    for image in images:
        alone, _ = whole(alone, {"image": image}, jax.random.key(1))
        parts = [{"image": image[i::2], PLACE: np.arange(16)[i::2]} for i in range(2)]
        found = [gradient(state, part, jax.random.key(1)) for part in parts]
        state, _ = update(state, jax.tree.map(jnp.add, *found))
    assert np.all(alone.loss.counts == 2)
    np.testing.assert_allclose(state.loss.losses, alone.loss.losses, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), state.params, alone.params)


@pytest.mark.slow
def test_the_history_is_in_the_checkpoint_and_only_there_where_it_is_used(tmp_path) -> None:
    _, state = _setting(1)
    state = state._replace(loss=state.loss.updated(jnp.asarray([1, 3, 1]), jnp.asarray([0.25, 2.0, 4.0])))
    with Store(tmp_path) as store:
        store.save(1, state.to_tree())
        store.wait()
        _, tree, _ = store.restore(jax.eval_shape(lambda: state).to_tree(), 1)
    back = state.from_tree(tree)
    assert jax.tree.structure(back) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, back, state)
    without = state._replace(loss=None)
    assert set(without.to_tree()) == {"step", "params", "ema", "fixed", "opt_state"}
    assert without.from_tree(without.to_tree()).loss is None


def test_the_weighted_loss_has_the_expectation_of_uniform_levels() -> None:
    """A full, lopsided history: mean of the weighted losses of 200 batches against uniform ones, 4 standard errors."""
    options = {"time_sampling": "loss_aware", "loss_history": 1, "uniform_probability": 0.1}
    loss = losses.create("simple", LEVELS, **options)
    scores = batch_scores(loss, Linear(), Plain("eps", "index"), Encoder(GreyLevels(11, True, "none")))
    history = LossHistory(jnp.asarray([[4.0], [1.0], [0.2], [0.1], [0.5], [3.0]]), jnp.ones(6, jnp.int32))
    image = np.random.default_rng(0).integers(0, 11, (16, 2, 2, 1)).astype(np.uint8)
    variables = {"params": {"w": jnp.asarray(0.5), "u": jnp.asarray(0.3)}, "fixed": {}}
    keys = jax.random.split(jax.random.key(0), 200)
    given = (variables, {"image": image})
    both = compiled(jax.vmap(lambda k: [scores(*given, k, True, state)["loss"] for state in (history, None)]))
    weighted, plain = both(keys)
    error = np.hypot(*(np.std(a) / np.sqrt(a.size) for a in (weighted, plain)))
    assert abs(np.mean(weighted) - np.mean(plain)) < 4 * error


@pytest.mark.parametrize(
    ("process", "options", "message"),
    [
        (VP(), {"time_sampling": "loss_aware"}, "'loss_aware', which is for noise levels; set training.continuous"),
        (None, {"time_sampling": "loss_aware", "loss_history": 0}, "loss_history is 0"),
        (None, {"uniform_probability": 0.0}, r"uniform_probability is 0\.0.*above 0"),
    ],
)
def test_refused(process: VP | None, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        losses.create("simple", process or LEVELS, **options)
    assert "\n" not in str(error.value)
