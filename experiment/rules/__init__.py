"""All rules of a config beside the ranges of its fields: what the fields say of each other, and of what they name.

A rule is a condition and the message that refuses it: what was received, what is allowed, how to mend it. Each function
holds the rules of one thing, and yields the messages of those that are broken; `check` raises the first. What a single
field may be is in `experiment.ranges`; what the options of a process, a network, a data set, a sampler or a loss may be
is checked by their constructors.
"""

from experiment.rules.base import Broken, check
from experiment.rules.config import (
    LEAST_FOR_INCEPTION,
    NO_SAMPLES,
    check_config,
    of_config,
    of_generator,
    of_images,
    of_noise,
)
from experiment.rules.data import of_codec, of_data, of_known_latents, of_texts
from experiment.rules.evaluation import of_evaluation, of_reproduction, published_samplers
from experiment.rules.samplers import of_guide, of_prompts, of_samplers, of_snapshots, of_told, of_upsampler
from experiment.rules.training import of_beginning, of_loss, of_noise_told, of_snapshot_fid, of_training

__all__ = [
    "LEAST_FOR_INCEPTION",
    "NO_SAMPLES",
    "Broken",
    "check",
    "check_config",
    "of_beginning",
    "of_codec",
    "of_config",
    "of_data",
    "of_evaluation",
    "of_generator",
    "of_guide",
    "of_images",
    "of_known_latents",
    "of_loss",
    "of_noise",
    "of_noise_told",
    "of_prompts",
    "of_reproduction",
    "of_samplers",
    "of_snapshot_fid",
    "of_snapshots",
    "of_texts",
    "of_told",
    "of_training",
    "of_upsampler",
    "published_samplers",
]
