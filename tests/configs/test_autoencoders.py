"""The configs of published autoencoders mean the networks of the public files, and say what was published of them."""

import importlib
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from experiment.build import network_of
from experiment.rules import check_config
from training import optimizer

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs" / "autoencoders").glob("*_f*.py"))
NAMES = [path.stem for path in FILES]

# ch_mult, attn_resolutions, embed_dim (equal to z_channels), n_embed, batch: each public config.yaml, 256 pixels, with
# ch 128, num_res_blocks 2 and dropout 0 in all of them. Stable Diffusion's is that of kl_f8.
YAML = {
    "kl_f4": ((1, 2, 4), (), 3, None, 10),
    "kl_f8": ((1, 2, 4, 4), (), 4, None, 4),
    "kl_f16": ((1, 1, 2, 2, 4), (16,), 16, None, 6),
    "kl_f32": ((1, 1, 2, 2, 4, 4), (16, 8), 64, None, 6),
    "vq_f4": ((1, 2, 4), (), 3, 8192, 8),
    "vq_f4_noattn": ((1, 2, 4), (), 3, 8192, 8),
    "vq_f8": ((1, 2, 2, 4), (32,), 4, 16384, 10),
    "vq_f8_n256": ((1, 2, 2, 4), (32,), 4, 256, 10),
    "vq_f16": ((1, 1, 2, 2, 4), (16,), 8, 16384, 14),
    "sd_kl_f8": ((1, 2, 4, 4), (), 4, None, 4),
}

# disc_start, disc_weight, disc_num_layers; codebook_weight and kl_weight are 1 and 1e-6.
DISCRIMINATORS = {
    "vq_f4": (0, 0.75, 3),
    "vq_f4_noattn": (11, 0.75, 3),
    "vq_f8": (1, 0.6, 2),
    "vq_f8_n256": (250001, 0.75, 3),
    "vq_f16": (250001, 0.75, 2),
}

# rFID, PSNR and its deviation, PSIM and its deviation, steps: the model zoo's table; the last, of Stability's.
ZOO = {
    "kl_f4": (0.27, 27.53, 4.54, 0.55, 0.24, 176991),
    "kl_f8": (0.90, 24.19, 4.19, 1.02, 0.35, 246803),
    "kl_f16": (0.87, 24.08, 4.22, 1.07, 0.36, 442998),
    "kl_f32": (2.04, 22.27, 3.93, 1.41, 0.40, 406763),
    "vq_f4": (0.58, 27.43, 4.26, 0.53, 0.21, 533066),
    "vq_f4_noattn": (1.06, 25.21, 4.17, 0.72, 0.26, 658131),
    "vq_f8": (1.14, 23.07, 3.99, 1.17, 0.36, 971043),
    "vq_f8_n256": (1.49, 22.35, 3.81, 1.26, 0.37, 1608649),
    "vq_f16": (5.15, 20.83, 3.61, 1.73, 0.43, 1101166),
    "sd_kl_f8": (4.99, 23.4, 3.8, None, None, 246803),
}

# Those of vq_f4 and kl_f8 are counted elsewhere; the others differ from vq_f4 by two attentions of 512 channels, or by
# its codebook and the last two layers of its encoder.
COUNTS = {
    "vq_f4": 55_322_782,
    "kl_f8": 83_653_863,
    "sd_kl_f8": 83_653_863,
    "vq_f4_noattn": 55_322_782 - 2 * (2 * 512 + 4 * (512 * 512 + 512)),
    "kl_f4": 55_322_782 - 8192 * 3 + (9 * 512 + 1) * 3 + (6 * 6 + 6) - (3 * 3 + 3),
}


def config_of(name: str) -> ConfigDict:
    return importlib.import_module(f"configs.autoencoders.{name}").get_config()


def test_the_published_autoencoders_are_there() -> None:
    assert set(NAMES) == YAML.keys() == ZOO.keys()


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_the_public_files_say(name: str) -> None:
    config, (ch_mult, attention, channels, codes, batch) = config_of(name), YAML[name]
    assert config.is_locked and config.model.is_locked
    check_config(config)
    optimizer.create(**config.optim, batch_size=config.training.batch_size)
    model = config.model
    assert model.name == ("autoencoder_vq" if codes else "autoencoder_kl")
    assert (model.ch_mult, model.get("attn_resolutions", ())) == (ch_mult, attention)
    assert model.get("embed_dim", 4) == model.get("z_channels", 4) == channels
    assert model.get("num_codes") == codes and model.get("mid_attention", True) == (name != "vq_f4_noattn")
    assert config.data.image_size == (512 if name == "sd_kl_f8" else 256)
    assert model.get("scaling_factor", 0.0) == (0.18215 if name == "sd_kl_f8" else 1.0 if codes else 0.0)
    assert config.training.batch_size == batch and config.optim.lr == pytest.approx(4.5e-6 * batch)
    assert (config.optim.beta1, config.optim.beta2) == (0.5, 0.9) and config.training.loss == "autoencoder"
    training, loss = config.training, DISCRIMINATORS.get(name, (50001, 0.5, 3))
    assert (training.disc_start, training.disc_weight, training.disc_layers) == loss
    assert (training.perceptual, training.perceptual_weight, training.pixel_loss) == ("lpips", 1.0, "l1")
    assert (training.codebook_weight, training.kl_weight, training.disc_factor) == (1.0, 1e-6, 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_the_published_numbers_and_its_docstring_says_them(name: str) -> None:
    config, text = config_of(name), (ROOT / "configs" / "autoencoders" / f"{name}.py").read_text()
    fields, (*numbers, steps) = ("rfid", "psnr", "psnr_std", "psim", "psim_std"), ZOO[name]
    wanted = {field: number for field, number in zip(fields, numbers, strict=True) if number is not None}
    assert {field: value for field, value in config.published.items() if field != "data"} == wanted
    assert config.training.n_iters == steps and config.published.data.startswith(("ImageNet", "COCO"))
    assert f"rFID {wanted['rfid']:.2f}" in text and "(published)" in text
    digits = 1 if name == "sd_kl_f8" else 2
    assert f"PSNR {wanted['psnr']:.{digits}f} +- {wanted['psnr_std']:.{digits}f}" in text
    assert f"--config=configs/autoencoders/{name}.py" in text and "Hardware:" in text


QUICK = ("kl_f8", "vq_f4_noattn")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES])
def test_its_network_has_as_many_parameters(name: str) -> None:
    network = network_of(config_of(name))
    assert network.count() == COUNTS[name] if name in COUNTS else network.count() > 0
