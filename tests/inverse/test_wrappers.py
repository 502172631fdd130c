"""Every method around every kind of sampler: what is known stays, the rest is denoised, and one compilation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import inverse
import samplers
from inverse.steps import placed
from samplers import Settings, State, grids, sample
from samplers.methods import SOLVERS
from sde_lib import VE, VP, NoiseLevels, SubVP
from tests.inverse.gaussian import slow_but
from tests.oracles import compiled, gaussian

KEY = jax.random.key(0)
SDES = {"vp": VP(), "subvp": SubVP(), "ve": VE()}
RNG = np.random.default_rng(0)
SHAPE = (2, 4, 3)
MEAN = RNG.normal(size=SHAPE)
KNOWN = np.zeros(SHAPE[:2], bool)
KNOWN[0] = True
MASK = inverse.mask(KNOWN)
METHODS = tuple(name for name, method in inverse.METHODS.items() if method.exact)
SMALL = {"repaint": {"resamplings": 2, "jump": 2}, "posterior": {"iterations": 2}}


OTHERS = {"grey": inverse.grey(), "downsample": inverse.downsample(2), "blur": inverse.blur(0.5)}
MOVED = ("ddim", "dpmpp_2m", "unipc_3", "dpmpp_3s", "dpm_2", "heun")


def prior(sde, n: int, key: int = 1) -> jax.Array:
    return sde.prior_sample(jax.random.key(key), (n, *SHAPE))


def known_images(n: int, key: int = 2) -> jax.Array:
    return jnp.asarray(MEAN, jnp.float32) + jax.random.normal(jax.random.key(key), (n, *SHAPE))


def sampler_of(sde, wrapper: str, *, std: float = 1.0, measurement=MASK, score=None, **settings):
    settings = Settings(**({"steps": 6, "flow_steps": 6, "evaluations": 7} | settings))
    score = score or gaussian(MEAN, std).score(sde)
    return compiled(inverse.create(sde, score, settings, measurement, wrapper, **SMALL.get(wrapper, {})))


RUNS = {
    "euler_maruyama": {"method": "euler_maruyama"},
    "ancestral": {"method": "ancestral"},
    "reverse_diffusion": {"method": "reverse_diffusion"},
    "pc": {"method": "pc"},
    "corrector alone": {"method": "pc", "predictor": "none", "corrector": "ald"},
    "ddim": {"method": "ddim"},
    "dpmpp_2m": {"method": "dpmpp_2m"},
    "unipc_3": {"method": "unipc_3"},
    "dpmpp_3s": {"method": "dpmpp_3s", "evaluations": 9},
    "heun": {"method": "heun", "s_churn": 1.0},
    "flow_heun": {"method": "flow_heun"},
    "published": {"method": "ancestral", "grid": "published", "denoise": "mean"},
    "ode": {"method": "ode", "rtol": 1e-2, "atol": 1e-2},
}
MULTISTEP = {name for name in SOLVERS if not SOLVERS[name](VP(), lambda x, t: x).one_step}
QUICK = {
    ("vp", "replacement", "heun"),
    ("subvp", "repaint", "dpmpp_3s"),
    ("ve", "consistent", "ode"),
    ("vp", "dps", "unipc_3"),
}


def runs() -> list:
    """Every method around every sampler for VP; some samplers for the other SDEs too."""
    every = [(s, m, r) for s in SDES for m in METHODS for r in RUNS if s == "vp" or r in ("ancestral", "heun", "ode")]
    every += [case for case in QUICK if case not in every]
    every = [case for case in every if not (case[2] == "ode" and inverse.METHODS[case[1]].wraps == "stepper")]
    every = [case for case in every if not (case[1] == "repaint" and RUNS[case[2]]["method"] in MULTISTEP)]
    return [pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow]) for case in every]


@pytest.mark.parametrize(("sde", "method", "name"), runs())
def test_what_is_known_stays_bit_for_bit(sde: str, method: str, name: str) -> None:
    y = known_images(3)
    out = sampler_of(SDES[sde], method, **RUNS[name])(KEY, prior(SDES[sde], 3), y)
    np.testing.assert_array_equal(out.x[:, 0], y[:, 0])
    assert np.all(np.isfinite(out.x)) and np.all(out.x[:, 1] != y[:, 1])


@pytest.mark.parametrize("method", slow_but("repaint dps", {name: name for name in METHODS}))
def test_one_compilation_the_evaluations_made_and_no_neighbours(method: str) -> None:
    """Other keys, images and masks are the same program; forward passes are counted as the device makes them."""
    made, traces, sde, n = [], [], SDES["vp"], 3
    exact = gaussian(MEAN, 1.0).score(sde)

    def score(x, t):
        traces.append(1)
        jax.debug.callback(lambda: made.append(1))
        return exact(x, t)

    settings = Settings(**RUNS["ancestral"], steps=6)
    sampler = compiled(inverse.create(sde, score, settings, MASK, method, **SMALL.get(method, {})))
    z, y = prior(sde, n), known_images(n)
    first = jax.block_until_ready(sampler(KEY, z, y, MASK))
    jax.effects_barrier()
    assert len(made) == int(first.evaluations[0])
    wanted = {"dps": 13, "mcg": 13, "repaint": 6 + 2 * 2 + 1}.get(method, 7)
    assert len(made) == wanted
    before = len(traces)
    others = sampler(KEY, z.at[1:].multiply(3.0), y.at[1:].add(1.0), MASK)
    np.testing.assert_array_equal(others.x[0], first.x[0])
    assert np.all(others.x[1:, 1] != first.x[1:, 1])
    elsewhere = sampler(jax.random.key(1), z, y, inverse.mask(~KNOWN))
    np.testing.assert_array_equal(elsewhere.x[:, 1], y[:, 1])
    assert len(traces) == before


@pytest.mark.slow
@pytest.mark.parametrize("measurement", OTHERS.values(), ids=OTHERS)
def test_other_measurements_agree_in_the_end(measurement) -> None:
    sde, y = SDES["vp"], measurement.apply(known_images(2))
    out = sampler_of(sde, "replacement", measurement=measurement, method="ddim")(KEY, prior(sde, 2), y)
    np.testing.assert_allclose(measurement.apply(out.x), y, atol=2e-6)


@pytest.mark.parametrize(
    ("method", "denoise"),
    slow_but("replacement_mean", {f"{m}_{d}": (m, d) for m in METHODS[:3] for d in ("mean", "tweedie")}),
)
def test_what_is_unknown_is_denoised(method: str, denoise: str) -> None:
    """Data of deviation 1e-3: the unknown part strays no further than an unconditional sample does.

    Both ways to leave the last noise out, 60 steps; of 256 x 12 numbers the deviation has a standard error of 1.3 %.
    """
    sde = SDES["vp"]
    common = {"method": "ancestral", "steps": 60, "denoise": denoise, "variance": "large"}
    alone = samplers.create(sde, gaussian(MEAN, 1e-3).score(sde), Settings(**common))
    plain = compiled(alone)(KEY, prior(sde, 256)).x - MEAN
    out = sampler_of(sde, method, std=1e-3, **common)(KEY, prior(sde, 256), jnp.asarray(MEAN[None], jnp.float32))
    assert float(jnp.std(out.x[:, 1] - MEAN[1])) < 1.05 * float(jnp.std(plain[:, 1])) < 0.1


STEPPERS: dict = {
    "euler_maruyama": samplers.euler_maruyama,
    "heun": samplers.heun,
    "dpmpp_3s": SOLVERS["dpmpp_3s"],
    "churned": lambda *a: samplers.euler(*a, churn=samplers.Churn(s_churn=2.0)),
}


@pytest.mark.parametrize("name", slow_but("dpmpp_3s", {name: name for name in [*STEPPERS, "grey"]}))
def test_what_replaces_is_the_noised_measurement(name: str) -> None:
    """A x is N(alpha_s y, sigma_s^2 A A^T) where each step ends, drawn anew; 4096 samples, 5 standard errors."""
    sde, n, times = SDES["subvp"], 4096, np.array([1.0, 0.8, 0.55, 0.5, 0.2, 0.1, 0.05])
    measurement = inverse.grey() if name == "grey" else MASK
    y = measurement.apply(jnp.asarray(MEAN[None], jnp.float32))
    score = lambda x, t: -x  # noqa: E731
    stepper = STEPPERS.get(name, samplers.ddim)(sde, score)
    wrapped = inverse.replacement(stepper, sde, score, measurement, y)
    path = compiled(lambda z: sample(wrapped, KEY, z, times, trajectory=True).trajectory)(prior(sde, n))
    reached = [0.5, 0.1, 0.05] if name == "dpmpp_3s" else times[1:]  # steps of 3, 2 and 1 points of the grid
    assert len(path) == len(reached) + 1
    size = np.sqrt(0.299**2 + 0.587**2 + 0.114**2) if name == "grey" else 1.0
    white = []
    for x, t in zip(path[1:], reached, strict=True):
        alpha, sigma = float(sde.alpha(jnp.asarray(t))), float(sde.sigma(jnp.asarray(t)))
        seen = np.asarray(measurement.apply(x) - alpha * y, np.float64)
        white.append((seen if name == "grey" else seen[:, 0]).reshape(n, -1) / (sigma * size))
    for u in white:
        assert abs(u.mean()) < 5 / np.sqrt(u.size) and abs(u.var() - 1) < 5 * np.sqrt(2 / u.size)
    assert abs(np.mean(white[0] * white[1])) < 5 / np.sqrt(white[0].size)


def test_places_of_a_chain_of_levels() -> None:
    """Rows lead to the levels' own sigma; the last time 0 is data, the one before it the cleanest level."""
    sde = VP()
    times = grids.create(sde, "levels", 100, 0.1)
    place, _ = placed(samplers.ancestral(sde, lambda x, t: x, discretization=100), NoiseLevels(sde, 100), times)
    np.testing.assert_allclose(place.sigma, [*sde.levels(100)[1][98::-1], 0.0], rtol=1e-6)
    np.testing.assert_allclose(place.t, np.arange(99, -1, -1) / 99, atol=1e-12)
    place, _ = placed(samplers.heun(VE(), lambda x, t: x), VE(), np.array([1.0, 0.5, 0.0]))
    assert place.ends.tolist() == [0.0, 1.0, 1.0] and place.begins.tolist() == [1.0, 0.0, 1.0]
    assert place.sigma[-1] == 0.0 and place.alpha[-1] == 1.0


@pytest.mark.parametrize("name", slow_but("unipc_3 heun", {name: name for name in MOVED}))
def test_a_moved_sample_stays_moved(name: str, x64) -> None:
    """Where the answers are constant, a shift at level s is carried to r: times sigma_r / sigma_s with constant x0,
    alpha_r / alpha_s with constant eps. Also where the method keeps more than the sample (UniPC's base lags a step).
    """
    sde, times, x0 = SDES["subvp"], grids.create(VP(), "uniform", 6, 0.1), name not in ("dpm_2", "heun")

    def score(x, t):
        alpha, sigma = sde.alpha(t)[:, None], sde.sigma(t)[:, None]
        return (alpha * 0.3 - x) / sigma**2 if x0 else -0.3 * jnp.ones_like(x) / sigma

    stepper = SOLVERS[name](sde, score)
    plan = stepper.plan(times)
    at = plan.ends[1]

    def shifted(key, state, i, row):
        state = stepper.step(key, state, *row)
        moved = stepper.place(state, state.x + 1.0, *row)
        return jax.tree.map(lambda a, b: jnp.where(i == at, a, b), moved, state)

    calls = np.arange(len(jax.tree.leaves(plan.rows)[0]))
    other = dataclasses.replace(
        stepper, step=shifted, plan=lambda times: plan._replace(rows=(calls.astype(float), plan.rows))
    )
    z = jnp.zeros((1, 2))
    ends = [compiled(lambda z, s=s: sample(s, KEY, z, times).x)(z) for s in (stepper, other)]
    size = sde.sigma if x0 else sde.alpha
    begin, end = (float(size(jnp.asarray(t))) for t in (plan.reached(times)[1], times[-1]))
    np.testing.assert_allclose(ends[1] - ends[0], end / begin, rtol=1e-9)


@pytest.mark.parametrize("name", slow_but("heun", {name: name for name in ("heun", "ddim")}))
def test_dps_takes_the_gradient_where_the_step_began(name: str, x64) -> None:
    """x_s - zeta grad |y - A x0(x_t)| against a closed form: x0 = x / alpha, so that the gradient is -A^T r / |r|."""
    sde, times = SDES["vp"], np.array([0.8, 0.5, 0.2])
    stepper, y = SOLVERS[name](sde, lambda x, t: 0.0 * x), jnp.asarray(MEAN[None])
    wrapped = inverse.dps(stepper, sde, lambda x, t: 0.0 * x, MASK, y, zeta=0.25)
    start = jnp.asarray(RNG.normal(size=(2, *SHAPE)))
    path = np.asarray(compiled(lambda x: sample(wrapped, KEY, x, times, trajectory=True).trajectory)(start))
    alpha = [float(sde.alpha(jnp.asarray(t))) for t in times]
    for i in range(2):
        r = np.where(KNOWN[..., None], MEAN - path[i] / alpha[i], 0.0)
        r = r / np.sqrt((r**2).sum((1, 2, 3), keepdims=True))
        moved = path[i] * alpha[i + 1] / alpha[i] + 0.25 * r / alpha[i]
        np.testing.assert_allclose(path[i + 1], moved, rtol=1e-9, atol=1e-12)


def test_dps_at_the_measurement_itself_stays() -> None:
    """Where the residual is 0 its length has no gradient: a step of 0, not NaN."""
    sde, x = SDES["vp"], jnp.zeros((2, *SHAPE))
    wrapped = inverse.dps(samplers.ddim(sde, lambda x, t: 0.0 * x), sde, lambda x, t: 0.0 * x, MASK, x)
    np.testing.assert_array_equal(sample(wrapped, KEY, x, np.array([0.8, 0.5])).x, x)


def test_the_mean_is_replaced_without_noise(x64) -> None:
    sde, y = SDES["ve"], jnp.asarray(MEAN[None])
    noisy = samplers.Stepper(lambda key, state, t, s: State(state.x + 1.0, state.x - 1.0), evaluations=0)
    wrapped, times = inverse.replacement(noisy, sde, lambda x, t: x, MASK, y), np.array([0.5, 0.4])
    out = compiled(lambda x: sample(wrapped, KEY, x, times, noiseless_end=True))(0.0 * y)
    np.testing.assert_array_equal(out.x[0, 0], MEAN[0])
    np.testing.assert_array_equal(out.x[0, 1], -np.ones(SHAPE[1:]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "inpaint"}, r"method is 'inpaint'; known are replacement, repaint, consistent"),
        ({"method": "dps", "eta": 1.0}, r"'dps' has no option 'eta'; known are zeta"),
        ({"method": "consistent", "zeta": 1.0}, r"'consistent' has no option 'zeta'; known are none"),
        ({"method": "replacement", "measurement": inverse.grey(noise=0.1)}, r"exact measurements, and noise is 0\.1"),
        ({"method": "repaint", "measurement": inverse.grey(noise=0.1)}, r"exact measurements, and noise is 0\.1"),
        ({"method": "mcg", "measurement": inverse.grey(noise=0.1)}, r"exact measurements, and noise is 0\.1"),
        ({"method": "consistent", "measurement": inverse.grey(noise=0.1)}, r"exact measurements, and noise is 0\.1"),
        ({"method": "dps", "sampler": "ode"}, r"between steps, and sampling\.method 'ode' has none; use consistent"),
        ({"method": "repaint", "sampler": "dpmpp_2m"}, r"answers of earlier ones"),
        ({"method": "repaint", "sampler": "unipc_2"}, r"answers of earlier ones"),
        ({"method": "repaint", "resamplings": 0}, r"resamplings is 0.*at least 1"),
        ({"method": "repaint", "jump": 1000}, r"jump is 1000 and the grid has 1000 steps"),
        ({"method": "dps", "zeta": 0.0}, r"zeta is 0\.0"),
        ({"method": "posterior", "iterations": 0}, r"iterations is 0.*at least 1"),
        ({"method": "pigdm", "data_std": 0.0}, r"data_std is 0\.0.*above 0"),
        ({"method": "dps", "start": 0.0}, r"starts at 0\.0 and ends at t_min"),
    ],
)
def test_errors_come_before_tracing(options: dict, message: str) -> None:
    def score(x, t):
        raise AssertionError("traced")

    settings = Settings(method=options.pop("sampler", "ancestral"))
    with pytest.raises(ValueError, match=message) as error:
        inverse.create(VP(), score, settings, options.pop("measurement", MASK), **options)
    assert "\n" not in str(error.value)


def test_wrong_shapes_and_traced_grids_are_refused() -> None:
    sde, score = SDES["vp"], lambda x, t: -x
    sampler = inverse.create(sde, score, Settings(method="euler_maruyama", steps=2), MASK, "consistent")
    with pytest.raises(ValueError, match=r"y has shape \(2, 2, 4, 1\); that of x \(2, 2, 4, 3\) has \(2, 2, 4, 3\)"):
        sampler(KEY, jnp.zeros((2, *SHAPE)), jnp.zeros((2, 2, 4, 1)))
    with pytest.raises(ValueError, match=r"covariance is 'row'; allowed are exact, identity"):
        inverse.posterior_score(sde, score, MASK, jnp.zeros((1, *SHAPE)), covariance="row")
    wrapped = inverse.replacement(samplers.euler_maruyama(sde, score), sde, score, MASK, jnp.zeros((1, *SHAPE)))
    with pytest.raises(ValueError, match="traced array"):
        jax.jit(lambda times: sample(wrapped, KEY, jnp.zeros((2, *SHAPE)), times).x)(jnp.linspace(1.0, 0.1, 4))
