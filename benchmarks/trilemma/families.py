"""The families that the trilemma compares: how each is trained on the digits in an equal time, and drawn from.

A new one is a line in FAMILIES.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from configs.baselines import digits_gan, digits_vae
from configs.categorical import digits_masked
from configs.consistency import digits as digits_consistency
from configs.edm import digits_trigflow
from configs.flow import digits as digits_flow
from configs.meanflow import digits as digits_meanflow
from configs.vp import digits

Runs = dict[str, Path]
"""The folders of a family's runs that are trained already, by the names of their stages."""


@dataclass(frozen=True)
class Stage:
    """One training of a family.

    Attributes:
      name: of its folder, within the family's.
      config: (folders of the stages before it) -> its config.
      share: of the family's training time.
      stretched: fields of `training` that are numbers of steps, and grow with the length of the training.
    """

    name: str
    config: Callable[[Runs], ConfigDict]
    share: float = 1.0
    stretched: tuple[str, ...] = ()


@dataclass(frozen=True)
class Way:
    """One way of drawing from the last stage: what tables call it, and the options of its sampler."""

    name: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Family:
    """A kind of generative model.

    Attributes:
      name: what tables call it.
      stages: its trainings, one after another.
      ways: how it is drawn from.
      bits: the number of a report that bounds its code length, by its keys; () where it has none, as a map has none,
        whatever the diffusion model has that it was made of.
    """

    name: str
    stages: tuple[Stage, ...]
    ways: tuple[Way, ...]
    bits: tuple[str, ...] = ()


LIKELIHOOD = ("bits_per_dim", "mean")
BOUND = ("variational_bound", "mean")


def _only(module: Any) -> tuple[Stage, ...]:
    return (Stage("run", lambda runs: module.get_config()),)


def _tuned(runs: Runs) -> ConfigDict:
    """The consistency model that begins with the diffusion model of the first half of the time."""
    config = digits_consistency.get_config()
    config.training.begin_with = str(runs["diffusion"])
    return config


def _autoencoder(runs: Runs) -> ConfigDict:
    """The variational autoencoder whose latents say as much as they can: the prior is the diffusion model's concern."""
    config = digits_vae.get_config()
    config.training.vae_beta = 0.01
    return config


def _latent(runs: Runs) -> ConfigDict:
    """The demo's process on the latents of the autoencoder of the first half of the time."""
    config = digits.get_config()
    config.data.codec = str(runs["autoencoder"])
    config.data.uniform_dequantization = False
    config.model.update(ch_mult=(1,), attn_resolutions=(2,))
    config.eval.enable_bpd = False  # of latents, and not of pixels
    return config


FAMILIES = (
    Family("VAE", _only(digits_vae), (Way("one pass", {}),), BOUND),
    Family("GAN", _only(digits_gan), (Way("one pass", {}),)),
    Family(
        "diffusion",
        _only(digits),
        (
            Way("1000 evaluations", {"method": "euler_maruyama", "steps": 999}),
            Way("10 evaluations", {"method": "dpmpp_2m", "evaluations": 10, "grid": "log_snr"}),
        ),
        LIKELIHOOD,
    ),
    Family(
        "flow",
        _only(digits_flow),
        (Way("10 evaluations", {"method": "dpmpp_2m", "evaluations": 10}),),
        LIKELIHOOD,
    ),
    Family(
        "consistency",
        (
            Stage("diffusion", lambda runs: digits_trigflow.get_config(), 0.5),
            Stage("run", _tuned, 0.5, ("doubling_steps",)),
        ),
        (
            Way("1 evaluation", {"method": "renoise", "evaluations": 1, "grid_noise": ()}),
            Way("2 evaluations", {"method": "renoise", "evaluations": 2}),
        ),
    ),
    Family(
        "mean flow",
        _only(digits_meanflow),
        (
            Way("1 evaluation", {"method": "jump", "evaluations": 1}),
            Way("2 evaluations", {"method": "jump", "evaluations": 2}),
        ),
        LIKELIHOOD,
    ),
    Family(
        "latent diffusion",
        (Stage("autoencoder", _autoencoder, 0.5), Stage("run", _latent, 0.5)),
        (Way("50 evaluations", {"method": "ddim", "eta": 1.0, "evaluations": 50}),),  # fresh noise mends a rough score
    ),
    Family(
        "categorical", _only(digits_masked), (Way("64 steps", {"steps": 64}), Way("10 steps", {"steps": 10})), BOUND
    ),
)
