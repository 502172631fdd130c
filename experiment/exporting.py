"""A run as a folder of diffusers: what writes it, once everything has been asked that could refuse it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from autoencoders import CODECS
from checkpoints import (
    diffusers,
    diffusers_autoencoder,
    diffusers_pipeline,
    diffusers_text_pipeline,
    diffusers_text_unet,
    text_folder,
)
from checkpoints.diffusers_pipeline import Part
from experiment.build import of_run
from experiment.config_files import expand
from experiment.experiment import Experiment
from experiment.scheduler import as_scheduler
from experiment.workdir import Workdir
from models import AUTOENCODERS
from models.functional import Network, Variables

Write = Callable[[Path, Variables], None]
"""Writes a folder of a network's variables."""


def writer(config: ConfigDict, workdir: Workdir, network: Network) -> Write:
    """What writes the run of this network, with its scheduler and with all that serves it.

    A model of latents has its autoencoder beside it, and one that is told texts its text encoders and tokenizers. What
    has no pipeline in diffusers is written part by part, and a warning says why.

    Raises:
      ValueError: diffusers has no such network, no such latents, or no scheduler of a model of latents.
    """
    if network.name in AUTOENCODERS:
        diffusers_autoencoder.config_of(network)  # one that has no counterpart there is refused
        return lambda folder, variables: diffusers_autoencoder.write(folder, network, variables)
    if network.name == diffusers_text_unet.NETWORK:
        diffusers_text_unet.config_of(network)
        return _of_texts(of_run(config, workdir))
    diffusers.config_of(network)
    if config.data.codec in CODECS:
        scheduler = as_scheduler(config)
        return lambda folder, variables: diffusers.write(folder, network, variables, scheduler)
    return _of_latents(of_run(config, workdir))


def _of_latents(run: Experiment) -> Write:
    """What writes a model of latents that is told nothing."""
    scheduler, autoencoder = as_scheduler(run.config), _autoencoder(run)
    if scheduler is None:
        raise ValueError("diffusers has no scheduler of this run's noise, and its pipelines cannot be without")
    return lambda folder, variables: diffusers_pipeline.write(
        folder, Part(run.network, variables), autoencoder, scheduler
    )


def _of_texts(run: Experiment) -> Write:
    """What writes a model that is told texts, of latents or of pictures."""
    data = run.config.data
    texts = text_folder.find(expand(data.text_encoder)) if data.text_encoder else None
    autoencoder = None if data.codec in CODECS else _autoencoder(run)

    def parts(variables: Variables) -> diffusers_text_pipeline.Parts:
        unet = Part(run.network, variables)
        return diffusers_text_pipeline.Parts(unet, autoencoder, texts, as_scheduler(run.config))

    if reasons := diffusers_text_pipeline.no_pipeline(parts(run.network.abstract())):
        logging.warning(
            "no pipeline of diffusers is made of this run, as %s; its parts are written, each for from_pretrained of "
            "its own class",
            ", ".join(reasons),
        )
    if data.clip_skip:
        logging.warning(
            "data.clip_skip is %d, which no folder of diffusers says; give its pipeline clip_skip=%d at each call",
            *(data.clip_skip, data.clip_skip),
        )
    return lambda folder, variables: diffusers_text_pipeline.write(folder, parts(variables))


def _autoencoder(run: Experiment) -> Part:
    """The autoencoder of a run's latents, which says their scale; ValueError for what diffusers does not have."""
    codec: Any = run.codec
    network = diffusers_pipeline.scaled(codec.autoencoder.network, codec.scale, codec.shift)
    diffusers_autoencoder.config_of(network)
    return Part(network, codec.autoencoder.variables)
