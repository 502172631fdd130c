"""Untrained runs of a tiny cascade of scenes: 16 pixels a side, and an upsampler to 32."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from configs.text import scenes
from experiment import build
from experiment.workdir import Workdir

PROMPT = "a small red three above a large blue seven on grey"


def config(size: int = 16, upsampling: int = 0, tokens: int = 14, **sampling: object) -> ConfigDict:
    """The recipe for scenes with a tiny network, which enlarges pictures by `upsampling` where that is not 0."""
    config = scenes.get_config()
    with config.unlocked():
        config.data.update(size=size, image_size=size, train_length=32, test_length=16)
        config.model.update(upsampling=upsampling, low_res_noise=0.1 if upsampling else 0.0)
    config.model.update(nf=8, ch_mult=(1, 2), attn_resolutions=(size // 2,), head_channels=8, num_groups=2)
    config.model.update(text_width=8, text_layers=1, text_heads=2, tokens=tokens)
    config.training.update(batch_size=8, n_iters=2, log_freq=1, eval_freq=2, snapshot_freq=2, n_jitted_steps=1)
    config.training.update(snapshot_freq_for_preemption=2)
    config.optim.update(warmup=0, decay_steps=0)
    config.sampling.update(method="ddim", grid="uniform", evaluations=2, **sampling)
    config.eval.update(batch_size=4, num_samples=6, samplers=("ddim",), judge="")
    return config


def upsampler(**sampling: object) -> ConfigDict:
    """Another sampler than the base's, and texts of another length."""
    config_of = config(32, 2, 20, guidance=1.0, **sampling)
    config_of.sampling.update(method="euler", evaluations=3, prior_scale=0.9)
    config_of.eval.samplers = ("euler",)
    return config_of


def untrained(folder: Path, config: ConfigDict) -> Path:
    """A run in the folder with random weights, none of them 0."""
    workdir, network = Workdir(folder), build(config, needs_data=False).network
    workdir.begin(config)
    draw, abstract = np.random.default_rng(0), network.abstract()
    params = {name: np.float32(0.1 * draw.normal(size=a.shape)) for name, a in abstract["params"].items()}
    fixed = {name: np.zeros(a.shape, a.dtype) for name, a in abstract["fixed"].items()}
    with workdir.store() as store:
        store.save(1, {"params": params, "ema": params, "fixed": fixed}, {})
    return workdir.path
