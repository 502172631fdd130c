"""EDM's networks: what they are told beside the noise, and options that cannot be; outputs are in tests/checkpoints."""

import jax
import jax.numpy as jnp
import pytest

from models.functional import Network

TINY = {"image_size": 8, "num_channels": 3, "nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (4,)}
CONDITIONS = {"label_dim": 5, "augment_dim": 9}
OPTIONS = {"edm_unet": TINY, "adm": TINY | {"head_channels": 4, "out_channels": 6}}
IMAGES, NOISE = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32)


def numbers(n: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((2, n), jnp.float32)


def shape_of(network: Network, condition: dict | None) -> tuple[int, ...]:
    return jax.eval_shape(network.apply, network.abstract(), IMAGES, NOISE, condition).shape


@pytest.mark.parametrize("name", OPTIONS)
def test_each_condition_may_be_left_out(name):
    network = Network.create(name, **OPTIONS[name], **CONDITIONS)
    expected = (2, 8, 8, OPTIONS[name].get("out_channels", 3))
    for condition in (None, {"label": numbers(5)}, {"label": numbers(5), "augment": numbers(9)}):
        assert shape_of(network, condition) == expected


@pytest.mark.parametrize("name", OPTIONS)
def test_a_wrong_condition_is_named(name):
    network = Network.create(name, **OPTIONS[name], label_dim=5)
    with pytest.raises(ValueError, match=r"unknown condition 'labels' \(did you mean 'label'\?\); known: label"):
        shape_of(network, {"labels": numbers(5)})
    with pytest.raises(ValueError, match="unknown condition 'augment'"):
        shape_of(network, {"augment": numbers(9)})
    with pytest.raises(
        ValueError, match=r"condition 'label' holds 5 numbers an example, shape \(2, 5\); received \(2, 4\)"
    ):
        shape_of(network, {"label": numbers(4)})
    with pytest.raises(ValueError, match="takes no condition"):
        shape_of(Network.create(name, **OPTIONS[name]), {"label": numbers(5)})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("edm_unet", {"centered": False}, r"takes data in \[-1, 1\].* set data\.centered=True"),
        ("adm", {"centered": False}, r"takes data in \[-1, 1\]"),
        ("adm", {"head_channels": 32}, "16 channels are less than one attention head of head_channels=32"),
        ("adm", {"head_channels": 6, "nf": 20, "ch_mult": (1, 1)}, "20 channels cannot attend in 3 heads"),
        ("adm", {"attn_resolutions": (16,)}, r"attn_resolutions \[16\] never occur"),
        ("adm", {"nf": 9}, "nf=9: .* choose an even nf"),
        ("adm", {"num_res_blocks": 0}, "num_res_blocks is 0; .*at least 1"),
        ("adm", {"dropout": 1.5}, "dropout is 1.5"),
        ("ncsnpp", {"num_groups": 3}, "8 channels cannot be normalised in 3 equal groups"),
    ],
)
def test_wrong_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message) as error:
        Network.create(name, **OPTIONS.get(name, TINY) | options)
    assert "\n" not in str(error.value)
