"""The noise levels of discretely trained networks: the published tables, indices and labels."""

import jax.numpy as jnp
import numpy as np
import pytest

import sde_lib
from sde_lib import LEVEL_LABELS, VE, VP, CosineBeta, NoiseLevels, Plain, SubVP
from tests.oracles import REFERENCE

TABLE = np.load(REFERENCE / "sde.npz")


def test_levels_are_the_published_tables() -> None:
    """Float64, relative 1e-12; the first level of VP is noisier than the SDE at t = 0, and carries sigma 0.01."""
    alpha, sigma = VP().levels(1000)
    np.testing.assert_allclose(alpha**2, TABLE["vp_alphas_cumprod_f64"], rtol=1e-12)
    np.testing.assert_allclose(sigma, TABLE["vp_sqrt_1m_alphas_cumprod_f64"], rtol=1e-10)
    assert sigma[0] == pytest.approx(0.01)
    alpha, sigma = VE().levels(1000)
    np.testing.assert_allclose(sigma, TABLE["ve_discrete_sigmas_f64"], rtol=1e-12)
    assert np.all(alpha == 1.0)


@pytest.mark.parametrize("n", [10, 232, 1000, 2000, 2311])
def test_each_level_is_found_at_its_own_time_in_float32(n: int) -> None:
    """Plain truncation of float32 i / (n - 1) times n - 1 misses 16 of 2000."""
    i = np.arange(n)
    np.testing.assert_array_equal(VP().level_index(jnp.asarray(i / (n - 1), jnp.float32), n), i)


def test_a_level_that_float32_misses_by_a_rounding_is_told_as_that_level() -> None:
    """A network with a row for each level, as GLIDE's CLIP, would else be told a mixture of two; smooth in t it is."""
    i, sde, index = np.arange(1000), sde_lib.create("discrete", schedule="cosine"), LEVEL_LABELS["index"]
    t = jnp.asarray((i + 1) / 1000, jnp.float32)
    np.testing.assert_array_equal(index(NoiseLevels(sde, 1000), t), i)
    np.testing.assert_allclose(index(NoiseLevels(sde, 1000), t + 1e-5), i + 0.01, atol=1e-3)
    assert (index(NoiseLevels(sde, 1000, exact=False), t) != i).any()


@pytest.mark.parametrize("name", ["vp", "ve"])
def test_on_the_published_grid_index_and_labels_are_the_published_ones(name: str, precision: str) -> None:
    t = jnp.asarray(TABLE[f"{name}_grid_t"], precision)
    np.testing.assert_array_equal(VP().level_index(t, 1000), TABLE[f"{name}_grid_index"])
    levels = NoiseLevels({"vp": VP(), "ve": VE()}[name], 1000)
    if name == "ve":
        np.testing.assert_array_equal(LEVEL_LABELS["index_down"](levels, t), TABLE["ve_grid_label_ve"])
    else:
        np.testing.assert_allclose(LEVEL_LABELS["index"](levels, t), 999 * TABLE["vp_grid_t"], rtol=1e-6)


def test_the_score_divides_by_the_sigma_of_the_level_or_by_the_sdes_own() -> None:
    t = jnp.asarray([0.0, 0.25, 1.0])
    x = jnp.ones((3, 2))
    exact, smooth = (
        Plain("eps", "index").predict_fn(NoiseLevels(VP(), 1000, exact=e), lambda x, c: x).score for e in (True, False)
    )
    table = TABLE["vp_sqrt_1m_alphas_cumprod_f64"][[0, 249, 999]]
    np.testing.assert_allclose(exact(x, t), -x / table[:, None], rtol=2e-6)
    np.testing.assert_allclose(smooth(x, t)[1:], -x[1:] / VP().sigma(t[1:])[:, None], rtol=1e-6)


def test_a_network_in_levels_may_keep_a_continuous_label() -> None:
    seen = []
    Plain("eps", "sigma").predict_fn(NoiseLevels(VE(), 10), lambda x, c: seen.append(c) or x)(
        jnp.ones((2, 1)), jnp.asarray([0.5, 1.0])
    )
    np.testing.assert_allclose(seen[0], VE().sigma(jnp.asarray([0.5, 1.0])))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoiseLevels(SubVP(), 1000), r"SubVP has no published chain.*training\.continuous=True"),
        (lambda: NoiseLevels(VE(), 1), "num_scales is 1; .*at least 2"),
        (lambda: NoiseLevels(VP(), 10), "10 noise levels are too few: beta_i reaches 2"),
        (
            lambda: Plain("eps", "index_down").predict_fn(VE(), lambda x, c: x),
            "'index_down', which counts.*t999, sigma",
        ),
        (
            lambda: Plain("eps", "indx").predict_fn(NoiseLevels(VE(), 9), lambda x, c: x),
            "'indx'.*t999.*index, index_down",
        ),
    ],
)
def test_what_has_no_levels_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_cosine_levels_are_those_of_its_betas() -> None:
    """alpha_i^2 = prod (1 - beta_j), multiplied out."""
    alpha, sigma = VP(CosineBeta()).levels(50)
    np.testing.assert_allclose(alpha**2, np.cumprod(1 - CosineBeta().discrete_betas(50)), rtol=1e-10)
    np.testing.assert_allclose(alpha**2 + sigma**2, 1.0, rtol=1e-12)
