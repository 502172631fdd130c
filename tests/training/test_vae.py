"""The loss of a variational autoencoder: where its bound is known, and the runs that train it."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
from autoencoders.linear_gaussian import LinearGaussian
from configs.baselines import digits_vae
from experiment import Refusal
from experiment.fields import override
from sde_lib import VP
from tests.training import resumed
from tests.training.given import draws
from training import losses
from training.examples import Examples
from training.losses.vae import VariationalAutoencoder

FOLDER = Path(__file__).parents[1] / "reference" / "baselines"
WORKED = json.loads((FOLDER / "vae_gan.json").read_text())
with np.load(FOLDER / "vae_gan.npz") as archive:
    ARRAYS = {name.partition("/")[2]: jnp.asarray(archive[name]) for name in archive if "linear" in name}
DRAWS = 1000


def loss_of(**options: Any) -> VariationalAutoencoder:
    return losses.create("vae", VP(), **options)


class Said(NamedTuple):
    """N(W z + b, s^2 I) of points."""

    mean: jax.Array

    def nll(self, x: jax.Array) -> jax.Array:
        std = ARRAYS["sigma"]
        return 0.5 * jnp.square((x - self.mean) / std) + jnp.log(std) + 0.5 * math.log(2.0 * math.pi)


class Linear(NamedTuple):
    """The model of the arrays with their q, of the points again and again."""

    params: Any = None
    keys: Any = None

    def module(self, params: Any) -> "Linear":
        return self

    def encode(self, x: jax.Array, keys: Any = None) -> jax.Array:
        moments = jnp.concatenate([ARRAYS["q_mean"], ARRAYS["q_logvar"]], axis=1)
        return jnp.tile(moments, (len(x) // len(moments), 1))

    def likelihood(self, z: jax.Array, keys: Any = None) -> Said:
        return Said(z @ ARRAYS["W"].T + ARRAYS["b"])


def means(loss: VariationalAutoencoder) -> tuple[np.ndarray, np.ndarray]:
    """The mean loss of each point over many draws, in nats, and its standard error."""
    x = jnp.tile(ARRAYS["x"], (DRAWS, 1)).astype(jnp.float32)
    scores = jax.jit(lambda key: loss(Linear(), Examples(x, {}, draws(key, len(x)))))(jax.random.key(3))
    each = np.asarray(scores["loss"], np.float64).reshape(DRAWS, -1) * math.log(2.0) * x.shape[1]
    return each.mean(axis=0), each.std(axis=0) / math.sqrt(DRAWS)


def test_its_mean_is_the_known_bound_and_more_samples_bound_tighter() -> None:
    model = LinearGaussian(*(ARRAYS[name] for name in ("W", "b", "sigma")))
    mean, error = means(loss_of())
    np.testing.assert_array_less(np.abs(mean + ARRAYS["elbo"]), 4.5 * error)
    tighter, spread = means(loss_of(importance_samples=8))
    exact = np.asarray(model.log_likelihood(ARRAYS["x"]))
    assert (-tighter > ARRAYS["elbo"] + 4.5 * spread).all() and (-tighter < exact + 4.5 * spread).all()


def test_beta_and_free_bits_weigh_the_divergence() -> None:
    known = WORKED["beta_and_free_bits"]
    each, nll = jnp.asarray([known["kl_per_latent"]]), jnp.asarray([2.0])
    for options, total in (
        ({"vae_beta": known["beta"]}, known["beta_kl"]),
        ({"free_bits": known["free_bits_lambda"]}, known["free_bits_kl"]),
    ):
        scores = loss_of(**options).of_terms(nll, each, 4.0)
        np.testing.assert_allclose(scores["loss"], [(2.0 + total) / 4.0], rtol=1e-6)
        np.testing.assert_allclose(scores["kl"], [sum(known["kl_per_latent"]) / 4.0], rtol=1e-6)
    with pytest.raises(ValueError, match=r"importance_samples is 2, training\.vae_beta 0\.5 and .*has neither"):
        loss_of(importance_samples=2, vae_beta=0.5)


TINY: dict[str, Any] = {
    "model.nf": 8,
    "model.ch_mult": (1, 1),
    "model.num_groups": 2,
    "model.embed_dim": 2,
    "training.batch_size": 8,
    "training.n_iters": 6,
    "optim.decay_steps": 0,
    "training.snapshot_freq": 6,
    "training.snapshot_freq_for_preemption": 2,
    "training.log_freq": 1,
    "training.eval_freq": 3,
    "eval.num_samples": 16,
    "eval.batch_size": 32,
    "eval.vlb_max_examples": 32,
}


def config_of(**changes: Any) -> Any:
    return override(digits_vae.get_config(), [(field, str(value)) for field, value in (TINY | changes).items()])


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit_and_is_evaluated_alike(tmp_path: Path) -> None:
    resumed.check_killed("configs/baselines/digits_vae.py", TINY, 6, tmp_path)
    report = resumed.check_evaluated(tmp_path)
    bound = report["variational_bound"]
    assert bound["mean"] >= bound["importance_weighted"]["mean"] > 0.0 and "reconstruction" in report
    records = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert {"loss", "grad_norm"} <= records[0].keys() and [r["step"] for r in records if "test_kl" in r] == [3, 6]
    pictures = {path.name for path in (tmp_path / "whole" / "samples").iterdir()}
    assert {"reconstructions_00000006.png", "step_00000006.png"} <= pictures


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"model.likelihood": "gaussian", "model.scale": "fixed"},
        {"model.likelihood": "gaussian", "model.scale": "learned"},
        {"model.likelihood": "gaussian", "model.scale": "optimal"},
        {"model.likelihood": "continuous_bernoulli", "model.scale": "none"},
    ],
)
def test_every_decoder_is_trained_drawn_and_measured(options: dict[str, Any], tmp_path: Path) -> None:
    config = config_of(**options, **{"data.uniform_dequantization": True, "sampling.denoise": "none"})
    for mode in ("train", "sample", "evaluate"):
        main.run(mode, config, str(tmp_path))
    bound = json.loads((tmp_path / "report.json").read_text())["variational_bound"]
    assert bound["settings"]["dequantization"] == "uniform" and np.isfinite(bound["mean"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"training.loss": "autoencoder"},
            "'autoencoder' and model.name 'vae'; .* 'vae' trains .*, and 'autoencoder' the",
        ),
        (
            {"training.loss": "adversarial"},
            "'adversarial' and model.name 'vae'; .* 'vae' trains .*, and 'autoencoder' ",
        ),
        ({"training.loss": "simple"}, "'simple' and model.name 'vae'; .* 'vae' trains"),
        (
            {"model.likelihood": "gaussian"},
            "uniform_dequantization is False, and .* 'gaussian' is of a density",
        ),
        ({"data.uniform_dequantization": True}, "is of grey levels as they are; set it to False"),
        ({"sampling.method": "ddim"}, "sampling.method is 'ddim' .*is a generator, .* set both to 'generator'"),
        ({"eval.samplers": ("generator", "pc")}, r"eval.samplers \('generator', 'pc'\).* set both to 'generator'"),
        ({"eval.enable_bpd": True}, "likelihood is not known; eval.enable_vlb=True measures its bound; set eval.enab"),
        ({"training.weight": "edm"}, "training.weight is 'edm'"),
    ],
)
def test_contradictions_are_refused_in_one_line(changes: dict, named: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=named) as refusal:
        main.prepare("train", config_of(**changes), str(tmp_path / "run"))
    assert "\n" not in str(refusal.value) and not (tmp_path / "run").exists()
