"""Discretely trained networks through a whole experiment: labels, the chain's scores, samples, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import samplers
from configs.vp import digits, toy_mixture8_mlp
from experiment import Experiment, build
from experiment.sampling import sampler
from samplers import grids
from sde_lib import VE, VP, NoiseLevels, Plain
from tests.models.published_weights import REFERENCE, compiled, load_network


def discrete(name: str = "vp", **model) -> ConfigDict:
    """Digits with the smallest network, on 40 levels."""
    config = digits.get_config()
    with config.unlocked():
        config.model.update(nf=4, ch_mult=(1,), attn_resolutions=(), num_res_blocks=1, num_scales=40)
        if name == "ve":
            config.sde = ConfigDict({"name": "ve", "sigma_min": 0.01, "sigma_max": 6.0, "t_min": 1e-5})
            config.model.update(scale_by_sigma=True, sigma_min=0.01, sigma_max=6.0)
            config.model.prediction = "score"
        config.model.update(model)
    config.model.noise_label = config.model.noise_label if "noise_label" in model else _label(name)
    config.training.continuous = False
    config.sampling.predictor = "ancestral"
    config.sampling.corrector = "none"
    config.sampling.grid = "levels"
    config.sampling.steps = config.sampling.discretization = 40
    config.sampling.denoise = "mean"
    config.eval.samplers = ("pc", "ode")
    return config


def _label(name: str) -> str:
    return {"vp": "index", "ve": "index_down", "subvp": "index"}[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "ve"])
def test_the_published_score_of_a_discretely_trained_network(name: str, x64: None) -> None:
    """VE: the output at round(999 (1 - t)) itself. VP, by the DDPM network: -output / sigma of level floor(999 t)."""
    network_name = {"ve": "ve_ncsnpp_disc", "vp": "vp_ddpm_cont"}[name]
    network, ema, _, _ = load_network(network_name)
    arrays = dict(np.load(REFERENCE / "models" / f"{network_name}.npz"))
    variables = jax.tree.map(lambda a: jnp.asarray(a, float), ema)
    x, t = jnp.asarray(arrays["x"].transpose(0, 2, 3, 1), float), jnp.asarray(arrays["t"], float)
    sde, prediction = (VE(0.01, 50.0), "score") if name == "ve" else (VP(), "eps")
    found = compiled(
        Plain(prediction, _label(name))
        .predict_fn(NoiseLevels(sde, 1000), lambda x, c: network.apply(variables, x, c))
        .score
    )
    exact = arrays["out_ema_f64"].transpose(0, 2, 3, 1)
    if name == "vp":
        table = np.load(REFERENCE / "sde.npz")["vp_sqrt_1m_alphas_cumprod_f64"]
        exact = -exact / table[(arrays["t"].astype(float) * 999).astype(int)][:, None, None, None]
    np.testing.assert_allclose(found(x, t), exact, rtol=0, atol=1e-9 * np.abs(exact).max())


@pytest.mark.parametrize(("name", "t_min", "n"), [("vp", 1e-3, 1000), ("vp", 1e-3, 2000), ("ve", 1e-5, 2000)])
def test_the_chain_visits_every_level_once_for_any_n(name: str, t_min: float, n: int) -> None:
    """On the published grid VP with 2000 levels and t_min 1e-3 misses one level and is off by one below it."""
    wanted = np.arange(n - 1, -1, -1)
    for grid in ("levels", "published"):
        times = jnp.asarray(grids.create(VP(), grid, n, t_min)[:-1], jnp.float32)
        off = np.asarray(VP().level_index(times, n)) - wanted
        lags = grid == "published" and t_min * n > 1
        assert np.any(off == 1) if lags else not off.any()


@pytest.mark.parametrize("name", ["vp", "ve"])
def test_a_perfect_network_samples_the_data(name: str) -> None:
    """DDPM's and SMLD's chains of 200 levels with the exact eps of N(1, 0.5^2): 20 000 samples, 4 standard errors.

    The noise is that of a chain, whose mean and deviation a recursion in NumPy gives.
    """
    sde, n, count, mean, std = {"vp": VP(), "ve": VE(0.01, 5.0)}[name], 200, 20_000, 1.0, 0.5
    alphas, sigmas = sde.levels(n)

    def network(x, label):
        i = label.astype(int) if name == "vp" else n - 1 - label.astype(int)
        a, s = jnp.asarray(alphas, x.dtype)[i][:, None], jnp.asarray(sigmas, x.dtype)[i][:, None]
        eps = s * (x - a * mean) / (s**2 + (a * std) ** 2)
        return eps if name == "vp" else -eps / s

    model = Plain("eps" if name == "vp" else "score", _label(name)).predict_fn(NoiseLevels(sde, n), network)
    settings = samplers.Settings(
        predictor="ancestral", corrector="none", steps=n, grid="levels", discretization=n, denoise="none"
    )
    x = np.asarray(samplers.draw(jax.jit(samplers.create(sde, model, settings)), sde, jax.random.key(0), (count, 1)).x)
    m, v = 0.0, sde.prior_std**2  # of the Gaussian that the linear chain carries
    for i in range(n - 1, -1, -1):
        before = (1.0, 0.0) if i == 0 else (alphas[i - 1], sigmas[i - 1])
        a = alphas[i] / before[0]
        q2 = sigmas[i] ** 2 - (a * before[1]) ** 2
        total = sigmas[i] ** 2 + (alphas[i] * std) ** 2
        slope = (1 - q2 / total) / a
        m = slope * m + q2 * alphas[i] * mean / total / a
        v = slope**2 * v + q2 * (before[1] / sigmas[i]) ** 2
    assert abs(x.mean() - m) < 4 * np.sqrt(v / count) and abs(x.std() / np.sqrt(v) - 1) < 4 / np.sqrt(2 * count)
    assert abs(m - mean) < 0.02 and abs(np.sqrt(v) - std) < 0.03  # and it is the data, but for the chain's own error


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "ve"])
def test_an_experiment_gives_samplers_the_levels_and_flows_the_sde(name: str) -> None:
    experiment = build(discrete(name))
    assert experiment.num_scales == 40
    variables = experiment.network.init(jax.random.key(0))
    x, t = jnp.ones((2, 8, 8, 1)), jnp.asarray([0.3, 0.9])
    apply = lambda x, c: experiment.network.apply(variables, x, c)  # noqa: E731
    for chain in (True, False):
        levels = NoiseLevels(experiment.sde, 40, exact=chain)
        wanted = compiled(Plain(experiment.config.model.prediction, _label(name)).predict_fn(levels, apply).score)(x, t)
        np.testing.assert_allclose(
            compiled(experiment.predict_fn(variables, chain=chain).score)(x, t), wanted, rtol=1e-6
        )
    out = compiled(sampler(experiment, variables, "pc"))(jax.random.key(1), x)
    assert np.isfinite(out.x).all() and int(out.evaluations[0]) == 40


def test_the_score_is_that_of_the_levels_with_their_sigma_or_the_sdes() -> None:
    experiment = build(discrete())
    assert experiment.predict_fn({}, chain=True).process == NoiseLevels(experiment.sde, 40)
    assert experiment.predict_fn({}).process == NoiseLevels(experiment.sde, 40, exact=False)


def test_chain_samplers_ask_for_the_levels_and_flows_for_the_smooth_process(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(
        Experiment, "predict_fn", lambda self, variables, *, chain, **_: asked.append(chain) or (lambda x, t: x)
    )
    config, chain = discrete(), ("pc", "ancestral", "reverse_diffusion", "euler_maruyama")
    for method in chain:
        sampler(build(config), {}, method)
    assert asked == [True, True, True, True]
    config.sampling.grid = "uniform"  # which is not the chain's own
    for method in (*chain, "ode", "flow_euler", "flow_heun"):
        sampler(build(config), {}, method)
    assert asked[4:] == [False] * 7
    config.sampling.discretization = 0  # exact kernels: no chain
    sampler(build(config), {}, "ancestral")
    assert asked[-1] is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.num_scales": 0}, r"training\.continuous is False and model\.num_scales 0"),
        ({"training.continuous": True}, r"'index' counts noise levels, and training\.continuous is True"),
        ({"training.continuous": True, "model.noise_label": "t999"}, r"sampling\.grid 'levels' is for networks"),
        ({"sde.name": "subvp"}, r"SubVP has no published chain of 40"),
        (
            {"model.noise_label": "indices"},
            r"model\.noise_label is 'indices' \(did you mean 'index'\?\); known are .*index, index_down",
        ),
    ],
)
def test_what_contradicts_itself_is_one_line(change: dict, message: str) -> None:
    config = discrete()
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message) as error:
        build(config)
    assert "\n" not in str(error.value)


def test_the_networks_sigma_must_be_the_processs() -> None:
    config = discrete("ve")
    config.sde.sigma_max = 9.0
    with pytest.raises(ValueError, match=r"model\.sigma_max is 6\.0 and sde\.sigma_max 9\.0; .* must be equal"):
        build(config)


def test_a_network_without_the_option_is_told_no_number_of_levels() -> None:
    config = toy_mixture8_mlp.get_config()
    with config.unlocked():
        config.model.num_scales = 100
    config.model.noise_label, config.training.continuous = "index", False
    assert build(config).num_scales == 100
