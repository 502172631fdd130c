"""GLIDE's U-Net: what it is told, and options that cannot be; outputs are in tests/checkpoints."""

import jax
import jax.numpy as jnp
import pytest

from models.functional import Network

TINY = {"image_size": (8, 16), "num_channels": 3, "nf": 32, "ch_mult": (1, 2), "num_res_blocks": 1}
TINY |= {"attn_resolutions": (4,), "head_channels": 32}
TINY |= {"vocabulary": 7, "tokens": 5, "text_width": 8, "text_layers": 2, "text_heads": 2}


def shaped(*shape: int, dtype: jnp.dtype = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((2, *shape), dtype)


TEXT = {"tokens": shaped(5, dtype=jnp.int32), "mask": shaped(5, dtype=jnp.bool_)}
LOW, KNOWN = {"low_res": shaped(2, 4, 3)}, {"known_image": shaped(8, 16, 3), "known_mask": shaped(8, 16, 1)}


def shape_of(options: dict, condition: dict | None) -> tuple[int, ...]:
    network = Network.create("glide", **TINY | options)
    return jax.eval_shape(network.apply, network.abstract(), shaped(8, 16, 3), shaped(), condition).shape


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param({}, {}, marks=pytest.mark.slow),
        pytest.param({"upsampling": 4}, LOW, marks=pytest.mark.slow),
        ({"inpaint": True, "upsampling": 4}, LOW | KNOWN),
    ],
)
def test_any_entry_may_be_left_out_and_the_variance_doubles_the_output(options, told):
    for condition in (None, TEXT, told, TEXT | told):
        assert shape_of(options, condition) == (2, 8, 16, 6)
    assert shape_of(options | {"learned_variance": False}, TEXT) == (2, 8, 16, 3)


@pytest.mark.parametrize(
    ("options", "condition", "message"),
    [
        ({}, LOW, "unknown condition 'low_res'; known: mask, tokens"),
        ({}, {"tokens": shaped(6)}, r"'tokens' holds 5 numbers an example, shape \(2, 5\); received \(2, 6\)"),
        ({"upsampling": 2}, LOW, r"'low_res' holds 4 x 8 x 3 numbers .*; received \(2, 2, 4, 3\)"),
        ({"inpaint": True}, {"known_mask": shaped(8, 16)}, r"'known_mask' holds 8 x 16 x 1 numbers"),
    ],
)
def test_a_condition_of_another_shape_is_refused(options, condition, message):
    with pytest.raises(ValueError, match=message):
        shape_of(options, condition)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_heads": 3}, "text_width=8 cannot attend in text_heads=3 heads"),
        ({"upsampling": 3}, r"image_size=\(8, 16\) is no multiple of upsampling=3"),
        ({"low_res_noise": 0.1}, "low_res_noise=0.1 is of the picture that an upsampler is told"),
        ({"tokens": 0}, "tokens is 0; .*at least 1"),
        ({"num_heads": 2}, "unknown option of glide 'num_heads'"),
        ({"centered": False}, r"takes data in \[-1, 1\]"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message) as error:
        Network.create("glide", **TINY | options)
    assert "\n" not in str(error.value)
