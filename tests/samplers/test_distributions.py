"""Every sampler reaches a known mixture in distribution, and every corrector leaves one as it is.

The sample is held against exact draws on 24 statistics (`z_scores`), each in units of its own standard error. Keys are
fixed; a correct sampler fails any of the tests' 800 scores with
probability 0.5 %.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from samplers import Settings, State
from sde_lib import VE, VP, AffineSDE, SubVP
from tests.oracles import gaussian, planar, z_scores

SDES = {"vp": VP(), "subvp": SubVP(), "ve": VE(sigma_max=50.0)}
N = 2048
LIMIT = 4.5

METHODS = {
    "euler_maruyama": {"method": "euler_maruyama"},
    "reverse_diffusion": {"method": "reverse_diffusion"},
    "ancestral_small": {"method": "ancestral", "variance": "small"},
    "ancestral_large": {"method": "ancestral", "variance": "large"},
    "flow_euler": {"method": "flow_euler", "flow_steps": 400},
    "flow_heun": {"method": "flow_heun", "flow_steps": 200},
    "pc_langevin": {"method": "pc", "corrector": "langevin", "corrector_norm": "batch", "snr": 0.05},
    "pc_ald": {"method": "pc", "predictor": "euler_maruyama", "corrector": "ald", "snr": 0.05},
    "ode": {"method": "ode"},
}


QUICK = {  # every method once, pc and ode with two processes
    "vp": {"euler_maruyama", "ancestral_large", "flow_euler", "pc_langevin", "ode"},
    "subvp": {"ancestral_small", "pc_ald"},
    "ve": {"reverse_diffusion", "flow_heun", "pc_langevin"},
}
CASES = [
    pytest.param(name, method, marks=[] if method in QUICK[name] else pytest.mark.slow)
    for name in SDES
    for method in METHODS
]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_sampler_reaches_the_mixture(name: str, method: str) -> None:
    """Prior draws end as p_{t_min}, undenoised; float32, 2048 samples, 400 steps (their bias is below the error)."""
    sde, data, t_min = SDES[name], planar(), 1e-3
    settings = Settings(steps=400, t_min=t_min, denoise="none", **METHODS[method])
    sampler = jax.jit(samplers.create(sde, data.score(sde), settings))
    out = samplers.draw(sampler, sde, jax.random.key(11), (N, 2))
    assert out.x.dtype == jnp.float32
    t = jnp.asarray(t_min)
    scores = z_scores(out.x, float(sde.alpha(t)), float(sde.sigma(t)))
    assert np.abs(scores).max() < LIMIT, scores.round(1)


CORRECTORS = {
    "langevin": lambda *a, **k: samplers.langevin(*a, corrector_norm="batch", **k),
    "ald": samplers.annealed_langevin,
}


def corrected(sde: AffineSDE, t: float, corrector: str, false: float = 1.0) -> np.ndarray:
    """z-scores after 600 corrector steps from 8192 exact samples of p_t, with `false` times the score."""
    data, now = planar(), jnp.asarray(t)
    exact = data.score(sde)
    stepper = CORRECTORS[corrector](sde, lambda x, t: false * exact(x, t), snr=0.03, n_steps_each=600)
    x = data.sample_marginal(sde, jax.random.key(21), 8192, t)
    moved = jax.jit(lambda key, x: stepper.step(key, State(x, x), now, 0.999 * now))(jax.random.key(22), x).x
    assert float(jnp.sqrt(jnp.mean((moved - x) ** 2)) / jnp.std(x)) > 0.5, "it hardly moved and shows nothing"
    return z_scores(moved, float(sde.alpha(now)), float(sde.sigma(now)))


CORRECTED = [
    pytest.param(name, t, corrector, marks=[] if (name, corrector) in quick else pytest.mark.slow)
    for quick in [{("vp", "langevin"), ("subvp", "ald"), ("ve", "langevin")}]
    for name, t in [("vp", 0.3), ("subvp", 0.3), ("ve", 0.5)]
    for corrector in CORRECTORS
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "t", "corrector"), CORRECTED)
def test_corrector_leaves_the_marginal_as_it_is(name: str, t: float, corrector: str) -> None:
    scores = corrected(SDES[name], t, corrector)
    assert np.abs(scores).max() < LIMIT, scores.round(1)


@pytest.mark.slow
@pytest.mark.parametrize("corrector", CORRECTORS)
def test_a_score_10_percent_off_would_show(corrector: str) -> None:
    """Langevin with c times the score settles at p^c: what a wrong factor of noise or drift amounts to."""
    assert np.abs(corrected(VP(), 0.3, corrector, false=0.9)).max() > LIMIT


@pytest.mark.parametrize(("d", "n"), [(8, 4096), pytest.param(192, 512, marks=pytest.mark.slow)])
def test_per_sample_langevin_settles_where_its_step_size_says(d: int, n: int) -> None:
    """A step h ~ 1 / |score|^2 leaves p |score|^2: of N(0, v I), variance v (d + 2) / d, 25 % off in 8 dimensions and
    1 % in 192. A step that grew with |z| as well would leave the square of that. Within 4 standard errors and h / v.
    """
    sde, t = VE(), jnp.asarray(0.5)
    data = gaussian(np.zeros(d), 0.5)
    stepper = samplers.langevin(sde, data.score(sde), snr=0.05, n_steps_each=800)
    x = data.sample_marginal(sde, jax.random.key(23), n, t)
    moved = jax.jit(lambda key, x: stepper.step(key, State(x, x), t, 0.999 * t))(jax.random.key(24), x).x
    assert abs(np.corrcoef(np.ravel(x), np.ravel(moved))[0, 1]) < 0.5
    variance = float(jnp.mean(moved**2)) / float(0.5**2 + sde.sigma(t) ** 2)
    assert variance == pytest.approx((d + 2) / d, abs=2 * 0.05**2 + 4 * np.sqrt(2 / (d * n)))
