"""What a network is told of classes in training: labels with their images, dropped as often as asked."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autoencoders.grey_levels import GreyLevels
from conditions import Labels, LowRes, one_hot
from models.functional import Network
from sde_lib import EDM, Plain, expand
from tests.oracles import compiled
from training import losses
from training.draws import Draws
from training.examples import Encoder
from training.model import batch_scores

CLASSES = 5


class Told:
    """A network that finds eps + 1 + the class it is told, or + 0.5 of none: its loss says what it was told."""

    def apply(self, variables: dict, x: jax.Array, c_noise: jax.Array, condition: Any, *, keys: Any) -> jax.Array:
        label = condition["label"]
        told = jnp.where(label.sum(axis=1) > 0, 1.0 + label @ jnp.arange(CLASSES, dtype=float), 0.5)
        return x / expand(c_noise, x) + expand(told, x)


def test_labels_go_with_their_images_and_are_dropped_as_often_as_asked() -> None:
    """1000 examples: the share dropped within 4 standard errors; none of the test set."""
    labels = np.arange(1000) % CLASSES
    encoder = Encoder(GreyLevels(None, True, "none"), conditioner=Labels(CLASSES), dropout=0.2)
    scores = batch_scores(losses.create("simple", EDM(t_min=0.1)), Told(), Plain("eps", "sigma"), encoder)
    batch = {"image": jnp.zeros((1000, 2)), "label": jnp.asarray(labels)}
    run = compiled(lambda key: [scores({"params": {}}, batch, key, train)["loss"] for train in (True, False)])
    training, test = (np.sqrt(a) for a in run(jax.random.key(0)))
    np.testing.assert_allclose(test, 1.0 + labels, rtol=1e-3)
    dropped = np.isclose(training, 0.5, rtol=1e-3)
    np.testing.assert_allclose(training[~dropped], 1.0 + labels[~dropped], rtol=1e-3)
    assert abs(dropped.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 1000)


def test_an_upsampler_is_told_the_image_as_it_is_mirrored_made_smaller() -> None:
    """Half of 64 mirrored within 4 standard errors; the picture of each is that of its own data, never dropped."""
    images = np.random.default_rng(0).normal(size=(64, 2, 4, 1)).astype(np.float32)
    encoder = Encoder(GreyLevels(None, True, "none"), random_flips=True, conditioner=LowRes(2), dropout=0.5)
    draws = Draws.of(jax.random.key(0), jnp.arange(64), 64)
    examples, condition = encoder({"image": jnp.asarray(images)}, draws, True)
    mirrored = (examples.x0 != images).any(axis=(1, 2, 3))
    assert abs(mirrored.mean() - 0.5) < 4 * 0.5 / 8
    halves = examples.x0.reshape(64, 2, 2, 2, 1).mean((1, 3))[:, None]
    np.testing.assert_allclose(condition["low_res"], halves, rtol=1e-5, atol=1e-6)


UNET = {"image_size": 8, "num_channels": 1, "nf": 8, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": ()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ncsnpp", UNET),
        ("ddpm", UNET | {"num_groups": 4}),
        ("mlp", {"shape": (8, 8, 1), "width": 8, "depth": 1}),
    ],
)
def test_networks_listen_to_the_class_and_zeros_are_none(name: str, options: dict[str, Any]) -> None:
    network, plain = Network.create(name, label_dim=CLASSES, **options), Network.create(name, **options)
    variables, rng = network.init(jax.random.key(0)), np.random.default_rng(0)
    new = set(variables["params"]) - set(plain.abstract()["params"])
    assert new == {"classes.kernel"}
    params = {n: a + 0.1 * rng.standard_normal(a.shape).astype(a.dtype) for n, a in variables["params"].items()}
    x, c = jax.random.normal(jax.random.key(1), (6, 8, 8, 1)), jnp.full(6, 500.0)
    run = compiled(lambda p, condition: network.apply({**variables, "params": p}, x, c, condition))
    found = run(params, {"label": one_hot(jnp.array([0, 1, 2, 3, 4, -1]), CLASSES)})
    own = {n: a for n, a in params.items() if n not in new}
    without = compiled(lambda p: plain.apply({**variables, "params": p}, x, c))(own)
    np.testing.assert_allclose(found[-1], without[-1], rtol=1e-5, atol=1e-5)
    assert np.all(np.abs(found[:-1] - without[:-1]).max(axis=(1, 2, 3)) > 1e-4)
