"""The loss of CLIP: values that are known, equal captions, any number of devices, and the scale that is capped."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from autoencoders.grey_levels import GreyLevels
from experiment.processes import to_host
from models.functional import Network
from sde_lib import VE, VP, NoiseLevels, Plain
from tests.oracles import compiled
from training import devices as kinds
from training import losses, optimizer
from training.draws import Draws
from training.examples import Encoder, Examples
from training.model import TrainedModel, batch_scores
from training.state import TrainState
from training.step import make_train_step

KEY, B = jax.random.key(7), 16
RNG = np.random.default_rng(0)
CODEC = GreyLevels(256, True, "uniform")
NETWORK = Network.create(
    "clip",
    image_size=8,
    patch_size=4,
    num_scales=1000,
    projection_dim=8,
    **{"image_width": 8, "image_layers": 1, "image_heads": 2, "vocabulary": 9, "tokens": 3},
    **{"text_width": 8, "text_layers": 1, "text_heads": 2},
)
CAPTIONS = np.array([[1 + i % 5, 2 + i % 3, 8] for i in range(B)], np.int32)  # 15 different ones; the last is the first
BATCH = {
    "image": RNG.integers(0, 256, (B, 8, 8, 3)).astype(np.uint8),
    "tokens": CAPTIONS,
    "mask": np.ones((B, 3), bool),
}


def compared(images: jax.Array, texts: jax.Array, scale: jax.Array, tokens: jax.Array, mask: jax.Array) -> dict:
    """The scores of a network with these features, of any length, whatever the noise."""
    module = types.SimpleNamespace(
        encode_image=lambda x, c_noise: images, encode_text=lambda ids: texts, logit_scale=jnp.log(scale[None])
    )
    model = TrainedModel(lambda *_: None, {}, Plain("eps", "t"), module=lambda params: module)
    fields, draws = {"tokens": tokens, "mask": mask}, Draws.of(KEY, jnp.arange(len(tokens)), len(tokens))
    return losses.create("contrastive", VP())(model, Examples(jnp.zeros((len(tokens), 2, 2, 3)), fields, draws))


compiled_comparison = compiled(compared)


def scores(images: np.ndarray, texts: np.ndarray, scale: float, tokens: np.ndarray, mask: np.ndarray) -> dict:
    return jax.tree.map(np.asarray, compiled_comparison(images, texts, np.float64(scale), tokens, mask))


def test_values_that_are_known(x64: None) -> None:
    """Of features that are all alike log n; of each pair at a right angle to all others log(1 + (n - 1) e^-s).

    With every caption twice, and both of its images alike, there are two such terms, of which either may be chosen:
    log(2 + (n - 2) e^-s), and all are right. Of one caption alone that fits one image of n, each image has the loss
    log n, and the caption has log(n - 1 + e^s) - s / n, of which each example has the same share. What pads a caption
    does not count.
    """
    n, scale = 6, 3.0
    tokens, mask = np.arange(n)[:, None] + np.zeros((n, 2), int), np.ones((n, 2), bool)
    alike = scores(np.ones((n, n)), 5.0 * np.ones((n, n)), scale, tokens, mask)
    np.testing.assert_allclose(alike["loss"], np.log(n), rtol=1e-12)
    apart = scores(7.0 * np.eye(n), 0.2 * np.eye(n), scale, tokens, mask)
    np.testing.assert_allclose(apart["loss"], np.log1p((n - 1) * np.exp(-scale)), rtol=1e-12)
    assert apart["accuracy"].tolist() == [1.0] * n
    swapped = scores(np.eye(n), np.roll(np.eye(n), 1, axis=0), scale, tokens, mask)
    np.testing.assert_allclose(swapped["loss"], apart["loss"] + scale, rtol=1e-12)
    assert not swapped["accuracy"].any()
    pairs, twice = np.repeat(np.eye(n)[: n // 2], 2, axis=0), tokens // 2
    twice[1::2, 1], mask[:, 1] = 99, False
    both = scores(pairs, pairs, scale, twice, mask)
    np.testing.assert_allclose(both["loss"], np.log(2 + (n - 2) * np.exp(-scale)), rtol=1e-12)
    assert both["accuracy"].tolist() == [1.0] * n
    one = scores(np.eye(n), np.repeat(np.eye(n)[:1], n, axis=0), scale, np.zeros_like(tokens), mask)
    np.testing.assert_allclose(one["loss"], 0.5 * (np.log(n) + np.log(n - 1 + np.exp(scale)) - scale / n), rtol=1e-12)
    mask[:, 1] = True  # now the second word tells them apart
    np.testing.assert_allclose(scores(pairs, pairs, scale, twice, mask)["accuracy"].sum(), n / 2)


def test_the_best_clip_has_the_least_loss(x64: None) -> None:
    """On a circle, where images lie about their captions by von Mises: log of the density ratio is kappa cos(angle).

    So kappa is the best scale. At half and at twice of it the mean over 400 batches is 0.1 higher, and its standard
    error about 0.01.
    """
    kappa, batches, n = 4.0, 400, 16
    draw = np.random.default_rng(3)
    captions = draw.uniform(0, 2 * np.pi, (batches, n))
    images = captions + draw.vonmises(0.0, kappa, (batches, n))
    circle = lambda angles: np.stack([np.cos(angles), np.sin(angles)], axis=-1)  # noqa: E731
    tokens, mask = np.arange(n)[:, None], np.ones((n, 1), bool)

    @compiled
    def mean_loss(scale: jax.Array) -> jax.Array:
        each = jax.vmap(lambda image, text: compared(image, text, scale, tokens, mask)["loss"])
        return jnp.mean(each(circle(images), circle(captions)))

    half, best, twice = (float(mean_loss(np.float64(scale))) for scale in (kappa / 2, kappa, 2 * kappa))
    assert min(half, twice) > best + 0.05


class Seen:
    """A network that remembers what it was called with."""

    def apply(self, variables, x, c_noise, condition=None, *, keys=None):
        self.x, self.c_noise = x, c_noise
        return x

    def module(self, variables):
        towers = {"encode_image": lambda x, c: self.apply(variables, x, c).reshape(len(x), -1)}
        towers |= {"encode_text": lambda ids: jax.nn.one_hot(ids[:, 0], 192), "logit_scale": jnp.zeros(1).sum()}
        return types.SimpleNamespace(**towers)


@pytest.mark.parametrize(("sde", "size"), [(VP(), 1.0), (VE(sigma_min=0.01, sigma_max=50.0), None)])
def test_it_noises_the_images_that_every_other_loss_does(sde, size, x64: None) -> None:
    """The same flips, t and noise; shown at one size, which of a process that preserves the variance is theirs."""
    given = Plain("eps", "t"), Encoder(CODEC, random_flips=True)

    @compiled
    def both(batch):
        plain, seen = Seen(), Seen()
        for name, network in (("simple", plain), ("contrastive", seen)):
            loss = losses.create(name, sde, stratified=True)
            batch_scores(loss, network, *given)({"params": {}}, batch, KEY, True)
        return plain.x, seen.x, (plain.c_noise, seen.c_noise), sde.sigma(plain.c_noise)

    x, shown, told, sigma = jax.tree.map(np.asarray, both(BATCH))
    np.testing.assert_array_equal(*told)
    size = size or np.sqrt(1.0 + sigma**2)[:, None, None, None]
    np.testing.assert_allclose(shown * size, x, rtol=1e-6)


STEPS = 2


@functools.cache
def trained(kind: str, devices: int) -> tuple[TrainState, np.ndarray]:
    """After two steps: the state on the host, and the losses of each device."""
    over = kinds.create(kind, jax.devices()[:devices])
    loss = losses.create("contrastive", VP())
    descent = loss.bounded(optax.sgd(0.1))  # unlike Adam's, its steps show the size of gradients
    each = batch_scores(loss, NETWORK, Plain("eps", "t999"), Encoder(CODEC), parts=over.axis_size)
    step = make_train_step(
        over.spread(each),
        descent,
        ema=optimizer.create_ema(ema_rate=0.9, ema_warmup=True, batch_size=B),
        axis_size=over.axis_size,
    )
    state = TrainState.create(NETWORK.init(jax.random.key(1)), descent)
    run, placed, found = over.compile_steps(step, 1, state), over.place(state), []
    for _ in range(STEPS):
        placed, metrics = run(placed, over.split({name: array[None] for name, array in BATCH.items()}), KEY)
        found.append({name: np.ravel(np.asarray(value)) for name, value in metrics[0].items()})
    numbers = np.stack([np.stack([each["loss"], each["grad_norm"]]) for each in found])
    return jax.tree.map(np.copy, to_host(over.whole(placed))), numbers


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "devices"), [("pmap", 8), ("pmap", 2), ("fsdp", 8)])
def test_any_number_of_devices_gives_the_same_loss_and_gradients(kind: str, devices: int) -> None:
    """The matrix is of the whole batch: two examples a device alone would have a loss of log 2 at first."""
    (one, numbers), (several, others) = trained("pmap", 1), trained(kind, devices)
    np.testing.assert_allclose(others, np.broadcast_to(numbers, others.shape), rtol=2e-5)
    assert numbers[0, 0] > np.log(2) + 1
    for name, leaf in one.params.items():
        moved = np.linalg.norm(leaf - NETWORK.init(jax.random.key(1))["params"][name])
        assert np.linalg.norm(leaf - several.params[name]) <= 1e-4 * moved + 1e-7, name  # keys' biases do not move


def test_no_step_leaves_the_scale_above_a_hundred() -> None:
    """It may come back at once: nothing is remembered of what was cut off."""
    bounded = losses.create("contrastive", VP()).bounded(optax.sgd(1.0))
    params = {"logit_scale": jnp.asarray(4.5), "image.first": jnp.zeros(2)}
    state = bounded.init(params)
    for gradient, expected in ((-0.05, 4.55), (-3.0, np.log(100)), (-3.0, np.log(100)), (0.5, np.log(100) - 0.5)):
        grads = {"logit_scale": jnp.asarray(gradient), "image.first": jnp.full(2, -10.0)}
        updates, state = bounded.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(params["logit_scale"], expected, rtol=1e-6)
    assert params["image.first"].tolist() == [40.0, 40.0]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"weight": "min_snr"}, "training.weight is 'min_snr'"),
        ({"time_sampling": "loss_aware"}, "training.time_sampling 'loss_aware'"),
    ],
)
def test_what_means_nothing_to_it_is_refused(options, named):
    with pytest.raises(ValueError, match=r"training\.loss (is )?'contrastive'") as error:
        losses.create("contrastive", NoiseLevels(VP(), 100), **options)
    assert named in str(error.value) and "\n" not in str(error.value)
