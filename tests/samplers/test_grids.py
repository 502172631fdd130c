"""Spacings of a chain against the reference's lists, and where grids end."""

import json
from pathlib import Path

import numpy as np
import pytest

import samplers
from samplers import Settings, grids, spacings
from samplers.create import grid, stepper_of
from sde_lib import EDM, VE, VP, Discrete, LinearBeta, TableBeta

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "discrete" / "timesteps.json").read_text())


@pytest.mark.parametrize("case", REFERENCE["respacing"] + REFERENCE["respacing_errors"], ids=lambda case: case["spec"])
def test_respacing_strings(case: dict) -> None:
    make = lambda: spacings.create(case["spec"], spacings.count_of(case["spec"]), case["T"])  # noqa: E731
    if case.get("raises"):
        with pytest.raises(ValueError, match="spacing"):
            make()
    else:
        assert make().tolist() == case["timesteps"]


@pytest.mark.parametrize("case", REFERENCE["latent_diffusion_ddim"], ids=lambda case: f"{case['method']}_{case['T']}")
def test_latent_diffusion(case: dict) -> None:
    """Where the reference's stride gives more steps than were asked for, ours gives as many as asked, of its stride."""
    asked = case["num_ddim_timesteps"]
    ours = spacings.create({"uniform": "ldm", "quad": "ldm_quad"}[case["method"]], asked + 1, case["T"])
    assert ours[0] == 0 and ours[1:].tolist() == case["timesteps"][:asked]


@pytest.mark.parametrize("name", ["trailing", "leading", "leading_1", "linspace", "respaced"])
@pytest.mark.parametrize("levels", [100, 1000])
def test_every_count_is_kept(name: str, levels: int) -> None:
    for count in range(2, levels):
        visited = spacings.create(name, count, levels)
        assert len(visited) == count and visited[0] >= 0 and visited[-1] < levels, count
        assert np.all(np.diff(visited) > 0), count


def test_published_examples() -> None:
    """50 of 1000: reference/systems.md, section 2."""
    trailing = spacings.create("trailing", 50, 1000)
    assert trailing[0] == 19 and trailing[-1] == 999 and set(np.diff(trailing)) == {20}
    assert spacings.create("leading", 50, 1000).tolist() == list(range(0, 981, 20))
    assert spacings.create("leading_1", 50, 1000).tolist() == list(range(1, 982, 20))


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("ddim50", 20, r"'ddim50' has 50 levels, and the steps ask for 20"),
        ("leading_1", 100, r"beyond the noisiest"),
        ("ddim0", 5, r"'ddim0'; known are trailing"),
        ("trailing", 101, r"101 levels of a chain of 100"),
    ],
)
def test_wrong_spacings_are_refused(name: str, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spacings.create(name, count, 100)


SHORT = Discrete(schedule=TableBeta(tuple(LinearBeta().discrete_betas(200))), t_min=1 / 200)


@pytest.mark.parametrize("name", ["uniform", "quadratic", "log_snr", "karras"])
@pytest.mark.parametrize(
    "sde",
    [VP(), pytest.param(VE(), marks=pytest.mark.slow), EDM(sigma_max=80.0, t_min=2.5e-5), SHORT],
    ids=["vp", "ve", "edm", "chain"],
)
def test_grids_fall_to_their_end(sde, name: str) -> None:
    """Also below the SDE's own t_min; a chain's end at its cleanest level, which is all its network has seen."""
    for t_min in (1e-3, 1e-6):
        settings = Settings(method="dpmpp_2m", grid=name, evaluations=41, t_min=t_min)
        times = grid(sde, stepper_of(sde, lambda x, t: x, settings), settings)
        assert len(times) == 42 and times[0] == 1.0 and times[-1] == 0.0 and np.all(np.diff(times) < 0)
        np.testing.assert_allclose(times[-2], 1 / 200 if sde.num_levels else t_min)


def test_karras_is_even_in_its_power() -> None:
    """rho^(1/7) of the grid in equal steps; the 18 sigmas of the paper's CIFAR-10 sampler (reference/systems.md)."""
    sde = EDM(sigma_max=80.0, t_min=2.5e-5)
    sigmas = 80.0 * grids.create(sde, "karras", 17, 2.5e-5)
    published = [80, 57.586, 40.786, 28.375, 19.352, 12.910, 8.4009, 5.3152, 3.2568, 1.9233, 1.0882, 0.58535, 0.29644]
    np.testing.assert_allclose(sigmas, [*published, 0.13952, 0.059947, 0.022935, 0.0075280, 0.002], rtol=1e-4)


def test_one_evaluation_is_the_step_to_data() -> None:
    settings = Settings(method="heun", evaluations=1)
    times = grid(VP(), samplers.heun(VP(), lambda x, t: x), settings)
    assert times.tolist() == [1.0, 0.0]
