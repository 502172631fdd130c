"""Sines and cosines of an image beside it."""

import jax
import jax.numpy as jnp
import numpy as np

from models.embeddings import image_fourier
from models.functional import Network


def test_neighbouring_levels_are_far_apart_in_the_features() -> None:
    """Exponents 6 and 7 on 256 levels: 2^6 changes sign or phase from one to the next, which x itself hardly tells."""
    x = jnp.asarray(np.arange(256) / 128 - 1.0, jnp.float32).reshape(1, 16, 16, 1)
    features = np.asarray(image_fourier(x, (6, 7)))
    assert features.shape == (1, 16, 16, 5)
    np.testing.assert_array_equal(features[..., :1], x)
    k = np.arange(256) - 128
    np.testing.assert_allclose(features[..., 3].ravel(), (-1.0) ** k, atol=1e-4)  # cos(2 pi 2^6 k / 128)
    np.testing.assert_allclose(features[..., 4].ravel(), 1.0, atol=1e-4)


def test_a_network_sees_them_in_its_first_layer_alone() -> None:
    options = {"image_size": 4, "num_channels": 2, "nf": 4, "ch_mult": (1,), "num_res_blocks": 1}
    plain, told = (
        Network.create("ncsnpp", **options, attn_resolutions=(), fourier_features=exponents).abstract()["params"]
        for exponents in ((), (2, 3, 4))
    )
    differing = {name for name in plain if plain[name].shape != told[name].shape}
    assert plain.keys() == told.keys() and differing == {"conv_in.kernel"}
    assert told["conv_in.kernel"].shape == (3, 3, 14, 4) and isinstance(told["conv_in.kernel"], jax.ShapeDtypeStruct)
