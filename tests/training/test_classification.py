"""The classifier's loss: the draws of every other loss, the same on any number of devices, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autoencoders.grey_levels import GreyLevels
from sde_lib import VE, VP, NoiseLevels, Plain, log_prob_fn
from tests.oracles import compiled
from training import losses
from training.draws import PLACE
from training.examples import Encoder
from training.model import batch_scores

KEY, B = jax.random.key(7), 8
RNG = np.random.default_rng(0)
BATCH = {"image": RNG.integers(0, 17, (B, 2, 2, 1)).astype(np.uint8), "label": RNG.integers(0, 4, B).astype(np.int32)}
CODEC = GreyLevels(17, True, "uniform")


class Seen:
    """A network that remembers what it was called with; its logits are the four pixels."""

    def __init__(self, classifies: bool) -> None:
        self.classifies = classifies

    def apply(self, variables, x, c_noise, condition=None, *, keys=None):
        self.x, self.c_noise, self.keys = x, c_noise, keys
        return x.reshape(len(x), -1) if self.classifies else x


def _loss(name, sde):
    return losses.create(name, sde, stratified=True)


@pytest.mark.parametrize(("sde", "train"), [(VP(), True), (VE(sigma_min=0.01, sigma_max=50.0), False)])
def test_it_noises_the_images_that_every_other_loss_does(sde, train, x64):
    """Flips, dequantisation, t and noise of denoising; x scaled and the likelihood of the label by hand."""
    given = Plain("eps", "t"), Encoder(CODEC, random_flips=True)

    @compiled
    def both(batch):
        plain, seen = Seen(classifies=False), Seen(classifies=True)
        batch_scores(_loss("simple", sde), plain, *given)({"params": {}}, batch, KEY, train)
        scores = batch_scores(_loss("cross_entropy", sde), seen, *given)({"params": {}}, batch, KEY, train)
        assert (seen.keys is not None) == (plain.keys is not None) == train
        t, keys = plain.c_noise, [jax.random.key_data(n.keys) if train else 0 for n in (plain, seen)]
        return scores, plain.x, seen.x, (t, seen.c_noise), keys, (sde.alpha(t), sde.sigma(t))

    scores, x, scaled, (t, told), keys, (alpha, sigma) = jax.tree.map(np.asarray, both(BATCH))
    np.testing.assert_array_equal(told, t)
    np.testing.assert_array_equal(*keys)
    size = np.sqrt(0.25 * alpha**2 + sigma**2)[:, None, None, None]
    np.testing.assert_allclose(scaled * size, x, rtol=1e-6)
    logits = scaled.reshape(B, 4).astype(np.float64)
    own = logits[np.arange(B), BATCH["label"]]
    np.testing.assert_allclose(scores["loss"], np.log(np.exp(logits).sum(axis=1)) - own, rtol=1e-5)
    np.testing.assert_array_equal(scores["accuracy"], own == logits.max(axis=1))
    assert 0 < scores["accuracy"].sum() < B


def test_scores_do_not_depend_on_the_number_of_devices():
    def on(devices):
        loss, network, encoder = _loss("cross_entropy", VP()), Seen(classifies=True), Encoder(CODEC, random_flips=True)
        scores = batch_scores(loss, network, Plain("eps", "log_snr"), encoder, parts=devices)
        placed = BATCH | {PLACE: np.arange(B)}
        parts = {name: array.reshape(devices, -1, *array.shape[1:]) for name, array in placed.items()}
        call = compiled(jax.vmap(lambda batch: scores({"params": {}}, batch, KEY, True)))
        return jax.tree.map(np.ravel, call(parts))

    one, two = on(1), on(2)
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=1e-6)
    np.testing.assert_array_equal(two["accuracy"], one["accuracy"])
    assert len(np.unique(one["loss"])) == B


def test_the_best_classifier_has_the_least_loss(x64):
    """Two constant images under VP: the exact posterior beats it at any other temperature, by its own formula."""
    sde, t = VP(), jnp.linspace(0.05, 0.95, 2000)
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 2000)
    x = sde.alpha(t) * np.where(label, 0.5, -0.5) + sde.sigma(t) * rng.normal(size=2000)

    def loss(temperature):
        logits = temperature * 0.5 * sde.alpha(t) * x / sde.sigma(t) ** 2
        return -log_prob_fn(lambda *_: jnp.stack([-logits, logits], axis=1), jnp.asarray(label))(x[:, None], t).mean()

    losses = compiled(lambda: [loss(c) for c in (0.5, 1.0, 2.0)])()
    assert losses[1] < min(losses[0], losses[2])  # expected 0.012 and 0.023 lower, four deviations each


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"weight": "min_snr"}, "training.weight is 'min_snr'"),
        ({"likelihood_weighting": True}, "training.likelihood_weighting is True"),
        ({"time_sampling": "loss_aware"}, "training.time_sampling 'loss_aware'"),
    ],
)
def test_what_means_nothing_to_it_is_refused(options, named):
    with pytest.raises(ValueError, match=r"training\.loss (is )?'cross_entropy'") as error:
        losses.create("cross_entropy", NoiseLevels(VP(), 100), **options)
    assert named in str(error.value) and "\n" not in str(error.value)
    for sampling in ("uniform", "log_snr", "lognormal"):
        losses.create("cross_entropy", VP(), time_sampling=sampling, reduce_mean=False)
