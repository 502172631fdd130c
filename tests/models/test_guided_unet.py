"""OpenAI's U-Net: what it is told beside the noise, and options that cannot be; outputs are in tests/checkpoints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.attention import Attention
from models.functional import Network
from models.layers import Keys

TINY = {"image_size": 8, "num_channels": 3, "nf": 32, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (4,)}
IMAGES, NOISE = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32)


def shape_of(network: Network, condition: dict | None) -> tuple[int, ...]:
    return jax.eval_shape(network.apply, network.abstract(), IMAGES, NOISE, condition).shape


def test_a_learned_variance_doubles_the_output_and_the_class_may_be_left_out():
    network = Network.create("guided_unet", **TINY, label_dim=5, learned_variance=True)
    label = jax.ShapeDtypeStruct((2, 5), jnp.float32)
    assert shape_of(network, None) == shape_of(network, {"label": label}) == (2, 8, 8, 6)
    assert shape_of(Network.create("guided_unet", **TINY), None) == (2, 8, 8, 3)
    with pytest.raises(ValueError, match="takes no condition"):
        shape_of(Network.create("guided_unet", **TINY), {"label": label})
    with pytest.raises(ValueError, match=r"condition 'label' holds 5 numbers an example, .*; received \(2, 4\)"):
        shape_of(network, {"label": jax.ShapeDtypeStruct((2, 4), jnp.float32)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"centered": False}, r"takes data in \[-1, 1\]"),
        ({"attention_order": "old"}, "unknown attention_order 'old'.*; known: legacy, new"),
        ({"head_channels": 48}, "64 channels cannot attend in heads of head_channels=48"),
        ({"head_channels": 0}, "head_channels is 0; .*at least 1"),
        ({"num_heads": 3}, "64 channels cannot attend in 3 heads"),
        ({"num_heads_up": 5}, "64 channels cannot attend in 5 heads"),
        ({"nf": 24}, "24 channels cannot be normalised in 32 equal groups"),
        ({"nf": 33}, "nf=33: .* choose an even nf"),
        ({"attn_resolutions": (16,)}, r"attn_resolutions \[16\] never occur"),
        ({"ch_mult": (0.25, 1)}, r"ch_mult=\(0\.25, 1\): give one positive multiple"),
        ({"num_res_blocks": 0}, "num_res_blocks is 0; .*at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"augment_dim": 9}, "unknown option of guided_unet 'augment_dim'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message) as error:
        Network.create("guided_unet", **TINY | options)
    assert "\n" not in str(error.value)


def test_half_a_multiple_is_half_the_channels():
    params = Network.create("guided_unet", **TINY | {"nf": 64, "ch_mult": (0.5, 1)}).abstract()["params"]
    assert params["conv_in.kernel"].shape == (3, 3, 3, 32)
    assert params["down.1.blocks.0.conv0.kernel"].shape == (3, 3, 32, 64)


def test_in_both_orders_one_map_is_three_with_their_rows_arranged():
    make = {"heads": 2, "groups": lambda c: 2, "init_scale": 1.0, "skip_rescale": False, "dtype": None}
    apart = Attention(4, **make, rngs=Keys(jax.random.key(0)))
    x = jax.random.normal(jax.random.key(1), (1, 2, 3, 4))
    rows = {  # of each head's two channels, q = 0 to 3, k = 4 to 7, v = 8 to 11
        "legacy": [0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11],
        "new": range(12),
    }
    kernel = np.concatenate([part.kernel[...] for part in (apart.query, apart.key, apart.value)], axis=1)
    for order, columns in rows.items():
        fused = Attention(4, fused=order, **make, rngs=Keys(jax.random.key(0)))
        fused.qkv.kernel[...], fused.out = jnp.asarray(kernel[:, list(columns)]), apart.out
        np.testing.assert_allclose(fused(x), apart(x), rtol=1e-5, atol=1e-6)
