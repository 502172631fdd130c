"""Tables and Gaussians of a chain against guided-diffusion's, and its identities."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import sde_lib
from sde_lib import VE, VP, ChainTables
from sde_lib.prediction import of_eps, of_x0
from tests.oracles import Fixed

REFERENCE = Path(__file__).parents[1] / "reference" / "discrete"
TABLES, STEPS, RESPACED = (np.load(REFERENCE / f"{name}.npz") for name in ("tables", "steps", "respaced"))
SCHEDULES = ("linear", "cosine", "sqrt_linear")
VARIANCES = {"fixed_small": "small", "fixed_large": "large", "learned_range": "learned_range", "learned": "learned"}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES)


def tables(schedule: str, n: int = 1000) -> ChainTables:
    return ChainTables.of(sde_lib.create("discrete", schedule=schedule, n=n), n)


@every_schedule
def test_tables_are_the_published_ones(schedule: str) -> None:
    """Relative 1e-12; the last columns of cosine, where 1 - beta is 0.001, 1e-9."""
    made, rows = tables(schedule), TABLES["rows"]
    found = {
        "betas": made.step_variance,
        "alphas_cumprod": made.alpha**2,
        "alphas_cumprod_prev": made.alpha_before**2,
        "sqrt_alphas_cumprod": made.alpha,
        "sqrt_one_minus_alphas_cumprod": made.sigma,
        "log_one_minus_alphas_cumprod": 2 * np.log(made.sigma),
        "sqrt_recip_alphas_cumprod": 1 / made.alpha,
        "sqrt_recipm1_alphas_cumprod": made.sigma / made.alpha,
        "posterior_variance": made.posterior_variance,
        "posterior_log_variance_clipped": made.posterior_log_variance_clipped,
        "posterior_mean_coef1": made.posterior_x0,
        "posterior_mean_coef2": made.posterior_x,
        "fixed_large_variance": np.exp(made.large_log_variance),
        "fixed_large_log_variance": made.large_log_variance,
    }
    assert {f"{schedule}/{name}" for name in found} == {
        name for name in TABLES.files if name.startswith(f"{schedule}/") and not name.endswith("cumprod_next")
    }
    for name, table in found.items():
        exact = TABLES[f"{schedule}/{name}"]
        rtol = 1e-9 if schedule == "cosine" else 1e-12
        np.testing.assert_allclose(table[rows], exact, rtol=rtol, atol=1e-15, err_msg=name)


def test_named_schedules_of_other_lengths() -> None:
    for name in (n for n in TABLES.files if n.startswith("extra/")):
        schedule, n = name.removeprefix("extra/").removesuffix("/betas").split("_T")
        sde = sde_lib.create("discrete", schedule=schedule, n=int(n))
        np.testing.assert_allclose(sde.schedule.betas, TABLES[name], rtol=1e-12)


@pytest.mark.slow
@every_schedule
def test_single_steps_are_the_published_ones(schedule: str, x64) -> None:
    """Noising, posterior, inversions and p(x_(t-1) | x_t) with every variance, 1e-10; cosine's last levels 1e-8."""
    step = {name.split("/", 1)[1]: STEPS[name] for name in STEPS.files if name.startswith(f"{schedule}/")}
    made, i = tables(schedule), jnp.asarray(step["t"])
    x0, x, eps = (jnp.asarray(step[name]) for name in ("x0", "x_t", "eps"))
    alpha, sigma = made.row(made.alpha, i, x), made.row(made.sigma, i, x)

    def equal(found, name: str) -> None:
        wanted = step[name]
        found = np.broadcast_to(np.asarray(found).reshape(-1, *[1] * 3) if np.ndim(found) == 1 else found, x.shape)
        wanted = wanted.reshape(-1, *[1] * 3) if wanted.ndim == 1 else wanted
        late = (step["t"] >= 998).reshape(-1, 1, 1, 1) & (schedule == "cosine")
        close = np.abs(found - wanted) <= np.where(late, 1e-8, 1e-10) * np.maximum(1.0, np.abs(wanted))
        assert close.all(), (name, np.abs(found - wanted).max())

    equal(made.noised(x0, i, eps), "x_t")
    equal(alpha * x0, "q_mean")
    equal(sigma**2, "q_variance")
    equal(made.mean(x, x0, i), "posterior_mean")
    equal(made.row(made.posterior_variance, i, x), "posterior_variance")
    equal(made.row(made.posterior_log_variance_clipped, i, x), "posterior_log_variance_clipped")
    first = step["t"] == 0  # where x_(t-1) is x0 itself
    process, t = Fixed(alpha, sigma), jnp.ones(())
    x0_hat = of_eps(process, x, t, jnp.asarray(step["eps_model"])).x0
    equal(of_eps(process, x, t, eps).x0, "x0_from_eps")
    equal(of_x0(process, x, t, x0).eps, "eps_from_x0")
    for name, variance in VARIANCES.items():
        log_variance = made.log_variance(variance, x, i, jnp.asarray(step["v_model"]))
        equal(log_variance, f"p_{name}/log_variance")
        if name != "fixed_small":  # there it is 0 at t = 0, the logarithm clipped
            equal(jnp.exp(log_variance), f"p_{name}/variance")
        equal(made.mean(x, x0_hat, i), f"p_{name}/mean")
        equal(made.mean(x, jnp.clip(x0_hat, -1, 1), i), f"p_{name}_clip/mean")
    small = jnp.exp(0.5 * made.log_variance("small", x, i))
    noise = jnp.where(jnp.asarray(first).reshape(-1, 1, 1, 1), 0.0, step["ddim_noise"])
    equal(made.mean(x, x0_hat, i) + small * noise, "ancestral")
    equal(made.mean(x, 0.9 * x0 + 0.05, i), "p_mean_start_x")


def test_respaced_chains_are_the_published_ones() -> None:
    """The tables of the levels kept, by keeping rows of alpha and sigma."""
    names = {name.rsplit("/", 1)[0] for name in RESPACED.files}
    assert len(names) > 5
    for name in names:
        n = int(name.split("/")[0][1:])
        chain = sde_lib.create("discrete", n=n)
        kept = RESPACED[f"{name}/kept"]
        made = ChainTables(*(table[kept] for table in chain.levels(n)))
        np.testing.assert_allclose(made.step_variance, RESPACED[f"{name}/betas"], rtol=1e-11)
        np.testing.assert_allclose(made.alpha**2, RESPACED[f"{name}/alphas_cumprod"], rtol=1e-11)
        clipped = RESPACED[f"{name}/posterior_log_variance_clipped"]
        np.testing.assert_allclose(made.posterior_log_variance_clipped, clipped, rtol=1e-10)


@pytest.mark.parametrize("sde", [VP(), VE(), sde_lib.create("discrete", schedule="cosine")], ids=["vp", "ve", "cosine"])
def test_the_posterior_is_that_of_bayes(sde, x64) -> None:
    """q(x_(i-1) | x_i, x_0) = q(x_i | x_(i-1)) q(x_(i-1) | x_0) / q(x_i | x_0): precisions and their means add up."""
    made = ChainTables.of(sde, 1000)
    precision = made.step_scale**2 / made.step_variance + np.concatenate([[np.inf], made.sigma[:-1] ** -2])
    np.testing.assert_allclose(made.posterior_variance, 1 / precision, rtol=1e-9, atol=0)
    i = jnp.asarray([1, 7, 400, 998, 999])
    x, x0 = jnp.linspace(-1, 2, 5)[:, None], jnp.linspace(2, -2, 5)[:, None]
    a, q2, before, s = (
        made.row(table, i, x) for table in (made.step_scale, made.step_variance, made.alpha_before, made.sigma_before)
    )
    wanted = (a * x / q2 + before * x0 / s**2) / (a**2 / q2 + 1 / s**2)
    np.testing.assert_allclose(made.mean(x, x0, i), wanted, rtol=1e-9)


def test_the_tables_are_float32_safe() -> None:
    """One cast of float64 tables: the mean of the posterior stays within 3e-7 of the float64 one at every level."""
    made, rng = tables("cosine"), np.random.default_rng(0)
    i, (x, x0) = np.arange(1000), rng.normal(size=(2, 1000, 3))
    exact = made.posterior_x0[:, None] * x0 + made.posterior_x[:, None] * x
    found = made.mean(jnp.asarray(x, jnp.float32), jnp.asarray(x0, jnp.float32), jnp.asarray(i))
    assert np.abs(found - exact).max() < 3e-7 * np.abs(exact).max()


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_float32_meets_the_levels_own_numbers(schedule: str) -> None:
    """The rate of a cosine's last interval is 6900, so that a rounded time would err by 5e-5 of alpha there."""
    sde = sde_lib.create("discrete", schedule=schedule)
    t = jnp.asarray((np.arange(1000) + 1) / 1000, jnp.float32)
    for found, table in zip((sde.alpha(t), sde.sigma(t)), sde.levels(1000), strict=True):
        np.testing.assert_allclose(found, table, rtol=2e-6)


@pytest.mark.parametrize(
    ("variance", "message"),
    [("fixed", "'fixed'; allowed are small, large, learned_range, learned"), ("learned", "twice the channels")],
)
def test_refused_variances(variance: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tables("linear", 10_00).log_variance(variance, jnp.ones((1, 2)), jnp.zeros(1, int))
