"""Recomputing the blocks in the backward pass: the same gradient in less memory."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.functional import Network, Variables
from models.materialize import network_jit

TINY = {"image_size": 8, "num_channels": 3, "nf": 32, "ch_mult": (1,), "num_res_blocks": 2, "attn_resolutions": ()}
X = np.random.default_rng(0).standard_normal((8, 8, 8, 3)).astype("f4")


def gradient(network: Network, variables: Variables):
    def loss(params: dict, x: jax.Array, keys: jax.Array) -> jax.Array:
        output = network.apply({**variables, "params": params}, x, jnp.linspace(0.1, 0.9, len(x)), keys=keys)
        return jnp.mean((output - x) ** 2)

    return (
        network_jit(jax.grad(loss)).lower(variables["params"], X, jax.random.split(jax.random.key(1), len(X))).compile()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ncsnpp", {}),
        ("adm", {"attn_resolutions": (8,), "head_channels": 32}),
    ],
)
def test_the_gradient_is_the_same_and_takes_less_memory(name: str, options: dict[str, Any]) -> None:
    network = Network.create(name, **{**TINY, **options}, dropout=0.2)
    variables, rng = network.init(jax.random.key(0)), np.random.default_rng(1)
    variables["params"] = {
        k: v + 0.1 * rng.standard_normal(v.shape).astype("f4") for k, v in variables["params"].items()
    }
    plain, recomputing = gradient(network, variables), gradient(network.recomputing(), variables)
    given = variables["params"], X, jax.random.split(jax.random.key(1), len(X))
    expected, found = plain(*given), recomputing(*given)
    for parameter, value in expected.items():
        scale = float(jnp.abs(value).max())
        np.testing.assert_allclose(found[parameter], value, atol=1e-4 * scale + 1e-7, err_msg=parameter)
    kept = [program.memory_analysis().temp_size_in_bytes for program in (plain, recomputing)]
    assert kept[1] < 0.6 * kept[0]


def test_it_is_another_network_with_the_same_variables() -> None:
    network = Network.create("ncsnpp", **TINY)
    assert network.recomputing() != network and network.recomputing().abstract() == network.abstract()


def test_a_network_without_blocks_cannot() -> None:
    with pytest.raises(ValueError, match="mlp has none of the U-Nets' blocks"):
        Network.create("mlp", shape=(2,)).recomputing()
