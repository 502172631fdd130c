"""The learned schedule: rising whatever its numbers are, and a process like any other."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sde_lib
from sde_lib import LearnedVP
from sde_lib.learned import learned_vp
from tests.oracles import compiled


def random_schedule(seed: int, *, t_min: float = 1e-5, ends: tuple[float, float] = (-13.3, 5.0)) -> LearnedVP:
    """Numbers far from the initial ones: steep and flat features, heavy and light ones."""
    rng = np.random.default_rng(seed)
    sde = learned_vp(features=32, t_min=t_min, gamma_min=ends[0], gamma_max=ends[1])
    steep = rng.uniform(1.0, 40.0, 32)
    drawn = {"l1": -3.0, "l2": steep, "bias": -steep * rng.uniform(-0.1, 1.1, 32), "l3": 4.0 * rng.normal(size=32)}
    drawn = {name: np.asarray(value, np.float32) for name, value in drawn.items()}
    return sde.with_parameters(sde.numbers | drawn)


TIMES = [1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.3, 0.5, 0.9, 0.999, 1.0]
SDES = {"linear": learned_vp(features=0), "trained": random_schedule(0)}
every_sde = pytest.mark.parametrize("sde", list(SDES.values()), ids=list(SDES))


@every_sde
def test_its_coefficients_follow_from_its_marginal(sde: LearnedVP, x64: None) -> None:
    """f = d/dt log alpha, g^2 = d/dt sigma^2 - 2 f sigma^2, the rate that of log SNR, by automatic differentiation."""

    def both(t: jax.Array) -> tuple[tuple, tuple]:
        f, rise = jax.grad(lambda t: jnp.log(sde.alpha(t)))(t), jax.grad(lambda t: sde.sigma(t) ** 2)(t)
        ours = sde.drift_coefficient(t), sde.diffusion(t) ** 2, sde.rate(t), sde.alpha(t) ** 2 + sde.sigma(t) ** 2
        return ours, (f, rise - 2 * f * sde.sigma(t) ** 2, -jax.grad(sde.log_snr)(t), jnp.ones_like(t))

    for ours, exact in zip(*compiled(jax.vmap(both))(jnp.asarray(TIMES)), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-9)


@every_sde
def test_its_transitions_compose_to_its_marginal(sde: LearnedVP, x64: None) -> None:
    s, u, t = (jnp.asarray(v) for v in ([1e-5, 0.1, 0.5, 0.0], [2e-5, 0.4, 0.5001, 0.3], [3e-5, 1.0, 0.5002, 1.0]))
    run = compiled(
        lambda: (*(sde.transition(*pair) for pair in ((s, u), (u, t), (s, t))), sde.alpha(jnp.stack([s, t])))
    )
    first, second, whole, alpha = run()
    np.testing.assert_allclose(first.scale * second.scale, whole.scale, rtol=1e-12)
    np.testing.assert_allclose((second.scale * first.std) ** 2 + second.std**2, whole.std**2, rtol=1e-11)
    np.testing.assert_allclose(first.std_ratio * second.std_ratio, whole.std_ratio, rtol=1e-12)
    np.testing.assert_allclose(whole.scale, alpha[1] / alpha[0], rtol=1e-12)
    variance = -np.expm1(2 * np.log(alpha))
    np.testing.assert_allclose(whole.std**2, variance[1] - whole.scale**2 * variance[0], rtol=1e-9, atol=1e-15)


@every_sde
def test_float32_is_accurate_at_both_ends_and_for_close_times(sde: LearnedVP) -> None:
    """Rounding gamma = -13.3 costs 5e-7 of its exponential; differences of gamma must cost no more."""
    t = jnp.asarray(TIMES, "float32")

    def numbers(s, t):
        k = sde.transition(s, t)
        return sde.alpha(t), sde.sigma(t), sde.diffusion(t), k.scale, k.std, k.std_ratio, sde.log_snr(t)

    s = jnp.stack([t * jnp.float32(1 - gap) for gap in (0.5, 1e-2, 1e-5)])
    t = jnp.broadcast_to(t, s.shape)
    low = compiled(numbers)(s, t)
    with jax.enable_x64(True):
        high = compiled(numbers)(*(jnp.asarray(np.asarray(u, np.float64)) for u in (s, t)))
    for a, b in zip(low, high, strict=True):
        assert a.dtype == jnp.float32 and b.dtype == jnp.float64
        np.testing.assert_allclose(a, b, rtol=5e-6, atol=2e-6 if b is high[-1] else 0.0)


def test_gamma_rises_between_its_ends_for_any_numbers() -> None:
    t = jnp.linspace(0.0, 1.0, 1001)
    numbers = compiled(lambda sde: (sde.gamma(t), sde.rate(t), sde.gamma_difference(t[:-1], t[1:])))
    furthest = 0.0
    for seed in range(20):
        gamma, rate, difference = numbers(random_schedule(seed, ends=(-9.0, 4.0)))
        np.testing.assert_allclose(gamma[jnp.array([0, -1])], [-9.0, 4.0], rtol=1e-6)
        assert np.all(np.diff(gamma) >= 0) and np.all(rate > 0) and np.all(difference > 0)
        furthest = max(furthest, np.abs(gamma - np.linspace(-9.0, 4.0, 1001)).max())
    assert furthest > 1.0  # others than the initial one


def test_it_starts_linear_and_without_features_stays_so(x64) -> None:
    t = jnp.linspace(0.0, 1.0, 101)
    linear = -13.3 + 18.3 * t
    np.testing.assert_allclose(learned_vp(features=0).gamma(t), linear, rtol=1e-12)
    for features, atol in ((16, 0.02), (1024, 1e-3)):
        gamma = compiled(lambda sde: sde.gamma(t))(learned_vp(features=features))
        np.testing.assert_allclose(gamma, linear, atol=atol)
    assert set(learned_vp(features=0).parameters) == {"gamma_min", "gamma_range"}
    assert learned_vp(features=0).interior == () and learned_vp().interior == ("l1", "l2", "bias", "l3")
    fixed = learned_vp(learned=False)
    assert fixed.parameters == {} and fixed.interior == () and fixed.with_parameters({"l1": 3.0}) is fixed


def test_it_is_a_pytree_for_jit_and_equal_to_itself_alone() -> None:
    sde, t = random_schedule(3), jnp.linspace(0.1, 1.0, 5)
    by_argument = compiled(lambda sde, t: sde.sigma(t))
    np.testing.assert_allclose(by_argument(sde, t), compiled(sde.sigma)(t), rtol=1e-6)
    other = sde.with_parameters(sde.numbers | {"gamma_min": np.float32(-3.0)})
    assert not np.allclose(by_argument(other, t), by_argument(sde, t))
    assert sde == sde and sde != dataclasses.replace(sde) and len({sde, dataclasses.replace(sde)}) == 2
    slopes = compiled(jax.grad(lambda numbers: jnp.sum(sde.with_parameters(numbers).sigma(t))))(sde.parameters)
    assert set(slopes) == set(sde.numbers) and all(np.any(np.asarray(g) != 0) for g in slopes.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma_min": 5.0, "gamma_max": -13.3}, r"gamma_min 5\.0, gamma_max -13\.3.*gamma_min < gamma_max"),
        ({"features": 4}, r"features 4; needed are 16 or more"),
        ({"feature": 4}, r"'feature'.*features, gamma_max, gamma_min, learned, t_min"),
        ({"t_min": 0.0}, r"t_min is 0\.0"),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sde_lib.create("vdm", **options)
