"""Generators in use: what they are drawn from, and which modes and doors refuse them."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import experiment
import main
from configs.vp import digits
from experiment import Refusal, build, generators
from experiment.workdir import Workdir
from tests.training import test_adversarial, test_vae

CONFIGS = {"vae": test_vae.config_of, "adversarial": test_adversarial.config_of}


def begun(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """A run with untrained weights in the folder; its variables."""
    variables, workdir = build(config).network.init(jax.random.key(0)), Workdir(folder)
    workdir.begin(config)
    with workdir.store() as store:
        store.save(1, {"ema": variables["params"], "fixed": variables["fixed"]})
    return variables


@pytest.mark.parametrize("loss", CONFIGS)
@pytest.mark.parametrize("mode", ["edit", "compare", "visualize", "reproduce", "export", "import"])
def test_modes_that_follow_a_score_are_refused(loss: str, mode: str, tmp_path: Path) -> None:
    config = CONFIGS[loss]()
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict(), default=list))
    given = "weights.pth" if mode == "import" else None
    message = f"--mode={mode} is not for a generator.* sample and evaluate are for it"
    with pytest.raises(Refusal, match=message) as refusal:
        main.prepare(mode, config, str(tmp_path), given)
    assert "\n" not in str(refusal.value)


@pytest.mark.slow
@pytest.mark.parametrize("loss", CONFIGS)
def test_a_run_draws_and_has_neither_score_nor_likelihood(loss: str, tmp_path: Path) -> None:
    """Its samples are what its network makes of standard normal noise, whichever door they come through."""
    config = CONFIGS[loss]()
    variables = begun(config, tmp_path)
    run = experiment.load(tmp_path)
    shape = {"vae": (4, 4, 2), "adversarial": (8, 8, 1)}[loss]
    assert run.experiment.prior_shape == shape
    z = jax.random.normal(jax.random.key(5), (3, *shape))
    drawn = run.sampler()(jax.random.key(1), z)
    if loss == "vae":
        x = run.experiment.network.module(variables).decode(z)
    else:
        x = run.experiment.network.apply(variables, z, jnp.ones(3))
    np.testing.assert_array_equal(drawn.x, run.codec.decode(np.asarray(x)))
    assert drawn.x.dtype == np.uint8 and drawn.evaluations.tolist() == [1, 1, 1]
    again = run.sampler(prior_scale=0.5)(jax.random.key(1), 2 * z)
    np.testing.assert_array_equal(again.x, drawn.x)
    assert len(run.sampler()(jax.random.key(1), 5).x) == 5
    with pytest.raises(ValueError, match=r"this run is a generator .* says no score; draw with its sampler"):
        run.prediction  # noqa: B018
    with pytest.raises(ValueError, match="a generator has no flow whose likelihood"):
        run.log_likelihood(np.zeros((1, 8, 8, 1), np.uint8))


@pytest.mark.slow
def test_with_its_noise_a_decoder_draws_whole_levels_of_its_distribution(tmp_path: Path) -> None:
    """Of a wide logistic nearly all pixels differ from the location's, and another key draws others."""
    config = test_vae.config_of(**{"model.scale": "fixed", "model.log_scale": 1.0, "sampling.denoise": "none"})
    variables, made = build(config).network.init(jax.random.key(0)), build(config)
    z = jnp.zeros((2, *made.prior_shape))
    draw = generators.generator(made, variables, made.settings)
    first, second, same = (draw(jax.random.key(i), z).x for i in (0, 1, 0))
    np.testing.assert_array_equal(first, same)
    assert (first != second).mean() > 0.5
    np.testing.assert_allclose(8.0 * (first + 1.0), np.round(8.0 * (first + 1.0)), atol=1e-5)


def test_noise_of_a_file_has_the_shape_of_the_latents(tmp_path: Path) -> None:
    config = test_vae.config_of(**{"sampling.start": str(tmp_path / "noise.npy")})
    begun(config, tmp_path)
    np.save(tmp_path / "noise.npy", np.zeros((2, 8, 8, 1), np.float32))
    with pytest.raises(Refusal, match=r"shape \(2, 8, 8, 1\); needed is \[n, 4, 4, 2\]"):
        main.prepare("sample", config, str(tmp_path))
    np.save(tmp_path / "noise.npy", np.zeros((2, 4, 4, 2), np.float32))
    main.prepare("sample", config, str(tmp_path))


def test_only_generators_are_drawn_by_that_method(tmp_path: Path) -> None:
    config = digits.get_config()
    config.sampling.method = "generator"
    with pytest.raises(Refusal, match=r"sampling\.method is 'generator' .* is no generator; take other samplers"):
        main.prepare("train", config, str(tmp_path / "run"))
