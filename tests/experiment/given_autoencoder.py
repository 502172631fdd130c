"""A tiny autoencoder of the digits with drawn weights, as a run, and a diffusion model of its latents."""

from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import default
from configs.vp import digits
from experiment import build, inputs
from experiment.workdir import Workdir


def autoencoder_config(kind: str = "autoencoder_kl") -> ConfigDict:
    """Digits of 8x8 pixels to 4x4 latents of 2 numbers."""
    config = default.get_config()
    with config.unlocked(), config.ignore_type():
        config.model = ConfigDict(
            config.model.to_dict()
            | {"name": kind, "nf": 4, "ch_mult": (1, 2), "num_res_blocks": 1, "num_groups": 2, "mid_attention": False}
            | {"embed_dim": 2, "z_channels": 2}
        )
        config.data.update(image_size=8, num_channels=1)
    return config


def write_autoencoder(folder: Path, seed: int = 0, kind: str = "autoencoder_kl") -> ConfigDict:
    """A run of it, at step 1."""
    config = autoencoder_config(kind)
    write_run(folder, config, seed)
    return config


def write_run(folder: Path, config: ConfigDict, seed: int = 0) -> None:
    """A run of that config, at step 1, with drawn weights."""
    variables = build(config).network.init(jax.random.key(seed))
    workdir = Workdir(folder)
    workdir.begin(config)
    inputs.write(workdir, inputs.of_config(config))
    tree = {"step": np.int32(1), "params": variables["params"], "ema": variables["params"], "fixed": variables["fixed"]}
    with workdir.store() as store:
        store.save(1, tree, {"config": config.to_dict()})


def latent_config(codec: Path) -> ConfigDict:
    """A narrow network of its latents, trained for two steps."""
    config = digits.get_config()
    config.data.codec, config.data.uniform_dequantization = str(codec), False
    config.model.update(nf=4, ch_mult=(1,), num_res_blocks=1, attn_resolutions=(), dropout=0.0)
    config.training.update(batch_size=8, n_iters=2, log_freq=1, eval_freq=0, snapshot_freq=2, n_jitted_steps=1)
    config.training.update(snapshot_freq_for_preemption=2, snapshot_sampling=False)
    config.sampling.update(method="ddim", grid="uniform", evaluations=2)
    config.eval.update(batch_size=8, num_samples=16, samplers=("ddim",), bpd_max_examples=8, rtol=1e-1, atol=1e-1)
    return config
