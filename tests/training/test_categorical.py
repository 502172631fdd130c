"""Losses over categories: with the exact denoiser of one position their mean is the likelihood, whatever the times."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_lib.categorical import CategoricalProcess, Replacing
from sde_lib.categorical_chain import Neighbours
from sde_lib.categorical_prediction import BeliefFn, as_belief
from sde_lib.categorical_schedules import Cosine, Geometric, Linear, TableKeep, chain_betas
from tests.chains import Pair, slow_but
from training import losses
from training.draws import Draws
from training.examples import Examples
from training.losses.categorical import OverCategories

N, ONE = 4096, Pair.random(positions=1)
JSD = tuple(chain_betas("jsd", 8).tolist())


class Exact:
    """A model in training that is exact."""

    def belief_fn(self, process: CategoricalProcess) -> BeliefFn:
        return as_belief(process, ONE.denoiser(process))


def scores(loss: Any, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The scores of N examples drawn of the data, and the negative log-likelihood of each, bits."""
    x0 = np.random.default_rng(seed).choice(3, size=(N, 1), p=ONE.p)

    @jax.jit
    def run(key: jax.Array) -> jax.Array:
        draws = Draws.of(key, jnp.arange(N), N)
        return loss(Exact(), Examples(jnp.asarray(x0, jnp.int32), {}, draws))["loss"]

    return np.asarray(run(jax.random.key(seed))), -np.log2(ONE.p)[x0[:, 0]]


CASES: dict[str, tuple[CategoricalProcess, dict[str, Any]]] = {
    "masked": (Replacing(3, Linear(), absorbing=3), {}),
    "masked, stratified": (Replacing(3, Cosine(), absorbing=3), {"stratified": True}),
    "masked, importance": (Replacing(3, Linear(), absorbing=3, t_min=1e-3), {"importance_sampling": True}),
    "masked, steps": (Replacing(3, Linear(), absorbing=3), {"bound_steps": 8}),
    "masked, noised at data": (Replacing(3, Geometric(0.05, 20.0), absorbing=3), {}),
    "absorbing chain": (Replacing(3, TableKeep(JSD), absorbing=1, levels=8), {}),
    "uniform": (Replacing(3, Linear(eps=1e-4)), {"stratified": True}),
    "gaussian": (Neighbours(3, tuple(np.linspace(0.2, 4.0, 12))), {}),
    "score entropy": (Replacing(3, Linear(), absorbing=3), {"name": "score_entropy"}),
    "discrete flow": (Replacing(3, Linear(), absorbing=3), {"name": "discrete_flow"}),
}


@pytest.mark.parametrize("case", slow_but(["masked, stratified"], CASES))
def test_the_mean_loss_is_the_likelihood(case: str) -> None:
    """Within 4.5 standard errors of 4096 examples, and the prior's part, which no loss has."""
    process, options = CASES[case]
    loss = losses.create(**{"name": "categorical"} | options, process=process)
    assert isinstance(loss, OverCategories)
    found, exact = scores(loss)
    error = (found - exact).std() / np.sqrt(N)
    assert abs((found - exact).mean()) < 4.5 * error + 5e-3, ((found - exact).mean(), error)


def test_hybrid_adds_the_cross_entropy() -> None:
    process = Replacing(3, TableKeep(JSD), absorbing=3, levels=8)
    x0 = jnp.zeros((64, 1), jnp.int32)
    examples = Examples(x0, {}, Draws.of(jax.random.key(0), jnp.arange(64), 64))
    plain = losses.create("categorical", process)(Exact(), examples)
    hybrid = losses.create("categorical", process, cross_entropy_weight=0.5)(Exact(), examples)
    np.testing.assert_allclose(hybrid["loss"], plain["loss"] + 0.5 * hybrid["cross_entropy"], rtol=1e-6)


@pytest.mark.parametrize(
    ("process", "options", "message"),
    [
        (Replacing(3, Linear(), absorbing=3), {"importance_sampling": True}, "sde.t_min"),
        (Replacing(3, Linear(), absorbing=3), {"cross_entropy_weight": 0.1}, "continuous time"),
        (Replacing(3, TableKeep(JSD), levels=8), {"bound_steps": 4}, "8 levels"),
        (Replacing(3, TableKeep(JSD), levels=8), {"importance_sampling": True}, "of steps"),
    ],
)
def test_what_contradicts_is_refused(process: CategoricalProcess, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        losses.create("categorical", process, **options)
