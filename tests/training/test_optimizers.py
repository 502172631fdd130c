"""RAdam and Muon beside optax itself, and the learning rate of EDM2 beside its recorded values."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.vp import toy_mixture8_mlp
from training import length, optimizer
from training.state import TrainState

RECORDED = json.loads((Path(__file__).parents[1] / "reference" / "edm2" / "phema.json").read_text())["learning_rate"]
PARAMS = {"conv.kernel": (3, 3, 4, 8), "linear.kernel": (6, 5), "linear.bias": (5,), "norm.scale": (10, 8)}


def _tree(seed: int) -> dict[str, jax.Array]:
    return {
        name: jax.random.normal(jax.random.fold_in(jax.random.key(seed), i), shape)
        for i, (name, shape) in enumerate(PARAMS.items())
    }


def _steps(made: optax.GradientTransformation, params: dict, gradients: list) -> list[dict[str, np.ndarray]]:
    """The updates of a few gradients at fixed weights."""

    @jax.jit
    def all_of(params: dict, stacked: dict) -> dict:
        def step(state: Any, gradient: dict) -> tuple[Any, dict]:
            updates, state = made.update(gradient, state, params)
            return state, updates

        return jax.lax.scan(step, made.init(params), stacked)[1]

    found = jax.tree.map(np.asarray, all_of(params, jax.tree.map(lambda *each: jnp.stack(each), *gradients)))
    return [{name: values[i] for name, values in found.items()} for i in range(len(gradients))]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: f"batch{recorded['batch_size']}")
def test_the_learning_rate_is_that_of_edm2(recorded: dict[str, Any]) -> None:
    """n images were seen before the step: the first one has a rate of 0 where there is a ramp."""
    batch = recorded["batch_size"]
    with jax.enable_x64(True):
        rate = optimizer.learning_rate(
            recorded["ref_lr"], recorded["rampup_Mimg"] * 1e6 / batch, 0, int(recorded["ref_batches"])
        )
        found = [float(rate(jnp.asarray(images / batch))) for images in recorded["cur_nimg"]]
    np.testing.assert_allclose(found, recorded["lr"], rtol=1e-9)


def test_the_fields_of_a_config_are_the_learning_rate() -> None:
    """Adam with unit gradients moves a weight by the rate; behind four steps it halves when n grows fourfold."""
    made = optimizer.create(lr=0.1, warmup_images=40.0, batch_size=20, grad_clip=0.0, inverse_sqrt_steps=4)
    moved = _steps(made, {"w": jnp.zeros(1)}, [{"w": jnp.ones(1)}] * 17)
    found = [-float(step["w"][0]) for step in moved]
    expected = [0.0, 0.05, 0.1, 0.1, 0.1, 0.1 * (4 / 5) ** 0.5]
    np.testing.assert_allclose(found[:6], expected, rtol=5e-5)
    assert found[16] == pytest.approx(0.05, rel=5e-5)


def test_radam_is_that_of_optax() -> None:
    params, gradients = _tree(0), [_tree(n) for n in range(1, 9)]
    options = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-6}
    made = optimizer.create(optimizer="RAdam", lr=1e-3, warmup=0, grad_clip=0.0, weight_decay=0.1, **options)
    theirs = optax.chain(optax.add_decayed_weights(0.1), optax.radam(1e-3, 0.9, 0.99, 1e-6))
    for found, expected in zip(*(_steps(one, params, gradients) for one in (made, theirs)), strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12), found, expected)


def test_radam_follows_the_gradient_until_its_variance_is_known() -> None:
    """At beta2 0.999 for five steps, whose length is the gradient's; from the sixth on a gradient's size is lost."""
    made = optimizer.create(optimizer="RAdam", lr=1.0, warmup=0, grad_clip=0.0)
    small, large = (
        np.array([-step["w"][0] for step in _steps(made, {"w": jnp.zeros(1)}, [{"w": jnp.full(1, size)}] * 8)])
        for size in (1.0, 3.0)
    )
    np.testing.assert_allclose(small[:5], 1.0, rtol=1e-5)
    np.testing.assert_allclose(large[:5], 3.0, rtol=1e-5)
    np.testing.assert_allclose(small[5:], large[5:], rtol=1e-5)
    assert (np.diff(small[5:]) > 0).all() and 0 < small[5] < 0.1  # the rectification grows from about 0 to 1


def test_muon_is_that_of_optax() -> None:
    """Of kernels alone, a convolution's as the matrix of its inputs; the scales of classes have Adam's steps."""
    params, gradients = _tree(0), [_tree(n) for n in range(1, 4)]
    axes = dict.fromkeys(PARAMS) | {
        "conv.kernel": optax.contrib.MuonDimensionNumbers((0, 1, 2), 3),
        "linear.kernel": optax.contrib.MuonDimensionNumbers((0,), 1),
    }
    theirs = optax.contrib.muon(1e-3, adam_b1=0.8, adam_b2=0.99, consistent_rms=0.2, muon_weight_dimension_numbers=axes)
    made = optimizer.create(optimizer="Muon", lr=1e-3, beta1=0.8, beta2=0.99, warmup=0, grad_clip=0.0)
    for found, expected in zip(*(_steps(one, params, gradients) for one in (made, theirs)), strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-9), found, expected)


def test_muons_step_is_about_orthogonal_and_as_large_as_adams() -> None:
    """Singular values of a kernel's step are about equal, whatever those of the gradient; it decays as AdamW's."""
    gradient = _tree(1)
    gradient["conv.kernel"] *= jnp.logspace(-1, 0, 8)  # the smallest singular value is about a tenth of the largest
    params, found = _tree(0), {}
    for name in ("Muon", "AdamW"):
        options = {"optimizer": name, "lr": 0.5, "warmup": 0, "grad_clip": 0.0}
        (found[name],) = _steps(optimizer.create(**options), params, [gradient])
        (decayed,) = _steps(optimizer.create(**options, weight_decay=0.1), params, [gradient])
        for leaf in PARAMS:
            np.testing.assert_allclose(decayed[leaf], found[name][leaf] - 0.05 * params[leaf], rtol=1e-4, atol=1e-6)
    given, values = (
        np.linalg.svd(np.asarray(kernel).reshape(36, 8), compute_uv=False)
        for kernel in (gradient["conv.kernel"], found["Muon"]["conv.kernel"])
    )
    assert given[0] / given[-1] > 8.0 and values.max() / values.min() < 2.0
    size = {name: np.sqrt(np.mean(step["conv.kernel"] ** 2)) for name, step in found.items()}
    assert 0.05 < size["Muon"] / size["AdamW"] < 1.0


@pytest.mark.parametrize("name", optimizer.OPTIMIZERS)
def test_a_checkpoint_holds_the_state(name: str) -> None:
    """Adam's lies where earlier versions have put it."""
    params = _tree(0)
    made = optimizer.create(optimizer=name)
    state = TrainState.create({"params": params, "fixed": {}}, made)
    _, opt_state = jax.jit(made.update)(_tree(1), state.opt_state, params)
    state = state._replace(opt_state=opt_state)
    tree = state.to_tree()
    back = TrainState.create({"params": params, "fixed": {}}, made).from_tree(tree)
    jax.tree.map(np.testing.assert_array_equal, back, state)
    if name.startswith("Adam"):
        moments = {f"[2].{moment}['{leaf}']" for moment in ("mu", "nu") for leaf in PARAMS}
        assert set(tree["opt_state"]) == moments | {"[2].count", "[4].count"}
    counted = [int(count) for _, count in optax.tree.get_all_with_path(opt_state, "count")]
    assert counted and set(counted) == {1}  # `length.check_decay` reads the step from it
    config = toy_mixture8_mlp.get_config()
    config.optim.update(optimizer=name, decay_steps=10)
    config.training.n_iters = 20
    with pytest.raises(ValueError, match="has fallen to 0 at step "):
        length.check_decay(config, state)


def test_two_ways_to_fall_are_refused() -> None:
    with pytest.raises(ValueError, match=r"decay_steps is 5 and optim\.inverse_sqrt_steps 3; .* set one of them to 0"):
        optimizer.create(decay_steps=5, inverse_sqrt_steps=3)
