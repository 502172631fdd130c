"""Runs of the smallest networks, untrained, in memory and in folders, and their pages."""

from pathlib import Path

import jax
from ml_collections import ConfigDict

from configs.categorical import digits_masked, pydoc_masked
from configs.shapes import tones
from configs.vp import digits, toy_mixture8_mlp
from experiment import Run, build
from experiment.workdir import Workdir

SMALL = {"nf": 4, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": ()}
NETWORKS = {
    "digits": (digits, SMALL),
    "digits_masked": (digits_masked, SMALL),
    "mixture8": (toy_mixture8_mlp, {"width": 8, "depth": 1}),
    "pydoc": (pydoc_masked, {"width": 8, "depth": 1, "num_heads": 2}),
    "tones": (tones, SMALL | {"nf": 32}),  # as wide as one head of its attention
}


def config_of(name: str, **fields: object) -> ConfigDict:
    """A config of one of NETWORKS; `fields` have __ in place of dots."""
    recipe, network = NETWORKS[name]
    config = recipe.get_config()
    with config.unlocked():
        config.model.update(network)
        if name == "pydoc":
            config.data.length = 16
    config.update_from_flattened_dict({field.replace("__", "."): value for field, value in fields.items()})
    return config


def run_of(config: ConfigDict) -> Run:
    """An untrained run of it, in memory."""
    experiment = build(config)
    return Run(experiment, 0, experiment.network.init(jax.random.key(1)))


def folder_of(config: ConfigDict, path: Path) -> Path:
    """The same in a folder."""
    run, workdir = run_of(config), Workdir(path)
    workdir.begin(config)
    with workdir.store() as store:
        store.save(1, {"ema": run.variables["params"], "fixed": run.variables["fixed"]})
    return path
