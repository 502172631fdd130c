"""The scale and shift of latents: given, the autoencoder's own, or measured as a training begins.

Those that are measured go into the config that the run saves, so that whoever uses the run has them.
"""

import dataclasses

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from autoencoders import Latents
from data.pipeline import batches
from experiment.experiment import Experiment
from experiment.sampling import key_of


def measured(experiment: Experiment) -> Experiment:
    """The experiment with a known scale and shift of its latents; itself where they are known.

    Of the first training batch, as process 0 has it: the shift is the mean of its latents and the scale 1 over their
    deviation, over all channels (Rombach et al. 2022, arXiv:2112.10752, app. G, whose latents are not shifted).
    """
    codec = experiment.codec
    if not isinstance(codec, Latents) or (codec.scale is not None and codec.shift is not None):
        return experiment
    size, seed = experiment.config.training.batch_size, experiment.config.seed
    first = next(batches(experiment.encoded.train, batch_size=size, seed=seed, num_threads=1, prefetch=1))
    keys = jax.random.split(key_of(seed, "scale of latents"), size)
    z = np.asarray(dataclasses.replace(codec, scale=1.0, shift=0.0).encode(first[codec.field], keys), np.float64)
    found = np.asarray([1.0 / z.std(), z.mean()], np.float32)
    if jax.process_count() > 1:
        found = multihost_utils.broadcast_one_to_all(found)
    scale = codec.scale if codec.scale is not None else float(found[0])
    shift = codec.shift if codec.shift is not None else float(found[1])
    logging.info("latents of %d examples: data.latent_scale is %.5g, data.latent_shift %.5g", size, scale, shift)
    config = experiment.config.copy_and_resolve_references()
    with config.ignore_type(), config.unlocked():
        config.data.latent_scale, config.data.latent_shift = scale, shift
    known = dataclasses.replace(codec, scale=scale, shift=shift)
    return dataclasses.replace(experiment, config=config.lock(), codec=known)
