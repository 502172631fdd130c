"""A compiled network that is called alone, and as a part of other programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.materialize import network_call

ONES = jnp.ones(3)


@pytest.mark.parametrize(
    "use",
    [
        lambda f: f(ONES),
        lambda f: jax.jit(f)(ONES),
        lambda f: jax.jit(lambda: f(ONES))(),
        lambda f: jax.lax.scan(lambda x, _: (f(x) / 2.0, f(x)), ONES, length=1)[1][0],
        lambda f: jax.vmap(f)(ONES),
        lambda f: jax.grad(lambda x: f(x).sum())(ONES),
        lambda f: jax.jvp(f, (ONES,), (ONES,))[1],
    ],
    ids=["alone", "jit", "constants", "scan", "vmap", "grad", "jvp"],
)
def test_it_is_called_anywhere(use) -> None:
    np.testing.assert_array_equal(use(network_call(lambda x: 2.0 * x)), 2.0 * np.ones(3))
