"""Grid 'auto': the solvers' own choice of grid and end is good on every process, and reports name it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from benchmarks.solvers import PROCESSES, problem
from samplers import MAPS, SOLVERS, Settings, grids
from samplers.defaults import AUTO
from samplers.dpm_solver import unevenness
from samplers.nodes import nodes
from sde_lib import EDM, VE, VP, AffineSDE, CosineBeta, SubVP
from sde_lib.edm import edm
from tests.oracles import compiled, gaussian

STD, N = 0.4, 4000
DATA = gaussian(np.array([0.5, -1.0]), STD)
SDES: dict[str, AffineSDE] = {
    "vp": VP(),
    "cosine": VP(CosineBeta()),
    "subvp": SubVP(),
    "ve": VE(sigma_max=50.0),
    "edm": edm(),
}
QUICK = {("vp", "dpmpp_3m_sde"), ("edm", "dpmpp_2m")}
LOOSE = {"dpmpp_sde": 0.3, "dpmpp_2s_ancestral": 0.25, "heun": 0.25}  # of two evaluations a step, so of 10 steps


@pytest.mark.parametrize(
    ("name", "method"),
    [pytest.param(n, m, marks=[] if (n, m) in QUICK else pytest.mark.slow) for n in SDES for m in SOLVERS],
)
def test_twenty_evaluations_meet_the_deviation(name: str, method: str) -> None:
    """On the uniform grid dpmpp_3m_sde ended with a deviation of 2.5 under VP; the truth is 0.4."""
    sde = SDES[name]
    sampler = compiled(samplers.create(sde, DATA.score(sde), Settings(method, evaluations=20)))
    found = np.std(samplers.draw(sampler, sde, jax.random.key(1), (N, 2)).x, axis=0)
    assert np.all(np.abs(found / STD - 1) < 5 / np.sqrt(2 * N) + LOOSE.get(method, 0.12)), found


@pytest.mark.parametrize(
    ("method", "counts"),
    [
        ("flow_heun", {"flow_steps": 30}),
        pytest.param("flow_euler", {"flow_steps": 100}, marks=pytest.mark.slow),
        pytest.param("ancestral", {"steps": 100}, marks=pytest.mark.slow),
        pytest.param("euler_maruyama", {"steps": 100}, marks=pytest.mark.slow),
    ],
)
def test_predictors_and_the_flow_meet_the_deviation_on_edm(method: str, counts: dict) -> None:
    """Equal steps of EDM's time, which is sigma, ended at 0.88 for 0.4 with 50 of flow_heun, at 0.17 of flow_euler."""
    sampler = compiled(samplers.create(edm(), DATA.score(edm()), Settings(method, **counts)))
    found = np.std(samplers.draw(sampler, edm(), jax.random.key(1), (N, 2)).x, axis=0)
    assert np.all(np.abs(found / STD - 1) < 5 / np.sqrt(2 * N) + 0.1), found


def test_every_solver_has_its_grids_and_reports_name_them() -> None:
    assert AUTO.keys() <= {*SOLVERS, *MAPS}
    for method in AUTO:
        for sde in (VP(), SubVP()):
            assert samplers.settled(sde, Settings(method)).used()["grid"] == AUTO[method].falling
        for sde in (VE(), EDM()):
            assert samplers.settled(sde, Settings(method)).used()["grid"] == AUTO[method].constant
    found = samplers.settled(edm(), Settings("heun"))
    assert (found.grid, found.t_min, found.karras_power) == ("karras", 0.002 / 80.0, 7.0)
    assert samplers.settled(edm(), found) == found
    assert samplers.settled(edm(), Settings("ode")).t_min == 0.002 / 80.0
    assert samplers.settled(VP(), Settings("heun")).t_min == 1e-3


def test_what_is_named_stays() -> None:
    """Grids and ends that were given; and the uniform grid of predictors and of the flow's fixed steps, but on EDM."""
    named = samplers.settled(edm(), Settings("heun", grid="uniform"))
    assert (named.grid, named.t_min) == ("uniform", 1e-3)
    assert samplers.settled(edm(), Settings("heun", t_min=1e-2)).t_min == 1e-2
    for method in ("pc", "euler_maruyama", "flow_heun", "ancestral"):
        for name, sde in SDES.items():
            found = samplers.settled(sde, Settings(method))
            assert (found.grid, found.t_min) == (("log_snr", sde.t_min) if name == "edm" else ("uniform", 1e-3))
    found = samplers.settled(edm(), Settings("ancestral", discretization=100))  # EDM has no chain of levels
    assert (found.grid, found.discretization) == ("log_snr", 0)
    found = samplers.settled(edm(), Settings("flow_heun", t_min=1e-2))
    assert (found.grid, found.t_min) == ("log_snr", 1e-2)
    with pytest.raises(ValueError, match="known are auto, uniform"):
        Settings("heun", grid="best")


def test_the_third_order_step_takes_the_second_difference_that_is_better_on_its_grid(x64) -> None:
    """The whole on the grid even in log SNR, half on the uniform one, where the whole errs 2.5 times as far."""
    setup, sde = problem("VP linear", "gm16"), PROCESSES["VP linear"].sde
    stepper = samplers.dpm_solver(sde, setup.mixture.score(sde), order=3)  # which one is in the rows

    @compiled
    def run(x, rows):
        return jax.lax.scan(lambda s, row: (stepper.step(jax.random.key(0), s, row), None), stepper.init(x), rows)[0].x

    def error(grid: str, published: bool | None) -> float:
        chosen = samplers.dpm_solver(sde, lambda x, t: x, order=3, published=published)
        rows = chosen.plan(np.append(grids.create(sde, grid, 39, 1e-3), 0.0)).rows[0]
        end = run(jnp.asarray(setup.start), jax.tree.map(jnp.asarray, rows))
        return float(np.sqrt(np.mean((np.asarray(end) - setup.truth["data"]) ** 2)))

    whole, half, chosen = (error("uniform", published) for published in (False, True, None))
    assert chosen == half and half < 0.5 * whole and half == pytest.approx(0.0353, rel=0.01)
    half, chosen = error("log_snr", True), error("log_snr", None)
    assert chosen < 0.9 * half and chosen == pytest.approx(8.41e-4, rel=0.01)


def test_unevenness_is_the_largest_ratio_of_neighbouring_steps() -> None:
    """In log(alpha / sigma), which for VE is even in t; the step to data does not count."""
    sde = VE()
    assert unevenness(nodes(sde, np.array([1.0, 0.9, 0.5, 0.0]))) == pytest.approx(4.0)
    assert unevenness(nodes(sde, np.array([1.0, 0.6, 0.5, 0.4]))) == pytest.approx(4.0)
    assert unevenness(nodes(sde, np.array([1.0, 0.0]))) == 1.0


def test_a_solver_that_was_not_measured_takes_what_most_take(monkeypatch) -> None:
    for method in ("heun", "dpmpp_3m"):
        monkeypatch.delitem(AUTO, method)
        assert samplers.settled(VP(), Settings(method)).grid == "quadratic"
        assert samplers.settled(VE(), Settings(method)).grid == "log_snr"
