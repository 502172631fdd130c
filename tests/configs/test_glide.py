"""The configs for GLIDE's published files mean the networks, chains and samplers of its code and notebooks."""

import importlib
import inspect

import pytest
from ml_collections import ConfigDict

import samplers
import sde_lib
from experiment.build import network_of
from models.glide import GLIDE
from samplers.create import grid, stepper_of

# model_and_diffusion_defaults of glide-text2im, and what its upsampler has instead, in our names.
BASE = {"nf": 192, "num_res_blocks": 3, "ch_mult": (1, 2, 3, 4), "head_channels": 64, "attn_resolutions": (32, 16, 8)}
BASE |= {"dropout": 0.1, "tokens": 128, "text_width": 512, "text_layers": 16, "text_heads": 8, "vocabulary": 50257}
BASE |= {"scale_shift": True, "resblock_updown": True, "learned_variance": True, "upsampling": 0, "inpaint": False}
LARGER = BASE | {"num_res_blocks": 2, "ch_mult": (1, 1, 2, 2, 4, 4), "upsampling": 4}
NETWORKS = {
    "base": (64, "cosine", BASE, 385_030_726),
    "base_inpaint": (64, "cosine", BASE | {"inpaint": True}, 385_037_638),
    "upsample": (256, "linear", LARGER, 398_361_286),
    "upsample_inpaint": (256, "linear", LARGER | {"inpaint": True}, 398_368_198),
}
SAMPLERS = {"base": ("ancestral", 3.0), "base_inpaint": ("ancestral", 5.0)}
SAMPLERS |= {"upsample": ("ddim", 1.0), "upsample_inpaint": ("ancestral", 1.0)}


def config_of(name: str) -> ConfigDict:
    return importlib.import_module(f"configs.glide.{name}").get_config()


@pytest.mark.parametrize("name", NETWORKS)
def test_it_has_the_published_options_and_sampler(name: str) -> None:
    config, (size, schedule, options, _) = config_of(name), NETWORKS[name]
    assert config.is_locked and config.sde.to_dict() == {"name": "discrete", "schedule": schedule, "n": 1000}
    assert (config.data.image_size, config.data.num_channels) == (size, 3) and config.model.noise_label == "index"
    defaults = {option: known.default for option, known in inspect.signature(GLIDE.__init__).parameters.items()}
    given = defaults | config.model.to_dict()
    assert config.model.name == "glide" and {option: given[option] for option in options} == options
    method, guidance = SAMPLERS[name]
    settings = samplers.Settings(**config.sampling)
    assert (settings.method, settings.guidance, settings.threshold) == (method, guidance, "clip")
    assert settings.learned_variance == (method == "ancestral")
    assert settings.prior_scale == (0.997 if size == 256 else 1.0)


@pytest.mark.parametrize("name", ["base", "upsample", "upsample_inpaint"])
def test_it_visits_the_published_levels(name: str) -> None:
    """100 of 1000, or fast27, whose noisiest is 997; and data, by a step of the grid or one of Tweedie's."""
    config = config_of(name)
    sde, settings = sde_lib.create(**config.sde), samplers.Settings(**config.sampling)
    times = grid(sde, stepper_of(sde, lambda x, t: x, settings), settings)
    visited = [round(1000 * t) - 1 for t in times if t > 0]
    assert len(visited) == (100 if name == "base" else 27) and visited[0] == (999 if name == "base" else 997)
    assert visited[-1] == 0 and settings.denoised == (times[-1] > 0)


def test_its_clip_has_the_options_of_its_code() -> None:
    """clip/config.yaml of glide-text2im, in our names; of the base's pictures and noise."""
    config, base = config_of("clip"), config_of("base")
    sizes = {"patch_size": 4, "vocabulary": 65536, "tokens": 77, "projection_dim": 512, "num_scales": 1000}
    towers = {"image_width": 768, "image_layers": 12, "image_heads": 12}
    towers |= {"text_width": 512, "text_layers": 12, "text_heads": 8, "activation": "gelu", "key_bias": False}
    given = config.model.to_dict()
    assert {name: given[name] for name in sizes | towers} == sizes | towers
    assert (config.model.noise_label, config.training.loss) == ("index", "contrastive")
    assert config.sde == base.sde and config.data.image_size == base.data.image_size


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_it_has_as_many_parameters_as_others_count(name: str) -> None:
    """The two without masks as printed from the published files; the others have 4 channels of input more."""
    assert network_of(config_of(name)).count() == NETWORKS[name][3]
