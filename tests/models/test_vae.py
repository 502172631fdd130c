"""The network of a variational autoencoder: what its decoder says, and what it refuses."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.functional import Network


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "poisson"}, "unknown likelihood 'poisson'"),
        ({"scale": "some"}, "unknown scale 'some'"),
        ({"likelihood": "bernoulli"}, r"model\.scale is 'learned', and model\.likelihood 'bernoulli' takes none"),
        ({"likelihood": "discretised_logistic", "scale": "optimal"}, "takes fixed, learned, predicted"),
        ({"likelihood": "discretised_logistic"}, "of whole grey levels, and the data have none; take 'gaussian'"),
    ],
)
def test_what_no_decoder_says_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Network.create("vae", image_size=8, num_channels=1, nf=8, ch_mult=(1, 1), **options)


@pytest.mark.parametrize("scale", ["fixed", "learned", "predicted", "optimal"])
def test_a_network_says_its_scale(scale: str) -> None:
    """It begins at `log_scale`; a learned one is one parameter, and a predicted one takes as many numbers again."""
    options = {"image_size": 8, "num_channels": 1, "nf": 8, "ch_mult": (1, 1), "num_groups": 2, "embed_dim": 2}
    network = Network.create("vae", **options, scale=scale, log_scale=-1.5)
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), network.abstract())
    assert ("log_scale" in variables["params"]) == (scale == "learned")
    assert variables["params"]["decoder.conv_out.kernel"].shape[-1] == (2 if scale == "predicted" else 1)
    if scale == "learned":
        variables["params"]["log_scale"] = jnp.asarray(-1.5)
    module = network.module(variables)
    said = module.likelihood(jnp.zeros((2, *module.latent_shape)))
    assert said.location.shape == (2, 8, 8, 1) and module.latent_shape == (4, 4, 2)
    if scale == "optimal":
        assert said.log_scale is None
    else:
        np.testing.assert_allclose(said.log_scale, -1.5)
