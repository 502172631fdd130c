"""The measured bound over categories: with the exact denoiser of one position its terms add up to the likelihood."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metrics.categorical_bound import categorical_bound
from sde_lib.categorical import CategoricalProcess, Replacing
from sde_lib.categorical_chain import Neighbours
from sde_lib.categorical_prediction import as_belief
from sde_lib.categorical_schedules import Geometric, Linear, TableKeep, chain_betas
from tests.chains import Pair, slow_but

N, ONE = 2048, Pair.random(positions=1)
JSD = tuple(chain_betas("jsd", 8).tolist())
CASES: dict[str, tuple[CategoricalProcess, int]] = {
    "chain, each level": (Replacing(3, TableKeep(JSD), absorbing=1, levels=8), 8),
    "chain, some levels": (Replacing(3, TableKeep(JSD), absorbing=1, levels=8), 3),
    "gaussian, each level": (Neighbours(3, tuple(np.linspace(0.2, 4.0, 12))), 12),
    "continuous": (Replacing(3, Linear(), absorbing=3), 4),
    "continuous, noised at data": (Replacing(3, Geometric(0.05, 20.0), absorbing=3), 4),
}


@pytest.mark.parametrize("case", slow_but(["chain, some levels"], CASES))
def test_the_terms_add_up_to_the_likelihood(case: str) -> None:
    """Within 4.5 standard errors of 2048 examples of each category."""
    process, times = CASES[case]
    x0 = jnp.repeat(jnp.arange(3, dtype=jnp.int32), N)[:, None]
    keys = jax.random.split(jax.random.key(0), 3 * N)

    @jax.jit
    def total(x0: jax.Array, keys: jax.Array) -> jax.Array:
        return sum(categorical_bound(process, as_belief(process, ONE.denoiser(process)), x0, keys, times))

    each = np.asarray(total(x0, keys)).reshape(3, N)
    assert (abs(each.mean(axis=1) + np.log2(ONE.p)) < 4.5 * each.std(axis=1) / np.sqrt(N) + 5e-3).all(), each.mean(1)
