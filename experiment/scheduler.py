"""Whether a config says of the noise what the scheduler beside published weights says; and a config as a scheduler."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

import sde_lib
from checkpoints import diffusers_scheduler
from checkpoints.diffusers_scheduler import Scheduler
from experiment.experiment import num_scales
from sde_lib.discrete import zero_terminal_snr

SAMPLING = {
    "variance": "variance_type",
    "threshold": "clip_sample, thresholding",
    "threshold_quantile": "dynamic_thresholding_ratio",
    "grid": "timestep_spacing, steps_offset",
    "snr": "snr",
    "n_steps_each": "correct_steps",
    "t_min": "sampling_eps",
}
"""Fields of ``config.sampling`` and those of a scheduler that say the same."""


def differences(config: ConfigDict, scheduler: Scheduler) -> list[str]:
    """Everything without which the weights mean something else in which the config and the scheduler differ.

    Each entry has the scheduler's field and value, then the config's. The noise itself is compared by the alpha and
    sigma of its levels, so that two descriptions of the same chain are the same.
    """
    model, found = config.model, []
    if model.preconditioning != "none":
        found.append(f"no preconditioning, here model.preconditioning {model.preconditioning!r}")
    if model.prediction != scheduler.prediction:
        theirs = f"prediction_type {scheduler.fields['prediction_type']!r}" if scheduler.is_chain else "the score"
        found.append(f"{theirs}, here model.prediction {model.prediction!r}")
    if not scheduler.is_chain:
        return found + _of_ve(config, scheduler)
    n, ours = scheduler.num_levels, num_scales(config)
    if ours != n:
        here = f"model.num_scales {ours}" if ours else "continuous time (training.continuous True)"
        found.append(f"num_train_timesteps {n}, here {here}")
    if model.noise_label != "index" and not (model.noise_label == "index_1000" and n == 1000):
        found.append(f"the network is told the level's index, here model.noise_label {model.noise_label!r}")
    if not config.data.centered:
        found.append("data in [-1, 1], here data.centered False")
    return found + _of_chain(config, scheduler)


def _of_ve(config: ConfigDict, scheduler: Scheduler) -> list[str]:
    found = []
    if config.model.noise_label != "sigma":
        found.append(f"the network is told sigma, here model.noise_label {config.model.noise_label!r}")
    if config.sde.name != "ve":
        return [*found, f"{scheduler.name}, here sde.name {config.sde.name!r}"]
    for field in ("sigma_min", "sigma_max"):
        ours = config.sde.get(field, inspect.signature(sde_lib.VE).parameters[field].default)
        if not np.isclose(scheduler.fields[field], ours, rtol=1e-6):
            found.append(f"{field} {scheduler.fields[field]}, here sde.{field} {ours}")
    return found


def _of_chain(config: ConfigDict, scheduler: Scheduler) -> list[str]:
    n, given, sde = scheduler.num_levels, scheduler.fields, sde_lib.create(**config.sde)
    ours = sde.num_levels or num_scales(config) or n
    try:
        alpha, sigma = sde.levels(ours)
    except ValueError:
        return [f"{scheduler.name}, here sde.name {config.sde.name!r}, which has no such chain"]
    zero_snr = bool(given["rescale_betas_zero_snr"])
    alpha_bar = np.cumprod(1.0 - (zero_terminal_snr(scheduler.betas) if zero_snr else scheduler.betas))
    # diffusers computes in float32
    if ours == n and np.allclose(alpha**2, alpha_bar, rtol=1e-4) and np.allclose(sigma**2, 1.0 - alpha_bar, rtol=1e-4):
        return []
    found = [f"num_train_timesteps {n}, here sde.n {ours}"] if sde.num_levels not in (0, n) else []
    theirs = scheduler.sde
    schedule = config.sde.get("schedule", "linear")
    if zero_snr != config.sde.get("zero_snr", False):
        found.append(f"rescale_betas_zero_snr {zero_snr}, here sde.zero_snr {not zero_snr}")
    if theirs["schedule"] != schedule:
        name = "trained_betas" if given["trained_betas"] is not None else f"beta_schedule {given['beta_schedule']!r}"
        return [*found, f"{name}, here sde.schedule {schedule!r}"]
    if theirs["schedule"] == "table":
        return [*found, f"betas {scheduler.betas[0]:.6g} to {scheduler.betas[-1]:.6g}, others in sde.betas"]
    defaults = inspect.signature(sde_lib.SCHEDULES[schedule]).parameters
    for field, end in (("beta_min", "beta_start"), ("beta_max", "beta_end")):
        if field in theirs:
            value = config.sde.get(field, defaults[field].default)
            if not np.isclose(given[end], value / ours, rtol=1e-6):
                found.append(f"{end} {given[end]}, here sde.{field} {value}, a {end} of {value / ours:.6g}")
    if "s" in defaults and config.sde.get("s", defaults["s"].default) != defaults["s"].default:
        found.append(f"s {defaults['s'].default}, here sde.s {config.sde.s}")
    return found


def sampling_differences(config: ConfigDict, scheduler: Scheduler) -> list[str]:
    """In what the config's sampler is another than the scheduler's, as far as fields of the scheduler say."""
    found = []
    for field, theirs in scheduler.sampling.items():
        ours = config.sampling[field]
        if field not in SAMPLING or ours == theirs or (field == "grid" and theirs in ("levels", "published")):
            continue
        fields = ", ".join(f"{f} {scheduler.fields[f]!r}" for f in SAMPLING[field].split(", "))
        found.append(f"{fields}, here sampling.{field} {ours!r}")
    for field, allowed in (("clip_sample_range", 1.0), ("sample_max_value", 1.0)):
        if scheduler.fields.get(field, allowed) != allowed:
            found.append(f"{field} {scheduler.fields[field]}, here always {allowed}")
    return found


def check_sampler(config: ConfigDict, name: str) -> None:
    """Refuse, with a ValueError, a scheduler of diffusers as a sampler of a run that has another noise or prediction.

    It is the class of that name as diffusers builds it from ``sampling.scheduler_config``; an empty text is refused
    where the sampler is built.
    """
    if not (text := config.sampling.scheduler_config):
        return
    where = Path(f"sampling.scheduler_config ({diffusers_scheduler.FILE})")
    built = diffusers_scheduler.of_fields(diffusers_scheduler.fields_of(text, where), where, name)
    if found := differences(config, built):
        raise ValueError(
            f"sampling.scheduler {name}, as diffusers builds it from the folder's {diffusers_scheduler.FILE}, has not "
            f"the noise of this run: {'; '.join(found)}"
        )


def as_scheduler(config: ConfigDict) -> dict[str, Any] | None:
    """The scheduler_config.json of a config's noise and sampler; None where diffusers has no such noise.

    It is the one that the run has kept, where that still has its noise.
    """
    if kept := config.sampling.scheduler_config:
        where = Path(diffusers_scheduler.FILE)
        written = diffusers_scheduler.fields_of(kept, where)
        if not differences(config, diffusers_scheduler.of_fields(written, where)):
            return written
    fields = _fields_of(config)
    if fields is None:
        return None
    name, of_chains = fields["_class_name"], diffusers_scheduler.CHAIN_DEFAULTS
    is_ve = name == diffusers_scheduler.VE
    defaults = diffusers_scheduler.VE_DEFAULTS if is_ve else of_chains | diffusers_scheduler.CHAINS[name]
    scheduler = Scheduler(Path(diffusers_scheduler.FILE), name, defaults | fields)
    return None if differences(config, scheduler) else fields


def _fields_of(config: ConfigDict) -> dict[str, Any] | None:
    sampling, model = config.sampling, config.model
    if config.sde.name == "ve" and model.prediction == "score":
        sde: Any = sde_lib.create(**config.sde)
        return {
            "_class_name": diffusers_scheduler.VE,
            "num_train_timesteps": sampling.steps,
            "sigma_min": sde.sigma_min,
            "sigma_max": sde.sigma_max,
            "snr": sampling.snr,
            "sampling_eps": sampling.t_min,
            "correct_steps": sampling.n_steps_each,
        }
    predictions = {ours: theirs for theirs, ours in diffusers_scheduler.PREDICTIONS.items()}
    n, zero_snr = num_scales(config), config.sde.get("zero_snr", False)
    if not n or model.prediction not in predictions:
        return None
    try:
        alpha, _ = sde_lib.create(**(dict(config.sde) | ({"zero_snr": False} if zero_snr else {}))).levels(n)
    except ValueError:
        return None
    betas = 1.0 - (alpha / np.concatenate([[1.0], alpha[:-1]])) ** 2
    fields = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": n,
        "prediction_type": predictions[model.prediction],
        "variance_type": "fixed_large" if sampling.variance == "large" else "fixed_small",
        "clip_sample": sampling.threshold == "clip",
        "thresholding": sampling.threshold == "dynamic",
        "dynamic_thresholding_ratio": sampling.threshold_quantile,
    } | ({"rescale_betas_zero_snr": True} if zero_snr else {})
    for name, schedule in diffusers_scheduler.SCHEDULES.items():
        start, end = round(float(betas[0]), 12), round(float(betas[-1]), 12)
        if np.allclose(schedule(start, end, n), betas, rtol=1e-6):
            return fields | {"beta_schedule": name, "beta_start": start, "beta_end": end}
    return fields | {"trained_betas": [float(beta) for beta in betas]}
