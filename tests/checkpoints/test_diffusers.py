"""Folders of diffusers against outputs computed by diffusers, and our networks as such folders."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from checkpoints import diffusers, diffusers_unet, importing, safetensors_file, torch_file
from models.functional import Network
from tests.models.published_weights import compiled

NETWORKS = Path(__file__).parents[1] / "reference" / "networks"
LATENT = NETWORKS.parent / "latent" / "ldm_uncond" / "model" / "unet"
FILE = "diffusion_pytorch_model.safetensors"
SONG_256 = {
    "nf": 128,
    "ch_mult": (1, 1, 2, 2, 2, 2, 2),
    "num_res_blocks": 2,
    "fir": True,
    "progressive": "output_skip",
    "progressive_input": "input_skip",
    "embedding_type": "fourier",
    "scale_by_sigma": True,
    "centered": False,
    "dropout": 0.0,
}


ONE_ORDER = {"attention_order": "new", "attn_resolutions": (8,), "nf": 64}


def config_of(name: str) -> dict:
    return json.loads((NETWORKS / name / "config.json").read_text())


@functools.cache
def network_of(name: str) -> Network:
    kind, options = diffusers_unet.network_options(config_of(name))
    return Network.create(kind, **options)


def nhwc(image):
    return image.transpose(0, 2, 3, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddpm_unet", "ncsnpp_unet", "ddpm_widths", "ncsnpp_widths"])
def test_outputs_are_those_of_diffusers(name):
    network = network_of(name)
    variables = importing.read(NETWORKS / name, network).variables(ema=True)
    io = np.load(NETWORKS / name / "io.npz")
    apply = compiled(network.apply)
    cases = [(io["timestep"], io["output"])]
    if "scalar_timestep" in io:
        cases.append((np.full(4, io["scalar_timestep"]), io["output_scalar_timestep"]))
    for timestep, output in cases:
        # Both are divided by the timestep, which is sigma, where it is not an index.
        sigma = timestep[:, None, None, None] if name.startswith("ncsnpp") else 1.0
        expected = nhwc(output) * sigma
        found = apply(variables, nhwc(io["sample"]), timestep.astype(np.float32)) * sigma
        error = np.abs(found - expected) / np.maximum(1, np.abs(expected))
        assert error.max() < (5e-4 if name.startswith("ncsnpp") else 2e-5)


def copy_of(name: str, folder: Path, *, rename=lambda name: name, drop=(), **config) -> Path:
    arrays = {rename(k): v for k, v in safetensors_file.load(NETWORKS / name / FILE).items() if k not in drop}
    folder.mkdir(exist_ok=True)
    safetensors_file.save(folder / FILE, arrays)
    (folder / "config.json").write_text(json.dumps(config_of(name) | config))
    return folder


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_the_first_names_of_attention_mean_the_same(tmp_path):
    today = json.loads((NETWORKS / "ddpm_unet_oldnames" / "key_map_old_to_new.json").read_text())
    old = {new: name for name, new in today.items()}
    folder = copy_of("ddpm_unet", tmp_path, rename=lambda name: old.get(name, name))
    assert any("proj_attn" in name for name in safetensors_file.load(folder / FILE))
    network = network_of("ddpm_unet")
    assert_equal(diffusers.read(folder, network).ema, diffusers.read(NETWORKS / "ddpm_unet", network).ema)


def test_a_pickle_in_place_of_the_safetensors_and_frequencies_held_twice(tmp_path, monkeypatch):
    folder = copy_of("ncsnpp_unet", tmp_path)
    arrays = safetensors_file.load(folder / FILE)
    arrays["time_proj.W"] = arrays["time_proj.weight"]
    (folder / FILE).unlink()
    network = network_of("ncsnpp_unet")
    with pytest.raises(ValueError, match=r"holds neither .*safetensors nor .*bin"):
        diffusers.read(folder, network)
    (folder / "diffusion_pytorch_model.bin").touch()
    monkeypatch.setattr(torch_file, "load", lambda path: arrays)
    found = diffusers.read(folder, network)
    expected = diffusers.read(NETWORKS / "ncsnpp_unet", network)
    assert_equal(found.ema | found.fixed, expected.ema | expected.fixed)
    arrays["time_proj.W"] = arrays["time_proj.weight"] + 1
    with pytest.raises(ValueError, match=r"two different time_proj\.W and time_proj\.weight"):
        diffusers.read(folder, network)


@pytest.mark.parametrize("name", ["ddpm_unet", "ncsnpp_unet", "ddpm_widths", "ncsnpp_widths"])
def test_export_of_the_import_is_the_file(name, tmp_path):
    network = network_of(name)
    weights = diffusers.read(NETWORKS / name, network)
    diffusers.write(tmp_path / "out", network, weights.variables(ema=True))
    exported, original = (safetensors_file.load(folder / FILE) for folder in (tmp_path / "out", NETWORKS / name))
    assert_equal(exported, original)
    if name == "ddpm_unet":  # that one is float32, as ours are: even the bytes are those that safetensors wrote
        assert (tmp_path / "out" / FILE).read_bytes() == (NETWORKS / name / FILE).read_bytes()
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config == {field: value for field, value in config_of(name).items() if field != "_diffusers_version"}


def test_a_network_of_adm_s_line_goes_out_as_it_came_in(tmp_path):
    """Three maps of attention are one here, and three again."""
    config = json.loads((LATENT / "config.json").read_text())
    name, options = diffusers_unet.network_options(config)
    network = Network.create(name, **options)
    assert (name, options["head_channels"], options["num_groups"]) == ("guided_unet", 4, 4)
    weights = diffusers.read(LATENT, network)
    diffusers.write(tmp_path / "out", network, weights.variables(ema=True))
    assert_equal(safetensors_file.load(tmp_path / "out" / FILE), safetensors_file.load(LATENT / FILE))
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written == {field: value for field, value in config.items() if field != "_diffusers_version"}
    for change, message in (
        ({"attention_head_dim": 5}, r"attention_head_dim is 5, of which \[16\] channels are no whole numbers"),
        ({"norm_num_groups": None}, "norm_num_groups is None, not a number"),
        ({"norm_eps": 1e-6}, "norm_eps is 1e-06, not 1e-05"),
    ):
        with pytest.raises(ValueError, match=message):
            diffusers_unet.network_options(config | change)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ddpm", {"image_size": 16, "num_channels": 1, "nf": 32, "ch_mult": (1, 2), "attend_each_block": True}),
        (
            "ddpm",
            {"image_size": 8, "num_channels": 3, "nf": 8, "num_groups": 2, "attn_resolutions": (), "ch_mult": (1, 1)},
        ),
        ("ncsnpp", SONG_256 | {"image_size": 8, "num_channels": 3, "nf": 8, "ch_mult": (1, 2), "attn_resolutions": ()}),
    ],
)
def test_import_of_the_export_is_the_same_bit_for_bit(name, options, tmp_path):
    network = Network.create(name, **options)
    random = np.random.default_rng(0)
    variables = {
        collection: {name: random.normal(size=leaf.shape).astype(leaf.dtype) for name, leaf in named.items()}
        for collection, named in network.abstract().items()
    }
    diffusers.write(tmp_path, network, variables)
    weights = diffusers.read(tmp_path, network)
    assert_equal(weights.ema, variables["params"])
    assert_equal(weights.fixed, variables["fixed"])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ddpm", {"image_size": 32, "num_channels": 3, "attend_each_block": True}),
        ("ddpm", {"image_size": 256, "num_channels": 3, "ch_mult": (1, 1, 2, 2, 4, 4), "attend_each_block": True}),
        ("ncsnpp", SONG_256 | {"image_size": 256, "num_channels": 3}),
        ("guided_unet", {"image_size": 64, "num_channels": 3, "head_channels": 32, "attention_order": "new"}),
        ("guided_unet", {"image_size": 8, "num_channels": 4, "ch_mult": (1, 1.5), "num_heads": 1} | ONE_ORDER),
        ("ncsnpp", SONG_256 | {"image_size": 32, "num_channels": 3, "ch_mult": (1, 2), "attention_groups": 32}),
        (
            "ncsnpp",
            {**SONG_256, "image_size": 32, "num_channels": 3, "nf": 32, "ch_mult": (1, 2), "attention_groups": 32},
        ),
    ],
)
def test_config_json_round_trips(name, options):
    network = Network.create(name, **options)
    kind, found = diffusers_unet.network_options(json.loads(json.dumps(diffusers_unet.config_of(network))))
    assert kind == name
    wide = {"attention_groups": None} if options.get("nf") == 128 else {}
    assert {option: found[option] for option in options} == options | {o: v for o, v in wide.items() if o in options}


def test_a_network_other_than_the_config_is_named_option_by_option():
    options = dict(network_of("ddpm_unet").options) | {"nf": 16, "attend_each_block": False, "dropout": 0.5}
    with pytest.raises(ValueError) as error:
        diffusers.read(NETWORKS / "ddpm_unet", Network.create("ddpm", **options))
    assert "nf is 16, in the file 8; attend_each_block is False, in the file True; change" in str(error.value)
    with pytest.raises(ValueError, match=r"holds a network 'ncsnpp' and the config's model\.name is 'ddpm'"):
        diffusers.read(NETWORKS / "ncsnpp_unet", network_of("ddpm_unet"))


def test_weights_that_do_not_fit_are_listed(tmp_path):
    network = network_of("ddpm_unet")
    folder = copy_of("ddpm_unet", tmp_path, rename=lambda name: name.replace("conv_in", "conv_im"))
    with pytest.raises(ValueError, match=r"not in the file \(2\): conv_in.* left over in the file \(2\): conv_im"):
        diffusers.read(folder, network)
    copy_of("ddpm_unet", tmp_path, drop=("conv_out.bias",))
    with pytest.raises(ValueError, match=r"not in the file \(1\): conv_out\.bias; choose"):
        diffusers.read(folder, network)
    arrays = dict(safetensors_file.load(NETWORKS / "ddpm_unet" / FILE))
    arrays["conv_in.weight"] = arrays["conv_in.weight"][:4]
    safetensors_file.save(folder / FILE, arrays)
    with pytest.raises(
        ValueError, match=r"of another shape \(1\): conv_in\.weight \(4, 3, 3, 3\), expected \(8, 3, 3, 3\)"
    ):
        diffusers.read(folder, network)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm_eps": 1e-5, "act_fn": "gelu"}, "act_fn is 'gelu', not 'silu' or 'swish'; norm_eps is 1e-05, not 1e-06"),
        ({"flip_sin_to_cos": True}, "flip_sin_to_cos is True, not False"),
        ({"downsample_padding": 1}, "downsample_padding is 1, not 0"),
        ({"attention_head_dim": 8}, "only one head"),
        ({"up_block_types": ["AttnUpBlock2D", "UpBlock2D", "UpBlock2D"]}, "do not mirror"),
        ({"down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D", "DownBlock2D"]}, "down_block_types are"),
        ({"sample_size": None}, "sample_size is None"),
        ({"_class_name": "UNet2DConditionModel"}, "_class_name is 'UNet2DConditionModel', not 'UNet2DModel'"),
        ({"class_embed_type": "timestep"}, "class_embed_type is 'timestep'"),
        ({"out_channels": 6}, "in_channels and out_channels differ"),
        ({"time_embedding_type": "fourier"}, "mid_block_scale_factor is 1, not sqrt"),
    ],
)
def test_what_our_networks_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        diffusers_unet.network_options(config_of("ddpm_unet") | change)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ddpm", {}, "attend_each_block is False, not True"),
        ("ddpm", {"ch_mult": (2, 2), "attend_each_block": True}, "first level has 256 channels, not nf, which is 128"),
        ("ncsnpp", {}, "fir is False, not True; .*progressive is 'none', not 'output_skip'"),
        ("ncsnpp", SONG_256 | {"ch_mult": (1, 1), "nf": 32}, "attention_groups is None, not 32"),
        ("edm_unet", {}, "no counterpart of the network 'edm_unet'"),
        ("guided_unet", {}, "attention_order is 'legacy', not 'new'; head_channels is None, not a number"),
        ("guided_unet", ONE_ORDER | {"learned_variance": True}, "learned_variance is True, not False"),
    ],
)
def test_what_diffusers_does_not_have_is_not_exported(name, options, message, tmp_path):
    network = Network.create(name, **{"image_size": 32, "num_channels": 3} | options)
    with pytest.raises(ValueError, match=message):
        diffusers.write(tmp_path / "out", network, network.abstract())
    assert not (tmp_path / "out").exists()


def test_only_the_networks_own_variables_are_exported(tmp_path):
    network = network_of("ddpm_unet")
    variables = diffusers.read(NETWORKS / "ddpm_unet", network).variables(ema=True)
    params = dict(variables["params"])
    params["another"] = params.pop("conv_in.bias")
    with pytest.raises(ValueError, match=r"not in the file \(1\): conv_in\.bias; left over in the file \(1\): another"):
        diffusers.write(tmp_path, network, variables | {"params": params})


def test_safetensors_of_every_type_and_damaged_ones(tmp_path):
    import ml_dtypes

    kinds = [
        np.float64,
        np.float32,
        np.float16,
        ml_dtypes.bfloat16,
        np.int64,
        np.int32,
        np.int16,
        np.int8,
        np.uint8,
        bool,
    ]
    arrays = {np.dtype(kind).name: np.arange(6).reshape(2, 3).astype(kind) for kind in kinds}
    arrays |= {"scalar": np.array(3.0), "empty": np.zeros((0, 4)), "strided": np.arange(6.0).reshape(2, 3).T}
    file = tmp_path / "x.safetensors"
    safetensors_file.save(file, arrays)
    found = safetensors_file.load(file)
    assert_equal(found, arrays)
    assert {name: array.dtype for name, array in found.items()} == {name: array.dtype for name, array in arrays.items()}
    whole = file.read_bytes()
    for damaged in (
        whole[:-1],
        whole[:50],
        whole[:5],
        b"",
        whole.replace(b'"F32"', b'"F31"'),
        whole.replace(b"{", b"["),
    ):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x\.safetensors"):
            safetensors_file.load(file)
