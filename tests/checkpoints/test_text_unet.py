"""Text-conditional U-Nets of diffusers and of CompVis against their outputs, and ours as such files."""

import json
from pathlib import Path

import numpy as np
import pytest

from checkpoints import compvis_unet, diffusers_text_unet, importing, safetensors_file
from checkpoints.layout import effective_options
from models.functional import Network
from tests.models.published_weights import compiled

REFERENCE = Path(__file__).parents[1] / "reference"
FILE = "diffusion_pytorch_model.safetensors"
SD1, SD2, SDXL = (REFERENCE / "latent" / name / "model" for name in ("sd_pipeline", "sd_pipeline_v", "sdxl"))
FOLDERS = {
    "sd1": REFERENCE / "networks" / "cond_unet_sd1",
    "sd2": REFERENCE / "networks" / "cond_unet_sd2",
    "pipeline": SD1,
    "pipeline_v": SD2,
    "sdxl": SDXL,
}
CHECKPOINT = REFERENCE / "latent" / "sd_original" / "sd1.ckpt"
SAFETENSORS = REFERENCE / "latent" / "sd_original_v" / "sd2.safetensors"
NAMES = {"encoder_hidden_states": "text", "text_embeds": "pooled", "time_ids": "size"}
CLASSES = {"text_dim": 0, "label_dim": 4, "label_features": 6}
TINY = {"image_size": 8, "num_channels": 3, "nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "depths": (0, 1)}
TINY |= {"num_heads": (2,), "num_groups": 4, "text_dim": 6}


def network_of(folder: Path, **options) -> Network:
    name, described = diffusers_text_unet.describe(folder)
    return Network.create(name, **described | options)


def unet_of(folder: Path) -> Path:
    return folder / "unet" if (folder / "unet").exists() else folder


def nhwc(array):
    return np.moveaxis(array, 1, -1)


def assert_close(found, expected, tolerance):
    expected = nhwc(expected)
    assert found.shape == expected.shape
    assert (np.abs(found - expected) <= tolerance * np.maximum(1, np.abs(expected))).all()


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_outputs_are_those_of_diffusers(name):
    folder = FOLDERS[name]
    io = np.load(folder / "io.npz" if name in ("sd1", "sd2") else folder.parent / "unet.npz")
    network = network_of(folder)
    variables = importing.read(folder, network).variables(ema=True)
    told = {ours: io[theirs] for theirs, ours in NAMES.items() if theirs in io}
    x, timestep, apply = nhwc(io["sample"]), io["timestep"].astype(np.float32), compiled(network.apply)
    assert_close(apply(variables, x, timestep, told), io["output"], 2e-5)
    if "output_zero_text" in io:  # which is what a missing text is, of any length
        assert_close(apply(variables, x, timestep), io["output_zero_text"], 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "folder"), [(CHECKPOINT, SD1), (SAFETENSORS, SD2)])
def test_outputs_are_those_of_compvis(file, folder):
    network, io = network_of(folder), np.load(file.parent / "unet.npz")
    weights, apply = importing.read(file, network), compiled(network.apply)
    given = nhwc(io["z"]), io["t"].astype(np.float32), {"text": io["context"]}
    assert_close(apply(weights.variables(ema=False), *given), io["unet"], 3e-5)
    assert_close(apply(weights.variables(ema=True), *given), io["unet_ema" if "unet_ema" in io else "unet"], 3e-5)


@pytest.mark.parametrize(
    ("file", "folder", "step"), [(CHECKPOINT, SD1, 470_000), pytest.param(SAFETENSORS, SD2, 0, marks=pytest.mark.slow)]
)
def test_a_single_file_holds_the_weights_of_the_folder(file, folder, step):
    network = network_of(folder)
    theirs, ours = importing.read(folder, network), importing.read(file, network)
    assert_equal(ours.params, theirs.params)
    assert ours.step == step
    averaged = [name for name, array in ours.ema.items() if not np.array_equal(array, ours.params[name])]
    assert len(averaged) == (len(ours.params) if file is CHECKPOINT else 0)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n != "sdxl" else n for n in FOLDERS])
def test_export_of_the_import_is_the_folder(name, tmp_path):
    folder = unet_of(FOLDERS[name])
    network = network_of(folder)
    diffusers_text_unet.write(tmp_path, network, importing.read(folder, network).variables(ema=True))
    assert_equal(safetensors_file.load(tmp_path / FILE), safetensors_file.load(folder / FILE))
    theirs = json.loads((folder / "config.json").read_text())
    written = json.loads((tmp_path / "config.json").read_text())
    given = {field: value for field, value in theirs.items() if field != "_diffusers_version"}
    assert {field: written[field] for field in given} == given
    assert diffusers_text_unet.options_of(written) == diffusers_text_unet.options_of(theirs)


@pytest.mark.slow
def test_shards_halves_and_projections_of_the_other_kind_are_read(tmp_path):
    folder = unet_of(SD2)
    network = network_of(folder)
    expected = importing.read(folder, network).params
    arrays = safetensors_file.load(folder / FILE)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)}
    for name in [name for name in arrays if name.endswith(("proj_in.weight", "proj_out.weight"))]:
        arrays[name] = arrays[name][..., None, None]
    names = sorted(arrays)
    shards = {"a.fp16.safetensors": names[::2], "b.fp16.safetensors": names[1::2]}
    for shard, held in shards.items():
        safetensors_file.save(tmp_path / shard, {name: arrays[name] for name in held})
    index = {"weight_map": {name: shard for shard, held in shards.items() for name in held}}
    (tmp_path / "diffusion_pytorch_model.safetensors.index.fp16.json").write_text(json.dumps(index))
    config = json.loads((folder / "config.json").read_text()) | {"use_linear_projection": False}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert_equal(importing.read(tmp_path, network).params, expected)
    assert_equal(importing.read(tmp_path, network_of(tmp_path)).params, expected)
    larger = network_of(folder, image_size=(16, 24))  # latents may be of another size
    assert_equal(importing.read(tmp_path, larger).params, expected)
    with pytest.raises(ValueError, match=r"num_heads is \(4,\), in the file \(2, 4, 4\); change the config"):
        importing.read(tmp_path, network_of(folder, num_heads=(4,)))


def random_of(network: Network) -> dict:
    random = np.random.default_rng(0)
    shapes = network.abstract()["params"].items()
    return {"params": {name: random.normal(size=leaf.shape).astype("f4") for name, leaf in shapes}, "fixed": {}}


@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        (CLASSES, {"cond_stage_model.embedding.weight": (5, 6)}),
        (
            {"pooled_dim": 5, "size_features": 4, "middle_depth": 2},
            {"model.diffusion_model.label_emb.0.0.weight": (32, 29), "model.diffusion_model.label_emb.0.2.bias": (32,)},
        ),
        (
            {"image_channels": 5, "linear_projections": True},
            {"model.diffusion_model.input_blocks.0.0.weight": (8, 8, 3, 3)},
        ),
    ],
)
def test_classes_pooled_texts_and_more_channels_in_single_files(options, theirs, tmp_path):
    network, file = Network.create("cross_attention_unet", **TINY | options), tmp_path / "model.safetensors"
    variables = random_of(network)
    compvis_unet.write(file, network, variables)
    assert theirs.items() <= {name: array.shape for name, array in safetensors_file.load(file).items()}.items()
    assert_equal(importing.read(file, network).params, variables["params"])
    other = Network.create("cross_attention_unet", **TINY | options | {"nf": 16})
    with pytest.raises(ValueError, match="does not hold the weights of this config's network; of another shape"):
        importing.read(file, other)


def test_the_published_defaults_are_stable_diffusion_s():
    """The first files say little more than this; what they leave out is what our network has where nothing is said."""
    early = {"_class_name": "UNet2DConditionModel", "cross_attention_dim": 768, "sample_size": 64}
    found = diffusers_text_unet.options_of(early)
    ours = Network("cross_attention_unet", (("image_size", 64), ("num_channels", 4)))
    assert found == {option: value for option, value in effective_options(ours).items() if option in found}
    inpainting = diffusers_text_unet.options_of(early | {"in_channels": 9}, image_size=(32, 48))
    assert (inpainting["image_channels"], inpainting["image_size"]) == (5, (32, 48))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_class_name": "UNet2DModel"}, "_class_name is 'UNet2DModel', not 'UNet2DConditionModel'"),
        ({"class_embed_type": "timestep"}, "class_embed_type is 'timestep', not None"),
        ({"num_class_embeds": 1000}, "num_class_embeds is 1000, not None"),
        ({"encoder_hid_dim": 4096}, "encoder_hid_dim is 4096, not None"),
        ({"time_cond_proj_dim": 256}, "time_cond_proj_dim is 256, not None"),
        ({"addition_embed_type": "text"}, "addition_embed_type is 'text', not None or 'text_time'"),
        ({"addition_embed_type": "text_time"}, "projection_class_embeddings_input_dim is None, not more than 6 times"),
        ({"down_block_types": ["AttnDownBlock2D"] * 3}, r"down_block_types are \['AttnDownBlock2D'"),
        ({"up_block_types": ["UpBlock2D"] * 3}, "do not mirror down_block_types"),
        ({"block_out_channels": [8, 12, 16]}, r"block_out_channels are \[8, 12, 16\], not each a multiple"),
        ({"attention_head_dim": [2, 4]}, r"attention_head_dim is \[2, 4\], not one number or one for each of 3 levels"),
        ({"transformer_layers_per_block": [[1], [1], [1]]}, "transformer_layers_per_block is "),
        ({"layers_per_block": [1, 2, 1]}, r"layers_per_block is \[1, 2, 1\], not the same number at each level"),
        ({"in_channels": 3}, "in_channels is 3, less than out_channels, 4"),
        ({"time_embedding_dim": 64}, "time_embedding_dim is 64, not 32"),
        ({"sample_size": None}, "sample_size is None"),
        ({"norm_num_groups": None}, "norm_num_groups is None"),
        ({"mid_block_type": None}, "mid_block_type is None, not 'UNetMidBlock2DCrossAttn'"),
        ({"flip_sin_to_cos": False, "freq_shift": 1}, "flip_sin_to_cos is False, not True; freq_shift is 1, not 0"),
    ],
)
def test_what_has_no_counterpart_is_named_in_one_line(change, message):
    config = json.loads((SD1 / "unet" / "config.json").read_text())
    with pytest.raises(ValueError, match=message) as error:
        diffusers_text_unet.options_of(config | change)
    assert "\n" not in str(error.value)


def test_what_diffusers_or_a_file_does_not_have_is_refused(tmp_path):
    network, other = (Network.create("cross_attention_unet", **TINY | o) for o in ({}, CLASSES))
    with pytest.raises(ValueError, match="is a cross_attention_unet that is told a text"):
        diffusers_text_unet.config_of(other)
    with pytest.raises(ValueError, match="middle_depth is 2, not 1, that of the last level"):
        diffusers_text_unet.config_of(Network.create("cross_attention_unet", **TINY | {"middle_depth": 2}))
    with pytest.raises(FileNotFoundError, match="holds no UNet2DConditionModel"):
        diffusers_text_unet.describe(tmp_path)
    with pytest.raises(ValueError, match="does not hold the weights of this config's network"):
        importing.read(CHECKPOINT, network)
    with pytest.raises(ValueError, match=r"read for the autoencoder in it.*or cross_attention_unet for the text"):
        importing.read(CHECKPOINT, Network.create("mlp", shape=(2,)))
