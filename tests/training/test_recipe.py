"""What EDM's training does besides its loss: averages and ramps counted in images, gradients mended, augmentation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from autoencoders.grey_levels import GreyLevels
from configs.vp import digits, toy_mixture8_mlp
from data import geometry
from experiment import build
from experiment.workdir import Workdir
from sde_lib import EDM, Plain, expand
from tests.models.published_weights import compiled
from training import losses, optimizer, preparation
from training.draws import PLACE
from training.examples import Encoder
from training.model import batch_scores
from training.state import TrainState
from training.step import make_train_step

RATE = {"ema_rate": 0.9, "ema_warmup": False}


def test_half_life_in_images() -> None:
    """Without ramp the share of one step halves every 500 000 images; with it the half-life is 5 % of what was seen."""
    batch, halflife = 512, 500_000.0
    constant = optimizer.create_ema(**RATE, ema_halflife_images=halflife, ema_rampup=0.0, batch_size=batch)
    assert float(constant(jnp.asarray(1))) == pytest.approx(0.5 ** (512 / 500_000), rel=1e-6)
    updates = 10 * halflife / batch
    assert float(constant(jnp.asarray(7))) ** updates == pytest.approx(2.0**-10, rel=2e-2)
    ramped = optimizer.create_ema(**RATE, ema_halflife_images=halflife, ema_rampup=0.05, batch_size=batch)
    assert float(ramped(jnp.asarray(1))) == 0.0  # the average is the weights after the first update
    assert float(ramped(jnp.asarray(2))) == pytest.approx(2.0**-20)  # 512 images seen: 0.05 of a batch
    for n in (100, 5000):
        assert float(ramped(jnp.asarray(n))) == pytest.approx(0.5 ** (1 / (0.05 * (n - 1))), rel=1e-6)
    late = 10_000_000 // batch + 2
    np.testing.assert_allclose(ramped(jnp.array([late, 400_000_000])), constant(jnp.asarray(1)), rtol=1e-7)


def test_other_batch_sizes_average_over_as_many_images() -> None:
    """20 updates of 64 are 5 of 256 where the weights stay the same."""
    kept = []
    for batch in (64, 256):
        decay = optimizer.create_ema(**RATE, ema_halflife_images=1000.0, ema_rampup=0.0, batch_size=batch)
        kept.append(np.prod([float(decay(jnp.asarray(n))) for n in range(1, 1280 // batch + 1)]))
    assert kept[0] == pytest.approx(kept[1], rel=1e-5) and kept[0] == pytest.approx(0.5**1.28, rel=1e-5)
    assert float(optimizer.create_ema(**RATE, batch_size=3)(jnp.asarray(9))) == pytest.approx(0.9)


def _rates(**options: Any) -> list[float]:
    """Adam with unit gradients moves a weight by the learning rate."""
    adam = optimizer.create(lr=0.1, grad_clip=0.0, **options)
    state, moved = adam.init(jnp.zeros(1)), []
    for _ in range(5):
        updates, state = adam.update(jnp.ones(1), state)
        moved.append(-float(updates[0]))
    return moved


def test_the_rate_ramps_up_over_images() -> None:
    np.testing.assert_allclose(_rates(warmup_images=30.0, batch_size=20), [0.0, 0.1 / 1.5, 0.1, 0.1, 0.1], rtol=2e-5)
    assert _rates(warmup=2, batch_size=20) == _rates(warmup_images=40.0, batch_size=20)


def test_adam_takes_the_same_steps_for_a_sum_and_a_mean() -> None:
    """Gradients d times as large with eps d times as large: EDM adds an image's numbers up."""
    d, gradients = 3072.0, jax.random.normal(jax.random.key(0), (6, 4)) * 1e-9
    steps = []
    for scale in (1.0, d):
        adam = optimizer.create(lr=0.1, warmup=0, grad_clip=0.0, eps=1e-8 * scale / d)
        state, taken = adam.init(jnp.zeros(4)), []
        for gradient in gradients:
            updates, state = adam.update(gradient * scale, state)
            taken.append(updates)
        steps.append(taken)
    np.testing.assert_allclose(steps[0], steps[1], rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: optimizer.create(warmup_images=1e7), r"warmup_images is 10000000\.0, which needs the batch size"),
        (lambda: optimizer.create(warmup_images=-1.0), r"warmup_images is -1\.0"),
        (lambda: optimizer.create_ema(ema_rate=1.5, ema_warmup=True, batch_size=1), r"ema_rate is 1\.5"),
        (lambda: optimizer.create_ema(**RATE, ema_rampup=-0.1, batch_size=1), r"ema_rampup is -0\.1"),
    ],
)
def test_numbers_out_of_range_are_named(make: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make()


def test_gradients_that_are_not_finite_are_replaced_and_counted() -> None:
    """sqrt has an infinite slope at 0, and 0 times it is NaN; the loss itself is finite."""

    def scores(variables: dict, image: jax.Array, key: jax.Array, train: bool, state: None) -> dict[str, jax.Array]:
        w = variables["params"]["w"]
        return {"loss": image * (jnp.sqrt(w[0]) + 0.0 * jnp.sqrt(w[1]) + 3.0 * w[2])}

    sgd = optax.sgd(1.0)
    variables = {"params": {"w": jnp.array([0.0, 0.0, 1.0])}, "fixed": {}}
    keep = lambda step: jnp.asarray(0.5)  # noqa: E731
    for mend in (False, True):
        step = compiled(make_train_step(scores, sgd, ema=keep, nan_to_num=mend, axis_size=1))
        state, metrics = step(TrainState.create(variables, sgd), jnp.ones(2), jax.random.key(0))
        assert np.isfinite(metrics["loss"])
        if not mend:
            assert "replaced" not in metrics and not np.isfinite(metrics["grad_norm"])
            continue
        assert float(metrics["replaced"]) == 2.0
        assert float(metrics["grad_norm"]) == pytest.approx(1e5, rel=1e-6)
        np.testing.assert_allclose(state.params["w"], [-1e5, 0.0, -2.0])
        np.testing.assert_allclose(state.ema["w"], [-0.5e5, 0.0, -0.5])


class Told:
    """A network that finds eps + 10 + the sum of its labels in images of mean 0: its loss says what it was told."""

    def apply(self, variables: dict, x: jax.Array, c_noise: jax.Array, condition: Any, *, keys: Any) -> jax.Array:
        told = jnp.zeros((len(x), geometry.LABELS)) if condition is None else condition["augment"]
        return x / expand(c_noise, x) + expand(10.0 + told.sum(axis=1), x)


@pytest.mark.slow
def test_the_network_is_told_of_the_augmentation_and_the_test_set_is_left_alone() -> None:
    """On one device and on two."""

    def told(parts: int) -> Any:
        encoder = Encoder(GreyLevels(None, True, "none"), augment_probability=0.12)
        loss = losses.create("simple", EDM(t_min=0.1))
        return batch_scores(loss, Told(), Plain("eps", "sigma"), encoder, parts=parts)

    image = {"image": jnp.zeros((32, 8, 8, 1))}
    run = compiled(lambda key: [told(1)({"params": {}}, image, key, train)["loss"] for train in (True, False)])
    key = jax.random.key(5)
    training, test = run(key)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(32))
    labels = compiled(geometry.draw)(jax.vmap(jax.random.fold_in, (0, None))(keys, 5), 0.12).labels()
    assert 4 < np.sum(~np.any(labels, axis=1)) < 20
    np.testing.assert_allclose(training, (10.0 + labels.sum(axis=1)) ** 2, rtol=1e-4)
    np.testing.assert_allclose(test, 100.0, rtol=1e-4)
    batch = {"image": jnp.zeros((2, 16, 8, 8, 1)), PLACE: jnp.arange(32).reshape(2, 16)}
    halves = compiled(jax.vmap(lambda batch: told(2)({"params": {}}, batch, key, True)["loss"]))(batch)
    np.testing.assert_allclose(halves.reshape(32), training, rtol=1e-5)


def test_the_network_sees_the_augmented_images() -> None:
    """At a sigma of nearly 0 its input is the image."""
    image = np.random.default_rng(0).standard_normal((16, 8, 8, 1)).astype(np.float32)

    class Sees:
        def apply(self, variables: dict, x: jax.Array, *arguments: Any, **options: Any) -> jax.Array:
            self.x = x
            return x

    encoder = Encoder(GreyLevels(None, True, "none"), augment_probability=0.5)
    network = Sees()
    scores = batch_scores(losses.create("simple", EDM(sigma_max=1e-6)), network, Plain("eps", "sigma"), encoder)

    @compiled
    def both(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores({"params": {}}, {"image": image}, key, True)
        own = jax.vmap(lambda j: jax.random.fold_in(jax.random.fold_in(key, j), 5))(jnp.arange(16))
        return network.x, geometry.augment(own, jnp.asarray(image), 0.5)[0]

    seen, expected = both(jax.random.key(6))
    np.testing.assert_allclose(seen, expected, atol=2e-5)
    assert np.abs(seen - image).max() > 1.0


def test_the_blocks_are_recomputed_where_the_config_says_so(tmp_path: Any) -> None:
    config = digits.get_config()
    config.model.update({"nf": 8, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": ()})

    def program() -> str:
        experiment = build(config)
        scores = preparation.scores_of(experiment, preparation.loss_of(experiment), 1)
        batch = {"image": np.zeros((2, 8, 8, 1), np.uint8)}

        def loss(variables: dict) -> jax.Array:
            return jnp.mean(scores(variables, batch, jax.random.key(0), True)["loss"])

        return str(jax.make_jaxpr(loss)(experiment.network.abstract()))

    assert "remat" not in program()
    config.training.remat = True
    assert "remat" in program()
    mlp = toy_mixture8_mlp.get_config()
    mlp.training.remat = True
    with pytest.raises(ValueError, match=r"training\.remat is True, but mlp has none.*set it to False"):
        preparation.prepare(build(mlp), Workdir(tmp_path / "run"))


@pytest.mark.parametrize(
    ("augment", "named"),
    [
        (0.12, r"data\.augment is 0\.12 and model\.augment_dim 0.*augment_dim to 9"),
        (1.5, r"augment is 1\.5; it must be a number of at least 0 and at most 1"),
    ],
)
def test_an_untold_network_is_refused(augment: float, named: str, tmp_path: Any) -> None:
    config = digits.get_config()
    config.data.augment = augment
    with pytest.raises(ValueError, match=named):
        preparation.prepare(build(config), Workdir(tmp_path / "run"))
