"""The configs of consistency models mean the networks of the public flags, and are sampled as in the paper."""

import importlib
import inspect
from pathlib import Path

import pytest
from ml_collections import ConfigDict

import samplers
import sde_lib
from checkpoints import edm
from checkpoints.layout import check_network, effective_options
from data import SOURCES
from experiment.build import network_of
from experiment.ranges import of_section
from experiment.rules import check_config
from models.functional import Network
from samplers.create import grid, stepper_of
from training import losses, optimizer

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs" / "consistency").glob("*_*.py"))
PATHS = [str(path.relative_to(ROOT)) for path in FILES if not path.stem.startswith("digits")]

# The flags of the launch script as our options, and those of the CIFAR-10 code. Its attention has the queries first.
ADM = {"head_channels": 64, "attn_resolutions": (32, 16, 8), "resblock_updown": True, "attention_order": "new"}
ADM |= {"learned_variance": False, "num_heads_up": None, "time_scale": 1000.0, "num_channels": 3}
IMAGENET = ADM | {"image_size": 64, "nf": 192, "ch_mult": (1, 2, 3, 4), "num_res_blocks": 3, "scale_shift": True}
LSUN = ADM | {"image_size": 256, "nf": 256, "ch_mult": (1, 1, 2, 2, 4, 4), "num_res_blocks": 2, "scale_shift": False}
NCSNPP = {"image_size": 32, "num_channels": 3, "nf": 128, "ch_mult": (2, 2, 2), "num_res_blocks": 4, "fir": True}
NCSNPP |= {"attn_resolutions": (16,), "progressive": "none", "progressive_input": "residual", "augment_dim": 0}
OPTIONS = {
    "imagenet_64": ("guided_unet", IMAGENET | {"label_dim": 1000}),
    "bedroom_256": ("guided_unet", LSUN | {"label_dim": 0}),
    "cat_256": ("guided_unet", LSUN | {"label_dim": 0}),
    "cifar10": ("edm_unet", NCSNPP | {"embedding_type": "fourier", "label_dim": 0}),
}

# FID, precision, recall (CIFAR-10: FID, Inception Score) in one evaluation, the teachers in theirs, and in two.
TABLE = {
    "imagenet_64_edm": (2.44, 0.71, 0.67),
    "imagenet_64_cd_lpips": (6.20, 0.68, 0.63, 4.70, 0.69, 0.64),
    "imagenet_64_ct": (13.0, 0.71, 0.47, 11.1, 0.69, 0.56),
    "bedroom_256_edm": (3.57, 0.66, 0.45),
    "bedroom_256_cd_lpips": (7.80, 0.66, 0.34, 5.22, 0.68, 0.39),
    "bedroom_256_ct": (16.0, 0.60, 0.17, 7.85, 0.68, 0.33),
    "cat_256_edm": (6.69, 0.70, 0.43),
    "cat_256_cd_lpips": (11.0, 0.65, 0.36, 8.84, 0.66, 0.40),
    "cat_256_ct": (20.7, 0.56, 0.23, 11.7, 0.63, 0.36),
    "cifar10_edm": (2.04, 9.84),
    "cifar10_cd_lpips": (3.55, 9.48, 2.93, 9.75),
    "cifar10_ct_lpips": (8.70, 8.49, 5.83, 8.85),
    "cifar10_ect": (3.60, 2.11),
}
COUNTS = {"cifar10_edm": 56.4, "cifar10_ect": 55.7, "imagenet_64_edm": 295.9}  # millions, as others count them


def config_of(path: str) -> ConfigDict:
    return importlib.import_module(path.removesuffix(".py").replace("/", ".")).get_config()


def test_the_published_models_are_there() -> None:
    names = {Path(path).stem for path in PATHS}
    assert names >= TABLE.keys() and len(names) == 23
    for data in ("imagenet_64", "bedroom_256", "cat_256"):
        assert {f"{data}_{kind}" for kind in ("edm", "cd_l2", "cd_lpips", "ct")} <= names


@pytest.mark.parametrize("path", PATHS)
def test_it_is_locked_and_sampled_as_published(path: str) -> None:
    config, name = config_of(path), Path(path).stem
    assert config.is_locked and config.model.is_locked
    check_config(config)
    sde, settings = sde_lib.create(**config.sde), samplers.Settings(**config.sampling)
    assert (sde.sigma_max, config.sde.sigma_min) == (80.0, 0.002)
    parameterization = sde_lib.parameterization("eps", "t", config.model.preconditioning)
    times = grid(sde, stepper_of(sde, lambda x, t: x, settings), settings)
    if name.endswith("edm"):
        assert (config.model.preconditioning, settings.method) == ("edm", "heun")
        assert len(times) == (41 if config.data.image_size > 32 else 19) and times[-1] == 0.0  # 79 and 35 evaluations
    else:
        end = 0.003 if name.endswith("ect") else 0.002
        assert parameterization.sigma_min == end and settings.method == "renoise"
        assert [*times] == pytest.approx([1.0, end / 80])  # one evaluation, to where the map leads
    source = inspect.signature(SOURCES[config.data.dataset.partition(":")[0]]).parameters
    assert {*config.data} - {*of_section("data")} <= {*source}
    losses.of_config(config.training, sde)
    optimizer.create(**config.optim, batch_size=config.training.batch_size)


@pytest.mark.parametrize("path", PATHS)
def test_its_docstring_says_the_command_and_the_papers_numbers(path: str) -> None:
    name, text, published = Path(path).stem, (ROOT / path).read_text(), config_of(path).published
    assert f"--config={path}" in text and "--mode=import" in text and "Hardware:" in text
    assert ("(published)" in " ".join(text.split())) == (name in TABLE) == bool(published)
    fields = ("fid", "inception_score") if "cifar10" in name else ("fid", "precision", "recall")
    fields = ("fid",) if name.endswith("ect") else fields
    for i, value in enumerate(TABLE.get(name, ())):
        assert published[fields[i % len(fields)] + ("_2" if i >= len(fields) else "")] == value
        assert f"{value:.1f}" in text if value > 10 else f"{value:.2f}" in text


# The number of the time in between, and of the points of the grid, from the flags --ts and --steps.
TWO = {
    "imagenet_64_cd_lpips": (22, 40),
    "imagenet_64_cd_l2": (22, 40),
    "imagenet_64_ct": (106, 201),
    "bedroom_256_cd_lpips": (17, 40),
    "bedroom_256_cd_l2": (18, 40),
    "bedroom_256_ct": (67, 151),
    "cat_256_ct": (62, 151),
}


@pytest.mark.parametrize("name", TWO)
def test_two_evaluations_are_those_of_the_public_script(name: str) -> None:
    """The docstring's command goes back into noise at the time of that number on Karras et al.'s grid."""
    index, points = TWO[name]
    path = f"configs/consistency/{name}.py"
    config, text = config_of(path), (ROOT / path).read_text()
    sde = sde_lib.create(**config.sde)
    wanted = 80 * samplers.grids.create(sde, "karras", points - 1, 0.002 / 80)[index]
    given = float(text.split("grid_noise=(")[1].split(",")[0])
    assert given == pytest.approx(wanted, rel=1e-5) and f"sigma {wanted:.4g}, the time {index} of {points}" in text
    config.sampling.update(evaluations=2, grid="given", grid_noise=(given,))
    settings = samplers.Settings(**config.sampling)
    times = grid(sde, stepper_of(sde, lambda x, t: x, settings), settings)
    assert [*times * 80] == pytest.approx([80.0, given, 0.002])


# N and the target's rate (distillation), or s1 and mu0 (from data); batch, steps, rate. The paper's table 3.
TRAINING = {
    "imagenet_64_cd": (40, 0.95, 2048, 600_000, 8e-6),
    "imagenet_64_ct": (200, 0.95, 2048, 800_000, 8e-6),
    "bedroom_256_cd": (40, 0.95, 2048, 600_000, 1e-5),
    "bedroom_256_ct": (150, 0.95, 2048, 1_000_000, 1e-5),
    "cat_256_cd": (40, 0.95, 2048, 600_000, 1e-5),
    "cat_256_ct": (150, 0.95, 2048, 1_000_000, 1e-5),
    "cifar10_cd": (18, 0.0, 512, 800_000, 4e-4),
    "cifar10_ct": (150, 0.9, 512, 800_000, 4e-4),
}


@pytest.mark.parametrize("path", [path for path in PATHS if Path(path).stem.startswith(tuple(TRAINING))])
def test_it_trains_as_published(path: str) -> None:
    config, name = config_of(path), Path(path).stem
    points, ema, batch, steps, lr = next(row for start, row in TRAINING.items() if name.startswith(start))
    loss = losses.of_config(config.training, sde_lib.create(**config.sde))
    mode = ("fixed", "fixed") if "_cd" in name else ("progressive", "adaptive")
    assert (loss.scale_mode, loss.target_ema_mode) == mode
    assert (loss.start_ema, loss.start_scales if "_cd" in name else loss.end_scales) == (ema, points)
    assert loss.loss_norm == ("l1" if name.endswith("l1") else "l2") and loss.consistency_weight == "uniform"
    assert (config.training.batch_size, config.training.n_iters, loss.total_steps) == (batch, steps, steps)
    adam = {"optimizer": "RAdam", "lr": 2e-4 if name.endswith("l1") else lr, "warmup": 0, "warmup_images": 0.0}
    assert {field: config.optim[field] for field in adam} == adam and config.optim.grad_clip == 0.0


# Each network once every day at 32 and 64 pixels; those at 256, and those that repeat one, with all tests.
QUICK = ("imagenet_64_edm", "cifar10_edm")
BUILT = [pytest.param(path, marks=[] if Path(path).stem in QUICK else [pytest.mark.slow]) for path in PATHS]


@pytest.mark.parametrize("path", BUILT)
def test_it_builds_the_network_of_the_flags(path: str) -> None:
    name, network = Path(path).stem, network_of(config_of(path))
    if name.endswith("ect"):
        arguments = {"img_resolution": 32, "img_channels": 3, "label_dim": 0, "use_fp16": False, "dropout": 0.2}
        arguments |= {"model_type": "SongUNet", "embedding_type": "positional", "encoder_type": "standard"}
        arguments |= {"decoder_type": "standard", "channel_mult_noise": 1, "resample_filter": [1, 1]}
        arguments |= {"model_channels": 128, "channel_mult": [2, 2, 2]}
        check_network(path, network, *edm.network_options("ECMPrecond", arguments))
        assert edm.preconditioning("ECMPrecond", arguments) == config_of(path).model.preconditioning
    else:
        kind, options = next(found for data, found in OPTIONS.items() if name.startswith(data))
        check_network(path, network, kind, options)
    given = effective_options(network)["dropout"]
    assert given == (
        0.2 if name.endswith("ect") else 0.0 if not name.endswith("edm") else 0.13 if "cifar10" in name else 0.1
    )
    if name in COUNTS:
        assert round(network.count() / 1e6, 1) == COUNTS[name]
    else:
        assert isinstance(network, Network) and network.count() > 0
