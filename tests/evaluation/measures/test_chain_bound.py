"""The bound of a test set in rounds on disk, its report, and the curve of progressive coding as files."""

import csv
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from configs.vp import digits
from evaluation import report
from evaluation.measures.chain_bound import ChainBound
from experiment import Experiment, build
from experiment.errors import Failure
from metrics.chain_bound import normal_noise, variational_bound
from sde_lib import NoiseLevels, expand, of_score
from tests.oracles import compiled, gaussian

ABOUT = {"step": 1}
DATA = gaussian(np.full((8, 8, 1), -0.3), 0.6)


def _experiment(**eval_options) -> Experiment:
    """Digits on a cosine chain of 12 levels, 17 grey levels; the network is never run."""
    config = digits.get_config()
    with config.unlocked():
        config.sde = ConfigDict({"name": "discrete", "schedule": "cosine", "n": 12})
        config.model.update(nf=4, ch_mult=(1,), attn_resolutions=(), num_res_blocks=1, num_scales=12)
        config.eval.update(enable_vlb=True, vlb_max_examples=20, batch_size=8, **eval_options)
    config.model.noise_label, config.training.continuous = "index", False
    config.data.uniform_dequantization = False
    return build(config)


@pytest.fixture
def closed_form(monkeypatch) -> None:
    """The predictions of a Gaussian in place of the network's, and v = cos(2 x) / 2."""

    def predict_fn(self, variables, *, chain, condition=None):
        assert chain and condition is None
        exact = of_score(NoiseLevels(self.sde, 12), DATA.score(NoiseLevels(self.sde, 12)))
        return lambda x, t: exact(x, t)._replace(variance=0.5 * jnp.cos(2 * x))

    monkeypatch.setattr(Experiment, "predict_fn", predict_fn)


@pytest.mark.slow
def test_rounds_give_the_bound_of_all_images_at_once_its_parts_and_the_curve(tmp_path, closed_form) -> None:
    """20 images in rounds of 8, the last one filled up, with a learned variance; again from the rounds on disk."""
    experiment, key = _experiment(), jax.random.key(3)
    experiment = dataclasses.replace(
        experiment, settings=dataclasses.replace(experiment.settings, variance="learned_range")
    )
    found = ChainBound(experiment).report({}, key, tmp_path, ABOUT)
    image = np.stack([experiment.source.test[i]["image"] for i in range(20)])
    x0 = jnp.asarray(image / 8.0 - 1.0, jnp.float32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(20))
    model = experiment.predict_fn({}, chain=True)
    options = {"variance": "learned_range", "half_bin": 1 / 16, "clip": (-1.0, 1.0)}
    whole = compiled(lambda x: variational_bound(experiment.sde, 12, model, x, normal_noise(keys, x), **options))(x0)
    assert found["mean"] == pytest.approx(float(whole.total.mean()), rel=1e-5)
    assert found["standard_error"] == pytest.approx(float(np.std(whole.total, ddof=1)) / 20**0.5, rel=1e-4)
    assert found["prior"] + found["steps"] + found["decoder"] == pytest.approx(found["mean"], rel=1e-9)
    assert found["decoder"] == pytest.approx(float(whole.terms[:, 0].mean()), rel=1e-4)
    assert found["l_simple"] == pytest.approx(float(whole.eps_mse.mean()), rel=1e-4)
    assert ChainBound(experiment).report({}, key, tmp_path, ABOUT) == found

    with (tmp_path / "progressive_coding.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["known"] for row in rows] == [*(f"x_{i}" for i in range(11, -1, -1)), "data"]
    rate, distortion = (
        np.array([float(row[name]) for row in rows]) for name in ("rate_bits_per_dim", "distortion_rmse")
    )
    assert rate[0] == pytest.approx(found["prior"], rel=1e-6) and rate[-1] == pytest.approx(found["mean"], rel=1e-6)
    assert np.all(np.diff(rate) > 0) and distortion[-1] == 0.0
    np.testing.assert_allclose(distortion[:-1], 127.5 * np.sqrt(np.mean(whole.x0_mse, axis=0))[::-1], rtol=1e-4)
    with Image.open(tmp_path / "progressive_coding.png") as picture:
        assert picture.size == (1200, 360)

    text = report.markdown(
        {
            "dataset": "digits",
            "checkpoint": {"step": 1, "ema": True, "ema_rate": 0.9},
            "seed": 0,
            "seeds": 1,
            "sde": {"name": "discrete"},
            "variational_bound": found,
            "environment": {"device": "1 x cpu", "processes": 1, "versions": {}},
        }
    )
    assert f"**{found['mean']:.4f} +- {found['standard_error']:.4f} bits/dim**" in text
    assert "12 noise levels, variance learned_range, decoder exact, x0 clipped" in text


@pytest.mark.slow
@pytest.mark.parametrize("centered", [True, False])
def test_the_distortion_is_that_of_the_levels_on_a_scale_of_0_to_255(tmp_path, monkeypatch, centered: bool) -> None:
    """A model that expects the darkest level errs by 255 / 16 for each of 17 levels, dequantised or not.

    The centres of dequantised levels do not fill the range of x: 16/17 of it.
    """
    config = _experiment(vlb_clip=False).config.copy_and_resolve_references()
    config.data.update(uniform_dequantization=True, centered=centered)
    experiment = build(config)
    darkest = experiment.codec.centres()[0]

    def score(self, variables, *, chain, condition=None):
        process = NoiseLevels(self.sde, 12)
        return lambda x, t: expand(1 / process.sigma(t) ** 2, x) * (expand(process.alpha(t), x) * darkest - x)

    monkeypatch.setattr(Experiment, "predict_fn", score)
    ChainBound(experiment).report({}, jax.random.key(0), tmp_path, ABOUT)
    levels = np.stack([experiment.source.test[i]["image"] for i in range(20)]).astype(np.float64)
    with (tmp_path / "progressive_coding.csv").open() as file:
        found = [float(row["distortion_rmse"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(found[:-1], 255 / 16 * np.sqrt(np.mean(levels**2)), rtol=1e-4)


def test_terms_that_are_not_finite_are_a_failure(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Experiment, "predict_fn", lambda self, variables, **_: lambda x, t: x * jnp.nan)
    with pytest.raises(Failure, match="eps_mse, terms, x0_mse not finite among examples 0 to 7"):
        ChainBound(_experiment(vlb_clip=False)).report({}, jax.random.key(0), tmp_path, ABOUT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eval.vlb_decoder": "tanh"}, "'tanh'; known are exact, published"),
        ({"sampling.variance": "learned_range"}, "'learned_range', and the network predicts no variance"),
    ],
)
def test_what_has_no_bound_is_refused(change: dict, message: str) -> None:
    config = _experiment().config.copy_and_resolve_references()
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message) as error:
        ChainBound.check(build(config))
    assert "\n" not in str(error.value)
