"""The one-step kernels of a published chain are used on the chain's own grid; on every other grid they are exact.

The data are a Gaussian of deviation 0.4, whose score is known, and samplers of 100 steps must meet mean and deviation.
"""

import importlib
import inspect
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import samplers
import sde_lib
from configs.vp.ddpm import cifar10 as ddpm_cifar10
from evaluation import entries
from experiment import build
from samplers import Settings, grids
from sde_lib import VE, VP, AffineSDE, SubVP
from tests.oracles import compiled, gaussian

MEAN, STD, N = np.array([0.5, -1.0]), 0.4, 2000
DATA = gaussian(MEAN, STD)
SDES: dict[str, AffineSDE] = {"vp": VP(), "subvp": SubVP(), "ve": VE(sigma_max=50.0)}
ROOT = Path(__file__).parents[2]


def meets_the_data(x: jax.Array, bias: float = 0.03) -> None:
    """Mean and deviation within five standard errors and what 100 steps may err."""
    assert np.all(np.abs(np.mean(x, axis=0) - MEAN) < 5 * STD / np.sqrt(N) + bias), np.mean(x, axis=0)
    assert np.all(np.abs(np.std(x, axis=0) / STD - 1) < 5 / np.sqrt(2 * N) + bias / STD), np.std(x, axis=0)


PAIRS = [
    (predictor, corrector)
    for predictor in ("reverse_diffusion", "ancestral", "euler_maruyama")
    for corrector in ("none", "langevin", "ald")
]
QUICK = {
    ("ve", "published", "reverse_diffusion", "none"),
    ("subvp", "published", "reverse_diffusion", "langevin"),
}


@pytest.mark.parametrize(
    ("name", "grid", "predictor", "corrector"),
    [
        pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow)
        for name in SDES
        for grid in ("uniform", "published")
        for case in [(name, grid, *pair) for pair in PAIRS]
    ],
)
def test_a_hundred_steps_under_a_chain_of_a_thousand_meet_the_data(
    name: str, grid: str, predictor: str, corrector: str
) -> None:
    """Reverse diffusion under VE ended with a deviation of 20 when it took 100 of the chain's 1000 kernels."""
    settings = Settings(
        method="pc",
        predictor=predictor,
        corrector=corrector,
        corrector_norm="batch",
        snr=0.1,
        steps=100,
        discretization=1000,
        grid=grid,
        t_min=1e-5 if name == "ve" else 1e-3,
        denoise="mean",
    )
    sde = SDES[name]
    sampler = compiled(samplers.create(sde, DATA.score(sde), settings))
    meets_the_data(samplers.draw(sampler, sde, jax.random.key(1), (N, 2)).x)


def test_a_stepper_of_a_chain_takes_exact_kernels_on_another_grid() -> None:
    """Also where it is put together by hand."""
    sde = SDES["ve"]
    score = DATA.score(sde)
    predictor = samplers.ancestral(sde, score, variance="large", discretization=1000)
    stepper = samplers.predictor_corrector(
        predictor, samplers.annealed_langevin(sde, score, snr=0.1, discretization=1000)
    )
    times = grids.create(sde, "uniform", 100, 1e-3)
    z = sde.prior_sample(jax.random.key(2), (N, 2))
    meets_the_data(compiled(lambda z: samplers.sample(stepper, jax.random.key(3), z, times).x)(z))


def test_a_traced_grid_is_refused_with_a_chain_and_is_exact_without() -> None:
    """Of a traced grid nobody can tell whether it is the chain's own, which its kernels are for."""
    sde = SDES["ve"]
    score, times = DATA.score(sde), jnp.asarray(grids.create(sde, "uniform", 200, 1e-3))
    z = sde.prior_sample(jax.random.key(2), (N, 2))

    def run(discretization: int | None) -> jax.Array:
        stepper = samplers.ancestral(sde, score, variance="large", discretization=discretization)
        return jax.jit(lambda z, times: samplers.sample(stepper, jax.random.key(3), z, times).x)(z, times)

    with pytest.raises(ValueError, match="a traced array, and discretization 1000"):
        run(1000)
    meets_the_data(run(None))


def test_reports_say_which_kernels_were_taken() -> None:
    """0 is exact kernels; a grid that picks levels names the chain that it picks them of."""
    chain = {"predictor": "reverse_diffusion", "corrector": "none", "discretization": 1000, "denoise": "mean"}
    for changed, known in (
        ({"grid": "published"}, 1000),
        ({"grid": "levels"}, 1000),
        ({"grid": "uniform"}, 1000),
        ({"grid": "published", "steps": 990}, 0),
        ({"grid": "published", "t_min": 0.1}, 0),
        ({"grid": "quadratic"}, 0),
        ({"grid": "uniform", "discretization": 100, "steps": 100}, 0),
        ({"grid": "trailing", "steps": 50}, 1000),
    ):
        settings = samplers.settled(VP(), Settings(**{**chain, **changed}))
        assert settings.used()["discretization"] == known, changed
        assert samplers.settled(VP(), settings) == settings
    assert samplers.settled(VP(), Settings(grid="published", **chain), 0.5).discretization == 0
    assert samplers.settled(VP(), Settings(grid="levels", **chain), 0.5).discretization == 1000
    assert samplers.settled(VP(), Settings(**(chain | {"method": "euler_maruyama", "steps": 50}))).discretization == 0


def _configs() -> dict[str, ConfigDict]:
    """Every config of a published chain."""
    found = {}
    for path in sorted((ROOT / "configs").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        module = importlib.import_module(name)
        if path.parent == ROOT / "configs" or inspect.signature(module.get_config).parameters:
            continue  # an ingredient, or one that is read from a folder
        if (config := module.get_config()).sampling.discretization:
            found[name] = config
    return found


@pytest.mark.slow
def test_every_config_of_a_chain_takes_its_kernels_at_its_own_steps_and_at_no_others() -> None:
    configs = _configs()
    assert len(configs) > 40
    for name, config in configs.items():
        sde, settings = sde_lib.create(**config.sde), config.sampling.to_dict()
        assert samplers.settled(sde, Settings(**settings)).discretization == settings["discretization"], name
        if settings["grid"] == "levels":
            with pytest.raises(ValueError, match=r"visits each of sampling\.discretization"):
                Settings(**(settings | {"steps": 100}))
        else:
            assert not samplers.settled(sde, Settings(**(settings | {"steps": 100}))).discretization, name


def test_a_network_of_levels_is_asked_between_them_on_another_grid() -> None:
    """So that its score is of the time that the exact kernel leaves; `--mode=compare` changes the steps by itself."""
    config = ddpm_cifar10.get_config()
    config.data.dataset = "digits"
    config.data.update(image_size=8, num_channels=1)
    with config.unlocked():
        del config.data.data_dir, config.data.in_memory
        config.model.update(nf=32, ch_mult=(1, 1), num_res_blocks=1, attn_resolutions=())
    config.eval.compare, config.eval.compare_evaluations = ("ancestral/uniform", "ancestral/published"), (100, 1000)
    config.eval.compare_reference = "ancestral/published"
    experiment = build(config)
    assert experiment.settings_of("pc").on_chain
    found = {(entry.name, entry.budget): entry.settings for entry in entries.of_run(experiment, config.eval)}
    assert found["ancestral/published", 1000].discretization == 1000 and found["ancestral/published", 1000].on_chain
    assert found["ancestral/published", 100].discretization == 0 and not found["ancestral/published", 100].on_chain
    config.sampling.steps = 100
    assert not build(config).settings_of("pc").on_chain


@pytest.mark.parametrize(
    ("sde", "grid", "steps", "message"),
    [
        (VP(), "published", 20, r"20 noise levels are too few: beta_i reaches 1, .*needs at least 21"),
        (VP(), "levels", 10, r"10 noise levels are too few: beta_i reaches 2, .*needs at least 21"),
        (SubVP(), "published", 9, r"discretization is 9, .*of SubVP: a step's scale falls to -0\.111, .*above 0"),
        (SubVP(), "levels", 10, r"discretization is 10, .*of SubVP: a step's scale falls to 0, .*above 0"),
    ],
)
@pytest.mark.parametrize("corrector", ["none", "ald"])
def test_a_chain_of_too_few_steps_is_refused_before_anything_is_traced(
    sde: AffineSDE, grid: str, steps: int, message: str, corrector: str
) -> None:
    """VP's betas reach 1, and its samples were NaN; Euler's step of sub-VP turned its sample round."""
    settings = Settings(steps=steps, discretization=steps, grid=grid, denoise="mean", corrector=corrector)

    def score(x, t):
        raise AssertionError("traced")

    with pytest.raises(ValueError, match=message) as error:
        samplers.create(sde, score, settings)
    assert "\n" not in str(error.value)


def test_the_shortest_chains_are_taken() -> None:
    for sde, steps in ((VP(), 21), (SubVP(), 11), (VE(), 3)):
        for grid in ("published", "levels"):
            settings = Settings(steps=steps, discretization=steps, grid=grid, denoise="mean", corrector="none")
            samplers.create(sde, lambda x, t: x, settings)
            assert samplers.settled(sde, settings).discretization == steps


def test_what_is_said_of_samples_that_are_not_finite_fits_the_method() -> None:
    for changed, words in (
        ({"method": "ode"}, "loosen sampling.rtol and sampling.atol"),
        ({"method": "heun"}, "raise sampling.evaluations"),
        ({"method": "flow_heun"}, "raise sampling.flow_steps"),
        ({"method": "pc"}, "raise sampling.steps, or lower sampling.snr"),
        ({"method": "pc", "corrector": "none"}, "raise sampling.steps or sampling.t_min"),
        ({"method": "ancestral"}, "raise sampling.steps or sampling.t_min"),
    ):
        remedy = Settings(**changed).remedy
        assert words in remedy and ("rtol" in remedy) == (changed["method"] == "ode"), changed
