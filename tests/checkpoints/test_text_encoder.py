"""Text towers of CLIP and OpenCLIP in folders of transformers and single files, against what their code computes."""

import functools
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from checkpoints import importing, openai_clip, safetensors_file, text_encoder
from checkpoints.layout import effective_options
from models.functional import Network
from tests import torch_writer
from tests.models.published_weights import compiled

REFERENCE = Path(__file__).parents[1] / "reference" / "latent" / "text_encoder_clip"
CLIP = {"vocabulary": 100, "tokens": 16, "text_width": 32, "text_layers": 2, "text_heads": 4, "projection_dim": 24}
CLIP_IMAGE = {"image_size": 32, "patch_size": 8, "image_width": 64, "image_layers": 2, "image_heads": 1}
OPEN = {"vocabulary": 100, "tokens": 16, "text_width": 40, "text_layers": 4, "text_heads": 5, "text_mlp": 96}
OPEN |= {"activation": "gelu", "projection_dim": 28}
MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])


@functools.cache
def io() -> dict[str, np.ndarray]:
    return dict(np.load(REFERENCE / "io.npz"))


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
    return safetensors_file.load(REFERENCE / f"{name}.safetensors")


def written(folder: Path, name: str, file: str = "model.safetensors", tensors: dict | None = None, **config) -> Path:
    """A folder of transformers with a recorded tower, and its recorded config with these changes."""
    folder.mkdir(parents=True, exist_ok=True)
    given = arrays(name) if tensors is None else tensors
    (safetensors_file.save if file.endswith("safetensors") else torch_writer.save)(folder / file, given)
    (folder / "config.json").write_text(json.dumps(json.loads((REFERENCE / f"{name}.json").read_text()) | config))
    return folder


def tower(folder: Path) -> tuple[Network, dict]:
    name, options = text_encoder.describe(folder)
    network = Network.create(name, **options)
    return network, importing.read(folder, network).variables(ema=True)


def close(found, expected):
    np.testing.assert_array_less(np.abs(found - expected), 2e-5 * np.maximum(1, np.abs(expected)))


def equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_a_tower_of_stable_diffusion_1(tmp_path):
    """Every layer, the mask, a layer skipped; and both rules of pooling once tokens are added behind the end token."""
    io_, (network, variables) = io(), tower(written(tmp_path, "sd1"))

    def all_of_it(variables, ids, mask):
        module = network.module(variables)
        return module(ids), module(ids, mask), module(ids, skip=1).text

    plain, masked, skipped = compiled(all_of_it)(variables, io_["sd1/input_ids"], io_["sd1/attention_mask"] == 1)
    close(plain.last, io_["sd1/last_hidden_state"])
    close(plain.text, io_["sd1/last_hidden_state"])
    close(np.stack(plain.hidden), io_["sd1/hidden_states"])
    close(plain.pooled, io_["sd1/pooler_output"])
    close(masked.last, io_["sd1/masked/last_hidden_state"])
    close(masked.pooled, io_["sd1/masked/pooler_output"])
    close(skipped, io_["sd1/clip_skip_1"])
    assert plain.projected is None


@pytest.mark.slow
@pytest.mark.parametrize(("end", "rule"), [(2, "legacy_argmax"), (99, "first_eos")])
def test_where_texts_with_added_tokens_are_pooled(end, rule, tmp_path):
    io_, table = io(), "text_model.embeddings.token_embedding.weight"
    grown = np.concatenate([arrays("sd1")[table], io_["sd1_added_tokens/extra_embedding"]])
    tensors = {**arrays("sd1"), table: grown.astype(np.float32)}
    network, variables = tower(written(tmp_path, "sd1", tensors=tensors, vocab_size=102, eos_token_id=end))
    found = compiled(lambda v, ids: network.module(v)(ids))(variables, io_["sd1_added_tokens/input_ids"])
    close(found.last, io_["sd1_added_tokens/last_hidden_state"])
    close(found.pooled, io_[f"sd1_added_tokens/pooler_output_{rule}"])
    other = io_[f"sd1_added_tokens/pooler_output_{'first_eos' if end == 2 else 'legacy_argmax'}"]
    assert np.abs(found.pooled - other).max() > 0.1


@pytest.mark.slow
def test_a_tower_with_a_projection(tmp_path):
    io_, (network, variables) = io(), tower(written(tmp_path, "with_projection"))
    assert dict(network.options)["end_token"] == 99
    ids = io_["with_projection/input_ids"]
    found = compiled(lambda v, ids: network.module(v)(ids, skip=1, norm=False))(variables, ids)
    close(found.last, io_["with_projection/last_hidden_state"])
    close(np.stack(found.hidden), io_["with_projection/hidden_states"])
    np.testing.assert_array_equal(found.text, found.hidden[-2])
    close(found.projected, io_["with_projection/text_embeds"])


def as_second(file: Path) -> Path:
    """OpenCLIP's recorded tower as the single file of a Stable Diffusion 2 has it."""
    tensors = {f"cond_stage_model.model.{name}": array for name, array in arrays("openclip").items()}
    more = {"cond_stage_model.model.logit_scale": np.float32(4), "first_stage_model.a": np.zeros(3, np.float32)}
    safetensors_file.save(file, tensors | more)
    return file


def test_the_file_of_a_stable_diffusion_2_is_its_folder(tmp_path):
    """The file has one layer more, and the projection, which its folder in diffusers' layout leaves out."""
    folder = written(tmp_path / "folder", "sd2")
    network, variables = tower(folder)
    saved = safetensors_file.load(as_second(tmp_path / "sd2.safetensors"))
    (found,) = text_encoder.towers(saved)
    assert text_encoder.state_dict_options(saved, found, heads=5) == (network.name, dict(network.options))
    read = importing.read(tmp_path / "sd2.safetensors", network).ema
    equal(read, variables["params"])
    whole = Network.create("text_encoder", **OPEN)
    with pytest.raises(ValueError, match=r"40 wide has no whole heads of 64 features: say how many it has"):
        text_encoder.describe(tmp_path / "sd2.safetensors")
    shallow = Network.create("text_encoder", **OPEN | {"text_layers": 2, "projection_dim": 0})
    with pytest.raises(ValueError, match=r"left over in the file .*resblocks\.2"):
        importing.read(REFERENCE / "openclip.safetensors", shallow)
    assert importing.read(REFERENCE / "openclip.safetensors", whole).ema.keys() > read.keys()


@pytest.mark.slow
def test_a_tower_of_openclip_and_the_one_a_layer_short(tmp_path):
    io_, whole = io(), Network.create("text_encoder", **OPEN)
    (short, variables), ids = tower(written(tmp_path, "sd2")), io_["sd2/input_ids"]
    read = importing.read(REFERENCE / "openclip.safetensors", whole).variables(ema=True)
    found = compiled(lambda v, ids: whole.module(v)(ids, skip=1))(read, ids)
    close(np.stack(found.hidden), io_["sd2/hidden_states"])
    close(found.text, io_["sd2/penultimate"])
    close(found.last, io_["sd2/last"])
    close(found.projected, io_["sd2/encode_text"])
    found = compiled(lambda v, ids: short.module(v)(ids))(variables, ids)
    close(found.text, io_["sd2/penultimate"])
    close(found.pooled, io_["sd2/diffusers_pooler_output"])


def test_both_towers_of_openais_clip():
    io_, network = io(), Network.create("clip", **CLIP, **CLIP_IMAGE)
    variables = importing.read(REFERENCE / "clip_openai.safetensors", network).variables(ema=True)
    normalised = np.moveaxis(io_["clip_openai/image"], 1, -1)
    images = 2 * (normalised * STD + MEAN) - 1  # theirs come as the towers see them

    def all_of_it(variables, x, ids):
        module = network.module(variables)
        return module.encode_image(x), module.encode_text(ids), module(x, jnp.zeros(len(x)), {"tokens": ids})

    image, text, logits = compiled(all_of_it)(variables, images.astype(np.float32), io_["clip_openai/tokens"])
    close(image, io_["clip_openai/encode_image"])
    close(text, io_["clip_openai/encode_text"])
    close(logits, io_["clip_openai/logits_per_image"])


def test_the_text_tower_of_clip_alone_is_the_same():
    network = Network.create("text_encoder", **CLIP)
    alone = importing.read(REFERENCE / "clip_openai.safetensors", network).ema
    whole = importing.read(REFERENCE / "clip_openai.safetensors", Network.create("clip", **CLIP, **CLIP_IMAGE)).ema
    equal(alone, {name.removeprefix("text."): a for name, a in whole.items() if name.startswith("text.")})


def test_files_of_stable_diffusion_hold_their_towers_by_these_names(tmp_path):
    """1: transformers' names with a buffer; XL: two towers; and names without `text_model.`, as today's code saves."""
    expected = tower(written(tmp_path / "a", "sd1"))[1]["params"]
    today = {name.removeprefix("text_model."): array for name, array in arrays("sd1").items()}
    equal(tower(written(tmp_path / "b", "sd1", tensors=today))[1]["params"], expected)
    positions = {"text_model.embeddings.position_ids": np.arange(16)[None]}
    equal(tower(written(tmp_path / "c", "sd1", tensors=arrays("sd1") | positions))[1]["params"], expected)

    first = {f"conditioner.embedders.0.transformer.{n}": a for n, a in (arrays("sd1") | positions).items()}
    second = {f"conditioner.embedders.1.model.{n}": a for n, a in arrays("openclip").items()}
    both = [Network.create("text_encoder", **o) for o in (dict(tower(tmp_path / "a")[0].options), OPEN)]
    found = text_encoder.towers([*second, *first, "model.diffusion_model.a"])
    assert [each.prefix for each in found] == [
        "conditioner.embedders.0.transformer.text_model.",
        "conditioner.embedders.1.model.",
    ]
    saved = first | second | {"conditioner.embedders.1.model.logit_scale": np.float32(4)}
    for each, network in zip(found, both, strict=True):
        name, options = text_encoder.state_dict_options(saved, each, heads=dict(network.options)["text_heads"])
        assert (name, options | {"dtype": None, "key_bias": True}) == ("text_encoder", effective_options(network))
        read = text_encoder.variables("the file", network, each, saved)["params"]
        assert read.keys() == network.abstract()["params"].keys()
    equal(text_encoder.variables("the file", both[0], found[0], saved)["params"], expected)


@pytest.mark.parametrize("kind", ["fp16", "bin", "sharded fp16", "text_encoder"])
def test_every_file_that_a_folder_may_hold(kind, tmp_path):
    expected = tower(written(tmp_path / "whole", "sd1"))[1]["params"]
    folder = tmp_path / "other"
    if kind == "fp16":
        written(folder, "sd1", "model.fp16.safetensors")
    elif kind == "bin":
        written(folder, "sd1", "pytorch_model.bin")
    elif kind == "text_encoder":
        written(folder / "text_encoder", "sd1")
    else:
        names = sorted(arrays("sd1"))
        shards = {f"model.fp16-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
        for file, own in shards.items():
            written(folder, "sd1", file, {name: arrays("sd1")[name] for name in own})
        listed = {name: file for file, own in shards.items() for name in own}
        (folder / "model.safetensors.index.fp16.json").write_text(json.dumps({"weight_map": listed}))
    equal(tower(folder)[1]["params"], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "relu"}, r"config\.json: .*hidden_act is 'relu', not 'quick_gelu' or 'gelu'$"),
        (
            {"hidden_size": "32", "layer_norm_eps": 1e-6},
            r"hidden_size is '32', not a number above 0; layer_norm_eps is",
        ),
        ({"eos_token_id": None}, r"eos_token_id is None, not a number"),
        ({"num_hidden_layers": 2}, r"left over in the file \(16\): text_model\.encoder\.layers\.2"),
        ({"num_hidden_layers": 4}, r"not in the file \(16\): text_model\.encoder\.layers\.3"),
        ({"vocab_size": 99}, r"token_embedding\.weight \(100, 32\), expected \(99, 32\)"),
        (
            {"architectures": ["BertModel"]},
            r"holds no text encoder of transformers: there is no config\.json of CLIPText",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(change, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        tower(written(tmp_path, "sd1", **change))
    assert "\n" not in str(error.value)


def test_another_network_than_that_of_the_folder(tmp_path):
    folder, network = written(tmp_path, "sd1"), Network.create("text_encoder", **CLIP)
    with pytest.raises(ValueError, match=r"the config's network is not that of .*text_layers is 2, in the file 3"):
        importing.read(folder, network)
    with pytest.raises(ValueError, match=r"model\.name is 'mlp'"):
        text_encoder.read(folder, Network.create("mlp", shape=(2,)))
    with pytest.raises(ValueError, match=r"model\.name is 'text_encoder'"):
        openai_clip.read(REFERENCE / "clip_openai.safetensors", network)
    with pytest.raises(FileNotFoundError):
        importing.read(tmp_path / "nothing", network)
    no_tower = tmp_path / "other.safetensors"
    safetensors_file.save(no_tower, {"a": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match=r"holds no text encoder of CLIP: no tensor's name ends with token_embedding"):
        importing.read(no_tower, network)
