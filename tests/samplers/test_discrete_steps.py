"""Single steps of DDIM and of DDPM's ancestral sampler on three chains against guided-diffusion's, and by hand."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sde_lib
from samplers import ancestral, ddim
from samplers.base import normal_like
from sde_lib import Discrete, TableBeta
from sde_lib.prediction import of_eps
from tests.oracles import compiled

REFERENCE = Path(__file__).parents[1] / "reference" / "discrete"
STEPS = np.load(REFERENCE / "steps.npz")
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def chains() -> dict:
    return {name: sde_lib.create("discrete", schedule=name) for name in ("linear", "cosine", "sqrt_linear")}


def _known(schedule: str, *names: str) -> list:
    """Of t = 0, 1, 500, 998, 999 and one more."""
    return [STEPS[f"{schedule}/{name}"][[0, 1, 3, 4, 5, 7]] for name in names]


def _close(found: np.ndarray, wanted: np.ndarray, schedule: str, index: np.ndarray, name: str) -> None:
    """1e-10; cosine's last two levels, where x0 is divided by alpha of 5e-5 and 2e-3, 1e-8."""
    late = (index >= 998).reshape(-1, 1, 1, 1) & (schedule == "cosine")
    error = np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted))
    assert np.all(error <= np.where(late, 1e-8, 1e-10)), (name, schedule, error.max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddim_eta0.0", "ddim_eta0.3", "ddim_eta1.0", "ddim_reverse"])
def test_steps_of_ddim_are_the_published_ones(name: str, chains: dict, x64) -> None:
    """One level down, from the cleanest one to the data; and one up, but from the last one, where no level follows."""
    eta = float(name[8:]) if "eta" in name else 0.0

    def one(chain, x, eps, row):
        stepper = ddim(chain, lambda y, t: of_eps(chain, y, t, eps[None]), eta=eta)
        return stepper.step(KEY, stepper.init(x[None]), row).mean[0]

    for schedule, sde in chains.items():
        index, x, eps, noise, wanted = _known(schedule, "t", "x_t", "eps_model", "ddim_noise", name)
        rows = np.flatnonzero(index < 999) if name == "ddim_reverse" else np.arange(len(index))
        ends = index[rows] + (1 if name == "ddim_reverse" else -1)
        grids = np.stack([index[rows] + 1, ends + 1], axis=1) / 1000
        plans = [ddim(sde, lambda x, t: x, eta=eta).plan(grid).rows[0] for grid in grids]
        stacked = jax.tree.map(lambda *a: jnp.asarray(np.concatenate(a)), *plans)
        run = compiled(jax.vmap(functools.partial(one, sde)))
        mean = run(jnp.asarray(x[rows]), jnp.asarray(eps[rows]), stacked)
        added = np.asarray(stacked.x[:, -1]).reshape(-1, 1, 1, 1) * noise[rows]
        _close(mean + added, wanted[rows], schedule, index[rows], name)


def test_ancestral_steps_are_the_published_ones(chains: dict, x64) -> None:
    for schedule, sde in chains.items():
        index, x, eps, noise, wanted = _known(schedule, "t", "x_t", "eps_model", "ddim_noise", "ancestral")

        def one(x, eps, t, s, sde=sde):
            stepper = ancestral(sde, lambda y, t: -eps[None] / sde.sigma(t[0]))
            state = stepper.step(KEY, stepper.init(x[None]), t, s)
            return state.mean[0], ((state.x - state.mean) / normal_like(KEY, x[None]))[0]

        t = jnp.asarray((index + 1) / 1000)
        mean, deviation = compiled(jax.vmap(one))(jnp.asarray(x), jnp.asarray(eps), t, jnp.asarray(index / 1000))
        _close(mean + deviation * noise, wanted, schedule, index, "ancestral")


@pytest.mark.slow
@pytest.mark.parametrize("row", range(3))
def test_worked_ddim_steps(row: int, x64) -> None:
    """alpha .9, abar .5, x .7, eps .2 gives .722126923; and the worked examples with eta 1 and 0."""
    examples = json.loads((REFERENCE / "worked_examples.json").read_text())
    by_hand = {"alpha_bar": 0.5, "alpha_bar_prev": 0.5 / 0.9, "eta": 0.0, "x_t": 0.7, "eps": 0.2, "z": 0.0}
    steps = [by_hand | {"x_prev": 0.722126923}, *(e for e in examples if e["kind"] == "ddim_step")]
    known = steps[row]
    betas = 1 - known["alpha_bar_prev"], 1 - known["alpha_bar"] / known["alpha_bar_prev"]
    sde = Discrete(schedule=TableBeta(betas), t_min=0.5)
    stepper = ddim(
        sde, lambda x, t: jnp.full_like(x, -known["eps"] / (1 - known["alpha_bar"]) ** 0.5), eta=known["eta"]
    )
    numbers = jax.tree.map(lambda a: jnp.asarray(a[0]), stepper.plan(np.array([1.0, 0.5])).rows[0])
    mean = stepper.step(KEY, stepper.init(jnp.asarray([[known["x_t"]]])), numbers).mean
    assert float(mean[0, 0] + numbers.x[-1] * known["z"]) == pytest.approx(known["x_prev"], abs=1e-9)
    if known["eta"]:
        assert float(numbers.x[-1]) == pytest.approx(known["sigma"], rel=1e-12)
