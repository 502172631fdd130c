"""What a scheduler of diffusers says of the noise that the network beside it was trained on, in this project's words.

A scheduler_config.json holds three things: the corruption (the betas of a chain, or VE's range of sigma) and what the
network predicts, without which the weights mean nothing; and how diffusers samples, which is a choice. Fields that a
file leaves out have the defaults of diffusers 0.42.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import limits

FILE = "scheduler_config.json"
VE = "ScoreSdeVeScheduler"
VE_DEFAULTS = {
    "num_train_timesteps": 2000,
    "snr": 0.15,
    "sigma_min": 0.01,
    "sigma_max": 1348.0,
    "sampling_eps": 1e-5,
    "correct_steps": 1,
}
CHAIN_DEFAULTS = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
    "use_flow_sigmas": False,
    "timestep_type": "discrete",
    "variance_type": "fixed_small",
    "clip_sample": False,
    "clip_sample_range": 1.0,
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "sample_max_value": 1.0,
    "timestep_spacing": "linspace",
    "steps_offset": 0,
    "set_alpha_to_one": True,
    "use_karras_sigmas": False,
    "solver_order": 2,
    "algorithm_type": "dpmsolver++",
}
LEADING = {"timestep_spacing": "leading"}
LATENT = {"beta_start": 0.00085, "beta_end": 0.012}
CHAINS: dict[str, dict[str, Any]] = {
    "DDPMScheduler": LEADING | {"clip_sample": True},
    "DDPMParallelScheduler": LEADING | {"clip_sample": True},
    "DDIMScheduler": LEADING | {"clip_sample": True},
    "DDIMParallelScheduler": LEADING | {"clip_sample": True},
    "PNDMScheduler": LEADING | {"set_alpha_to_one": False},
    "DPMSolverMultistepScheduler": {},
    "DPMSolverSinglestepScheduler": {},
    "UniPCMultistepScheduler": {},
    "DEISMultistepScheduler": {},
    "EulerDiscreteScheduler": {},
    "EulerAncestralDiscreteScheduler": {},
    "LMSDiscreteScheduler": {},
    "HeunDiscreteScheduler": LATENT,
    "KDPM2DiscreteScheduler": LATENT,
    "KDPM2AncestralDiscreteScheduler": LATENT,
}
"""The schedulers of a chain of noise levels, and the defaults in which each differs from CHAIN_DEFAULTS."""

ZERO_SNR = ("DDPM", "DDIM", "EulerDiscrete", "EulerAncestral", "DPMSolverMultistep", "UniPC")
"""Beginnings of the names of those that know the field rescale_betas_zero_snr."""

PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
VARIANCES = {
    "fixed_small": "small",
    "fixed_small_log": "small",
    "fixed_large": "large",
    "fixed_large_log": "large",
}
EVALUATIONS = 50  # diffusers' default where a scheduler takes fewer steps than its chain has


def _cosine(t: float) -> float:
    return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2


def _laplace(t: float) -> float:
    half = 0.5 - t
    snr = math.exp(-0.5 * math.copysign(1.0, half) * math.log(1.0 - 2.0 * abs(half) + 1e-6))
    return math.sqrt(snr / (1.0 + snr))


SCHEDULES: dict[str, Callable[[float, float, int], np.ndarray]] = {
    "linear": lambda start, end, n: np.linspace(start, end, n),
    "scaled_linear": lambda start, end, n: np.linspace(start**0.5, end**0.5, n) ** 2,
    "squaredcos_cap_v2": lambda start, end, n: _of_alpha_bar(_cosine, n),
    "laplace": lambda start, end, n: _of_alpha_bar(_laplace, n),
    "exp": lambda start, end, n: _of_alpha_bar(lambda t: math.exp(-12.0 * t), n),
    "sigmoid": lambda start, end, n: (end - start) / (1.0 + np.exp(-np.linspace(-6.0, 6.0, n))) + start,
}
"""Name of a beta_schedule: (beta_start, beta_end, number of steps) -> betas, float64."""

BETA = limits.share(above=True, below=True)
VE_RANGES: dict[str, limits.Range] = {
    "num_train_timesteps": limits.whole(2),
    **dict.fromkeys(("sigma_min", "sigma_max", "snr", "sampling_eps"), limits.positive()),
    "correct_steps": limits.whole(0),
}
CHAIN_RANGES: dict[str, limits.Range] = {
    "num_train_timesteps": limits.whole(2),
    "beta_start": BETA,
    "beta_end": BETA,
    "beta_schedule": limits.OneOf(tuple(SCHEDULES)),
    "prediction_type": limits.OneOf(tuple(PREDICTIONS)),
    "timestep_type": limits.OneOf(("discrete",)),
    "timestep_spacing": limits.OneOf(("linspace", "leading", "trailing")),
    "solver_order": limits.whole(1),
    "algorithm_type": limits.OneOf(("dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver", "deis")),
    "dynamic_thresholding_ratio": limits.share(above=True),
}
"""What each field may be; a chain of DDPM has its variance_type too."""


def _of_alpha_bar(alpha_bar: Callable[[float], float], n: int) -> np.ndarray:
    levels = np.array([alpha_bar(i / n) for i in range(n + 1)])
    return np.minimum(1.0 - levels[1:] / levels[:-1], 0.999)


@dataclasses.dataclass(frozen=True)
class Scheduler:
    """A scheduler that this project has a process for.

    Attributes:
      file: where it was read.
      name: its class.
      fields: its numbers and names, those left out by their defaults.
      written: what the file says, as it says it.
    """

    file: Path
    name: str
    fields: Mapping[str, Any]
    written: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def text(self) -> str:
        """What the file says, in one line of JSON."""
        return json.dumps(dict(self.written), sort_keys=True)

    @property
    def is_chain(self) -> bool:
        """Whether the network is told the index of a noise level; False: sigma."""
        return self.name != VE

    @property
    def num_levels(self) -> int:
        """The noise levels of the chain; of VE the steps of its sampler."""
        return self.fields["num_train_timesteps"]

    @functools.cached_property
    def betas(self) -> np.ndarray:
        """The betas of the chain, float64 [num_levels], before they are rescaled to no signal at the last level."""
        given = self.fields
        if given["trained_betas"] is not None:
            return np.asarray(given["trained_betas"], np.float64)
        return SCHEDULES[given["beta_schedule"]](given["beta_start"], given["beta_end"], self.num_levels)

    @property
    def prediction(self) -> str:
        """What the network predicts, a name of ``model.prediction``."""
        return PREDICTIONS[self.fields["prediction_type"]] if self.is_chain else "score"

    @property
    def sde(self) -> dict[str, Any]:
        """The noise process, as ``sde_lib.create`` takes it."""
        given, n = self.fields, self.num_levels
        if not self.is_chain:
            return {"name": "ve", "sigma_min": float(given["sigma_min"]), "sigma_max": float(given["sigma_max"])}
        shifted = {"zero_snr": True} if given["rescale_betas_zero_snr"] else {}
        chain = {"name": "discrete", "n": n} | shifted
        named = {"linear": "linear", "scaled_linear": "sqrt_linear"}.get(given["beta_schedule"])
        if given["trained_betas"] is None and given["beta_schedule"] == "squaredcos_cap_v2":
            return chain | {"schedule": "cosine"}
        if given["trained_betas"] is None and named and given["beta_start"] <= given["beta_end"]:
            ends = {"beta_min": round(given["beta_start"] * n, 12), "beta_max": round(given["beta_end"] * n, 12)}
            return chain | {"schedule": named} | ends
        return {"name": "discrete", "schedule": "table", "betas": tuple(map(float, self.betas))} | shifted

    @property
    def sampling(self) -> dict[str, Any]:
        """The nearest of this project's samplers, fields of ``config.sampling``."""
        given, n = self.fields, self.num_levels
        if not self.is_chain:
            return {
                "method": "pc",
                "predictor": "reverse_diffusion",
                "corrector": "langevin",
                "corrector_norm": "batch",
                "snr": float(given["snr"]),
                "n_steps_each": given["correct_steps"],
                "steps": n,
                "discretization": n,
                "grid": "published",
                "t_min": float(given["sampling_eps"]),
                "denoise": "mean",
            }
        how = "dynamic" if given["thresholding"] else "clip" if given["clip_sample"] else "none"
        threshold: dict[str, Any] = {"threshold": how}
        if given["thresholding"]:
            threshold["threshold_quantile"] = float(given["dynamic_thresholding_ratio"])
        if self.name.startswith("DDPM"):
            chain = {"method": "ancestral", "grid": "levels", "steps": n, "discretization": n, "denoise": "mean"}
            return chain | {"variance": VARIANCES[given["variance_type"]]} | threshold
        return self._few_steps() | threshold

    def _few_steps(self) -> dict[str, Any]:
        given, name = self.fields, self.name
        order = min(max(given["solver_order"], 2), 3)
        sde, plus = given["algorithm_type"].startswith("sde"), given["algorithm_type"].endswith("++")
        methods = {
            "DDIM": "ddim",
            "PNDM": "ipndm",
            "DPMSolverMultistep": f"dpmpp_{order}m_sde" if sde else f"{'dpmpp' if plus else 'dpm_solver'}_{order}m",
            "DPMSolverSinglestep": f"{'dpmpp' if plus else 'dpm_solver'}_{order}s",
            "UniPC": f"unipc_{order}",
            "DEIS": "deis",
            "EulerAncestral": "ddim",
            "Euler": "euler",
            "LMS": "lms",
            "Heun": "heun",
            "KDPM2": "dpm_2",
        }
        method = next(method for start, method in methods.items() if name.startswith(start))
        found: dict[str, Any] = {"method": method, "evaluations": min(EVALUATIONS, self.num_levels), "denoise": "mean"}
        found["grid"] = "karras" if given["use_karras_sigmas"] else given["timestep_spacing"]
        if found["grid"] == "leading" and given["steps_offset"] == 1 and found["evaluations"] < self.num_levels:
            to_level_0 = name.startswith("DDIM") and not given["set_alpha_to_one"]
            found |= {"grid": "ldm", "denoise": "none"} if to_level_0 else {"grid": "leading_1"}
        if name.startswith("EulerAncestral"):
            found["eta"] = 1.0
        return found


def find(folder: Path) -> Path | None:
    """The scheduler's file beside the network in `folder`: there, in its scheduler/, or beside the folder unet/."""
    near = [folder, folder / "scheduler"]
    near += [folder.parent, folder.parent / "scheduler"] if folder.name == "unet" else []
    return next((path / FILE for path in near if (path / FILE).exists()), None)


def load_json(file: Path) -> dict[str, Any]:
    """A file of one JSON object; ValueError that names it where it is damaged or holds something else."""
    try:
        text = file.read_text()
    except ValueError as error:  # bytes that are no text
        raise ValueError(f"{file} is damaged, or no JSON file: {' '.join(str(error).split())[:200]}") from None
    return fields_of(text, file)


def fields_of(text: str, file: Path) -> dict[str, Any]:
    """The JSON object in the text of a file; it raises what `load_json` does of its content."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged, or no JSON file: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(given, dict):
        raise ValueError(f"{file} holds a {type(given).__name__}; a config.json of diffusers holds fields by name")
    return given


def read(file: Path) -> Scheduler:
    """The scheduler of a file.

    Raises:
      ValueError: a damaged file, a class or a field whose noise no process here has; the message lists every one.
      OSError: no such file.
    """
    return of_fields(load_json(file), file)


def of_fields(written: Mapping[str, Any], file: Path, name: str | None = None) -> Scheduler:
    """The scheduler that diffusers builds from what a file says, of another class than the file's where one is named.

    What the file leaves out has the defaults of that class, as in ``from_config`` of diffusers.

    Raises:
      ValueError: as `read`.
    """
    given = dict(written)
    name = name or given.get("_class_name")
    if name != VE and name not in CHAINS:
        raise ValueError(
            f"{file}: _class_name is {name!r}, whose noise has no counterpart here; known are {', '.join(CHAINS)} "
            f"and {VE}"
        )
    if given.get("predict_epsilon") is False and "prediction_type" not in given:  # diffusers before 0.9
        given["prediction_type"] = "sample"
    defaults = VE_DEFAULTS if name == VE else CHAIN_DEFAULTS | CHAINS[name]
    fields = defaults | {field: value for field, value in given.items() if field in defaults}
    wrong = _misfits(name, fields)
    if wrong:
        raise ValueError(f"{file}, {name}: {'; '.join(wrong)}")
    return Scheduler(file, name, fields, written)


def _misfits(name: str, given: Mapping[str, Any]) -> list[str]:
    """Every field in the way, with what is allowed."""
    ranges = VE_RANGES if name == VE else CHAIN_RANGES
    ranges = ranges | {"variance_type": limits.OneOf(tuple(VARIANCES))} if name.startswith("DDPM") else ranges
    wrong = [f"{field} is {given[field]!r}; {of.words}" for field, of in ranges.items() if not of.allows(given[field])]
    if name == VE:
        if not wrong and given["sigma_min"] >= given["sigma_max"]:
            wrong.append(f"sigma_min is {given['sigma_min']} and sigma_max {given['sigma_max']}; it must lie below")
        return wrong
    table = given["trained_betas"]
    if not limits.Maybe(limits.Several(BETA)).allows(table):
        wrong.append("trained_betas are not a list of numbers between 0 and 1")
    elif table is not None and len(table) != given["num_train_timesteps"]:
        wrong.append(f"there are {len(table)} trained_betas, and num_train_timesteps is {given['num_train_timesteps']}")
    if given["rescale_betas_zero_snr"] and given["prediction_type"] == "epsilon":
        wrong.append(
            "rescale_betas_zero_snr is True and prediction_type 'epsilon': of its last level, which has no signal, a "
            "network that predicts eps says nothing; v_prediction and sample go with it"
        )
    if given["rescale_betas_zero_snr"] and not name.startswith(ZERO_SNR):
        wrong.append(f"rescale_betas_zero_snr is True, which only {', '.join(ZERO_SNR)} of diffusers know")
    if given["use_flow_sigmas"]:
        wrong.append("use_flow_sigmas is True: the straight path of flow matching is no process here")
    return wrong
