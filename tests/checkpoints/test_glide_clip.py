"""GLIDE's CLIP of noised images in its two files, against what its code computes in float64."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from checkpoints import glide_clip, importing, safetensors_file
from models.functional import Network
from tests import torch_writer
from tests.models.published_weights import compiled

REFERENCE = Path(__file__).parents[1] / "reference" / "glide_clip"
HEADS = {"text_heads": 2, "image_heads": 2}


def network() -> Network:
    name, options = glide_clip.describe(REFERENCE, **HEADS)
    return Network.create(name, **options)


def test_both_towers_and_the_gradient_that_guides():
    """float32 against float64: 1e-5 relative for the features; the gradient is 3 times that of the logits' sum."""
    io, settings, built = (
        np.load(REFERENCE / "io.npz"),
        json.loads((REFERENCE / "settings.json").read_text()),
        network(),
    )
    variables = importing.read(REFERENCE, built).variables(ema=True)

    def all_of_it(variables, x, t, ids):
        module = built.module(variables)
        text = module.encode_text(ids)
        guided = jax.grad(lambda x: module.agreement(module.encode_image(x, t), text).sum())
        logits = module(x, t, {"tokens": ids})
        return text, module.encode_image(x, t), guided(x), logits, module.agreement(module.encode_image(x, t), text)

    x, t = np.moveaxis(io["clip/x"], 1, -1).astype(np.float32), io["clip/t"].astype(np.float32)
    text, image, gradient, logits, pairs = compiled(all_of_it)(variables, x, t, io["clip/tokens"].astype(np.int32))
    np.testing.assert_allclose(text, io["clip/text_embedding_raw"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(image, io["clip/image_embedding_raw"], rtol=1e-5, atol=1e-5)
    expected = np.moveaxis(io["clip/cond_grad"], 1, -1)
    np.testing.assert_allclose(
        settings["grad_scale"] * gradient, expected, atol=2e-5 * np.abs(expected).max(), rtol=2e-5
    )
    cosine = np.einsum("ie,te->it", io["clip/image_embedding"], io["clip/text_embedding"])
    np.testing.assert_allclose(logits, 100 * cosine, atol=1e-3)
    np.testing.assert_allclose(pairs, np.diag(100 * cosine), atol=1e-3)


def test_two_pickles_hold_the_same(tmp_path):
    for tower in ("text", "image"):
        state = safetensors_file.load(REFERENCE / f"clip_{tower}.safetensors")
        torch_writer.save(tmp_path / f"clip_{tower}_enc.pt", {name: np.asarray(a) for name, a in state.items()})
    assert glide_clip.describe(tmp_path, **HEADS) == glide_clip.describe(REFERENCE, **HEADS)
    found, expected = (importing.read(folder, network()).ema for folder in (tmp_path, REFERENCE))
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    assert np.exp(found["logit_scale"]) == pytest.approx(100)


def test_the_published_shapes_say_the_published_options(tmp_path):
    """64 features a head; nothing else is told than shapes, so empty numbers do."""
    sizes = {"text": (512, 2), "image": (768, 3)}
    for tower, (width, layers) in sizes.items():
        state = {f"blocks.block_{i}.f_attn.f_q.b": np.zeros(width, np.float16) for i in range(layers)}
        state["blocks.output.f.w"] = np.zeros((512, width), np.float16)
        if tower == "text":
            state |= {"blocks.input.w_voc": np.zeros((65536, width), np.float16)}
            state |= {"blocks.input.w_pos": np.zeros((77, width), np.float16)}
        else:
            state |= {"blocks.input.patch_proj": np.zeros((width, 3, 4, 4), np.float16)}
            state |= {"blocks.input.w_t": np.zeros((1000, width), np.float16)}
            state |= {"blocks.input.w_pos": np.zeros((257, width), np.float16)}
        safetensors_file.save(tmp_path / f"clip_{tower}_enc.safetensors", state)
    name, options = glide_clip.describe(tmp_path)
    assert name == "clip" and options == {
        "image_size": 64,
        "num_channels": 3,
        "patch_size": 4,
        "image_width": 768,
        "image_layers": 3,
        "image_heads": 12,
        "vocabulary": 65536,
        "tokens": 77,
        "text_width": 512,
        "text_layers": 2,
        "text_heads": 8,
        "activation": "gelu",
        "projection_dim": 512,
        "key_bias": False,
        "num_scales": 1000,
    }
    Network.create(name, **options)


def test_a_folder_without_one_of_them_or_with_two(tmp_path):
    shutil.copy(REFERENCE / "clip_text.safetensors", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds no clip_image\*\.pt: GLIDE's CLIP is two files"):
        importing.read(tmp_path, network())
    for name in ("clip_image.safetensors", "clip_image_more.safetensors"):
        shutil.copy(REFERENCE / "clip_image.safetensors", tmp_path / name)
    with pytest.raises(ValueError, match=r"holds 2 files clip_image\*, clip_image\.safetensors, clip_image_more"):
        importing.read(tmp_path, network())
    with pytest.raises(ValueError, match=r"model\.name is 'mlp'"):
        glide_clip.read(REFERENCE, Network.create("mlp", shape=(2,)))
    deeper = Network.create("clip", **dict(network().options) | {"image_layers": 3})
    with pytest.raises(ValueError, match=r"not in the file \(15\): image\.block_2\.f_attn"):
        importing.read(REFERENCE, deeper)
