"""Schedulers of diffusers against betas that diffusers computed, and as processes and samplers of this project."""

import json
from pathlib import Path

import numpy as np
import pytest

import samplers
import sde_lib
from checkpoints import diffusers_scheduler

REFERENCE = Path(__file__).parents[1] / "reference" / "schedulers"
SCHEDULERS = json.loads((REFERENCE / "schedulers.json").read_text())


def read(tmp_path: Path, **fields: object) -> diffusers_scheduler.Scheduler:
    file = tmp_path / "scheduler_config.json"
    file.write_text(json.dumps(fields))
    return diffusers_scheduler.read(file)


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_the_chain_is_that_of_diffusers(name, tmp_path):
    scheduler = read(tmp_path, **SCHEDULERS[name])
    expected = np.load(REFERENCE / "betas.npz")[name].astype(np.float64)
    np.testing.assert_allclose(scheduler.betas, expected, rtol=2e-5)  # theirs is computed in float32
    alpha, sigma = sde_lib.create(**scheduler.sde).levels(len(expected))
    np.testing.assert_allclose(alpha**2, np.cumprod(1.0 - scheduler.betas), rtol=1e-9)
    np.testing.assert_allclose(sigma**2, 1.0 - np.cumprod(1.0 - scheduler.betas), rtol=1e-9)


def test_fields_left_out_are_those_of_its_class(tmp_path):
    """Heun's scheduler begins with latent diffusion's betas where the file does not say."""
    given = SCHEDULERS["heun"]
    short = {field: value for field, value in given.items() if not field.startswith("beta")}
    np.testing.assert_array_equal(read(tmp_path, **short).betas, read(tmp_path, **given).betas)
    assert read(tmp_path, _class_name="DDPMScheduler", predict_epsilon=False).prediction == "x0"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*diffusers_scheduler.CHAINS, diffusers_scheduler.VE])
def test_every_class_has_a_sampler_here(name, tmp_path):
    variants: list[dict] = [{}, {"num_train_timesteps": 20}]
    if name != diffusers_scheduler.VE:
        variants += [
            {"timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False},
            {"timestep_spacing": "trailing", "thresholding": True, "solver_order": 3},
            {"use_karras_sigmas": True, "beta_schedule": "sigmoid"},
        ]
    for fields in variants:
        scheduler = read(tmp_path, _class_name=name, **fields)
        sde = sde_lib.create(**scheduler.sde)
        samplers.create(sde, lambda x, t: x, samplers.Settings(**scheduler.sampling))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"beta_start": 0, "beta_end": "x"}, "beta_start is 0; it must be a number .*; beta_end is 'x'"),
        ({"beta_schedule": "laplacian"}, "beta_schedule is 'laplacian'; known are linear"),
        ({"beta_schedule": ["linear"]}, r"beta_schedule is \['linear'\]; known are linear"),
        ({"prediction_type": "flow_prediction"}, "prediction_type is 'flow_prediction'; known are epsilon"),
        ({"trained_betas": [0.1, 0.2]}, "2 trained_betas, and num_train_timesteps is 1000"),
        ({"trained_betas": "many"}, "trained_betas are not a list"),
        ({"variance_type": "learned_range"}, "variance_type is 'learned_range'; known are fixed_small"),
        ({"use_flow_sigmas": True}, "use_flow_sigmas is True"),
        ({"rescale_betas_zero_snr": True}, "True and prediction_type 'epsilon': of its last level.*; v_prediction and"),
        ({"num_train_timesteps": 1}, "num_train_timesteps is 1; it must be a whole number of at least 2"),
        ({"num_train_timesteps": True}, "num_train_timesteps is True"),
    ],
)
def test_what_has_no_counterpart_is_named(fields, message, tmp_path):
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, **{"_class_name": "DDPMScheduler"} | fields)
    assert "scheduler_config.json, DDPMScheduler" in str(error.value)


def test_a_range_of_sigma_upside_down_is_named(tmp_path):
    with pytest.raises(ValueError, match="sigma_min is 3 and sigma_max 2"):
        read(tmp_path, _class_name=diffusers_scheduler.VE, sigma_min=3, sigma_max=2)
