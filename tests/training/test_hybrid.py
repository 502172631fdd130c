"""The hybrid and the variational loss: guided-diffusion's training losses, and what each part is a function of."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sde_lib
from configs.vp import digits
from experiment import build
from experiment.workdir import Workdir
from sde_lib import Levels, of_score
from tests.oracles import Mixture, compiled
from training.loop import prepare
from training.objective import Objective

REFERENCE = Path(__file__).parents[1] / "reference" / "discrete"
VLB, PROBLEMS = np.load(REFERENCE / "vlb.npz"), json.loads((REFERENCE / "vlb.json").read_text())


def _model(name: str, sde):
    """The predictions of a published problem's mixture, with a variance output."""
    about, levels = PROBLEMS[name], Levels(sde, PROBLEMS[name]["T"])
    parts = about["mixture"]
    means = np.array(parts["means"]).reshape(-1, *about["shape"])
    exact = of_score(levels, Mixture(np.array(parts["weights"]), means, np.array(parts["stds"])).score(levels))
    return lambda x, t: exact(x, t)._replace(variance=0.5 * jnp.cos(2 * x))


@pytest.mark.parametrize("name", ["A", "B", pytest.param("C", marks=pytest.mark.slow)])
def test_losses_are_the_published_ones(name: str, x64) -> None:
    """mse is L_simple, rescaled_mse the hybrid loss with lambda 0.001, rescaled_kl the variational one; 1e-8.

    The published decoder approximates the distribution function: at t = 0 ours is another, there 5 %.
    """
    sde = sde_lib.create("discrete", schedule="table", betas=tuple(VLB[f"{name}/betas"]))
    n, model = PROBLEMS[name]["T"], _model(name, sde)
    train = {key.split("/", 2)[2]: VLB[key] for key in VLB.files if key.startswith(f"{name}/train/")}
    x0 = jnp.asarray(VLB[f"{name}/x_uint8_all"][train["x_index"]] / 127.5 - 1)
    t, eps = sde.level_time(jnp.asarray(train["t"], float), n), jnp.asarray(train["noise"])
    cases = {
        "mse_fixed_small/mse": ({}, 1),
        "rescaled_mse_fixed_small/loss": ({}, 1),
        "rescaled_mse_learned_range/loss": ({"loss": "hybrid"}, 1),
        "mse_learned_range/loss": ({"loss": "hybrid", "vlb_weight": 1 / n}, 1),
        "rescaled_kl_fixed_small/loss": ({"loss": "variational", "variance": "small"}, 1),
        "rescaled_kl_learned_range/loss": ({"loss": "variational"}, 1),
        "kl_fixed_small/loss": ({"loss": "variational", "variance": "small"}, n),
        "kl_learned_range/loss": ({"loss": "variational"}, n),
    }

    @compiled
    def losses(*batch):
        made = (Objective(sde, num_scales=n, half_bin=1 / 255, **options) for options, _ in cases.values())
        return [objective.losses(model, *batch) for objective in made]

    late = train["t"] > 0
    assert late.sum() >= 5
    for (case, (options, divisor)), found in zip(cases.items(), losses(x0, t, eps), strict=True):
        found, exact = np.asarray(found) / divisor, train[case]
        checked = late if "loss" in options else slice(None)
        np.testing.assert_allclose(found[checked], exact[checked], rtol=1e-8, err_msg=case)
        np.testing.assert_allclose(found, exact, rtol=0.05, err_msg=case)


def test_the_hybrid_loss_trains_the_mean_by_l_simple_alone_and_the_variance_by_the_bound_alone(x64) -> None:
    sde = sde_lib.create("discrete", schedule="cosine", n=20)
    rng = np.random.default_rng(0)
    x0, eps = (jnp.asarray(rng.normal(size=(6, 3))) for _ in range(2))
    t = sde.level_time(jnp.asarray([0.0, 1.0, 5.0, 10.0, 18.0, 19.0]), 20)

    def gradient(**options):
        objective = Objective(sde, num_scales=20, **options)

        def total(w):
            return objective.losses(lambda x, t: sde_lib.Prediction(x, w[0] * x, jnp.tanh(w[1] * x)), x0, t, eps).sum()

        return compiled(jax.grad(total))(jnp.asarray([0.4, 0.7]))

    simple, hybrid, bound = gradient(), gradient(loss="hybrid", vlb_weight=0.01), gradient(loss="variational")
    assert float(hybrid[0]) == pytest.approx(float(simple[0]), rel=1e-12) and float(simple[1]) == 0.0
    assert float(hybrid[1]) == pytest.approx(0.01 * float(bound[1]), rel=1e-10)
    assert abs(float(bound[0]) / float(simple[0]) - 1) > 1e-3  # the bound itself has a mean to train


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "vlb"}, "training.loss is 'vlb'; known are simple, hybrid, variational"),
        ({"loss": "hybrid"}, "'hybrid', which is for noise levels; set training.continuous=False"),
        ({"loss": "hybrid", "variance": "small", "num_scales": 1000}, "needed are learned_range or learned"),
        ({"loss": "hybrid", "reduce_mean": False, "num_scales": 1000}, "training.reduce_mean False"),
        ({"loss": "variational", "weight": "p2", "num_scales": 1000}, "terms have their own weights"),
        ({"variance": "fixed"}, "training.variance is 'fixed'; known are small, large, learned_range, learned"),
    ],
)
def test_contradictions_are_one_line(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Objective(sde_lib.create("discrete"), **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [({}, "predicts no variance; take guided_unet"), ({"model.preconditioning": "vp"}, "preconditioning 'vp'")],
)
def test_a_network_without_a_variance_is_refused_before_training(change: dict, message: str, tmp_path) -> None:
    config = digits.get_config()
    with config.unlocked():
        config.model.update(nf=4, ch_mult=(1,), attn_resolutions=(), num_res_blocks=1, num_scales=40)
    config.training.continuous, config.training.loss, config.model.noise_label = False, "hybrid", "index"
    config.data.uniform_dequantization = False
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message):
        prepare(build(config), Workdir(tmp_path))
