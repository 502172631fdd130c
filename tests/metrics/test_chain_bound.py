"""The variational bound: guided-diffusion's arrays, exact likelihoods, and that its terms are all there is."""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import sde_lib
from metrics.chain_bound import normal_noise, progressive_coding, variational_bound
from sde_lib import VE, VP, ChainTables, NoiseLevels, of_score
from tests.oracles import Mixture, compiled, gaussian

REFERENCE = Path(__file__).parents[1] / "reference" / "discrete"
VLB, PROBLEMS = np.load(REFERENCE / "vlb.npz"), json.loads((REFERENCE / "vlb.json").read_text())
VARIANCES = {"fixed_small": "small", "fixed_large": "large", "learned_range": "learned_range"}


def _problem(name: str):
    """sde, n, the model of score and variance, x0, and the noise of a published problem."""
    about = PROBLEMS[name]
    mixture = Mixture(
        np.array(about["mixture"]["weights"]),
        np.array(about["mixture"]["means"]).reshape(-1, *about["shape"]),
        np.array(about["mixture"]["stds"]),
    )
    sde = sde_lib.create("discrete", schedule="table", betas=tuple(VLB[f"{name}/betas"]))
    exact = of_score(NoiseLevels(sde, about["T"]), mixture.score(NoiseLevels(sde, about["T"])))
    x0 = jnp.asarray(VLB[f"{name}/x_uint8"] / 127.5 - 1)
    noise = jnp.asarray(VLB[f"{name}/noise"][::-1].astype(float))
    return sde, lambda x, t: exact(x, t)._replace(variance=0.5 * jnp.cos(2 * x)), x0, lambda i: noise[i]


@pytest.mark.parametrize("name", ["A", "B", pytest.param("C", marks=pytest.mark.slow)])
def test_bounds_are_the_published_ones(name: str, x64) -> None:
    """Every term, the total, and both errors, 1e-8; fixed and learned variances, with and without clipping."""
    sde, model, x0, noise = _problem(name)
    kinds = sorted(
        {key.split("/")[1] for key in VLB.files if key.startswith(f"{name}/") and key.endswith("/total_bpd")}
    )
    assert len(kinds) >= 2
    options = {"half_bin": 1 / 255, "decoder": "published"}

    @compiled
    def bounds(x):
        found = []
        for kind in kinds:
            clip = (-1.0, 1.0) if kind.endswith("_clip") else None
            variance = VARIANCES[kind.removesuffix("_clip")]
            n = PROBLEMS[name]["T"]
            found.append(variational_bound(sde, n, model, x, noise, variance=variance, clip=clip, **options))
        return found

    for kind, found in zip(kinds, bounds(x0), strict=True):
        for column, exact in (("terms", "vb"), ("x0_mse", "xstart_mse"), ("eps_mse", "mse")):
            wanted = VLB[f"{name}/{kind}/{exact}"][:, ::-1]
            np.testing.assert_allclose(getattr(found, column), wanted, rtol=1e-8, atol=1e-10, err_msg=f"{kind} {exact}")
        np.testing.assert_allclose(found.prior, VLB[f"{name}/{kind}/prior_bpd"], rtol=1e-8)
        np.testing.assert_allclose(found.total, VLB[f"{name}/{kind}/total_bpd"], rtol=1e-9)


def _noise(n: int, count: int):
    """Drawn once: the keys of 1000 levels take longer than all the rest."""
    drawn = jnp.asarray(np.random.default_rng(n).normal(size=(n, count, 1)))
    return lambda i: drawn[i]


def _expected_gap(tables: ChainTables, s: float, prior_std: float, log_variance: np.ndarray) -> float:
    """E bound - entropy of N(0, s^2), nats a dimension, by the Gaussians alone: a sum of KLs of the true reverse steps.

    x_(i-1) given x_i is N(m x_i, v); the model has its mean, and another variance w: KL (v/w - 1 - log v/w) / 2.
    """
    before = tables.alpha_before**2 * s**2 + tables.sigma_before**2
    total = tables.alpha**2 * s**2 + tables.sigma**2
    v = before * tables.step_variance / total
    ratio = v / np.exp(log_variance)
    end = total[-1] / prior_std**2
    return 0.5 * (np.sum(ratio - 1 - np.log(ratio)) + end - 1 - np.log(end))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "lengths"),
    [("small", (10, 250)), ("large", (10, 250)), ("step", (10, 50, 250, 1000)), ("true", (10, 250))],
)
def test_on_gaussian_data_the_bound_is_above_the_entropy_by_what_theory_says(kind: str, lengths: tuple, x64) -> None:
    """N(0, 0.25), exact score, cosine chains of 10 to 1000 steps, 2000 draws, 4 standard errors.

    The mean excess over the exact -log p(x_0) of the same draws is at least 0 and equals the sum of divergences of the
    true reverse steps from the model's. With the variances q_i^2 it falls as 1/T; with the true ones it is the prior's
    alone at any T. (The published fixed variances are not meant for continuous data: at level 0 they are cut.)
    """
    s, count, predicted = 0.5, 2000, []
    data = gaussian(np.zeros(1), s)
    x0 = data.sample(jax.random.key(1), count)
    nll = np.asarray(-data.log_density(x0)) / np.log(2)
    for n in lengths:
        sde = sde_lib.create("discrete", schedule="cosine", n=n)
        tables = ChainTables.of(sde, n)
        before = tables.alpha_before**2 * s**2 + tables.sigma_before**2
        log_variance = {
            "small": tables.posterior_log_variance_clipped,
            "large": tables.large_log_variance,
            "step": np.log(tables.step_variance),
            "true": np.log(tables.step_variance * before / (tables.alpha**2 * s**2 + tables.sigma**2)),
        }[kind]
        score = data.score(NoiseLevels(sde, n))

        def model(x, t, sde=sde, n=n, score=score, table=log_variance):
            v = jnp.asarray(table)[sde.level_index(t, n)][:, None]
            return of_score(NoiseLevels(sde, n), score)(x, t)._replace(variance=v)

        noise = _noise(n, count)
        options = (score, kind) if kind in ("small", "large") else (model, "learned")
        bound = partial(variational_bound, sde, n, options[0], variance=options[1], noise=noise)
        excess = np.asarray(compiled(lambda x, bound=bound: bound(x0=x))(x0).total) - nll
        predicted.append(_expected_gap(tables, s, 1.0, log_variance) / np.log(2))
        error = excess.std() / np.sqrt(count)
        assert abs(excess.mean() - predicted[-1]) < 4 * error + 1e-6, (n, excess.mean(), predicted[-1], error)
        assert excess.mean() > -4 * error
    if kind == "step":  # 0.0821, 0.0174, 0.0035, 0.0009
        np.testing.assert_allclose(np.array(predicted[1:]) / predicted[1] * [50, 250, 1000], 50, rtol=0.05)
    assert (max(predicted) < 1e-6) == (kind == "true")


@pytest.mark.slow
def test_on_grey_levels_the_bound_is_above_the_entropy_and_falls_towards_it(x64) -> None:
    """A Gaussian in 17 grey levels, the exact posterior mean over levels as the model: all data there can be.

    Each pixel takes level k with the Gaussian's probability of its bin, so the entropy, 3.67 bits, is a sum; the
    expectation over levels is exact, that over noise is of 30 draws (4 standard errors). The excess at 10, 50, 250 and
    1000 steps: 3.4, 1.5, 0.79, 0.16 bits.
    """
    levels, half = np.linspace(-1, 1, 17), 1 / 16
    edges = np.concatenate([[-np.inf], levels[:-1] + half, [np.inf]])
    p = np.diff(scipy.stats.norm(0.2, 0.4).cdf(edges))
    entropy = -np.sum(p * np.log2(p))
    x0 = jnp.asarray(np.repeat(levels, 30)[:, None])
    points = Mixture(p, levels[:, None], np.zeros(17))
    gaps = []
    for n in (10, 50, 250, 1000):
        sde = sde_lib.create("discrete", beta_max=9.0, n=n)
        noise = _noise(n, len(x0))
        bound = partial(variational_bound, sde, n, points.score(NoiseLevels(sde, n)), noise=noise, half_bin=half)
        total = np.asarray(compiled(lambda x, bound=bound: bound(x0=x))(x0).total).reshape(17, 30)
        error = np.sqrt(np.sum(p**2 * total.var(axis=1) / 30))
        gaps.append(np.sum(p * total.mean(axis=1)) - entropy)
        assert gaps[-1] > -4 * error
    assert np.all(np.diff(gaps) < 0) and gaps[-1] < 0.06 * gaps[0], gaps


@pytest.mark.slow
@pytest.mark.parametrize("sde", [VE(sigma_max=20.0), VP()], ids=["ve", "vp"])
def test_the_published_chains_of_the_sdes_have_a_bound_too(sde, x64) -> None:
    """VE and VP with 200 levels, N(0.3, 0.5^2), 2000 draws: above the exact -log p, and by what theory says."""
    n, s = 200, 0.5
    data, tables = gaussian(np.zeros(1), s), ChainTables.of(sde, n)
    x0 = data.sample(jax.random.key(1), 2000)
    noise = _noise(n, 2000)
    score = data.score(NoiseLevels(sde, n))
    found = compiled(lambda x: variational_bound(sde, n, score, x, noise, variance="large"))(x0)
    excess = np.asarray(found.total + data.log_density(x0) / np.log(2))
    wanted = _expected_gap(tables, s, sde.prior_std, tables.large_log_variance) / np.log(2)
    assert abs(excess.mean() - wanted) < 4 * excess.std() / np.sqrt(2000)


@pytest.mark.parametrize("name", ["A", "B"])
def test_float32_terms_are_the_float64_ones(name: str) -> None:
    """The total within 1e-5 bits/dim; the reference's own float32 run is within 4e-6."""
    sde, model, x0, noise = _problem(name)
    options = {"variance": "learned_range", "half_bin": 1 / 255, "decoder": "published"}
    found = compiled(lambda x: variational_bound(sde, PROBLEMS[name]["T"], model, x, noise, **options))(
        x0.astype(jnp.float32)
    )
    assert found.terms.dtype == jnp.float32
    np.testing.assert_allclose(found.total, VLB[f"{name}/learned_range/total_bpd"], rtol=0, atol=1e-5)


def test_an_examples_noise_is_its_own() -> None:
    """Whatever batch an example is in, and another one at every level."""
    keys, x0 = jax.random.split(jax.random.key(0), 6), jnp.zeros((6, 2, 1))
    draw = compiled(lambda keys, x0: jnp.stack([normal_noise(keys, x0)(jnp.asarray(i)) for i in (0, 1, 2)]))
    whole, part = draw(keys, x0), draw(keys[2:4], x0[2:4])
    np.testing.assert_array_equal(whole[:, 2:4], part)
    assert len(np.unique(whole)) == whole.size


def test_progressive_coding_adds_up_what_is_sent() -> None:
    prior, terms = np.array([0.1, 0.3]), np.array([[1.0, 2.0, 4.0], [3.0, 2.0, 0.0]])
    x0_mse = np.array([[0.0, 0.01, 0.16], [0.02, 0.03, 0.02]])
    curve = progressive_coding(prior, terms, x0_mse, 127.5)
    np.testing.assert_allclose(curve.rate, [0.2, 2.2, 4.2, 6.2])
    np.testing.assert_allclose(curve.distortion, 127.5 * np.sqrt([0.09, 0.02, 0.01, 0.0]))
