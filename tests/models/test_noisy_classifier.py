"""ADM's classifier: the U-Net's own encoder, a pool that is attention, and options that cannot be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.functional import Network
from models.layers import Keys
from models.noisy_classifier import AttentionPool
from tests.oracles import compiled

TINY = {"image_size": 8, "num_channels": 3, "label_dim": 5, "nf": 16, "ch_mult": (1, 2), "num_res_blocks": 1}
TINY |= {"attn_resolutions": (4,), "head_channels": 8}
ADM = {name: value for name, value in TINY.items() if name != "label_dim"}


def other_weights(network: Network, variables: dict) -> dict:
    """Weights under which no branch is silent."""
    rng = np.random.default_rng(0)
    moved = {n: np.asarray(a + 0.1 * rng.normal(size=a.shape), np.float32) for n, a in variables["params"].items()}
    return {**variables, "params": moved}


def test_the_mean_attends_to_every_place_and_to_itself() -> None:
    """One row of ordinary attention over the mean and the pixels, JAX's own, and nothing of where a batch is cut."""
    pool = AttentionPool(9, 8, 5, heads=2, scale=1.0, dtype=None, rngs=Keys(jax.random.key(0)))
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 8)).astype(np.float32)

    @compiled
    def both(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        tokens = jnp.concatenate([x.mean((1, 2))[:, None], x.reshape(2, 9, 8)], axis=1) + pool.position[...]
        asked, known, told = (part(tokens).reshape(2, 10, 2, 4) for part in (pool.query, pool.key, pool.value))
        attended = jax.nn.dot_product_attention(asked, known, told)
        return pool(x), pool.out(attended.reshape(2, 10, 8))[:, 0]

    pooled, wanted = both(x)
    np.testing.assert_allclose(pooled, wanted, rtol=1e-5, atol=1e-6)
    assert np.abs(both(x[:, ::-1])[0] - pooled).max() > 1e-3  # places have names


@pytest.mark.slow
def test_its_encoder_is_the_unets() -> None:
    """Names, shapes and first draws of all that lies before the way up are ADM's."""
    key, ours, theirs = jax.random.key(3), Network.create("noisy_classifier", **TINY), Network.create("adm", **ADM)
    ours, theirs = ours.init(key)["params"], theirs.init(key)["params"]
    shared = [name for name in theirs if not name.startswith(("up.", "norm_out", "conv_out"))]
    assert {name for name in ours if not name.startswith(("head.", "norm_out"))} == set(shared)
    for name in shared:
        np.testing.assert_array_equal(ours[name], theirs[name])
    position, width = ours["head.position"], 2 * 16
    assert position.shape == (4 * 4 + 1, width)
    assert float(position.std()) == pytest.approx(width**-0.5, rel=0.1)


@pytest.mark.parametrize("pool", ["attention", pytest.param("mean", marks=pytest.mark.slow)])
def test_logits_begin_at_nothing_and_tell_images_and_noise_apart(pool: str) -> None:
    network = Network.create("noisy_classifier", **TINY, pool=pool, dropout=0.5)
    x = np.random.default_rng(1).normal(size=(3, 8, 8, 3)).astype(np.float32)
    noise = np.array([0.5, 1.0, 7.0], np.float32)
    apply = compiled(lambda v, x, noise, keys: network.apply(v, x, noise, keys=keys))
    first = network.init(jax.random.key(0))
    logits = apply(first, x, noise, None)
    assert logits.shape == (3, 5) and np.abs(logits).max() < 1e-3
    variables = other_weights(network, first)
    logits = apply(variables, x, noise, None)
    assert np.ptp(logits, axis=0).min() > 1e-2 and np.abs(apply(variables, x, noise[::-1], None) - logits).max() > 1e-2
    keys = jax.random.split(jax.random.key(4), 3)
    dropped = apply(variables, x, noise, keys)
    assert np.abs(dropped - logits).max() > 1e-2  # each example's mask is its own key's
    np.testing.assert_allclose(apply(variables, x[::-1], noise[::-1], keys[::-1])[::-1], dropped, rtol=1e-4, atol=1e-5)


def test_bfloat16_gives_float32_logits() -> None:
    x, noise = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.bfloat16), jax.ShapeDtypeStruct((2,), jnp.float32)
    network = Network.create("noisy_classifier", **TINY, dtype=jnp.bfloat16)
    assert jax.eval_shape(network.apply, network.abstract(), x, noise).dtype == jnp.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": "spatial"}, "unknown pool 'spatial'.*; known: attention, mean"),
        ({"label_dim": 1}, "label_dim=1: .* 2 or more classes"),
        ({"head_channels": 24}, "32 channels cannot attend in heads of head_channels=24"),
        ({"head_channels": 0}, "head_channels is 0; .*at least 1"),
        ({"attn_resolutions": (16,)}, r"attn_resolutions \[16\] never occur"),
        ({"nf": 9}, "nf=9: .* choose an even nf"),
        ({"num_res_blocks": 0}, "num_res_blocks is 0; .*at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"augment_dim": 9}, "unknown option of noisy_classifier 'augment_dim'"),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Network.create("noisy_classifier", **TINY | options)
    assert "\n" not in str(error.value)


def test_a_condition_is_refused() -> None:
    network = Network.create("noisy_classifier", **TINY)
    x, noise, label = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((2, 8, 8, 3), (2,), (2, 5)))
    with pytest.raises(ValueError, match="takes no condition"):
        jax.eval_shape(network.apply, network.abstract(), x, noise, {"label": label})
