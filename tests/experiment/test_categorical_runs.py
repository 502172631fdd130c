"""Runs over categories: what goes together, and training, samples and the bound of each kind from the command line."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from configs.categorical import digits_d3pm, digits_masked, pydoc_masked
from data.source import take
from evaluation import measures
from experiment import build, fields
from experiment.sampling import sampler
from sde_lib.bound import Bound
from tests.experiment.command import call
from training import preparation

CONFIGS = {"digits_masked": digits_masked, "digits_d3pm": digits_d3pm, "pydoc_masked": pydoc_masked}
UNET = ("--config.model.nf=4", "--config.model.ch_mult=(1,)", "--config.model.attn_resolutions=()")
TINY = {
    "digits_masked": (*UNET, "--config.model.num_res_blocks=1", "--config.eval.samplers=('unmasking','maskgit')"),
    "digits_d3pm": (*UNET, "--config.model.num_res_blocks=1", "--config.sde.n=8"),
    "pydoc_masked": (
        "--config.model.width=8",
        "--config.model.depth=1",
        "--config.model.num_heads=2",
        "--config.data.length=16",
    ),
}
SHORT = (
    "--config.training.batch_size=8",
    "--config.training.n_iters=2",
    "--config.training.log_freq=1",
    "--config.training.eval_freq=2",
    "--config.training.snapshot_freq=2",
    "--config.training.snapshot_freq_for_preemption=1",
    "--config.optim.decay_steps=0",
    "--config.sampling.steps=4",
    "--config.sampling.count=4",
    "--config.eval.batch_size=8",
    "--config.eval.num_samples=8",
    "--config.eval.vlb_times=8",
    "--config.eval.vlb_max_examples=4",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_trained_sampled_and_evaluated(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    given = f"--config=configs/categorical/{name}.py", f"--workdir={tmp_path}", *TINY[name], *SHORT
    for mode in ("train", "sample", "evaluate"):
        code, _, err = call(capsys, f"--mode={mode}", *given)
        assert code == 0, (mode, err)
    with np.load(next((tmp_path / "samples").glob("*.npz"))) as drawn:
        assert drawn["samples"].shape[0] == 4
    bound = json.loads((tmp_path / "report.json").read_text())["variational_bound"]
    assert bound["mean"] == pytest.approx(bound["diffusion"] + bound["prior"] + bound["reconstruction"], rel=1e-6)
    assert np.isfinite(bound["mean"]) and bound["unit"] == ("bits/character" if name == "pydoc_masked" else "bits/dim")
    line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert any("loss" in key for key in line)


@pytest.mark.parametrize("name", CONFIGS)
def test_training_sampling_and_measuring_fit_together(name: str) -> None:
    """Shapes and types alone, which costs no compiling: what each config trains, draws and measures."""
    config = CONFIGS[name].get_config()
    changes = [flag.removeprefix("--config.").split("=", 1) for flag in (*TINY[name], *SHORT)]
    experiment = build(fields.override(config, [(field, text) for field, text in changes]))
    variables, key = experiment.network.abstract(), jax.random.key(0)
    examples = take(experiment.encoded.test, np.arange(8))
    batch = {field: jnp.asarray(examples[field]) for field in experiment.batch_fields}
    scores = preparation.scores_of(experiment, preparation.loss_of(experiment), 1)
    found = jax.eval_shape(lambda variables: scores(variables, batch, key, True), variables)
    assert found["loss"].shape == (8,)
    for method in config.eval.samplers:
        drawn = jax.eval_shape(
            lambda variables, method=method: samplers.draw(
                sampler(experiment, variables, method), experiment.sde, key, (8, *experiment.codec.shape)
            ),
            variables,
        )
        assert drawn.x.dtype == jnp.int32 and drawn.x.shape == (8, *experiment.codec.shape)
    (measure,) = measures.create(experiment)
    columns = jax.eval_shape(lambda variables: measure.compute(variables, batch, jax.random.split(key, 8)), variables)
    assert {column: array.shape for column, array in columns.items()} == dict.fromkeys(Bound._fields, (8,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling.method": "ancestral"}, "of Gaussian noise"),
        ({"sampling.steps": 9}, "the chain has 8 levels"),
        ({"model.name": "mlp"}, "go with sde.name masked, uniform, d3pm"),
        ({"data.codec": "levels"}, "data.codec='categories'"),
        ({"sde.kernel": "magic"}, "known are uniform, absorbing, gaussian, banded"),
        ({"sampling.method": "maskgit"}, "category of its own"),
        ({"training.continuous": False}, "sde.n levels"),
    ],
)
def test_what_contradicts_is_refused_in_one_line(changes: dict, message: str) -> None:
    config = digits_d3pm.get_config()
    with config.unlocked():
        config.sde.n, config.sampling.steps, config.model.nf, config.model.num_scales = 8, 8, 4, 8
        for name, value in changes.items():
            section, field = name.split(".")
            config[section][field] = value
    with pytest.raises(ValueError, match=message) as refusal:
        build(config)
    assert "\n" not in str(refusal.value)


def test_a_gaussian_process_takes_no_sampler_over_categories() -> None:
    from configs.vp import digits

    config = digits.get_config()
    config.sampling.method = "maskgit"
    with pytest.raises(ValueError, match="a sampler over categories"):
        build(config)
