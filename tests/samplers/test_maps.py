"""Jumps along the flow, and the samplers that make them: Gaussians, whose exact jump is known, and recorded chains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from samplers import Settings, grids
from samplers.create import grid, stepper_of
from sde_lib import EDM, GVP, VE, VP, Flow, PredictFn, Prediction, jump_fn
from sde_lib.preconditioning import Consistency
from sde_lib.prediction import along

MEAN, STD = 0.7, 0.4
PROCESSES = {"flow": Flow(t_min=1e-3), "gvp": GVP(t_min=1e-3), "vp": VP(), "edm": EDM(t_min=2.5e-5)}


def column(c: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.broadcast_to(c, len(x))[:, None]


def exact(sde, x: jax.Array, t: jax.Array, s: jax.Array) -> jax.Array:
    """The jump of the flow of data N(MEAN, STD^2): deviations from the mean grow with the marginals' own."""
    (a, b), (c, d) = ((sde.alpha(time), sde.sigma(time)) for time in (t, s))
    wide, narrow = jnp.hypot(a * STD, b), jnp.hypot(c * STD, d)
    return column(c, x) * MEAN + column(narrow / wide, x) * (x - column(a, x) * MEAN)


def gaussian(sde) -> PredictFn:
    """A model of the same data that is told where a jump ends: the pair for which a DDIM step is `exact`."""

    def function(x: jax.Array, t: jax.Array, s: jax.Array) -> Prediction:
        alpha, sigma = (column(c, x) for c in (sde.alpha(t), sde.sigma(t)))
        wide = (alpha * STD) ** 2 + sigma**2
        x0, eps = MEAN + alpha * STD**2 * (x - alpha * MEAN) / wide, sigma * (x - alpha * MEAN) / wide
        there, end = exact(sde, x, t, s), [column(c, x) for c in (sde.alpha(s), sde.sigma(s))]
        det = alpha * end[1] - sigma * end[0]  # alpha x0 + sigma eps = x, and the same at s = there
        far = jnp.abs(column(t - s, x)) > 1e-9
        det = jnp.where(far, det, 1.0)
        pair = (end[1] * x - sigma * there) / det, (alpha * there - end[0] * x) / det
        return Prediction(*(jnp.where(far, a, b) for a, b in zip(pair, (x0, eps), strict=True)))

    return PredictFn(sde, function, told_end=True)


@pytest.mark.parametrize("end", [0.3, 0.0])
def test_jumps_along_another_process_are_those_between_the_same_noises(end: float, x64) -> None:
    """A model told of ends along the linear flow, on a circle: also from where alpha is 0, and to data."""
    sde = GVP(t_min=1e-3)
    x, t, s = jax.random.normal(jax.random.key(0), (5, 1)), jnp.linspace(0.5, 1.0, 5), jnp.full(5, end)
    found = jump_fn(sde, along(sde, gaussian(PROCESSES["flow"])))(x, t, s)
    np.testing.assert_allclose(found[:-1], exact(sde, x, t, s)[:-1], rtol=1e-7)
    np.testing.assert_allclose(found[-1], exact(sde, x, t, s)[-1], atol=5e-3)  # asked a little before t = 1


def test_time_0_is_data_on_a_process_whose_noise_there_is_not_0(x64) -> None:
    sde = VE(sigma_min=0.1)
    model = PredictFn(sde, lambda x, t: Prediction(0.5 * x, jnp.ones_like(x)))
    x = jnp.asarray([[2.0], [3.0]])
    np.testing.assert_array_equal(jump_fn(sde, model)(x, jnp.ones(2), jnp.zeros(2)), 0.5 * x)
    np.testing.assert_allclose(jump_fn(sde, model)(x, jnp.ones(2), jnp.full(2, 1e-9)), 0.5 * x + 0.1, rtol=1e-6)


@pytest.mark.parametrize("name", PROCESSES)
def test_jumps_of_the_exact_flow_compose(name: str, x64) -> None:
    """From t to s to r and from t to r; a model that is told ends, and whose limit the solvers follow, makes both."""
    sde, key = PROCESSES[name], jax.random.key(0)
    model = gaussian(sde)
    jump = jump_fn(sde, model)
    x = jax.random.normal(key, (5, 1))
    t, s, r = (jnp.full(5, time) for time in (1.0, 0.4, 0.0))
    whole = jump(x, t, r)
    np.testing.assert_allclose(jump(jump(x, t, s), s, r), whole, rtol=1e-9)
    np.testing.assert_allclose(whole, exact(sde, x, t, r), rtol=1e-9)
    np.testing.assert_allclose(jump(x, s, s), x, rtol=1e-9)
    flow = samplers.solve_flow(sde, model, exact(sde, x, t, s), 0.4, 0.1, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(flow.x, exact(sde, x, t, jnp.full(5, 0.1)), rtol=1e-6)


@pytest.mark.parametrize("name", ["flow", "edm"])
@pytest.mark.parametrize("evaluations", [1, 2, 4])
def test_maps_reach_the_data_in_any_number_of_steps(name: str, evaluations: int) -> None:
    """The exact jumps carry the prior to the data, 4096 draws of it: mean within 5, deviation within 7 % (3 errors)."""
    sde = PROCESSES[name]
    for method in ("jump", "renoise"):
        draw = samplers.create(sde, gaussian(sde), Settings(method=method, evaluations=evaluations))
        out = samplers.draw(draw, sde, jax.random.key(1), (4096, 1))
        assert int(out.evaluations[0]) == evaluations
        assert float(jnp.mean(out.x)) == pytest.approx(MEAN, abs=0.02)
        assert float(jnp.std(out.x)) == pytest.approx(STD, rel=0.035)


def test_a_jump_of_any_other_model_is_a_ddim_step(x64) -> None:
    sde = PROCESSES["vp"]
    plain = gaussian(sde).function
    model = PredictFn(sde, lambda x, t: plain(x, t, t))
    z, settings = jax.random.normal(jax.random.key(2), (3, 2)), {"evaluations": 6, "grid": "uniform", "denoise": "none"}
    ours, ddim = (
        samplers.create(sde, model, Settings(method=method, **settings))(jax.random.key(3), z).x
        for method in ("jump", "ddim")
    )
    np.testing.assert_allclose(ours, ddim, rtol=1e-9)


def test_grids_of_maps_end_in_data_or_at_t_min() -> None:
    """A grid has as many steps as evaluations, and `given` names those between by their noise (80, 0.821, 0)."""
    sde = PROCESSES["edm"]
    for denoise, last in (("tweedie", 0.0), ("none", sde.t_min)):
        given = {"grid": "given", "grid_noise": (0.821,), "t_min": sde.t_min, "denoise": denoise}
        settings = Settings(method="renoise", evaluations=2, **given)
        times = grid(sde, stepper_of(sde, gaussian(sde), settings), settings)
        np.testing.assert_allclose(80.0 * times, [80.0, 0.821, 80.0 * last], rtol=1e-6)
    with pytest.raises(ValueError, match="are 1 times between its ends, which is 2 steps, and needed are 3"):
        grids.create(sde, "given", 3, sde.t_min, noise=(0.821,))
    with pytest.raises(ValueError, match=r"fall from below 80 to above 0\.002"):
        grids.create(sde, "given", 3, sde.t_min, noise=(0.5, 0.821))


def test_a_consistency_model_is_the_identity_at_sigma_min(x64) -> None:
    """f of its boundary scalings; the pair (x0, eps) is on x, and its jump to sigma_min is f."""
    sde, of = PROCESSES["edm"], Consistency()
    x, output = jax.random.normal(jax.random.key(4), (2, 4, 3))
    predict = of.predict_fn(sde, lambda x, c_noise: output)
    t, least = jnp.array([1.0, 0.1, 1e-3, of.sigma_min / 80.0]), jnp.full(4, of.sigma_min / 80.0)
    x0, eps, _ = predict(x, t)
    sigma = 80.0 * t[:, None]
    np.testing.assert_allclose(x0 + sigma * eps, x, rtol=1e-9)
    f = of.c_skip(sigma) * x + of.c_out(sigma) * output
    np.testing.assert_allclose(jump_fn(sde, predict)(x, t, least), f, rtol=1e-9)
    np.testing.assert_allclose(f[-1], x[-1], rtol=1e-12)


@pytest.mark.parametrize("name", ["flow", "gvp", "edm"])
def test_a_model_serves_every_process(name: str, x64) -> None:
    """Its prediction along another process is the closed form there."""
    sde, source = PROCESSES[name], VP()
    plain = gaussian(source).function
    there = along(sde, PredictFn(source, lambda x, t: plain(x, t, t)))
    t = jnp.array([0.02, 0.3, 0.6])
    x = 0.9 * column(jnp.hypot(sde.alpha(t), sde.sigma(t)), jnp.zeros((3, 1)))
    wanted = gaussian(sde)(x, t)
    for found, known in zip(there(x, t)[:2], wanted[:2], strict=True):
        np.testing.assert_allclose(found, known, rtol=1e-6)
    assert along(source, gaussian(source)).told_end
