"""The configs for public models of diffusers and EDM mean the networks of those models."""

import importlib
import inspect
from pathlib import Path

import pytest
from ml_collections import ConfigDict

import samplers
import sde_lib
from checkpoints import diffusers_unet, edm
from checkpoints.layout import check_network
from data import SOURCES
from experiment import importing
from experiment.build import network
from experiment.ranges import of_section
from models.functional import Network
from training import losses, optimizer

ROOT = Path(__file__).parents[2]
PATHS = [
    str(p.relative_to(ROOT))
    for kind in ("diffusers", "edm")
    for p in sorted((ROOT / "configs" / kind).glob("*_*.py"))
    if not p.stem.startswith("digits")
]

# Parameters as others count them; the last digit that was published is the last one compared.
COUNTS = {
    "ddpm_cifar10_32": "35746307",
    "ddpm_celebahq_256": "113673219",
    "ddpm_church_256": "113673219",
    "ddpm_bedroom_256": "113673219",
    "ncsnpp_ffhq_256": "65574549",
    "ncsnpp_ffhq_1024": "105.79",
    "cifar10_uncond_vp": "55.7",
    "cifar10_cond_vp": "55.7",
    "imagenet_64_cond_adm": "295.9",
}

# The config.json of the public folders, as far as they differ.
DDPM = {
    "_class_name": "UNet2DModel",
    "act_fn": "silu",
    "attention_head_dim": None,
    "center_input_sample": False,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "out_channels": 3,
    "time_embedding_type": "positional",
}
NCSNPP = DDPM | {
    "center_input_sample": True,
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1.41421356237,
    "norm_num_groups": None,
    "time_embedding_type": "fourier",
}


def published_folder(name: str) -> dict:
    if name.startswith("ddpm"):
        size = int(name.rsplit("_")[-1])
        channels = [128, 256, 256, 256] if size == 32 else [128, 128, 256, 256, 512, 512]
        config, kind, attends = DDPM, "", channels.index(256) if size == 32 else 4
    else:
        size = int(name.rsplit("_")[-1])
        channels = [128, 128, *[256] * 5] if size == 256 else [16, 32, 64, 128, 256, 512, 512, 512]
        config, kind, attends = NCSNPP, "Skip", {256: 4, 1024: 6}[size]
        if size == 1024:
            config = config | {"layers_per_block": 1}
    blocks = ["Attn" * (i == attends) + kind for i in range(len(channels))]
    return config | {
        "sample_size": size,
        "block_out_channels": channels,
        "down_block_types": [f"{block}DownBlock2D" for block in blocks],
        "up_block_types": [f"{block}UpBlock2D" for block in reversed(blocks)],
    }


def published_snapshot(name: str) -> dict:
    """What EDM's train.py constructs for the options of the published table."""
    size, label_dim = (32, 10) if "cifar10_cond" in name else (32, 0) if "cifar10" in name else (64, 0)
    arguments = {"img_resolution": size, "img_channels": 3, "label_dim": label_dim, "use_fp16": False}
    if "imagenet" in name:
        arguments |= {"label_dim": 1000, "use_fp16": True, "model_type": "DhariwalUNet", "dropout": 0.1}
        return arguments | {"model_channels": 192, "channel_mult": [1, 2, 3, 4]}
    ve = name.endswith("ve")
    return arguments | {
        "model_type": "SongUNet",
        "embedding_type": "fourier" if ve else "positional",
        "encoder_type": "residual" if ve else "standard",
        "decoder_type": "standard",
        "channel_mult_noise": 2 if ve else 1,
        "resample_filter": [1, 3, 3, 1] if ve else [1, 1],
        "model_channels": 128,
        "channel_mult": [2, 2, 2] if size == 32 else [1, 2, 2, 2],
        "augment_dim": 9,
    }


def config_of(path: str) -> ConfigDict:
    return importlib.import_module(path.removesuffix(".py").replace("/", ".")).get_config()


def load(path: str) -> tuple[ConfigDict, Network]:
    config = config_of(path)
    shape = (config.data.image_size, config.data.image_size, config.data.num_channels)
    return config, network(config, sde_lib.create(**config.sde), shape)


# Networks that differ from a neighbour's in classes or dropout alone wait for the slow tests.
SIBLINGS = ("cifar10_cond_ve", "afhqv2_64_uncond_vp", "afhqv2_64_uncond_ve")
PARAMETERS = [pytest.param(path, marks=[pytest.mark.slow] * (Path(path).stem in SIBLINGS)) for path in PATHS]


@pytest.mark.slow
@pytest.mark.parametrize("path", PARAMETERS)
def test_it_is_locked_and_means_the_public_network(path: str) -> None:
    config, built = load(path)
    name = Path(path).stem
    assert config.is_locked and config.model.is_locked
    assert config.data.dataset.partition(":")[0] in SOURCES
    optimizer.create(**config.optim, batch_size=config.training.batch_size)
    settings = samplers.Settings(**config.sampling)
    assert {settings.method, *config.eval.samplers} <= set(samplers.METHODS)
    if "diffusers" in path:
        kind, options = diffusers_unet.network_options(published_folder(name))
    else:
        kind, options = edm.network_options("EDMPrecond", published_snapshot(name))
        assert config.model.preconditioning == "edm"
    check_network(path, built, kind, options)
    if name in COUNTS:
        digits = COUNTS[name]
        scale = 1 if "." not in digits else 1e6
        places = len(digits.partition(".")[2])
        assert f"{built.count() / scale:.{places}f}" == digits
    text = (ROOT / path).read_text()
    assert f"--config={path}" in text and "--mode=import" in text and "Expected:" in text and "Hardware:" in text


# train.py's options as the README of EDM lists them: batch, millions of images, lr, half-life, dropout, augmentation.
TRAINING = {
    "cifar10": (512, 200, 1e-3, 0.5, 0.13, 0.12),
    "ffhq": (256, 200, 2e-4, 0.5, 0.05, 0.15),
    "afhqv2": (256, 200, 2e-4, 0.5, 0.25, 0.15),
    "imagenet": (4096, 2500, 1e-4, 50, 0.10, 0.0),
}


@pytest.mark.parametrize("path", [path for path in PATHS if "/edm/" in path])
def test_edm_trains_as_published(path: str) -> None:
    config = config_of(path)
    batch, images, lr, halflife, dropout, augment = TRAINING[Path(path).stem.partition("_")[0]]
    assert config.training.batch_size == batch and config.model.dropout == dropout and config.data.augment == augment
    assert 0 <= config.training.n_iters * batch - images * 1e6 < batch
    assert config.model.ema_halflife_images == halflife * 1e6 and config.model.ema_rampup == 0.05
    adam = {"lr": lr, "beta1": 0.9, "beta2": 0.999, "warmup_images": 10e6, "grad_clip": 0.0, "weight_decay": 0.0}
    assert {name: config.optim[name] for name in adam} == adam and not config.data.random_flip
    assert config.optim.eps * 3 * config.data.image_size**2 == pytest.approx(1e-8)  # theirs is of the sum
    loss = losses.of_config(config.training, sde_lib.create(**config.sde))
    assert (loss.weighting.weight, loss.times.time_sampling, loss.reduce_mean) == ("edm", "lognormal", True)
    assert (loss.times.P_mean, loss.times.P_std, loss.weighting.sigma_data) == (-1.2, 1.2, 0.5)
    assert config.training.nan_to_num and config.model.get("augment_dim", 0) == (9 if augment else 0)


def test_the_public_models_are_there() -> None:
    assert {Path(path).stem for path in PATHS} >= COUNTS.keys() and len(PATHS) == 20


def test_a_snapshot_inside_another_preconditioning_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("configs/edm/cifar10_uncond_vp.py")
    weights = importing.Weights({}, {}, {}, 0, {"preconditioning": "vp"}, Path("x.pkl"))
    monkeypatch.setattr(importing.importing, "detect", lambda file, name: "edm")
    monkeypatch.setattr(importing.importing, "read", lambda file, built: weights)
    with pytest.raises(ValueError, match=r"model\.preconditioning is 'edm', and x\.pkl was trained inside 'vp'"):
        importing.read_weights(config, Path("x.pkl"))
    config.model.preconditioning = "vp"
    assert importing.read_weights(config, Path("x.pkl")) is weights
    config.model.preconditioning = "EDM"
    with pytest.raises(
        ValueError,
        match=r"model\.preconditioning is 'EDM' \(did you mean 'edm'\?\); known are none, edm, vp, ve, iddpm",
    ):
        importing.read_weights(config, Path("x.pkl"))


@pytest.mark.parametrize("path", PATHS)
def test_its_data_options_are_the_sources(path: str) -> None:
    config = config_of(path)
    known = inspect.signature(SOURCES[config.data.dataset.partition(":")[0]]).parameters
    assert {*config.data} - {*of_section("data")} <= {*known}
