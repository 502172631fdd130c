"""The U-Net of text-conditional latent diffusion: sizes, what it is told, its attention; outputs: tests/checkpoints."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import attention
from models.functional import Network
from models.spatial_transformer import gated_gelu

TINY = {"image_size": 8, "num_channels": 4, "nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "depths": (0, 1)}
TINY |= {"num_heads": (2,), "num_groups": 4, "text_dim": 6}
SD1 = {"image_size": 64, "num_channels": 4}
SD2 = SD1 | {"num_heads": (5, 10, 20, 20), "text_dim": 1024, "linear_projections": True}
SDXL = SD1 | {"ch_mult": (1, 2, 4), "depths": (0, 2, 10), "middle_depth": 10, "num_heads": (5, 10, 20)}
LDM_4 = {"image_size": 64, "num_channels": 3, "nf": 192, "ch_mult": (1, 2, 3, 5), "depths": (0, 1, 1, 1)}


def shaped(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def shape_of(options: dict, condition: dict | None, x=(2, 8, 8, 4)) -> tuple[int, ...]:
    network = Network.create("cross_attention_unet", **TINY | options)
    return jax.eval_shape(network.apply, network.abstract(), shaped(*x), shaped(2), condition).shape


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "count"),
    [
        (SD1, 859_520_964),
        (SD1 | {"image_channels": 5}, 859_535_364),
        (SD2, 865_910_724),
        (SDXL | {"text_dim": 2048, "pooled_dim": 1280}, 2_567_463_684),
    ],
)
def test_parameter_counts_to_the_last_one(options, count):
    assert Network.create("cross_attention_unet", **options).count() == count


@pytest.mark.slow
def test_the_class_conditional_one_of_imagenet_is_of_the_published_size():
    """400 M, of which 1001 x 512 are the embedding of the classes."""
    network = Network.create("cross_attention_unet", **LDM_4, num_heads=(1,), text_dim=0, label_dim=1000)
    assert network.abstract()["params"]["label.kernel"].shape == (1001, 512)
    assert round(network.count() / 1e6, 1) == 401.4


def test_any_length_of_text_any_size_of_latents_and_an_image_beside_them():
    assert shape_of({}, {"text": shaped(2, 7, 6)}, (2, 4, 10, 4)) == (2, 4, 10, 4)
    told = {"text": shaped(2, 3, 6), "pooled": shaped(2, 5), "size": shaped(2, 6), "image": shaped(2, 8, 4, 5)}
    options = {"pooled_dim": 5, "size_features": 4, "image_channels": 5}
    for condition in (told, None):
        assert shape_of(options, condition, (2, 8, 4, 4)) == (2, 8, 4, 4)


@pytest.mark.parametrize(
    ("options", "condition", "x", "message"),
    [
        (
            {},
            {"text": shaped(2, 3, 5)},
            (2, 8, 8, 4),
            r"'text' holds n x 6 numbers .* \(2, n, 6\); received \(2, 3, 5\)",
        ),
        ({}, {"text": shaped(2, 6)}, (2, 8, 8, 4), r"'text' holds n x 6 numbers .*; received \(2, 6\)"),
        ({}, {"text": shaped(3, 1, 6)}, (2, 8, 8, 4), r"\(2, n, 6\); received \(3, 1, 6\)"),
        ({}, {"pooled": shaped(2, 5)}, (2, 8, 8, 4), "unknown condition 'pooled'; known: text"),
        ({"image_channels": 5}, {"image": shaped(2, 4, 8, 5)}, (2, 8, 8, 4), "'image' holds 8 x 8 x 5 numbers"),
        ({}, None, (2, 8, 7, 4), r"sides are multiples of 2, received \(8, 7, 4\)"),
        ({}, None, (2, 8, 8, 3), r"built for examples of shape \(8, 8, 4\), received \(8, 8, 3\)"),
    ],
)
def test_what_it_cannot_be_told_is_refused(options, condition, x, message):
    with pytest.raises(ValueError, match=message) as error:
        shape_of(options, condition, x)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": (1,)}, r"depths=\(1,\) and num_heads=\(2,\) of 2 levels"),
        ({"num_heads": (1, 2, 3)}, r"num_heads=\(1, 2, 3\) of 2 levels"),
        ({"num_heads": (2, 3)}, "16 channels cannot attend in 3 heads"),
        ({"text_dim": 0}, "text_dim=0 and label_dim=0: the network is told either a text or a class"),
        ({"label_dim": 3}, "text_dim=6 and label_dim=3"),
        ({"middle_depth": 0}, "middle_depth is 0; .*at least 1"),
        ({"size_features": 5}, "size_features=5: .* choose an even size_features"),
        ({"image_size": 9}, "image_size=9 cannot be halved"),
        ({"centered": False}, r"takes data in \[-1, 1\]"),
        ({"attn_resolutions": (8,)}, "unknown option of cross_attention_unet 'attn_resolutions'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message) as error:
        Network.create("cross_attention_unet", **TINY | options)
    assert "\n" not in str(error.value)


def test_a_class_is_one_token_and_none_is_one_class_more():
    network = Network.create("cross_attention_unet", **TINY | {"text_dim": 0, "label_dim": 3, "label_features": 5})
    table = np.random.default_rng(0).normal(size=(4, 5)).astype("f4")
    params = {name: jnp.zeros(leaf.shape) for name, leaf in network.abstract()["params"].items()}
    module = network.module({"params": params | {"label.kernel": table}, "fixed": {}})
    told = module.read({"label": jnp.array([[0, 1, 0], [0, 0, 0], [0, 0, 1]], jnp.float32)}, 3)
    np.testing.assert_allclose(told["text"], table[[1, 3, 2]][:, None], rtol=1e-6)
    np.testing.assert_allclose(module.read({}, 2)["text"], table[[3, 3]][:, None], rtol=1e-6)


@pytest.mark.parametrize("at_once", [1, 12, 60, 10**6])
def test_attention_in_pieces_is_the_softmax(at_once, monkeypatch):
    """One query at a time, some of a head, a whole head, and all heads together."""
    monkeypatch.setattr(attention, "AT_ONCE", at_once)
    random = np.random.default_rng(0)
    query, key, value = (random.normal(size=(2, n, 3, 4)).astype("f4") for n in (6, 5, 5))
    logits = np.einsum("bnhw,bmhw->bhnm", query, key) / math.sqrt(4)
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = np.einsum("bhnm,bmhw->bnhw", weights, value).reshape(2, 6, 12)
    np.testing.assert_allclose(attention.attend(*map(jnp.asarray, (query, key, value))), expected, rtol=1e-5, atol=1e-6)


def test_the_second_half_gates_the_first():
    x = np.array([2.0, -3.0, 0.5, -1.5], np.float32)
    phi = [0.5 * (1 + math.erf(gate / math.sqrt(2))) for gate in (0.5, -1.5)]
    np.testing.assert_allclose(gated_gelu(jnp.asarray(x)), [2.0 * 0.5 * phi[0], 3.0 * 1.5 * phi[1]], rtol=1e-5)
