"""Autoencoders in folders of diffusers and single files of CompVis, and ours as such folders."""

import collections
import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import main
from checkpoints import compvis, diffusers_autoencoder, importing, safetensors_file
from configs.autoencoders import folder as folder_config
from configs.autoencoders import kl_f8
from experiment import Refusal
from experiment.build import build, network_of
from experiment.importing import read_weights
from experiment.rules import check, of_config
from experiment.weights import load
from experiment.workdir import Workdir
from models.functional import Network
from tests import torch_writer
from tests.models.published_weights import compiled
from tests.models.test_autoencoder import NETWORKS, VQ, assert_close, nhwc

FILE = "diffusion_pytorch_model.safetensors"
SD, KL = NETWORKS / "sd_vae", NETWORKS / "autoencoder_kl"


@functools.cache
def network(folder: Path = KL, **options) -> Network:
    name, own = diffusers_autoencoder.describe(folder)
    return Network.create(name, **own | options)


@functools.cache
def arrays(folder: Path = KL) -> dict[str, np.ndarray]:
    return safetensors_file.load(folder / FILE)


def config_of(folder: Path = KL) -> dict:
    return json.loads((folder / "config.json").read_text())


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def written(folder: Path, tensors: dict, file: str = FILE, **config) -> Path:
    """A folder with these tensors, and the recorded config.json with these changes."""
    folder.mkdir(parents=True, exist_ok=True)
    if tensors:
        (safetensors_file.save if file.endswith("safetensors") else torch_writer.save)(folder / file, tensors)
    (folder / "config.json").write_text(json.dumps(config_of() | config))
    return folder


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return diffusers_autoencoder.read(KL, network()).ema


@pytest.mark.slow
def test_the_first_stage_of_a_stable_diffusion_gives_the_published_arrays():
    io, built = np.load(SD / "io.npz"), network(SD)
    variables = importing.read(SD / "first_stage.safetensors", built).variables(ema=True)

    def both(variables, x, z):
        module = built.module(variables)
        return module.encode(x), module.decode(z)

    moments, decoded = compiled(both)(variables, nhwc(io["x"]), nhwc(io["z"]))
    assert_close(moments, nhwc(io["moments"]), 3e-5)
    assert_close(decoded, nhwc(io["decoded"]), 3e-5)


def test_both_layouts_hold_the_same_weights():
    """Those of diffusers, of an early folder whose config.json says little, and of the same model's single file."""
    built = network(SD)
    assert dict(built.options)["scaling_factor"] == 0.18215
    assert_equal(importing.read(SD / "first_stage.safetensors", built).ema, importing.read(SD, built).ema)


def test_a_checkpoint_of_lightning_with_averages_and_objects(tmp_path):
    """A bare autoencoder: raw and averaged weights, losses left alone, and the step that it was written at."""
    saved = safetensors_file.load(NETWORKS / "autoencoder_vq" / "vqmodel.safetensors")
    state = collections.OrderedDict(saved)
    state |= {f"model_ema.{name.replace('.', '')}": np.asarray(array) + 1 for name, array in saved.items()}
    state |= {"model_ema.decay": np.float32([0.9999]), "loss.discriminator.main.0.weight": np.zeros((2, 2), np.float32)}
    file = tmp_path / "last.ckpt"
    torch_writer.save(file, {"global_step": 77, "callbacks": {"a": [1, (2, 3)]}, "state_dict": state, "epoch": 3})
    weights = importing.read(file, VQ)
    assert (importing.detect(file), weights.step) == ("compvis", 77)
    assert_equal(weights.params, importing.read(NETWORKS / "autoencoder_vq" / "vqmodel.safetensors", VQ).ema)
    assert_equal(weights.ema, {name: np.float32(np.float16(a) + 1) for name, a in weights.params.items()})
    del state["model_ema.encoderconv_inweight"]
    torch_writer.save(file, {"state_dict": state})
    with pytest.raises(ValueError, match=r"\(model_ema\.\) .*not in the file \(1\): encoder\.conv_in\.weight"):
        importing.read(file, VQ)


def test_a_single_file_of_a_whole_model_says_its_scale(tmp_path):
    saved = safetensors_file.load(SD / "first_stage.safetensors")
    file = tmp_path / "model.safetensors"
    safetensors_file.save(file, saved | {"scale_factor": np.float32(0.2), "model.diffusion_model.a": np.zeros(3)})
    config = folder_config.get_config(str(SD))
    with pytest.raises(ValueError, match=r"scaled by 0\.2, and model\.scaling_factor is 0\.18215; set it to that, or"):
        read_weights(config, file)
    config.model.scaling_factor = 0.2
    assert read_weights(config, file).step == 0
    with pytest.raises(ValueError, match=r"model\.name is 'mlp'; take one of autoencoder_kl, autoencoder_vq"):
        importing.read(file, Network.create("mlp", shape=(2,)))
    del saved["first_stage_model.quant_conv.bias"]
    safetensors_file.save(file, saved | {"first_stage_model.encoder.more": np.zeros(3)})
    with pytest.raises(ValueError, match=r"not in the file \(1\): quant_conv\.bias; left over .*: encoder\.more"):
        read_weights(config, file)


def test_the_first_names_of_attention_and_its_convolutions_mean_the_same(tmp_path, expected):
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def first(name):
        head, _, part = name.partition(".attentions.0.")
        today = next((new for new in old if part.startswith(new)), "")
        return f"{head}.attentions.0.{old[today]}{part.removeprefix(today)}" if today else name

    renamed = {first(name): array for name, array in arrays().items()}
    assert sum("proj_attn" in name for name in renamed) == 4
    renamed = {k: a[..., None, None] if "query.weight" in k else a for k, a in renamed.items()}
    assert_equal(diffusers_autoencoder.read(written(tmp_path, renamed), network()).ema, expected)


@pytest.mark.parametrize("kind", ["fp16", "bin", "sharded", "sharded fp16", "vae", "vqvae"])
def test_every_file_that_a_folder_may_hold(kind, tmp_path, expected):
    tensors = {name: np.asarray(array) for name, array in arrays().items()}
    half = {name: array.astype(np.float16) for name, array in tensors.items()}
    if kind == "fp16":
        written(tmp_path, half, "diffusion_pytorch_model.fp16.safetensors")
        expected = {name: array.astype(np.float16).astype(np.float32) for name, array in expected.items()}
    elif kind == "bin":
        written(tmp_path, tensors, "diffusion_pytorch_model.bin")
    elif kind.startswith("sharded"):
        written(tmp_path, {})
        names = sorted(tensors)
        shards = {f"{FILE[:-12]}-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
        for file, own in shards.items():
            safetensors_file.save(tmp_path / file, {name: tensors[name] for name in own})
        index = {"metadata": {}, "weight_map": {name: file for file, own in shards.items() for name in own}}
        variant = ".fp16" if "fp16" in kind else ""
        (tmp_path / f"{FILE}{variant}.index.json").write_text(json.dumps(index))
    else:
        written(tmp_path / kind, tensors)
        (tmp_path / "unet").mkdir()
        (tmp_path / "unet" / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
        assert importing.detect(tmp_path) == "diffusers_text_unet"
    assert importing.detect(tmp_path, "autoencoder_kl") == "diffusers_autoencoder"
    assert_equal(importing.read(tmp_path, network()).ema, expected)


def test_whole_precision_comes_before_half_and_a_damaged_index_is_named(tmp_path, expected):
    written(
        tmp_path, {name: np.zeros_like(array) for name, array in arrays().items()}, f"{FILE[:-12]}.fp16.safetensors"
    )
    written(tmp_path, arrays())
    assert_equal(diffusers_autoencoder.read(tmp_path, network()).ema, expected)
    (tmp_path / FILE).unlink()
    for listed in ({}, {"weight_map": {}}, {"weight_map": {"a": "../a.safetensors"}}):
        (tmp_path / f"{FILE}.index.json").write_text(json.dumps(listed))
        with pytest.raises(ValueError, match=r"index\.json has no weight_map from tensors to files beside it"):
            diffusers_autoencoder.read(tmp_path, network())


def test_a_folder_without_an_autoencoder_or_without_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no config\.json of AutoencoderKL or VQModel in it, in vae/ or in"):
        diffusers_autoencoder.describe(tmp_path)
    written(tmp_path, {})
    with pytest.raises(ValueError, match=r"holds neither .*safetensors nor .*bin"):
        diffusers_autoencoder.read(tmp_path, network())


@pytest.mark.parametrize("folder", [KL, SD])
def test_export_of_the_import_is_the_file(folder, tmp_path):
    weights = diffusers_autoencoder.read(folder, network(folder))
    diffusers_autoencoder.write(tmp_path, network(folder), weights.variables(ema=True))
    assert_equal(arrays(tmp_path), arrays(folder))
    config, original = config_of(tmp_path), config_of(folder)
    unused = {"_diffusers_version", "force_upcast"}
    assert {field: config[field] for field in original if field not in unused} == {
        field: value for field, value in original.items() if field not in unused
    }
    assert diffusers_autoencoder.describe(tmp_path) == diffusers_autoencoder.describe(folder)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("autoencoder_kl", {"ch_mult": (1, 2, 2), "attn_resolutions": (16, 4), "mid_attention": False}),
        ("autoencoder_kl", {"ch_mult": (), "channels": (8, 12), "quant_conv": False, "shift_factor": 0.1159}),
        ("autoencoder_kl", {"image_size": (16, 24), "scaling_factor": 0.0, "embed_dim": 3, "z_channels": 3}),
        ("autoencoder_vq", {"num_codes": 7, "embed_dim": 5, "z_channels": 6, "attn_resolutions": (16,)}),
    ],
)
def test_import_of_the_export_is_the_same_bit_for_bit(name, options, tmp_path):
    sizes = {"image_size": 16, "num_channels": 3, "nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "num_groups": 4}
    made = Network.create(name, **sizes | {"scaling_factor": 0.5} | options)
    random = np.random.default_rng(0)
    params = {k: random.normal(size=a.shape).astype(a.dtype) for k, a in made.abstract()["params"].items()}
    diffusers_autoencoder.write(tmp_path, made, {"params": params, "fixed": {}})
    assert_equal(diffusers_autoencoder.read(tmp_path, made).ema, params)
    found_name, found = diffusers_autoencoder.describe(tmp_path)
    unknown = {"scaling_factor": 0.18215} if options.get("scaling_factor") == 0.0 else {}
    given = dict(made.options) | unknown
    assert found_name == name and {option: found[option] for option in given} == given
    where = compvis.places(made)
    assert len({place.name for place in where.values()}) == len(params)


def test_what_the_folder_and_the_config_contradict_is_listed_in_one_line(tmp_path):
    other = network(nf=4, num_groups=2, tanh_out=True, scaling_factor=0.5)
    with pytest.raises(ValueError) as error:
        diffusers_autoencoder.read(KL, other)
    for part in ("nf is 4, in the file 8", "num_groups is 2, in the file 4", "tanh_out is True, in the file False"):
        assert part in str(error.value)
    assert "scaling_factor is 0.5, in the file 0.18215; change the config" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"holds a network 'autoencoder_kl' and the config's model\.name is"):
        diffusers_autoencoder.read(KL, VQ)
    elsewhere = network(image_size=64, scaling_factor=0.0)  # it takes images of any size, and the scale is unknown
    assert diffusers_autoencoder.read(KL, elsewhere).step == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"act_fn": "gelu"}, "act_fn is 'gelu', not 'silu' or 'swish'"),
        ({"latents_mean": [0.1] * 4}, "latents_mean is .*, not None"),
        ({"out_channels": 4}, "in_channels and out_channels differ"),
        ({"up_block_types": ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"]}, "do not mirror"),
        ({"down_block_types": ["DownBlock2D", "DownEncoderBlock2D"]}, "down_block_types are"),
        ({"sample_size": None}, "sample_size is None"),
        ({"layers_per_block": 0}, "layers_per_block is 0"),
        ({"scaling_factor": "x"}, "scaling_factor is 'x'"),
        ({"_class_name": "VQModel", "norm_type": "spatial"}, "norm_type is 'spatial', not 'group'"),
        ({"_class_name": "VQModel", "lookup_from_codebook": True}, "lookup_from_codebook is True"),
    ],
)
def test_what_our_networks_cannot_be_is_refused(change, message, tmp_path):
    with pytest.raises(ValueError, match=message) as error:
        diffusers_autoencoder.describe(written(tmp_path, {}, **change))
    assert str(tmp_path / "config.json") in str(error.value) and "\n" not in str(error.value)


def test_a_vq_model_that_says_no_scale_was_trained_with_one():
    """Diffusers would divide its latents by 0.18215, which is Stable Diffusion's."""
    config = {"_class_name": "VQModel", "block_out_channels": [32]}
    assert diffusers_autoencoder.network_options(config)[1]["scaling_factor"] == 1.0
    config["_class_name"] = "AutoencoderKL"
    assert diffusers_autoencoder.network_options(config)[1]["scaling_factor"] == 0.18215


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("autoencoder_kl", {"tanh_out": True, "embed_dim": 3}, "tanh_out is True, not False; z_channels is 4, not 3"),
        ("autoencoder_kl", {"ch_mult": (2, 2)}, "first level has 16 channels, not nf, which is 8"),
        ("autoencoder_vq", {"quant_conv": False}, "quant_conv is False, not True"),
        ("patch_discriminator", {}, "none of diffusers' autoencoders"),
    ],
)
def test_what_diffusers_does_not_have_is_not_exported(name, options, message, tmp_path):
    sizes = {"image_size": 8, "nf": 8, "ch_mult": (1, 2), "num_groups": 4} if name != "patch_discriminator" else {}
    made = Network.create(name, **{"num_channels": 3} | sizes | options)
    with pytest.raises(ValueError, match=message):
        diffusers_autoencoder.write(tmp_path / "out", made, made.abstract())
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_folder_goes_in_and_out_without_a_config_of_its_own(tmp_path, capsys):
    """--mode=import with the folder as its config, and --mode=export back."""
    pipeline = tmp_path / "pipeline"
    shutil.copytree(KL, pipeline / "vae", ignore=shutil.ignore_patterns("io.npz"))
    config = folder_config.get_config(str(pipeline))
    run = tmp_path / "run"
    main.run("import", config, str(run), str(pipeline))
    experiment = build(Workdir(run).config(), needs_data=False)
    assert experiment.compresses and dict(experiment.network.options)["scaling_factor"] == 0.18215
    assert experiment.codec.shape == (16, 16, 3)
    with Workdir(run).store(read_only=True) as store:
        step, variables = load(store, experiment.network, ema=True, step=None)
        origin = store.metadata(step)["imported"]
    assert (step, origin["format"], origin["config"]["_class_name"]) == (0, "diffusers_autoencoder", "AutoencoderKL")
    assert_equal(variables["params"], diffusers_autoencoder.read(KL, network()).ema)
    main.run("export", config, str(run))
    folder = run / "diffusers_step_0"
    assert str(folder) in capsys.readouterr().out
    assert_equal(arrays(folder), arrays())
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", FILE]
    config.model.nf = 16
    with pytest.raises(Refusal, match=r"nf is 16, in the file 8; change the config"):
        main.run("import", config, str(tmp_path / "other"), str(pipeline))
    with pytest.raises(
        ValueError, match=r"the folder is missing; write --config=configs/autoencoders/folder\.py:FOLDER"
    ):
        folder_config.get_config()


def test_a_discriminator_is_the_network_of_no_config():
    config = folder_config.get_config(str(KL))
    with config.unlocked():
        config.model.name = "patch_discriminator"
    message = r"model\.name is 'patch_discriminator', which the training of an autoencoder makes .*; take one of ncsnpp"
    with pytest.raises(ValueError, match=message):
        check(of_config(config))


def test_a_published_config_takes_a_folder_and_a_file_of_its_network(tmp_path):
    config = kl_f8.get_config()
    assert network_of(config).count() == 83_653_863
    with pytest.raises(ValueError, match=r"nf is 128, in the file 8.*num_groups is 32, in the file 4"):
        read_weights(config, SD)
    with pytest.raises(ValueError, match=r"of another shape \(\d+\): .*conv_in"):
        read_weights(config, SD / "first_stage.safetensors")
