"""OpenAI's networks against outputs computed by their code, through the importer, from files as torch writes them."""

import collections
import functools
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import sde_lib
from checkpoints import guided_diffusion, importing, safetensors_file
from checkpoints.layout import spill
from configs.consistency import cat_256_cd_lpips
from configs.guided import improved_cifar10_32_uncond
from experiment.build import network as network_of
from experiment.importing import import_weights
from experiment.weights import load
from experiment.workdir import Workdir
from models.functional import Network
from tests import torch_writer
from tests.models.published_weights import compiled

NETWORKS = Path(__file__).parents[1] / "reference" / "networks"


def options_of(name: str) -> dict:
    """Our options for the flags that the public code was given."""
    flags = json.loads((NETWORKS / name / "flags.json").read_text())
    return {
        "image_size": flags["image_size"],
        "num_channels": flags["in_channels"],
        "nf": flags["model_channels"],
        "ch_mult": flags["channel_mult"],
        "num_res_blocks": flags["num_res_blocks"],
        "attn_resolutions": [flags["image_size"] // factor for factor in flags["attention_resolutions"]],
        "num_heads": flags["num_heads"],
        "num_heads_up": None if flags["num_heads_upsample"] == -1 else flags["num_heads_upsample"],
        "head_channels": None if flags["num_head_channels"] == -1 else flags["num_head_channels"],
        "attention_order": "new" if flags["use_new_attention_order"] else "legacy",
        "scale_shift": flags["use_scale_shift_norm"],
        "resblock_updown": flags["resblock_updown"],
        "learned_variance": flags["out_channels"] == 2 * flags["in_channels"],
        "label_dim": flags["num_classes"] or 0,
    }


@functools.cache
def arrays_of(name: str) -> dict:
    return safetensors_file.load(NETWORKS / name / "model.safetensors")


@functools.cache
def network(name: str) -> Network:
    return Network.create("guided_unet", **options_of(name))


@functools.cache
def function(name: str):
    return compiled(network(name).apply)


def state_dict(name: str) -> collections.OrderedDict:
    """As nn.Module.state_dict gives it: in order, with an attribute, the time embedding first."""
    arrays = arrays_of(name)
    names = sorted(arrays, key=lambda name: (not name.startswith("time_embed"), name))
    saved = collections.OrderedDict((name, np.asarray(arrays[name], np.float32)) for name in names)
    saved._metadata = collections.OrderedDict({"": {"version": 1}})
    return saved


def over_images(saved: dict) -> collections.OrderedDict:
    """The state dict as consistency_models has it: attention's convolutions are over images."""
    along = guided_diffusion.ALONG_SEQUENCE
    return collections.OrderedDict(
        (name, array[..., None] if along.search(name) and array.ndim == 3 else array) for name, array in saved.items()
    )


def nhwc(image):
    return image.transpose(0, 2, 3, 1)


@pytest.mark.parametrize(("name", "count"), [("guided_unet_a", 829_638), ("guided_unet_b", 318_691)])
def test_outputs_are_those_of_guided_diffusion(name, count, tmp_path):
    assert network(name).count() == count
    path = tmp_path / "ema_0.9999_000010.pt"
    torch_writer.save(path, state_dict(name))
    assert importing.detect(path) == "guided_diffusion"
    weights = importing.read(path, network(name))
    assert weights.step == 0 and weights.params is weights.ema and not weights.fixed
    io = np.load(NETWORKS / name / "io.npz")
    condition = {"label": np.eye(10, dtype=np.float32)[io["y"]]} if "y" in io else None
    for suffix in ("", "_float"):
        timesteps = io[f"timesteps{suffix}"].astype(np.float32)
        output = function(name)(weights.variables(ema=True), nhwc(io["x"]), timesteps, condition)
        expected = nhwc(io[f"output_timesteps{suffix}" if suffix else "output"])
        np.testing.assert_array_less(np.abs(output - expected), 2e-5 * np.maximum(1, np.abs(expected)))


@pytest.mark.parametrize("name", ["guided_unet_a", "guided_unet_b"])
def test_every_tensor_has_one_place_and_safetensors_are_read_too(name):
    path = NETWORKS / name / "model.safetensors"
    assert importing.detect(path) == "guided_diffusion"
    weights = importing.read(path, network(name))
    back = spill(network(name), guided_diffusion.places(network(name)), weights.variables(ema=True))
    assert back.keys() == arrays_of(name).keys()
    for key, array in back.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, arrays_of(name)[key])


@pytest.mark.slow
def test_the_order_of_attention_and_the_heads_are_the_configs_word():
    """Neither leaves a trace in the file; with the wrong ones the weights fit and the output is another."""
    variables = guided_diffusion.variables("b", network("guided_unet_b"), arrays_of("guided_unet_b"))
    io = np.load(NETWORKS / "guided_unet_b" / "io.npz")
    x, timesteps = nhwc(io["x"]), io["timesteps_float"]
    for other in ({"attention_order": "legacy"}, {"num_heads_up": None}):
        built = Network.create("guided_unet", **options_of("guided_unet_b") | other)
        assert built.abstract() == network("guided_unet_b").abstract()
        output = compiled(built.apply)(variables, x, timesteps)
        assert np.abs(output - nhwc(io["output_timesteps_float"])).max() > 1e-2


@pytest.mark.parametrize(
    ("name", "other", "message"),
    [
        ("a", {"label_dim": 0}, r"left over in the file \(1\): label_emb\.weight"),
        ("a", {"label_dim": 11}, r"label_emb\.weight \(10, 128\), expected \(11, 128\)"),
        ("a", {"learned_variance": False}, r"out\.2\.bias \(6,\), expected \(3,\), out\.2\.weight \(6, 32, 3, 3\)"),
        ("a", {"resblock_updown": False}, r"not in the file \(4\): .*input_blocks\.2\.0\.op\.weight"),
        ("a", {"scale_shift": False}, r"emb_layers\.1\.weight \(64, 128\), expected \(32, 128\)"),
        (
            "a",
            {"attn_resolutions": ()},
            r"left over in the file \(28\): input_blocks\.3\.1\.norm\.bias, .* and 25 more",
        ),
        ("b", {"num_channels": 6}, r"input_blocks\.0\.0\.weight \(32, 3, 3, 3\), expected \(32, 6, 3, 3\)"),
        (
            "b",
            {"num_res_blocks": 2},
            r"not in the file \(76\): input_blocks\.2\.0\.in_layers\.2\.bias, .* and 73 more; left over .* \(20\)",
        ),
    ],
)
def test_what_does_not_fit_is_listed_by_its_name_there(name, other, message):
    built = Network.create("guided_unet", **options_of(f"guided_unet_{name}") | other)
    with pytest.raises(ValueError, match=message) as error:
        guided_diffusion.variables("file.pt", built, arrays_of(f"guided_unet_{name}"))
    assert "\n" not in str(error.value) and "choose the config the file was trained with" in str(error.value)


def test_other_networks_and_files_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch_writer.save(path, {"state_dict": state_dict("guided_unet_b"), "step": 3})
    with pytest.raises(
        ValueError, match=r"model\.pt is no state dict of guided-diffusion, which holds tensors by name"
    ):
        importing.read(path, network("guided_unet_b"))
    torch_writer.save(path, state_dict("guided_unet_b"))
    adm = Network.create(
        "adm", image_size=16, num_channels=3, nf=32, ch_mult=(1, 2), attn_resolutions=(), head_channels=16
    )
    with pytest.raises(ValueError, match=r"holds a network 'guided_unet' and the config's model\.name is 'adm'"):
        importing.read(path, adm)


@pytest.mark.slow
def test_a_published_config_imports_such_a_file_and_finds_its_noise(tmp_path):
    """One score at level i of 4000 is -eps / sigma_i of the network told 1000 i / 4000: improved-diffusion's own."""
    config = improved_cifar10_32_uncond.get_config()
    options = options_of("guided_unet_b") | {"attn_resolutions": (8,), "ch_mult": (1, 1)}
    config.data.image_size = options.pop("image_size")
    del options["num_channels"]
    with config.unlocked():
        config.model.update(options)
    path, workdir = tmp_path / "cifar10.pt", Workdir(tmp_path / "run")
    torch_writer.save(path, state_dict("guided_unet_b"))
    assert import_weights(config, path, workdir) == 0
    sde = sde_lib.create(**config.sde)
    built = network_of(config, sde, (16, 16, 3))
    with workdir.store(read_only=True) as store:
        _, variables = load(store, built, ema=True, step=None)

    io = np.load(NETWORKS / "guided_unet_b" / "io.npz")
    i = np.asarray([37, 1700, 3999])
    alpha_bar = np.cumprod(1 - sde.schedule.discrete_betas(4000))
    levels = sde_lib.NoiseLevels(sde, 4000, exact=True)
    apply = functools.partial(function("guided_unet_b"), variables)
    score = sde_lib.Plain(config.model.prediction, config.model.noise_label).predict_fn(levels, apply).score
    found = score(jnp.asarray(nhwc(io["x"])), jnp.asarray((i + 1) / 4000, jnp.float32))
    eps = apply(nhwc(io["x"]), (i * 0.25).astype(np.float32))
    np.testing.assert_allclose(found, -eps / np.sqrt(1 - alpha_bar[i])[:, None, None, None], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_consistency_model_leads_where_its_code_says(tmp_path):
    """The recorded output F at c_in x and 250 log(sigma), inside the boundary condition; x itself at 0.002."""
    config = cat_256_cd_lpips.get_config()
    options = options_of("guided_unet_b") | {"attn_resolutions": (8,), "ch_mult": (1, 1)}
    config.data.image_size = options.pop("image_size")
    del options["num_channels"]
    with config.unlocked():
        config.model.update(options)
    path, workdir = tmp_path / "cd_cat256_lpips.pt", Workdir(tmp_path / "run")
    torch_writer.save(path, over_images(state_dict("guided_unet_b")))
    import_weights(config, path, workdir)
    sde = sde_lib.create(**config.sde)
    built = network_of(config, sde, (16, 16, 3))
    with workdir.store(read_only=True) as store:
        _, variables = load(store, built, ema=True, step=None)

    io = np.load(NETWORKS / "guided_unet_b" / "io.npz")
    sigma = np.exp(io["timesteps_float"].astype(np.float64) / 250)
    each = sigma[:, None, None, None]
    x, output = nhwc(io["x"]) * np.sqrt(each**2 + 0.25), nhwc(io["output_timesteps_float"])
    wanted = 0.25 / ((each - 0.002) ** 2 + 0.25) * x + (each - 0.002) * 0.5 / np.sqrt(each**2 + 0.25) * output
    model = sde_lib.parameterization("eps", "t", config.model.preconditioning)
    predict = model.predict_fn(sde, functools.partial(compiled(built.apply), variables))
    jump = sde_lib.jump_fn(sde, predict)
    t, end = jnp.asarray(sigma / 80, jnp.float32), jnp.full(3, 0.002 / 80)
    np.testing.assert_allclose(jump(jnp.asarray(x, jnp.float32), t, end), wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(jump(jnp.asarray(x, jnp.float32), end, end), x, rtol=1e-6)


def test_attention_over_images_has_its_order():
    """Such files have the queries first, so a config of another order is refused."""
    arrays = over_images(arrays_of("guided_unet_a"))
    with pytest.raises(ValueError, match=r"attention_order is 'legacy', in the file 'new'"):
        guided_diffusion.variables("cd.pt", network("guided_unet_a"), arrays)
    fitting = Network.create("guided_unet", **options_of("guided_unet_a") | {"attention_order": "new"})
    found = guided_diffusion.variables("cd.pt", fitting, arrays)
    plain = guided_diffusion.variables("a.pt", network("guided_unet_a"), arrays_of("guided_unet_a"))
    assert found["params"].keys() == plain["params"].keys()
    for name, array in found["params"].items():
        np.testing.assert_array_equal(array, plain["params"][name])
