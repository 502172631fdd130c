"""Codecs: what each of them keeps, and that x has the codec's shape wherever the stored data's is another one."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autoencoders import CODECS, Categories, Codec, GreyLevels
from configs.vp import digits
from experiment import Experiment, ranges
from experiment.build import build
from experiment.sampling import Drawer
from limits import OneOf
from models.functional import Network
from training.preparation import loss_of, scores_of

KEYS = jax.random.split(jax.random.key(0), 8)
IMAGES = np.random.default_rng(0).integers(0, 17, (8, 8, 8, 1), dtype=np.uint8)


@dataclasses.dataclass(frozen=True)
class Folded:
    """Grey levels whose 2x2 pixels are channels: images [8, 8, 1] are x of shape [4, 4, 4]."""

    inner: GreyLevels
    field: str = "image"
    shape: tuple[int, ...] = (4, 4, 4)

    def encode(self, data: Any, keys: Any = None) -> Any:
        y = self.inner.encode(data, keys).reshape(-1, 4, 2, 4, 2)
        return jnp.moveaxis(y, 2, 3).reshape(-1, 4, 4, 4)

    def reconstruct(self, x: Any) -> Any:
        return np.moveaxis(np.asarray(x).reshape(-1, 4, 4, 2, 2), 3, 2).reshape(-1, 8, 8, 1)

    def decode(self, x: Any) -> Any:
        return self.inner.decode(self.reconstruct(x))

    def bits_offset(self) -> float:
        return self.inner.bits_offset()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


EACH: dict[str, Codec] = {
    "levels": GreyLevels(17, True, "uniform", (8, 8, 1)),
    "categories": Categories(17, (8, 8, 1)),
}
"""One codec of each kind, for the images above."""


def test_every_codec_is_here() -> None:
    assert set(EACH) == set(CODECS)


@pytest.mark.parametrize("codec", [*EACH.values(), Folded(EACH["levels"])], ids=[*EACH, "folded"])
def test_x_has_the_shape_that_the_codec_says_and_decodes_to_the_data(codec: Codec) -> None:
    x = np.asarray(codec.encode(IMAGES, KEYS))
    assert x.shape == (8, *codec.shape) and x.dtype == (np.int32 if isinstance(codec, Categories) else np.float32)
    decoded = codec.decode(x)
    np.testing.assert_array_equal(decoded, IMAGES)
    assert decoded.dtype == IMAGES.dtype
    assert np.isfinite(codec.bits_offset())


def test_a_config_names_its_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODECS, "folded", lambda *given: Folded(GreyLevels.of_source(*given)))
    monkeypatch.setitem(ranges.FIELDS, "data.codec", OneOf(tuple(CODECS)))
    config = digits.get_config()
    assert isinstance(build(config).codec, GreyLevels)
    config.data.codec, config.model.ch_mult = "folded", (1,)
    found = build(config)
    assert found.codec == Folded(GreyLevels(17, True, "uniform", (8, 8, 1)))
    assert dict(found.network.options)["num_channels"] == 4 and dict(found.network.options)["image_size"] == 4


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    """The digits in a space of another shape, with a network of that space."""
    config = digits.get_config()
    config.sampling.update(method="ddim", grid="uniform", evaluations=2)
    found = build(config)
    network = Network.create("mlp", shape=(4, 4, 4), width=8, depth=1)
    return dataclasses.replace(found, codec=Folded(found.codec), network=network)


def test_the_network_and_the_loss_see_x(experiment: Experiment) -> None:
    assert not experiment.predicts_variance  # the answer to x of the codec's shape has the shape of x
    scores = scores_of(experiment, loss_of(experiment), 1)
    batch = {"image": jax.ShapeDtypeStruct(IMAGES.shape, np.uint8)}
    seen = jax.eval_shape(lambda v, b: scores(v, b, KEYS[0], True), experiment.network.abstract(), batch)
    assert seen["loss"].shape == (8,)


def test_samples_are_drawn_in_the_space_of_x_and_decode_to_images(experiment: Experiment) -> None:
    variables = experiment.network.init(jax.random.key(0))
    drawer = Drawer(experiment, variables, "ddim", 8)
    begun = drawer.start(jax.random.key(1), 0)
    assert begun[1].x.shape == (8, 4, 4, 4)
    assert drawer.fetch(begun).x.shape == IMAGES.shape
