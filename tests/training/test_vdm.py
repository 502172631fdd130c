"""Training by the bound in continuous time: what each parameter descends, and that a run keeps its noise schedule."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from autoencoders.grey_levels import GreyLevels
from checkpoints.store import Store
from configs.vp import toy_mixture8_mlp
from evaluation.measures.bits import Bits
from evaluation.measures.bound import ContinuousBound
from experiment import build
from experiment.sampling import Drawer
from experiment.schedule import joined, parameters_of
from experiment.weights import load_run
from experiment.workdir import Workdir
from models.functional import Network
from sde_lib import AffineSDE, Plain, PredictFn, Prediction, of_score
from sde_lib.bound import bound_times, diffusion_bits, prior_bits, reconstruction_bits
from sde_lib.learned import learned_vp
from sde_lib.prediction import of_eps
from tests.oracles import Mixture, compiled
from training import devices as kinds
from training import loop, losses, optimizer, preparation
from training.examples import Encoder
from training.model import batch_scores
from training.state import TrainState
from training.step import make_train_step

SDE = learned_vp(features=16, gamma_min=-8.0, t_min=1e-6)
LOSS = losses.create("vdm", SDE)
DATA = Mixture(np.array([0.3, 0.7]), np.array([[-0.8], [0.5]]), np.array([0.05, 0.2]))


def linear(process: AffineSDE, weights: dict) -> PredictFn:
    """The exact predictions of N(0, scale^2)."""

    def predict(x: jax.Array, t: jax.Array) -> Prediction:
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        return of_eps(process, x, t, sigma * x / (alpha**2 * weights["scale"] ** 2 + sigma**2))

    return PredictFn(process, predict)


def predict_fn(process: AffineSDE, weights: dict) -> PredictFn:
    """The exact predictions of the mixture."""
    return of_score(process, DATA.score(process))


def batch(n: int) -> tuple[jax.Array, ...]:
    """x0, t, eps, eps0: n examples, times evenly spread."""
    keys = jax.random.split(jax.random.key(3), 4)
    t = bound_times(SDE, jax.random.permutation(keys[0], (jnp.arange(n) + 0.5) / n))
    return DATA.sample(keys[1], n), t, *(jax.random.normal(key, (n, 1)) for key in keys[2:])


@pytest.mark.slow
def test_ends_and_network_descend_the_bound_and_the_interior_its_square(x64: None) -> None:
    """Against the gradients of each part alone."""
    x0, t, eps, eps0 = batch(32)
    parameters = {name: jnp.asarray(value, float) for name, value in SDE.numbers.items()}
    weights = {"scale": jnp.asarray(0.9)}

    def losses(parameters: dict, weights: dict) -> tuple[jax.Array, jax.Array]:
        process = SDE.with_parameters(parameters)
        diffusion = diffusion_bits(process, linear(process, weights), x0, t, eps)
        return diffusion, prior_bits(process, x0) + reconstruction_bits(process, x0, eps0, None)

    def routed(parameters: dict, weights: dict) -> jax.Array:
        terms = LOSS.bound(linear, parameters, weights, x0, t, eps, eps0)
        return jnp.mean(terms.total)

    @compiled
    def all_of(*given: dict) -> tuple:
        (diffusion, rest), pull = jax.vjp(losses, *given)
        first, last = (SDE.log_snr(jnp.asarray(t)) for t in (SDE.t_min, 1.0))
        squares = 2.0 * diffusion * jnp.log(4.0) / (first - last), jnp.zeros_like(rest)
        cotangents = [jnp.stack([jnp.ones(32), square]) / 32 for square in squares]
        same = jnp.mean(diffusion + rest)
        return jax.value_and_grad(routed, argnums=(0, 1))(*given), same, jax.vmap(lambda *c: pull(c))(*cotangents)

    (value, found), same, both = all_of(parameters, weights)
    mean, square = (jax.tree.map(lambda leaf, i=i: leaf[i], both) for i in range(2))
    assert float(value) == pytest.approx(float(same), rel=1e-12)
    np.testing.assert_allclose(found[1]["scale"], mean[1]["scale"], rtol=1e-10)
    for name in SDE.numbers:
        expected = (square if name in SDE.interior else mean)[0][name]
        np.testing.assert_allclose(found[0][name], expected, rtol=1e-9, atol=1e-14, err_msg=name)
        assert np.any(np.abs(expected) > 1e-6)


@pytest.mark.slow
def test_a_chain_of_steps_descends_its_own_bound(x64: None) -> None:
    """All of the schedule: with finitely many steps nothing is invariant."""
    x0, _, eps, eps0 = batch(32)
    t = bound_times(SDE, (jnp.arange(32) + 0.5) / 32, 8)
    parameters = {name: jnp.asarray(value, float) for name, value in SDE.numbers.items()}
    weights = {"scale": jnp.asarray(1.0)}

    def direct(parameters: dict) -> jax.Array:
        process = SDE.with_parameters(parameters)
        return jnp.mean(diffusion_bits(process, linear(process, weights), x0, t, eps, 8))

    def routed(parameters: dict) -> jax.Array:
        loss = losses.create("vdm", SDE, bound_steps=8)
        return jnp.mean(loss.bound(linear, parameters, weights, x0, t, eps, eps0).diffusion)

    found, expected = compiled(lambda p: [jax.grad(f)(p) for f in (routed, direct)])(parameters)
    for name in SDE.numbers:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-14)


@pytest.mark.slow
def test_training_the_interior_lowers_the_variance_and_leaves_the_bound() -> None:
    """300 steps of Adam on the interior alone, network exact: 2048 evenly spread times before and after."""
    parameters = SDE.parameters
    adam = optax.adam(0.03)

    def diffusion(parameters: dict, examples: tuple) -> jax.Array:
        return LOSS.bound(predict_fn, parameters, {}, *examples).diffusion

    @compiled
    def descend(parameters: dict, state: Any, examples: tuple) -> tuple[dict, Any]:
        def step(carry: tuple, _: None) -> tuple[tuple, None]:
            parameters, state = carry
            grads = jax.grad(lambda p: jnp.mean(diffusion(p, examples)))(parameters)
            grads = {name: g if name in SDE.interior else jnp.zeros_like(g) for name, g in grads.items()}
            updates, state = adam.update(grads, state)
            return (optax.apply_updates(parameters, updates), state), None

        return jax.lax.scan(step, (parameters, state), None, 300)[0]

    examples = batch(2048)
    trained, _ = descend(parameters, adam.init(parameters), examples)
    before, after = (np.asarray(compiled(diffusion)(p, examples), np.float64) for p in (parameters, trained))
    assert after.var() < 0.8 * before.var()
    assert abs(after.mean() - before.mean()) < 3 * np.sqrt((after.var() + before.var()) / 2048)
    moved = SDE.with_parameters(trained)
    assert float(moved.gamma(jnp.zeros(()))) == -8.0 and float(moved.gamma(jnp.ones(()))) == pytest.approx(5.0)
    assert abs(float(moved.gamma(jnp.asarray(0.5))) + 1.5) > 0.3


@pytest.fixture
def fast_to_compile() -> Iterator[None]:
    """A third of the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def _train(devices: int) -> dict[str, np.ndarray]:
    """Two steps on grey levels, the loss's own draws; all parameters."""
    sde, images = learned_vp(features=16), np.arange(2 * 8 * 12).reshape(2, 8, 2, 6, 1).astype(np.uint8) % 17
    network = joined(Network.create("mlp", shape=(2, 6, 1), width=8, depth=1), sde)
    loss = losses.create("vdm", sde, GreyLevels(17, True, "none").centres(), stratified=True)
    encoder = Encoder(GreyLevels(17, True, "none"))
    scores = batch_scores(loss, network, Plain("v", "gamma"), encoder, parts=devices)
    adam = optimizer.create(lr=1e-2, warmup=0)
    step = make_train_step(scores, adam, ema=lambda n: jnp.asarray(0.5), axis_size=devices)
    pmapped = kinds.create("pmap", jax.devices()[:devices])
    state = pmapped.place(TrainState.create(network.init(jax.random.key(1)), adam))
    run = pmapped.compile_steps(step, 1, state)
    for image in images:
        state, _ = run(state, pmapped.split({"image": image[None]}, 1), jax.random.key(7))
    return {f"{which}.{k}": np.asarray(v)[0] for which in ("params", "ema") for k, v in getattr(state, which).items()}


@pytest.mark.slow
def test_two_devices_train_the_same_schedule(fast_to_compile: None) -> None:
    one, two = _train(1), _train(2)
    start = {f"schedule.{name}": value for name, value in learned_vp(features=16).parameters.items()}
    assert {name.removeprefix("ema.") for name in one} >= set(start)
    for name in one:
        np.testing.assert_allclose(two[name], one[name], atol=1e-5, err_msg=name)
    for name, value in start.items():
        assert np.abs(one[f"params.{name}"] - value).max() > 1e-3, name
        if np.ndim(value):  # the average lags behind the weights
            assert 0.0 < np.abs(one[f"ema.{name}"] - value).max() < np.abs(one[f"params.{name}"] - value).max()


def _config() -> Any:
    config = toy_mixture8_mlp.get_config()
    with config.unlocked():
        config.sde = ConfigDict({"name": "vdm", "features": 16, "gamma_min": -10.0})
    config.model.update(width=8, depth=1, noise_label="log_snr")
    config.training.update(loss="vdm", batch_size=16, snapshot_sampling=False, eval_freq=0, log_freq=2)
    config.training.update(snapshot_freq=2, snapshot_freq_for_preemption=2)
    config.optim.update(warmup=0, lr=0.02, decay_steps=0)
    config.eval.update(batch_size=8, bpd_max_examples=8, vlb_max_examples=8, num_samples=8, rtol=1e-3, atol=1e-3)
    config.sampling.update(steps=5, flow_steps=5)
    return config


@pytest.mark.slow
def test_a_resumed_run_ends_alike_and_is_sampled_and_measured_with_its_trained_schedule(
    tmp_path: Any, fast_to_compile: None
) -> None:
    config, trees = _config(), {}
    for name, lengths in (("whole", (4,)), ("resumed", (2, 4))):
        for n_iters in lengths:
            config.training.n_iters = n_iters
            experiment, workdir = build(config), Workdir(tmp_path / name)
            loop.train(experiment, workdir, preparation.prepare(experiment, workdir))
        with Store(workdir.path / "checkpoints", read_only=True) as store:
            trees[name] = store.restore()[1]
    whole, resumed = (jax.tree.leaves_with_path(trees[name]) for name in trees)
    for (path, a), (_, b) in zip(whole, resumed, strict=True):
        assert a.tobytes() == b.tobytes(), path

    _, variables = load_run(workdir, experiment.network, config)
    process, at = experiment.process(variables), jnp.asarray(0.5)
    assert abs(float(process.gamma(at) - experiment.sde.gamma(at))) > 1e-3
    assert set(parameters_of(variables["params"])) == set(experiment.sde.parameters)
    for method in ("euler_maruyama", "dpmpp_2m"):
        assert np.ptp(Drawer(experiment, variables, method, 4).all_of(jax.random.key(0), 4).x) > 0
    exact = Bits(experiment).report(variables, jax.random.key(0), tmp_path, {})
    bound = ContinuousBound(experiment).report(variables, jax.random.key(0), tmp_path, {})
    assert bound["mean"] == pytest.approx(bound["diffusion"] + bound["prior"] + bound["reconstruction"])
    assert bound["log_snr"][0] == pytest.approx(-float(process.gamma(jnp.asarray(1e-5))))
    assert np.isfinite(exact["mean"]) and exact["mean"] < bound["mean"] + 3 * bound["standard_error"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("simple", {}, r"sde\.learned is True and training\.loss 'simple'.*take 'vdm'"),
        ("vdm", {"weight": "edm"}, r"training\.weight is 'edm' and training\.loss 'vdm'.*leave it at 'uniform'"),
        ("vdm", {"likelihood_weighting": True}, r"likelihood_weighting is True.*leave it at False"),
        ("vdm", {"bound_steps": -1}, r"bound_steps is -1.*0 is continuous time"),
    ],
)
def test_what_contradicts_the_bound_is_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        losses.create(name, SDE, **options)
