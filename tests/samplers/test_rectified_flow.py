"""A process with alpha = 0 at t = 1, of two methods: every sampler begins there, and reaches the closed form."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import inverse
import samplers
from metrics.likelihood import log_likelihood
from samplers import Settings, grids, sample, solve_flow
from sde_lib import GVP, AffineSDE, Flow, Plain
from sde_lib.prediction import NEARLY_NOISE
from tests.oracles import compiled, gaussian
from tests.samplers.reference_solvers import At, Run, solve
from tests.samplers.test_few_steps import DETERMINISTIC
from tests.samplers.test_orders import STOCHASTIC_METHODS, slope, terminal_laws

MEAN, STD, KEY = 0.6, 0.4, jax.random.key(0)
DATA = gaussian(np.array([MEAN]), STD)


@dataclasses.dataclass(frozen=True)
class RectifiedFlow(AffineSDE):
    """x_t = (1 - t) x_0 + t eps (Liu et al. 2022, arXiv:2209.03003); all else is the base's."""

    def alpha(self, t):
        return 1.0 - t

    def sigma(self, t):
        return t


FLOW = RectifiedFlow(t_min=1e-3)
PROCESSES = [FLOW, pytest.param(Flow(), marks=pytest.mark.slow), pytest.param(GVP(), marks=pytest.mark.slow)]


def end_of_flow(z: np.ndarray, t: float, sde: AffineSDE = FLOW) -> np.ndarray:
    """The exact flow takes z from t = 1 to alpha m + sqrt(v) z, v = alpha^2 s^2 + sigma^2."""
    alpha, sigma = float(sde.alpha(jnp.asarray(t))), float(sde.sigma(jnp.asarray(t)))
    return alpha * MEAN + np.sqrt((alpha * STD) ** 2 + sigma**2) * z


def test_all_coefficients_follow_from_the_two(x64) -> None:
    t = jnp.asarray([0.1, 0.4, 0.9])
    np.testing.assert_allclose(FLOW.drift_coefficient(t), -1 / (1 - t), rtol=1e-12)
    np.testing.assert_allclose(FLOW.diffusion(t) ** 2, 2 * t / (1 - t), rtol=1e-12)
    x0, eps = jnp.asarray([[0.3], [1.0], [-2.0]]), jnp.asarray([[1.0], [0.5], [0.2]])
    np.testing.assert_allclose(FLOW.velocity(x0, eps, t), eps - x0, rtol=1e-12)
    kernel = FLOW.transition(0.5 * t, t)
    np.testing.assert_allclose(kernel.scale, (1 - t) / (1 - 0.5 * t), rtol=1e-12)
    np.testing.assert_allclose(kernel.std**2, t**2 - kernel.scale**2 * (0.5 * t) ** 2, rtol=1e-10)
    whole = FLOW.transition(jnp.asarray(0.5), jnp.ones(()))
    assert (float(whole.scale), float(whole.std), float(whole.std_ratio)) == (0.0, 1.0, 0.5)
    assert FLOW.prior_std == 1.0


class ExactAt(At):
    """The exact pair at the (alpha, sigma) of the row that is being run."""

    def __call__(self, x, t):
        return DATA.pair(x, *self.level)


@pytest.mark.slow
@pytest.mark.parametrize("sde", PROCESSES)
def test_every_deterministic_few_step_solver_has_its_order(sde: AffineSDE, x64) -> None:
    """The error's slope between the two finer grids, whose steps but for the first are even in log SNR."""
    z, counts, runs = np.linspace(-2.0, 2.0, 8)[:, None], [48, 96, 192], []
    for make, prediction, options, _ in DETERMINISTIC.values():
        for n in counts:
            model = ExactAt(DATA.gradient)
            runs.append(
                Run(sde, make(sde, model, **options), model, prediction, grids.create(sde, "log_snr", n, 0.2), z)
            )
    ends, exact = iter(solve(runs)), end_of_flow(z, 0.2, sde)
    off = {}
    for solver, (*_, order) in DETERMINISTIC.items():
        errors = [float(np.sqrt(np.mean((next(ends)[-1] - exact) ** 2))) for _ in counts]
        if not (errors[-1] < 0.02 and slope(counts[1:], errors[1:]) > order - 0.35):
            off[solver] = errors, slope(counts[1:], errors[1:])
    assert not off, off


@pytest.mark.parametrize(("make", "order"), [(samplers.flow_euler, 1), (samplers.flow_heun, 2), (samplers.jump, 1)])
@pytest.mark.parametrize("sde", PROCESSES)
def test_flow_methods_have_their_order_from_t_1(sde: AffineSDE, make, order, x64) -> None:
    z, steps = jnp.linspace(-2.0, 2.0, 8)[:, None], [32, 64, 128]
    errors = []
    for n in steps:
        out = sample(make(sde, DATA.predict(sde)), KEY, z, np.linspace(1.0, 0.2, n + 1)).x
        errors.append(float(np.sqrt(np.mean((out - end_of_flow(np.asarray(z), 0.2, sde)) ** 2))))
    assert slope(steps, errors) == pytest.approx(order, abs=0.2) and errors[-1] < 0.01


@pytest.mark.parametrize("method", STOCHASTIC_METHODS)
@pytest.mark.parametrize("sde", PROCESSES)
def test_stochastic_methods_have_weak_order_one_from_t_1(sde: AffineSDE, method: str, x64) -> None:
    """The law at t = 0.2, exactly; the reverse SDE forgets what its first, coarse steps in log SNR do."""
    steps = [100, 200, 400, 800]
    grid_of = [np.linspace(1.0, 0.2, n + 1) for n in steps]
    found = terminal_laws(sde, *STOCHASTIC_METHODS[method], MEAN, STD, grid_of)
    alpha, sigma = float(sde.alpha(jnp.asarray(0.2))), float(sde.sigma(jnp.asarray(0.2)))
    exact = alpha * MEAN, (alpha * STD) ** 2 + sigma**2
    errors = np.abs(np.array(found) - exact)
    for error in errors.T:
        if error[-1] > 1e-10:
            assert slope(steps, error) > 0.8, errors
    assert errors[-1].max() < 0.01, errors


def test_the_adaptive_flow_and_the_likelihood_are_exact_from_t_1(x64) -> None:
    z, x = jnp.linspace(-2.0, 2.0, 8)[:, None], jnp.linspace(-0.5, 1.5, 8)[:, None]
    predict = DATA.predict(FLOW)
    flow = compiled(lambda z: solve_flow(FLOW, predict, z, 1.0, 1e-3, rtol=1e-9, atol=1e-9))(z)
    assert flow.converged.all()
    np.testing.assert_allclose(flow.x, end_of_flow(np.asarray(z), 1e-3), atol=1e-7)
    found = compiled(lambda x: log_likelihood(FLOW, predict, x, probe="exact", rtol=1e-9, atol=1e-9))(x)
    np.testing.assert_allclose(found.nats, DATA.log_marginal(FLOW, x, 1e-3), atol=1e-6)
    assert found.converged.all()


FEW = ("dpmpp_2m", "heun", "pc")
DRAWING = [name for name in samplers.METHODS if name != "renoise"]  # that draws data of an exact map alone
EVERY = [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in DRAWING]


@pytest.mark.parametrize("known", ["predictions", "score", "network"])
@pytest.mark.parametrize("method", EVERY)
def test_every_method_draws_the_data_whatever_the_model_is(method: str, known: str) -> None:
    """4000 samples, 4.5 standard errors and a small allowance for the steps.

    A bare score, and a network that predicts eps, say nothing of x0 at t = 1: both are asked just below it.
    """
    asked = []

    def exact_eps(x, t):
        asked.append(t)
        return DATA.pair(x, FLOW.alpha(t), FLOW.sigma(t)).eps

    models = {
        "predictions": DATA.predict(FLOW),
        "score": DATA.score(FLOW),
        "network": Plain("eps", "t").predict_fn(FLOW, exact_eps),
    }
    settings = Settings(
        method=method, predictor="ancestral", corrector="ald", steps=200, flow_steps=100, evaluations=60
    )
    sampler, n = samplers.create(FLOW, models[known], settings), 4000
    x = np.asarray(compiled(lambda key: samplers.draw(sampler, FLOW, key, (n, 1)).x)(jax.random.key(3)))
    assert np.isfinite(x).all()
    assert abs(x.mean() - MEAN) < 4.5 * STD / np.sqrt(n) + 0.02
    assert abs(x.std() / STD - 1) < 4.5 / np.sqrt(2 * n) + 0.05


def test_what_says_nothing_of_the_data_at_t_1_is_asked_just_below() -> None:
    seen = []

    def network(x, t):
        seen.append(np.asarray(t))
        return x

    x, t = jnp.ones((2, 1)), jnp.asarray([1.0, 0.5])
    Plain("eps", "t").predict_fn(FLOW, network)(x, t)
    Plain("v", "t").predict_fn(FLOW, network)(x, t)
    np.testing.assert_allclose(seen, [[NEARLY_NOISE, 0.5], [1.0, 0.5]], rtol=1e-6)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=pytest.mark.slow) if name != "posterior" else name
        for name, method in inverse.METHODS.items()
        if method.exact
    ],
)
def test_measurements_are_followed_from_t_1(method: str) -> None:
    """The first of two independent numbers is known, and the other stays as the data have it."""
    pair = gaussian(np.full(2, MEAN), STD)
    known = inverse.mask(np.array([True, False]))
    settings = Settings(method="ancestral", steps=60, grid="uniform")
    sampler = inverse.create(FLOW, pair.predict(FLOW), settings, known, method)
    z = jax.random.normal(KEY, (500, 2))
    x = np.asarray(compiled(lambda z: sampler(KEY, z, jnp.asarray([[0.9, 0.0]])).x)(z))
    assert np.isfinite(x).all()
    np.testing.assert_array_equal(x[:, 0], np.float32(0.9))
    assert abs(x[:, 1].mean() - MEAN) < 0.15 and abs(x[:, 1].std() / STD - 1) < 0.25
