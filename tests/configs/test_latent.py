"""The published recipes of latent diffusion mean the published networks, chains and numbers."""

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

import samplers
import sde_lib
from checkpoints import diffusers_unet
from checkpoints.layout import check_network
from data import SOURCES
from experiment.build import network
from experiment.ranges import of_section
from training import optimizer

ROOT = Path(__file__).parents[2]
PATHS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs" / "latent").glob("*_ldm_*.py"))
# Rombach et al. 2022, tables 12 and 18: latents, batch, steps, rate, FID and evaluations.
PUBLISHED = {
    "celebahq_256_ldm_4": ((64, 64, 3), 48, 410_000, 9.6e-5, 5.11, 200),
    "ffhq_256_ldm_4": ((64, 64, 3), 42, 635_000, 8.4e-5, 4.98, 200),
    "bedroom_256_ldm_4": ((64, 64, 3), 48, 1_900_000, 9.6e-5, 2.95, 200),
    "imagenet_256_ldm_4": ((64, 64, 3), 1200, 178_000, 1e-4, 3.60, 250),
    "church_256_ldm_8": ((32, 32, 4), 96, 500_000, 5e-5, 4.02, 500),
}
CELEBAHQ = {  # the config.json of CompVis/ldm-celebahq-256, as far as it is not diffusers' default
    "attention_head_dim": 32,
    "block_out_channels": [224, 448, 672, 896],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "sample_size": 64,
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}


def load(path: str) -> ConfigDict:
    return importlib.import_module(path.removesuffix(".py").replace("/", ".")).get_config()


@pytest.mark.parametrize("path", PATHS)
def test_it_is_the_published_recipe(path: str) -> None:
    config, name = load(path), Path(path).stem
    _, batch, steps, rate, fid, evaluations = PUBLISHED[name]
    assert config.is_locked and config.model.is_locked
    training, optim = config.training, config.optim
    assert (training.batch_size, training.n_iters, optim.lr) == (batch, steps, rate)
    assert (config.published.fid, config.published.num_samples, config.sampling.evaluations) == (
        fid,
        50_000,
        evaluations,
    )
    optimizer.create(**config.optim, batch_size=batch)
    constructor = SOURCES[config.data.dataset.partition(":")[0]]
    assert set(config.data) - set(of_section("data")) <= set(inspect.signature(constructor).parameters)
    sde = sde_lib.create(**config.sde)
    alpha, _ = sde.levels(1000)
    betas = 1.0 - (alpha / np.append(1.0, alpha[:-1])) ** 2
    end = 0.0155 if name.startswith("church") else 0.0195
    np.testing.assert_allclose(np.sqrt(betas), np.linspace(0.0015**0.5, end**0.5, 1000), rtol=1e-9)
    samplers.create(sde, lambda x, t: x, samplers.Settings(**config.sampling))
    text = (ROOT / path).read_text()
    assert f"--config={path}" in text and "Hardware:" in text and "(published)" in text
    assert f"FID {fid:.2f}" in text


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_its_network_is_the_published_one(path: str) -> None:
    config, name = load(path), Path(path).stem
    shape = PUBLISHED[name][0]
    built = network(config, sde_lib.create(**config.sde), shape)
    if name.startswith("imagenet"):
        classes = 1001 * 512
        assert built.count() == 400_920_579 + classes, "400.92 M, as the public code prints, and the table of classes"
        return
    if name.startswith("church"):
        assert built.count() // 10**6 == 294, "as published, in whole millions"
        return
    assert built.count() == 274_056_163
    check_network(path, built, *diffusers_unet.network_options({"_class_name": "UNet2DModel"} | CELEBAHQ))


def test_all_that_were_published_without_a_condition_are_there() -> None:
    assert {Path(path).stem for path in PATHS} == PUBLISHED.keys()
