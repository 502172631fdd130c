"""The configs for OpenAI's published weights mean the networks and chains of the flags in the two README files."""

import importlib
import inspect
from pathlib import Path

import pytest
from ml_collections import ConfigDict

import samplers
from data import SOURCES
from experiment.build import network_of
from experiment.ranges import of_section
from models.guided_unet import GuidedUNet
from training import optimizer

ROOT = Path(__file__).parents[2]
PATHS = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "configs" / "guided").glob("*.py"))]

# As published, without --use_fp16.
MODELS = {
    "imagenet_64_cond": "attention_resolutions 32,16,8 class_cond True diffusion_steps 1000 dropout 0.1 image_size 64 "
    "learn_sigma True noise_schedule cosine num_channels 192 num_head_channels 64 num_res_blocks 3 "
    "resblock_updown True use_new_attention_order True use_scale_shift_norm True",
    "imagenet_128_cond": "attention_resolutions 32,16,8 class_cond True diffusion_steps 1000 image_size 128 "
    "learn_sigma True noise_schedule linear num_channels 256 num_heads 4 num_res_blocks 2 resblock_updown True "
    "use_scale_shift_norm True",
    "imagenet_256_cond": "attention_resolutions 32,16,8 class_cond True diffusion_steps 1000 image_size 256 "
    "learn_sigma True noise_schedule linear num_channels 256 num_head_channels 64 num_res_blocks 2 "
    "resblock_updown True use_scale_shift_norm True",
    "lsun": "attention_resolutions 32,16,8 class_cond False diffusion_steps 1000 dropout 0.1 image_size 256 "
    "learn_sigma True noise_schedule linear num_channels 256 num_head_channels 64 num_res_blocks 2 "
    "resblock_updown True use_scale_shift_norm True",
    "improved_cifar10_32_uncond": "image_size 32 num_channels 128 num_res_blocks 3 learn_sigma True dropout 0.3 "
    "diffusion_steps 4000 noise_schedule cosine rescale_timesteps True",
    "improved_imagenet_64_uncond": "image_size 64 num_channels 128 num_res_blocks 3 learn_sigma True "
    "diffusion_steps 4000 noise_schedule cosine rescale_timesteps True",
    "improved_imagenet_64_cond": "image_size 64 num_channels 192 num_res_blocks 3 learn_sigma True class_cond True "
    "diffusion_steps 4000 noise_schedule cosine rescale_timesteps False",
    "improved_lsun_bedroom_256": "image_size 256 num_channels 128 num_res_blocks 2 num_heads 1 learn_sigma True "
    "use_scale_shift_norm False attention_resolutions 16 diffusion_steps 1000 noise_schedule linear "
    "rescale_timesteps False",
}
MODELS["imagenet_256_uncond"] = MODELS["imagenet_256_cond"].replace("class_cond True", "class_cond False")
MODELS["imagenet_512_cond"] = MODELS["imagenet_256_cond"].replace("image_size 256", "image_size 512")
MODELS |= {f"lsun_{category}_256": MODELS["lsun"] for category in ("bedroom", "cat", "horse")}
del MODELS["lsun"]
DEFAULTS = "num_heads 4 num_head_channels -1 attention_resolutions 16,8 dropout 0.0 class_cond False " + (
    "use_scale_shift_norm True resblock_updown False use_new_attention_order False rescale_timesteps False"
)
MULTIPLES = {
    32: (1, 2, 2, 2),
    64: (1, 2, 3, 4),
    128: (1, 1, 2, 3, 4),
    256: (1, 1, 2, 2, 4, 4),
    512: (0.5, 1, 1, 2, 2, 4, 4),
}

# Millions of parameters as published: by the paper of guided-diffusion, some rounded and some cut; by the file names of
# improved-diffusion, to one digit or two.
COUNTS = {
    "imagenet_64_cond": 296,
    "imagenet_128_cond": 422,
    "imagenet_256_cond": 554,
    "imagenet_512_cond": 559,
    "lsun_bedroom_256": 552,
    "improved_cifar10_32_uncond": 50,
    "improved_imagenet_64_uncond": 100,
    "improved_imagenet_64_cond": 270,
    "improved_lsun_bedroom_256": 100,
}


def flags_of(name: str) -> dict[str, str]:
    words = f"{DEFAULTS} {MODELS[name]}".split()
    return dict(zip(words[::2], words[1::2], strict=True))


def options_of(flags: dict[str, str]) -> dict:
    """Our options for the flags, those the network does not look at left out."""
    size, head_channels = int(flags["image_size"]), int(flags["num_head_channels"])
    by = {"head_channels": head_channels} if head_channels > 0 else {"num_heads": int(flags["num_heads"])}
    return by | {
        "image_size": size,
        "num_channels": 3,
        "nf": int(flags["num_channels"]),
        "ch_mult": MULTIPLES[size],
        "num_res_blocks": int(flags["num_res_blocks"]),
        "attn_resolutions": tuple(map(int, flags["attention_resolutions"].split(","))),
        "num_heads_up": None,
        "attention_order": "new" if flags["use_new_attention_order"] == "True" else "legacy",
        "scale_shift": flags["use_scale_shift_norm"] == "True",
        "resblock_updown": flags["resblock_updown"] == "True",
        "learned_variance": flags["learn_sigma"] == "True",
        "label_dim": 1000 if flags["class_cond"] == "True" else 0,
    }


def config_of(path: str) -> ConfigDict:
    return importlib.import_module(path.removesuffix(".py").replace("/", ".")).get_config()


def test_the_published_models_are_there() -> None:
    assert {Path(path).stem for path in PATHS} == MODELS.keys()


@pytest.mark.parametrize("path", PATHS)
def test_it_is_locked_and_has_the_flags_chain_and_label(path: str) -> None:
    config, flags = config_of(path), flags_of(Path(path).stem)
    assert config.is_locked and config.model.is_locked
    n = int(flags["diffusion_steps"])
    assert config.sde.to_dict() == {"name": "discrete", "schedule": flags["noise_schedule"], "n": n}
    assert config.model.num_scales == n and not config.training.continuous
    assert (config.sampling.grid, config.sampling.steps) == ("respaced", 249)  # and the step to data: 250 of n
    assert config.model.noise_label == ("index_1000" if flags["rescale_timesteps"] == "True" else "index")
    assert config.model.get("dropout", 0.0) == float(flags["dropout"])
    options = options_of(flags)
    size = options.pop("image_size"), options.pop("num_channels")
    assert (config.data.image_size, config.data.num_channels) == size
    defaults = {name: known.default for name, known in inspect.signature(GuidedUNet.__init__).parameters.items()}
    given = defaults | config.model.to_dict()
    assert {name: given[name] for name in options} == options
    optimizer.create(**config.optim)
    settings = samplers.Settings(**config.sampling)
    assert {settings.method, *config.eval.samplers} <= set(samplers.METHODS)
    source = inspect.signature(SOURCES[config.data.dataset.partition(":")[0]]).parameters
    assert {*config.data} - {*of_section("data")} <= {*source}
    text = (ROOT / path).read_text()
    assert f"--config={path}" in text and "--mode=import" in text and "Expected:" in text and "Hardware:" in text


QUICK = ("imagenet_64_cond", "improved_cifar10_32_uncond")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in COUNTS])
def test_it_has_as_many_parameters_as_published(name: str) -> None:
    millions = network_of(config_of(f"configs/guided/{name}.py")).count() / 1e6
    if name.startswith("improved"):
        millions = float(f"{millions:.{2 if COUNTS[name] == 270 else 1}g}")
        assert millions == COUNTS[name]
    assert abs(millions - COUNTS[name]) < 1
