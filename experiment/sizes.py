"""Pictures of another size than those that a run is of, where its network takes them."""

import dataclasses
from typing import Any

import jax
import numpy as np

from autoencoders import Latents
from experiment.experiment import Experiment
from experiment.showing import MODALITIES


def sized(experiment: Experiment) -> Experiment:
    """The experiment whose samples have ``sampling.height`` and ``sampling.width``; itself where both are 0.

    Raises:
      ValueError: the examples are no pictures, or network or autoencoder does not take pictures of that size.
    """
    config = experiment.config.sampling
    if not (config.height or config.width):
        return experiment
    shape, codec = experiment.codec.pictures.shape, experiment.codec
    asked = f"sampling.height is {config.height} and sampling.width {config.width}"
    if not MODALITIES[codec.pictures.modality].is_picture:
        raise ValueError(f"{asked}, and the examples of this run are no pictures; leave both at 0")
    size = (config.height or shape[0], config.width or shape[1], shape[2])
    factor = shape[0] // codec.shape[0]
    if any(side % factor for side in size[:2]):
        raise ValueError(
            f"{asked}, and each latent of this run stands for {factor} pixels a side; give multiples of {factor}"
        )
    pictures = dataclasses.replace(codec.pictures, shape=size)
    larger: Any = pictures
    if isinstance(codec, Latents):
        autoencoder: Any = codec.autoencoder
        larger = dataclasses.replace(codec, pictures=pictures, autoencoder=autoencoder.of_picture(size))
    changed = dataclasses.replace(experiment, codec=larger)
    try:
        x, label = (jax.ShapeDtypeStruct((1, *each), np.float32) for each in (larger.shape, ()))
        jax.eval_shape(changed.network.apply, changed.network.abstract(), x, label)
    except ValueError as error:
        raise ValueError(f"{asked}, which this run does not take: {error}") from error
    return changed
