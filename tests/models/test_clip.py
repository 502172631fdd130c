"""The towers of CLIP: published sizes, what they refuse, and how the image tower is told the noise."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.functional import Network
from models.text_encoder import TextFeatures
from models.transformer import ACTIVATIONS
from tests.models.published_weights import compiled
from tests.models.test_networks import variables_away_from_zero

TEXT = {"vocabulary": 9, "tokens": 5, "text_width": 8, "text_layers": 2, "text_heads": 2}
IMAGE = {"image_size": (4, 8), "patch_size": 4, "image_width": 12, "image_layers": 1, "image_heads": 2}
SHARED = {"projection_dim": 6, "activation": "gelu"}
IDS = jax.ShapeDtypeStruct((3, 5), jnp.int32)
H, G = {"text_width": 1024, "text_heads": 16, "activation": "gelu"}, {"text_width": 1280, "text_heads": 20}
L = {"image_width": 1024, "image_layers": 24, "image_heads": 16, "text_width": 768, "text_heads": 12}


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("text_encoder", {}, 123_060_480),  # of Stable Diffusion 1
        pytest.param("text_encoder", H | {"text_layers": 23}, 340_387_840, marks=pytest.mark.slow),  # of 2
        pytest.param("text_encoder", H | {"text_layers": 24}, 352_984_064, marks=pytest.mark.slow),
        pytest.param(
            "text_encoder", G | {"text_layers": 32, "projection_dim": 1280}, 694_659_840, marks=pytest.mark.slow
        ),
        pytest.param("clip", {}, 151_277_313, marks=pytest.mark.slow),  # ViT-B/32
        pytest.param(
            "clip", L | {"patch_size": 14, "projection_dim": 768}, 427_616_513, marks=pytest.mark.slow
        ),  # ViT-L/14
    ],
)
def test_published_numbers_of_parameters(name, options, count):
    assert Network.create(name, **options).count() == count


def test_activations():
    """Against the exact unit x Phi(x), which OpenAI's stays within 0.021 of."""
    x = np.linspace(-4, 4, 81)
    exact = x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2
    found = compiled(lambda x: {name: activation(x) for name, activation in ACTIVATIONS.items()})(x)
    np.testing.assert_allclose(found["gelu"], exact, atol=1e-6)
    assert 0.01 < np.abs(found["quick_gelu"] - exact).max() < 0.021


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_heads": 3}, r"a transformer 8 wide cannot attend in 3 heads of equal width"),
        ({"activation": "relu"}, r"unknown activation 'relu'.*; known: gelu, quick_gelu"),
        ({"end_token": 9}, r"end_token=9 is none of the vocabulary=9 tokens, counted from 0"),
        ({"text_width": 0}, r"model\.text_width is 0; it must be a whole number of at least 1"),
    ],
)
def test_towers_that_cannot_be_built(options, message):
    with pytest.raises(ValueError, match=message):
        Network.create("text_encoder", **TEXT | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_channels": 1}, r"num_channels=1: CLIP looks at images in red, green and blue"),
        ({"patch_size": 3}, r"image_size=\(4, 8\) is no multiple of patch_size=3"),
        ({"projection_dim": 0}, r"projection_dim=0: both towers of CLIP end in one space"),
        ({"centered": False}, r"set data\.centered=True"),
    ],
)
def test_a_clip_that_cannot_be_built(options, message):
    with pytest.raises(ValueError, match=message):
        Network.create("clip", **TEXT, **IMAGE | SHARED | options)


def test_a_tower_refuses_what_it_cannot_read():
    network = Network.create("text_encoder", **TEXT)

    def call(*arguments, **options):
        return jax.eval_shape(lambda v, *a: network.module(v)(*a, **options), network.abstract(), *arguments)

    found = call(IDS)
    assert isinstance(found, TextFeatures) and found.projected is None
    assert (found.text.shape, found.pooled.shape, len(found.hidden)) == ((3, 5, 8), (3, 8), 3)
    assert call(jax.ShapeDtypeStruct((3, 2), jnp.int32)).last.shape == (3, 2, 8)
    with pytest.raises(ValueError, match=r"takes the tokens of texts \[b, 5 at most\], received \(3, 6\)"):
        call(jax.ShapeDtypeStruct((3, 6), jnp.int32))
    with pytest.raises(ValueError, match=r"the mask says of each token whether it is one, \(3, 5\); received \(3, 4\)"):
        call(IDS, jax.ShapeDtypeStruct((3, 4), bool))
    with pytest.raises(ValueError, match=r"skip=3: of this tower's 2 layers so many cannot be left out"):
        call(IDS, skip=3)
    half = Network.create("text_encoder", **TEXT, dtype="bfloat16", projection_dim=4)
    found = jax.eval_shape(lambda v, ids: half.module(v)(ids), half.abstract(), IDS)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}


def test_a_clip_refuses_what_it_cannot_compare():
    x, noise = jax.ShapeDtypeStruct((2, 4, 8, 3), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32)
    plain, noised = (Network.create("clip", **TEXT, **IMAGE, **SHARED, num_scales=n) for n in (0, 7))

    def call(network, *arguments):
        return jax.eval_shape(network.apply, network.abstract(), *arguments)

    for network in (plain, noised):
        assert call(network, x, noise, {"tokens": IDS}).shape == (2, 3)
    assert call(plain, x, None, {"tokens": IDS, "mask": jax.ShapeDtypeStruct((3, 5), bool)}).shape == (2, 3)
    with pytest.raises(ValueError, match=r"this CLIP is told the noise of every image: received no c_noise"):
        call(noised, x, None, {"tokens": IDS})
    with pytest.raises(ValueError, match=r"this CLIP is told no noise: received c_noise of shape \(2,\)"):
        jax.eval_shape(lambda v, x, t: plain.module(v).encode_image(x, t), plain.abstract(), x, noise)
    with pytest.raises(ValueError, match=r"takes images of shape \(4, 8, 3\), received \(8, 4, 3\)"):
        call(plain, jax.ShapeDtypeStruct((2, 8, 4, 3), jnp.float32), None, {"tokens": IDS})
    for condition in (None, {}, {"mask": IDS}):
        with pytest.raises(ValueError, match=r"the condition must hold their tokens \[k, n\] as 'tokens'"):
            call(plain, x, None, condition)
    with pytest.raises(ValueError, match=r"unknown condition 'label'; known: mask, tokens"):
        call(plain, x, None, {"tokens": IDS, "label": IDS})


@pytest.mark.slow
def test_between_two_levels_the_noise_is_told_between_their_tokens():
    """At a level its own token; beyond the ends an end's."""
    network = Network.create("clip", **TEXT, **IMAGE, **SHARED, num_scales=4)
    variables = variables_away_from_zero(network)
    levels = np.float32([0, 1, 2, 3, 1.25, -5, 9])
    x = np.broadcast_to(np.random.default_rng(1).normal(size=(4, 8, 3)).astype(np.float32), (7, 4, 8, 3))
    encode = compiled(lambda v, x, t: network.module(v).encode_image(x, t))
    found = encode(variables, x, levels)
    assert np.abs(np.diff(found[:4], axis=0)).max(axis=1).min() > 1e-3
    np.testing.assert_allclose(found[5:], found[np.array([0, 3])], atol=1e-6)
    table = variables["params"]["image.first"].copy()
    table[3] = 0.75 * table[1] + 0.25 * table[2]
    moved = {"params": {**variables["params"], "image.first": table}}
    np.testing.assert_allclose(encode({**variables, **moved}, x, levels)[3], found[4], atol=1e-6)
