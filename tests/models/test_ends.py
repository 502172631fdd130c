"""Networks that are told where a jump ends; and DDPM++'s slow frequencies, which such training asks for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.functional import Network
from tests.models.published_weights import compiled

UNET = {"image_size": 8, "num_channels": 1, "nf": 8, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": ()}
X, LABELS = jax.random.normal(jax.random.key(1), (4, 8, 8, 1)), jnp.linspace(100.0, 900.0, 4)


@pytest.mark.parametrize(
    ("name", "options"),
    [("ncsnpp", UNET), ("edm_unet", UNET), ("mlp", {"shape": (8, 8, 1), "width": 8, "depth": 1})],
)
def test_networks_listen_to_the_end_and_an_untold_one_is_where_they_are(name: str, options: dict[str, Any]) -> None:
    """The weights beside those of the same network untold are one matrix, which starts at nothing."""
    network, plain = Network.create(name, told_end=True, **options), Network.create(name, **options)
    params, rng = network.init(jax.random.key(0))["params"], np.random.default_rng(0)
    assert set(params) - set(plain.abstract()["params"]) == {"end.kernel"}
    assert np.abs(params["end.kernel"]).max() < 1e-5
    away = {n: a + 0.1 * rng.standard_normal(a.shape).astype(a.dtype) for n, a in params.items()}
    run = compiled(lambda p, condition: network.apply({"params": p, "fixed": {}}, X, LABELS, condition))
    lengths = jnp.asarray([[0.0], [30.0], [300.0], [900.0]])
    told, untold, nowhere = (run(away, c) for c in ({"end": lengths}, {}, {"end": jnp.zeros((4, 1))}))
    np.testing.assert_allclose(untold, nowhere, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(told[0], untold[0], rtol=1e-5, atol=1e-5)
    assert np.all(np.abs(told[1:] - untold[1:]).max(axis=(1, 2, 3)) > 1e-4)


def test_slow_frequencies_are_those_of_a_smaller_label() -> None:
    """Labels and lengths of jumps meet the same frequencies."""
    params = Network.create("ncsnpp", told_end=True, **UNET).init(jax.random.key(0))["params"]
    rng = np.random.default_rng(0)
    params = {n: a + 0.1 * rng.standard_normal(a.shape).astype(a.dtype) for n, a in params.items()}

    def out(fastest: float, scale: float) -> np.ndarray:
        network = Network.create("ncsnpp", told_end=True, fastest_frequency=fastest, **UNET)
        labels, variables = scale * LABELS, {"params": params, "fixed": {}}
        return compiled(network.apply)(variables, X, labels, {"end": labels[:, None] / 3})

    np.testing.assert_allclose(out(0.01, 1.0), out(1.0, 0.01), rtol=1e-4, atol=1e-5)
    assert np.abs(out(0.01, 1.0) - out(1.0, 1.0)).max() > 1e-2
