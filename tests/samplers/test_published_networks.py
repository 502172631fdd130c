"""Chains, ODE samples and likelihoods of the published code with its networks, images N, C, H, W in the arrays."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from samplers import solve_flow
from sde_lib import VE, VP, AffineSDE, Plain, PredictFn, SubVP
from tests.models.published_weights import load_network
from tests.oracles import REFERENCE, compiled
from tests.samplers.recorded import noise

STEPS, ODE, LIKELIHOOD = (dict(np.load(REFERENCE / f"{name}.npz")) for name in ("steps", "ode", "likelihood"))
CHAINS, ODE_CASE, LIKELIHOOD_CASE = (
    json.loads((REFERENCE / f"{name}.json").read_text()) for name in ("steps", "ode", "likelihood")
)

CHAINS = CHAINS["chains"]


def nhwc(x: np.ndarray, dtype: str = "float32") -> jax.Array:
    return jnp.moveaxis(jnp.asarray(x, dtype), -3, -1)


def nchw(x: jax.Array) -> np.ndarray:
    return np.moveaxis(np.asarray(x), -1, -3)


def published(name: str, network_name: str) -> tuple[AffineSDE, PredictFn]:
    """The process and its predictions: the score is -output / std at 999 t, of VE the output itself at sigma."""
    network, ema, _, config = load_network(network_name)
    if name == "ve":
        sde = VE(config["model"]["sigma_min"], float(config["model"]["sigma_max"]))
        return sde, Plain("score", "sigma").predict_fn(sde, lambda x, c: network.apply(ema, x, c))
    sde = {"vp": VP(), "subvp": SubVP()}[name]
    return sde, Plain("eps", "t999").predict_fn(sde, lambda x, c: network.apply(ema, x, c))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "ve"])
def test_chain(name: str) -> None:
    """Eight steps of the published sampler in float32: Euler-Maruyama (VP), Langevin and reverse diffusion (VE)."""
    case = CHAINS[f"pcnet_{name}"]
    sde, traced = published(name, case["network"])
    fast, n = jax.jit(traced), case["N"]

    def score(x, t):
        with jax.disable_jit(False):
            return fast(x, t)

    stepper = samplers.euler_maruyama(sde, score)
    if name == "ve":
        predictor = samplers.reverse_diffusion(sde, score, discretization=n)
        corrector = samplers.langevin(sde, score, snr=case["snr"], corrector_norm="batch", discretization=n)
        stepper = samplers.predictor_corrector(predictor, corrector)
    draws = STEPS[f"pcnet_{name}_z"]
    state = stepper.init(sde.prior_std * nhwc(STEPS[f"pcnet_{name}_zprior"]))
    with noise([nhwc(z) for z in draws.reshape(-1, *draws.shape[2:])]) as left, jax.disable_jit():
        for t in jnp.linspace(1.0, case["eps"], n):
            # Euler's published step is 1 / n; the chain's kernels belong to steps from level to level.
            rows = stepper.plan(jnp.stack([t, t - 1 / (n if name == "vp" else n - 1)])).rows
            state = stepper.step(jax.random.key(0), state, *jax.tree.map(lambda a: a[0], rows))
    assert not left
    exact = STEPS[f"pcnet_{name}_out"]
    np.testing.assert_allclose(nchw(state.mean), exact, rtol=0, atol=2e-5 * np.abs(exact).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "ve"])
def test_ode_samples(name: str) -> None:
    sde, score = published(name, ODE_CASE["networks"][name])
    flow = compiled(lambda z: solve_flow(sde, score, z, 1.0, ODE_CASE["eps"][name]))(nhwc(ODE[f"net_{name}_z"]))
    x = nchw(flow.x) if name == "ve" else (nchw(flow.x) + 1) / 2
    exact = ODE[f"net_{name}_x"]
    np.testing.assert_allclose(x, exact, rtol=0, atol=1e-3 * np.abs(exact).max())
    assert 0.6 < float(flow.evaluations.mean()) / float(ODE[f"net_{name}_nfe"]) < 1.25


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "subvp", "ve"])
def test_likelihood(name: str) -> None:
    sde, score = published(name, LIKELIHOOD_CASE["networks"][name])
    x, e = nhwc(LIKELIHOOD[f"net_{name}_data"]), nhwc(LIKELIHOOD[f"net_{name}_eps_rademacher"])[:, None]
    flow = compiled(lambda x, e: solve_flow(sde, score, x, 1e-5, 1.0, probes=e))(x, e)
    nats = np.asarray(flow.delta_log_density + sde.prior_log_prob(flow.x))
    bits = (8 if name == "ve" else 7) - nats / (x[0].size * np.log(2))
    np.testing.assert_allclose(bits, LIKELIHOOD[f"net_{name}_bpd"], atol=3e-3)
    assert 0.6 < float(flow.evaluations.mean()) / float(LIKELIHOOD[f"net_{name}_nfe"]) < 1.25
